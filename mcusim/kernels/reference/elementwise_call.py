"""Loop trip counts of the elementwise kernels.

Some counts depend on data: fixed-point arithmetic takes some instructions more for a negative
number, LOGISTIC and TANH some hundred less where they saturate. They are exact for a tensor whose
values are known, and typical otherwise: each stored value of a quantized tensor equally likely,
floats spread evenly around zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.contract import KernelCall, Trips
from mcusim.kernels.fixed_point import quantize_multiplier
from mcusim.kernels.reference.broadcasting import (
    BroadcastLoop,
    broadcast_loop,
    differ_when_extended,
)
from mcusim.kernels.reference.elementwise_names import library_function

__all__ = [
    "DATA_DEPENDENT",
    "binary_call",
    "dimension_trips",
    "nest_trips",
    "path_call",
    "scaling_carries",
    "select_call",
    "typical_values",
    "unary_call",
]

#: Operators whose trips are exact for a node whose inputs hold data.
DATA_DEPENDENT = frozenset(
    ("ADD", "SUB", "MUL", "RELU", "RELU6", "LEAKY_RELU", "PRELU", "HARD_SWISH", "LOGISTIC")
) | frozenset(
    ("TANH", "QUANTIZE", "DEQUANTIZE", "SOFTMAX", "AVERAGE_POOL_2D", "ARG_MAX", "ARG_MIN")
)

#: Kernels that take shapes as one where the shorter only lacks ones in front; the others compare
#: them as they stand.
_EXTENDING = {
    *((name, dtype) for name in ("ADD", "SUB") for dtype in (DType.INT8, DType.INT16)),
    *((name, dtype) for name in ("MUL", "DIV") for dtype in DType),
}

#: Kernels whose counts do not depend on the signs of their operands.
_INDEPENDENT = {(name, dtype) for name in ("MAXIMUM", "MINIMUM") for dtype in DType} | {
    (name, DType.FLOAT32) for name in ("ADD", "SUB", "MUL")
}

Reals = npt.NDArray[np.float64]

#: So many values stand for all of an operand.
_PRODUCT_SAMPLE = 64


def binary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of two operands."""
    first, second, output = node.input(0), node.input(1), node.output()
    if (node.name, first.dtype) in _EXTENDING:
        broadcasts = differ_when_extended(first.shape, second.shape)
    else:
        broadcasts = first.shape != second.shape
    trips = _broadcast_trips(node, (first, second), broadcasts)
    if (node.name, first.dtype) not in _INDEPENDENT:
        trips["negative"] = output.elements * _negatives(node.name, first, second)
        if node.name == "MUL":
            ratio = first.scale * second.scale / output.scale if output.scale else 0.0
            trips["scaled_down"] = float(output.elements * (ratio < 1))
            trips["carried"] = output.elements * _carried_products(first, second, ratio)
    return _call(node, broadcasts, trips)


