"""Loop trip counts of the elementwise kernels.

Some counts depend on data: fixed-point arithmetic takes some instructions more for a negative
number, LOGISTIC and TANH some hundred less where they saturate. They are exact for a tensor whose
values are known, and typical otherwise: each stored value of a quantized tensor equally likely,
floats spread evenly around zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.contract import KernelCall, Trips
from mcusim.kernels.reference.broadcasting import broadcast_loop, differ_when_extended
from mcusim.kernels.reference.elementwise_names import library_function

__all__ = [
    "DATA_DEPENDENT",
    "binary_call",
    "path_call",
    "select_call",
    "typical_values",
    "unary_call",
]

#: Operators whose trips are exact for a node whose inputs hold data.
DATA_DEPENDENT = frozenset(
    ("ADD", "SUB", "MUL", "RELU", "RELU6", "LEAKY_RELU", "PRELU", "HARD_SWISH", "LOGISTIC")
) | frozenset(("TANH", "QUANTIZE", "DEQUANTIZE", "SOFTMAX", "AVERAGE_POOL_2D"))

#: Kernels whose unnested loop over broadcast operands is compiled into the caller.
_INLINED = {("ADD", DType.INT8), ("MAXIMUM", DType.INT8), ("MINIMUM", DType.INT8)}

#: Kernels whose counts do not depend on the signs of their operands.
_INDEPENDENT = {(name, dtype) for name in ("MAXIMUM", "MINIMUM") for dtype in DType} | {
    (name, DType.FLOAT32) for name in ("ADD", "SUB", "MUL")
}

Reals = npt.NDArray[np.float64]


def binary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of two operands."""
    first, second, output = node.input(0), node.input(1), node.output()
    broadcasts = differ_when_extended(first.shape, second.shape)
    trips = _broadcast_trips(node, (first, second), broadcasts)
    if (node.name, first.dtype) not in _INDEPENDENT:
        trips["negative"] = output.elements * _negatives(node.name, first, second)
    return _call(node, broadcasts, trips)


def unary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of one operand that treats negative values in another way."""
    negative = typical_values(node.input(0)) < 0
    return path_call(node, {"negative": negative, "positive": ~negative})


def path_call(
    node: Node,
    paths: Mapping[str, npt.NDArray[np.bool_]],
    loops: Mapping[str, int] | None = None,
) -> KernelCall:
    """Kernel and trips of an operator whose elements take different paths by its first operand.

    Args:
        node: the operator.
        paths: which of :func:`typical_values` take a path, by its loop level.
        loops: turns of other loop levels.
    """
    source, output = node.input(0), node.output()
    trips = {"call": 1.0, "dimension": float(len(source.shape) + len(output.shape))}
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

    The levels: ``dimension`` as in ``_shape_trips``; ``element`` of the plain loop; ``broadcast``,
    the preparation of the nest, and ``broadcast.dimension``, whose strides are worked out;
    ``broadcast.element`` of the nest; ``row``, a recursion into its innermost loop, and ``nest``,
    one into a loop between; ``row.element`` where the recursion costs elements more, because the
    unnested loop became a part of its caller.
    """
    output = node.output()
    loop = broadcast_loop(tuple(tensor.shape for tensor in tensors), output.shape)
    nested = broadcasts and len(loop.extents) > 1
    elements = float(output.elements)
    rank = max(len(tensor.shape) for tensor in (*tensors, output))
    trips = {
        "call": 1.0,
        **_shape_trips(*tensors, output),
        "element": 0.0 if broadcasts else elements,
        "broadcast": float(broadcasts),
        "broadcast.dimension": float(rank if broadcasts else 0),
        "broadcast.element": elements if broadcasts else 0.0,
        "row": float(loop.rows if nested else 0),
        "nest": float(loop.recursions - loop.rows if nested else 0),
    }
    if (node.name, node.input(0).dtype) in _INLINED:
        trips["row.element"] = elements if nested else 0.0
    return trips


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
