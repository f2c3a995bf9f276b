"""What uTensor's code generator and operators refuse."""

from __future__ import annotations

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.library import refuse

__all__ = ["activation", "bytes_with_scale", "constant_weights"]

_MOST = (1 << 16) - 1


def bytes_with_scale(*tensors: Tensor) -> None:
    """Refuse what is not int8 with a scale and a zero point, and extents beyond uint16."""
    for tensor in tensors:
        refuse(
            tensor.dtype is DType.INT8,
            f"uTensor is known with int8, {tensor.name!r} is {tensor.dtype.value}",
        )
        refuse(tensor.scale > 0.0, f"{tensor.name!r} has no scale or zero point")
        refuse(
            1 <= len(tensor.shape) <= 4 and max(tensor.shape) <= _MOST,
            f"uTensor has shapes of up to four extents below 65536, not {tensor.shape}",
        )


def constant_weights(node: Node) -> None:
    """Refuse weights or a bias that are missing, computed or of another type."""
    weights, bias = node.input(1), node.optional_input(2)
    refuse(weights.is_constant and weights.dtype is DType.INT8, "its weights are no int8 constant")
    refuse(
        bias is not None and bias.is_constant and bias.dtype is DType.INT32,
        "uTensor's code generator needs a bias, an int32 constant",
    )
    filters = weights.shape[3] if node.name == "DEPTHWISE_CONV_2D" else weights.shape[0]
    outputs = node.output().shape[-1]
    refuse(
        bias is not None and bias.elements == filters == outputs,
        "its weights, bias and output differ in filters",
    )


def activation(node: Node, *known: str) -> str:
    """The fused activation, one of ``known``."""
    name = node.options.text("fused_activation_function", "NONE")
    refuse(name in known, f"uTensor's code generator has no activation {name} there")
    return name