def unary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of one operand that treats negative values in another way."""
    negative = typical_values(node.input(0)) < 0
    return path_call(node, {"negative": negative, "positive": ~negative})


def path_call(
    node: Node,
    paths: Mapping[str, npt.NDArray[np.bool_]],
    loops: Mapping[str, float] | None = None,
) -> KernelCall:
    """Kernel and trips of an operator whose elements take different paths by its first operand.

    Args:
        node: the operator.
        paths: which of :func:`typical_values` take a path, by its loop level.
        loops: turns of other loop levels.
    """
    source, output = node.input(0), node.output()
    trips = {"call": 1.0, **_shape_trips(source, output)}
    trips.update((level, float(turns)) for level, turns in (loops or {}).items())
    trips.update((level, output.elements * float(taken.mean())) for level, taken in paths.items())
    return _call(node, False, trips)


def select_call(node: Node) -> KernelCall:
    """Kernel and trips of SELECT_V2."""
    tensors = tuple(node.input(i) for i in range(3))
    broadcasts = len({tensor.shape for tensor in tensors}) > 1
    return _call(node, broadcasts, _broadcast_trips(node, tensors, broadcasts))


def _broadcast_trips(node: Node, tensors: tuple[Tensor, ...], broadcasts: bool) -> dict[str, float]:
    """Turns of the plain loop over all elements, or of the nest that ``broadcast_loop`` describes.

    The levels: ``dimension`` as in ``_shape_trips``, and ``compared.dimension`` where shapes are
    as long as each other, ``compared.equal`` until they differ; ``element`` of the plain loop;
    ``broadcast``, the preparation of the nest, ``broadcast.dimension``, whose strides are worked
    out, and ``broadcast.dimensions`` of shapes that are copied again, ``broadcast.short`` of those
    with fewer than four; the nest's own as in :func:`nest_trips`.
    """
    output = node.output()
    shapes = tuple(tensor.shape for tensor in tensors)
    ranks = [len(shape) for shape in (*shapes, output.shape)]
    trips = {
        "call": 1.0,
        **_shape_trips(*tensors, output),
        "element": 0.0 if broadcasts else float(output.elements),
        "broadcast": float(broadcasts),
        "compared.dimension": float(len(shapes[0]) if len({*map(len, shapes)}) == 1 else 0),
        "compared.equal": float(_alike_in_front(shapes)),
        "compared.unlike": float(len({*map(len, shapes)}) > 1),
        **dimension_trips(shapes, output.shape, broadcasts),
        "broadcast.dimensions": float(sum(ranks) if broadcasts else 0),
        "broadcast.short": float(sum(r for r in ranks if r < 4) if broadcasts else 0),
    }
    nest = nest_trips(broadcast_loop(shapes, output.shape))
    return trips | (nest if broadcasts else dict.fromkeys(nest, 0.0))


def _alike_in_front(shapes: tuple[tuple[int, ...], ...]) -> int:
    """Dimensions before the first in which shapes that are as long as each other differ."""
    if len({*map(len, shapes)}) != 1:
        return 0
    pairs = (len({*extents}) == 1 for extents in zip(*shapes, strict=True))
    return sum(1 for _ in takewhile(bool, pairs))


def dimension_trips(
    shapes: tuple[tuple[int, ...], ...], result: tuple[int, ...], broadcasts: bool
) -> dict[str, float]:
    """Dimensions whose strides are worked out, by what is found there; shapes that are extended.

    Args:
        shapes: of the operands.
        result: shape of the output.
        broadcasts: whether any of it is done.
    """
    rank = max(len(shape) for shape in (*shapes, result)) if broadcasts else 0
    lacking = [max(0, rank - len(shape)) for shape in (*shapes, result)]
    repeated = [
        sum(a == 1 != b for a, b in zip(shape[::-1], result[::-1], strict=False)) + lack
        for shape, lack in zip(shapes, lacking, strict=False)
    ]
    return {
        "broadcast.dimension": float(rank),
        "broadcast.one": float(sum(extent == 1 for extent in result) if broadcasts else 0),
        "broadcast.several": float(sum(extent != 1 for extent in result) if broadcasts else 0),
        "broadcast.first_repeats": float(repeated[0] if broadcasts else 0),
        "broadcast.second_repeats": float(sum(repeated[1:]) if broadcasts else 0),
        "broadcast.extended": float(sum(lack > 0 for lack in lacking)),
        "broadcast.as_long": float(sum(lack == 0 for lack in lacking) if broadcasts else 0),
        "broadcast.lacking": float(sum(lacking)),
    }


def nest_trips(loop: BroadcastLoop) -> dict[str, float]:
    """Turns of the nest over broadcast operands.

    There are three innermost loops, by which operand repeats, and the compiler makes each once for
    operands that need one loop only and once for the innermost of several.

    Returns:
        ``broadcast.loop``, the loops there are; ``row``, a recursion into the innermost of several,
        and ``nest``, one into a loop between; elements by innermost loop: ``both`` advance, the
        ``first`` repeats or the ``second`` does, ``row.`` before those of several loops.
    """
    nested = len(loop.extents) > 1
    repeats = [bool(strides) and strides[0] == 0 for strides in loop.strides]
    own = "first" if repeats[0] else "second" if any(repeats) else "both"
    elements = {
        f"{where}{kind}": float(loop.elements * (nested == (where == "row.") and kind == own))
        for where in ("broadcast.", "row.")
        for kind in ("both", "first", "second")
    }
    return {
        "broadcast.loop": float(len(loop.extents)),
        "row": float(loop.rows if nested else 0),
        "nest": float(loop.recursions - loop.rows if nested else 0),
        **elements,
    }


def _shape_trips(*tensors: Tensor) -> dict[str, float]:
    """Dimensions of the shapes that are copied and compared.

    Those of shapes with fewer than four, 16 bytes, count once more: memcpy copies so few byte by
    byte.
    """
    ranks = [len(tensor.shape) for tensor in tensors]
    return {
        "dimension": float(sum(ranks)),
        "dimension.short": float(sum(rank for rank in ranks if rank < 4)),
    }


def _call(node: Node, broadcasts: bool, trips: Trips) -> KernelCall:
    # SELECT_V2's first input is a condition.
    dtype = node.input(1 if node.name == "SELECT_V2" else 0).dtype
    return KernelCall(
        kernel=library_function(node, broadcasts),
        profile=f"reference/{node.name.lower()}_{dtype.value}",
        trips=trips,
    )


def typical_values(tensor: Tensor, reach: float = 6.0) -> Reals:
    """Real values of a tensor: its own, or as many as stand for all that are equally likely.

    Args:
        tensor: of any type.
        reach: floats lie between its negative and itself.

    Returns:
        float64, shape of the tensor's data, or one dimension.
    """
    if tensor.data is not None:
        stored = tensor.data.astype(np.float64)
    elif tensor.dtype in (DType.INT8, DType.UINT8):
        limits = np.iinfo(tensor.dtype.numpy)
        stored = np.arange(limits.min, limits.max + 1, dtype=np.float64)
    elif tensor.dtype is DType.INT16:
        stored = np.arange(-32704.0, 32768.0, 128.0)
    else:
        stored = np.arange(-127.5, 128.0) * (reach / 128.0)
    return (stored - tensor.zero_point) * (tensor.scale or 1.0)


def scaling_carries(tensor: Tensor, real: Reals, ratio: float) -> npt.NDArray[np.bool_]:
    """Which values carry between the halves of the 64-bit product that scales them.

    ARMv6-M multiplies halves of 16 bits, and adds the carry of the sum of the two in the middle in
    a branch of its own.

    Args:
        tensor: whose values are scaled.
        real: its :func:`typical_values`.
        ratio: what they are scaled by.

    Returns:
        Shape of ``real``.

    Source: libgcc ``__muldi3`` under ``MultiplyByQuantizedMultiplier``.
    """
    return _carries(_stored(tensor, real), ratio)


def _stored(tensor: Tensor, real: Reals) -> npt.NDArray[np.int64]:
    return np.round(real / (tensor.scale or 1.0)).astype(np.int64)


def _carried_products(first: Tensor, second: Tensor, ratio: float) -> float:
    """Share of products of two operands that carry when they are scaled."""
    a, b = (_stored(tensor, typical_values(tensor)) for tensor in (first, second))
    if first.data is None or second.data is None:
        # Any beside any other, of one of them a part that stands for all.
        a, b = a.ravel(), b.ravel()[:: -(-b.size // _PRODUCT_SAMPLE), np.newaxis]
        a = a[:: -(-a.size // (4 * _PRODUCT_SAMPLE))]
    return _share(_carries(a * b, ratio))


def _carries(stored: npt.NDArray[np.int64], ratio: float) -> npt.NDArray[np.bool_]:
    if not math.isfinite(ratio) or ratio <= 0:
        return np.zeros(stored.shape, np.bool_)
    multiplier, shift = quantize_multiplier(ratio)
    stored = stored << max(0, min(shift, 31))
    low, high = stored & 0xFFFF, stored >> 16 & 0xFFFF
    middle = (low * (multiplier & 0xFFFF) >> 16) + low * (multiplier >> 16)
    carries: npt.NDArray[np.bool_] = middle + high * (multiplier & 0xFFFF) >= 1 << 32
    return carries


def _negatives(name: str, first: Tensor, second: Tensor) -> float:
    """How many negative numbers the fixed-point arithmetic of an element meets."""
    a, b = typical_values(first), typical_values(second)
    if first.data is not None and second.data is not None:
        a, b = np.broadcast_arrays(a, b)
        if name == "MUL":
            return float((a * b < 0).mean())
        below = float((a < -b if name == "ADD" else a < b).mean())
    elif name == "MUL":
        # Independent of each other: any of one beside any of the other, here and below.
        return _share(a < 0) * _share(b > 0) + _share(a > 0) * _share(b < 0)
    else:
        opposite = np.sort((-b if name == "ADD" else b).ravel())
        above = opposite.size - np.searchsorted(opposite, a.ravel(), side="right")
        below = float(above.mean()) / opposite.size
    return _share(a < 0) + _share(b < 0) + below


def _share(taken: npt.NDArray[np.bool_]) -> float:
    return float(taken.mean())
