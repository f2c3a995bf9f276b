"""Names of the library's functions that run elementwise operators."""

from __future__ import annotations

from mcusim.graph import DType, Node

__all__ = ["library_function"]

_QUANTIZED = (DType.INT8, DType.INT16, DType.UINT8)
_FUNCTION_OF_TWO = ("reference_ops::BinaryFunction", "reference_ops::BroadcastBinaryFunction4DSlow")
_EXTREMES = ("reference_ops::MaximumMinimumBroadcastSlow",) * 2

#: Function for operands of one shape and for operands that broadcast, of any type.
_OF_ANY_TYPE: dict[str, tuple[str, str]] = {
    "ADD": ("reference_ops::Add", "reference_ops::BroadcastAdd4DSlow"),
    "SUB": ("reference_ops::SubWithActivation", "reference_ops::BroadcastSubSlow"),
    "MUL": ("reference_ops::Mul", "reference_ops::BroadcastMul4DSlow"),
    "DIV": ("reference_ops::Div", "reference_ops::BroadcastDivSlow"),
    "MAXIMUM": _EXTREMES,
    "MINIMUM": _EXTREMES,
    "SELECT_V2": ("reference_ops::Select", "reference_ops::BroadcastSelect5DSlow"),
    "PRELU": ("BroadcastPrelu4DSlowFloat",) * 2,
    "RELU": ("ReluFloat",) * 2,
    "RELU6": ("Relu6Float",) * 2,
    "CAST": ("copyCast",) * 2,
    "NEG": ("reference_ops::Negate",) * 2,
    "QUANTIZE": ("reference_ops::Requantize",) * 2,
    **dict.fromkeys(
        ("SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD", "LOGICAL_AND", "LOGICAL_OR"),
        _FUNCTION_OF_TWO,
    ),
}

#: The same where the operands are quantized, as far as other functions run them.
_OF_QUANTIZED: dict[str, tuple[str, str]] = {
    "SUB": ("reference_ops::Sub", "reference_ops::BroadcastQuantSubSlow"),
    "MUL": ("reference_integer_ops::Mul", "reference_integer_ops::BroadcastMul4DSlow"),
    "SQUARED_DIFFERENCE": (
        "reference_integer_ops::ElementWise",
        "reference_integer_ops::BroadcastBinaryFunction4DSlow",
    ),
    "PRELU": ("reference_ops::BroadcastPrelu4DSlow",) * 2,
    "RELU": ("ReluQuantized",) * 2,
    "RELU6": ("Relu6Quantized",) * 2,
    "LEAKY_RELU": ("reference_ops::QuantizeLeakyRelu",) * 2,
    "LOGISTIC": ("reference_integer_ops::Logistic",) * 2,
    "TANH": ("reference_integer_ops::Tanh",) * 2,
}
_OF_INT8 = {"ADD": ("reference_integer_ops::Add", "reference_integer_ops::BroadcastAdd4DSlow")}
_COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")


def library_function(node: Node, broadcasts: bool) -> str:
    """Name of the function that runs an elementwise operator.

    Args:
        node: the operator.
        broadcasts: whether its operands differ in shape.
    """
    name, dtype = node.name, node.input(0).dtype
    plain = "".join(part.title() for part in name.split("_"))
    if name in _COMPARISONS:
        scaling = "WithScaling" if dtype is DType.INT8 else "NoScaling"
        return f"reference_ops::{'Broadcast4DSlow' if broadcasts else ''}{plain}{scaling}"
    if name == "QUANTIZE" and dtype is DType.FLOAT32:
        return "reference_ops::AffineQuantize"
    functions = _OF_ANY_TYPE.get(name, (f"reference_ops::{plain}",) * 2)
    if dtype in _QUANTIZED:
        functions = _OF_QUANTIZED.get(name, functions)
    if dtype is DType.INT8:
        functions = _OF_INT8.get(name, functions)
    return functions[broadcasts]
