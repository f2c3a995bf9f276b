"""Loop trip counts of SOFTMAX and LOG_SOFTMAX.

How many instructions an exponential takes depends on how far an input lies below the largest of its
row. Counts are exact for an input whose values are known, and typical otherwise: each int8 value
equally likely, floats spread evenly over a range of 12.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference.softmax_scaling import DIFFERENCE_BITS, InputScaling

__all__ = ["log_softmax_call", "softmax_call", "typical_near"]

_RANGE = 12.0
#: Below these the C library's expf reduces its argument less: half of ln 2, and three times that.
_NEAR, _MIDDLE = math.log(2) / 2, 3 * math.log(2) / 2

_DATA_DECIDES = (
    "the data decides how many inputs of a row are near enough to the largest for an exponential; "
    "the count is for inputs that are all as likely"
)


def softmax_call(node: Node) -> KernelCall:
    """Kernel and trips of SOFTMAX."""
    source = node.input(0)
    rows, depth = _rows(source)
    trips: dict[str, float] = {"call": 1, "row": rows}
    warnings: tuple[str, ...] = ()
    if source.dtype is DType.FLOAT32:
        trips.update(_float_trips(source, rows, depth))
    elif source.dtype is DType.INT16:
        trips |= {
            "element": rows * depth,
            # Differences come in steps of 10 / 65535.
            "scaled_down": rows * depth * (source.scale * 65535 < 10),
            "saturated": _saturated(source, rows, depth),
        }
    else:
        scaling = InputScaling.of(source.scale, node.options.real("beta"))
        trips.update(_stored_trips(source, scaling, rows, depth))
        if source.data is None and -scaling.least_difference < 255:
            warnings = (_DATA_DECIDES,)
    profile = f"reference/softmax_{source.dtype.value}"
    return KernelCall("reference_ops::Softmax", profile, trips, warnings=warnings)


def log_softmax_call(node: Node) -> KernelCall:
    """Kernel and trips of LOG_SOFTMAX."""
    source = node.input(0)
    rows, depth = _rows(source)
    return KernelCall(
        "reference_ops::LogSoftmax",
        f"reference/log_softmax_{source.dtype.value}",
        {"call": 1, "row": rows, "element": rows * depth},
    )


def _rows(tensor: Tensor) -> tuple[int, int]:
    depth = tensor.shape[-1] if tensor.shape else 1
    return tensor.elements // max(depth, 1), depth


def _below(data: Array, depth: int) -> npt.NDArray[np.float64]:
    """How far each value lies below the largest of its row."""
    values = data.reshape(-1, max(depth, 1)).astype(np.float64)
    below: npt.NDArray[np.float64] = values.max(axis=1, keepdims=True) - values
    return below


def _saturated(source: Tensor, rows: int, depth: int) -> float:
    """Differences that the table of int16 exponentials does not reach: beyond 10."""
    reach = 10.0 / source.scale if source.scale else math.inf
    if source.data is not None:
        return float((_below(source.data, depth) > reach).sum())
    # Beside the largest, all values below it are as likely.
    span = 65535 * depth / (depth + 1)
    return rows * (depth - 1) * max(0.0, 1 - reach / span)


def _float_trips(source: Tensor, rows: int, depth: int) -> dict[str, float]:
    """Exponentials by the range of their argument; that of 0 returns at once, one a row."""
    others = rows * (depth - 1)
    if source.data is not None:
        below = _below(source.data, depth)
        near, middle = (float((below <= end).sum()) - rows for end in (_NEAR, _MIDDLE))
    else:
        near, middle = (rows * typical_near(depth, end / _RANGE) for end in (_NEAR, _MIDDLE))
    return {"near": near, "middle": middle - near, "far": others - middle}


def typical_near(depth: int, share: float) -> float:
    """Of ``depth`` random values, how many beside the largest lie within a share of their range.

    Args:
        depth: how many values, spread evenly over their range.
        share: of the range, between 0 and 1.
    """
    if depth < 2:
        return 0.0
    within = share**depth + share * depth / (depth - 1) * (1 - share ** (depth - 1))
    return (depth - 1) * within


def _stored_trips(source: Tensor, scaling: InputScaling, rows: int, depth: int) -> dict[str, float]:
    """Exponentials of a row, and those whose polynomial is of a negative argument.

    On an M4 an input too far below the largest costs a twentieth of one that counts.
    """
    is_negative = _is_negative(scaling)
    if source.data is not None:
        below = _below(source.data, depth).astype(np.int64)
        counted = below[below < is_negative.size]
        taken, negative = float(counted.size), float(is_negative[counted].sum())
    else:
        # Beside the largest, differences up to the typical range of a row are all as likely.
        span = 255 * depth / (depth + 1)
        share = min(1.0, -scaling.least_difference / span)
        others = rows * (depth - 1) * share
        typical = is_negative[: int(span) + 1]
        taken = rows + others
        negative = rows * float(is_negative[0]) + others * float(typical.mean())
    skipped = rows * depth - taken
    return {"exponential": taken + skipped / 20, "negative": negative}


@cache
def _is_negative(scaling: InputScaling) -> npt.NDArray[np.bool_]:
    """By difference: whether gemmlowp's polynomial of exp, about -1/8, has a negative argument."""
    raw = scaling.differences().astype(np.int64)
    quarter = 1 << (31 - DIFFERENCE_BITS - 2)
    within: npt.NDArray[np.bool_] = (raw & (quarter - 1)) < quarter // 2
    return within
