"""What dnnruntime's kernels refuse."""

from __future__ import annotations

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.library import refuse

__all__ = ["activation", "bytes_or_floats", "is_float", "same_scale"]

_BYTES = (DType.INT8, DType.UINT8)


def is_float(tensor: Tensor) -> bool:
    """Whether the float32 kernels run."""
    return tensor.dtype is DType.FLOAT32


def bytes_or_floats(*tensors: Tensor) -> None:
    """Refuse tensors that are not all float32, or all bytes with a scale each.

    A signed byte is taken as the unsigned one 128 above it, zero point included.
    """
    kinds = {is_float(tensor) for tensor in tensors}
    for tensor in tensors:
        refuse(
            is_float(tensor) or tensor.dtype in _BYTES,
            f"dnnruntime has float32 and uint8 kernels, {tensor.name!r} is {tensor.dtype.value}",
        )
        refuse(
            is_float(tensor) or tensor.scale > 0.0,
            f"{tensor.name!r} has no scale",
        )
    refuse(len(kinds) == 1, "dnnruntime has no kernel of float32 and uint8 together")


def activation(node: Node) -> str:
    """The fused activation; float kernels run ReLU as a kernel of its own."""
    name = node.options.text("fused_activation_function", "NONE")
    known = ("NONE", "RELU") if is_float(node.output()) else ("NONE", "RELU", "RELU6")
    refuse(name in known, f"dnnruntime has no activation {name}")
    return name


def same_scale(x: Tensor, y: Tensor) -> None:
    """Refuse another scale or zero point behind a kernel that only picks values."""
    refuse(
        is_float(x) or (x.scale, x.zero_point) == (y.scale, y.zero_point),
        "its input and output differ in scale or zero point",
    )
