"""Loop trip counts of the elementwise kernels.

Some counts depend on data: fixed-point arithmetic takes some instructions more for a negative
number, LOGISTIC and TANH some hundred less where they saturate. They are exact for a tensor whose
values are known, and typical otherwise: each stored value of a quantized tensor equally likely,
floats as often negative as not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.contract import KernelCall, Trips
from mcusim.kernels.reference.broadcasting import broadcast_loop, differ_when_extended

__all__ = ["DATA_DEPENDENT", "binary_call", "saturating_call", "select_call", "unary_call"]

#: Operators whose trips are exact for a node whose inputs hold data.
DATA_DEPENDENT = frozenset(
    ("ADD", "SUB", "MUL", "PRELU", "RELU", "LEAKY_RELU", "QUANTIZE", "DEQUANTIZE", "HARD_SWISH")
) | frozenset(("LOGISTIC", "TANH"))

#: Function of the library that runs an operator, and the one for operands that broadcast.
_FUNCTIONS: dict[str, tuple[str, str]] = {
    "ADD": ("Add", "BroadcastAdd4DSlow"),
    "SUB": ("SubElementwise", "BroadcastQuantSubSlow"),
    "MUL": ("MulElementwise", "BroadcastMul4DSlow"),
    "DIV": ("DivElementwise", "BroadcastDivSlow"),
    "MAXIMUM": ("MaximumMinimumBroadcastSlow", "MaximumMinimumBroadcastSlow"),
    "MINIMUM": ("MaximumMinimumBroadcastSlow", "MaximumMinimumBroadcastSlow"),
    "PRELU": ("BroadcastPrelu4DSlow", "BroadcastPrelu4DSlow"),
    "SELECT_V2": ("Select", "BroadcastSelect5DSlow"),
}

Reals = npt.NDArray[np.float64]


def binary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of two operands."""
    first, second, output = node.input(0), node.input(1), node.output()
    broadcasts = differ_when_extended(first.shape, second.shape)
    elements = output.elements
    loop = broadcast_loop((first.shape, second.shape), output.shape)
    nested = broadcasts and len(loop.extents) > 1
    trips = {
        "call": 1.0,
        "dimension": float(sum(len(tensor.shape) for tensor in (first, second, output))),
        "element": float(0 if broadcasts else elements),
        "broadcast": float(broadcasts),
        "broadcast.element": float(elements if broadcasts else 0),
        "row": float(loop.rows if nested else 0),
        "row.element": float(elements if nested else 0),
        "negative": elements * _negatives(node.name, first, second),
    }
    return _call(node, broadcasts, trips)


def unary_call(node: Node) -> KernelCall:
    """Kernel and trips of an operator of one operand."""
    return _call(node, False, _unary_trips(node))


def saturating_call(node: Node) -> KernelCall:
    """Kernel and trips of LOGISTIC and TANH, which do not compute where int8 saturates."""
    return _call(node, False, _unary_trips(node))


def select_call(node: Node) -> KernelCall:
    """Kernel and trips of SELECT_V2."""
    tensors, output = [node.input(i) for i in range(3)], node.output()
    shapes = tuple(tensor.shape for tensor in tensors)
    broadcasts = len(set(shapes)) > 1
    loop = broadcast_loop(shapes, output.shape)
    nested = broadcasts and len(loop.extents) > 1
    trips = {
        "call": 1.0,
        "dimension": float(sum(len(tensor.shape) for tensor in (*tensors, output))),
        "element": float(0 if broadcasts else output.elements),
        "broadcast": float(broadcasts),
        "broadcast.element": float(output.elements if broadcasts else 0),
        "row": float(loop.rows if nested else 0),
        "row.element": float(output.elements if nested else 0),
        "negative": 0.0,
    }
    return _call(node, broadcasts, trips)


def _unary_trips(node: Node) -> Trips:
    source, output = node.input(0), node.output()
    return {
        "call": 1.0,
        "dimension": float(len(source.shape) + len(output.shape)),
        "element": float(output.elements),
        "negative": output.elements * float((_typical(source) < 0).mean()),
    }


def _call(node: Node, broadcasts: bool, trips: Trips) -> KernelCall:
    typed = node.input(0)
    library = "reference_integer_ops" if typed.dtype is DType.INT8 else "reference_ops"
    plain = "".join(part.title() for part in node.name.split("_"))
    function = _FUNCTIONS.get(node.name, (plain, plain))[broadcasts]
    return KernelCall(
        kernel=f"{library}::{function}",
        profile=f"reference/{node.name.lower()}_{typed.dtype.value}",
        trips=trips,
    )


def _typical(tensor: Tensor) -> Reals:
    """Real values of a tensor: its own, or as many as stand for all that are equally likely."""
    if tensor.data is not None:
        stored = tensor.data.astype(np.float64)
    elif tensor.dtype in (DType.INT8, DType.UINT8):
        limits = np.iinfo(tensor.dtype.numpy)
        stored = np.arange(limits.min, limits.max + 1, dtype=np.float64)
    elif tensor.dtype is DType.INT16:
        stored = np.arange(-32704.0, 32768.0, 128.0)
    else:
        stored = np.arange(-127.5, 128.0)
    return (stored - tensor.zero_point) * (tensor.scale or 1.0)


def _negatives(name: str, first: Tensor, second: Tensor) -> float:
    """How many negative numbers the fixed-point arithmetic of an element meets."""
    a, b = _typical(first), _typical(second)
    if first.data is not None and second.data is not None:
        a, b = np.broadcast_arrays(a, b)
    else:
        # Independent of each other: any of one beside any of the other.
        a, b = a.reshape(-1, 1), b.reshape(1, -1)
    if name == "MUL":
        return float((a * b < 0).mean())
    if name == "PRELU":
        return float((a < 0).mean())
    combined = a + b if name == "ADD" else a - b
    return float((a < 0).mean() + (b < 0).mean() + (combined < 0).mean())
