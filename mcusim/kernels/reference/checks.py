"""Refusals of TFLM's reference kernels, in words, and constants read as they read them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Node, Tensor

__all__ = [
    "constant_int32",
    "int32_vector",
    "is_quantized",
    "refuse",
    "require",
    "require_counts",
    "require_same_type",
    "supported",
]


def refuse(node: Node, reason: str) -> NoReturn:
    """Raise what a kernel raises where the library refuses the node.

    Raises:
        UnsupportedOperatorError: always; it names the operator and the reason.
    """
    raise UnsupportedOperatorError(f"operator {node.index} ({node.name}): {reason}")


def require(condition: bool, node: Node, reason: str) -> None:
    """Refuse the node unless ``condition`` holds, as ``TF_LITE_ENSURE`` does.

    Raises:
        UnsupportedOperatorError: it does not hold.
    """
    if not condition:
        refuse(node, reason)


def supported(node: Node, tensor: Tensor, allowed: Collection[DType], what: str) -> DType:
    """Type of a tensor, refused unless the kernel has code for it.

    Args:
        node: the operator.
        tensor: one of its tensors.
        allowed: the types that TFLM's kernel has code for.
        what: the tensor's part in the operator, such as ``"input"``.

    Raises:
        UnsupportedOperatorError: the kernel has no code for the type.
    """
    names = [t.value for t in allowed]
    listed = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    require(tensor.dtype in allowed, node, f"the {what} is {tensor.dtype.value}, not {listed}")
    return tensor.dtype


def require_same_type(node: Node, one: Tensor, other: Tensor, what: str) -> None:
    """Refuse the node unless two of its tensors have one type.

    Raises:
        UnsupportedOperatorError: they have two.
    """
    require(
        one.dtype is other.dtype,
        node,
        f"{what} have two types, {one.dtype.value} and {other.dtype.value}",
    )


def require_counts(node: Node, inputs: int) -> None:
    """Refuse the node unless it has exactly this many inputs, and one output.

    Raises:
        UnsupportedOperatorError: it has more or fewer.
    """
    require(len(node.inputs) == inputs, node, f"has {len(node.inputs)} inputs, not {inputs}")
    require(len(node.outputs) == 1, node, f"has {len(node.outputs)} outputs, not 1")


def is_quantized(tensor: Tensor) -> bool:
    """Whether TFLM calls the tensor affinely quantized: it has scales and zero points."""
    quantization = tensor.quantization
    return (
        quantization is not None
        and quantization.scales.size > 0
        and quantization.zero_points.size > 0
    )


def constant_int32(node: Node, position: int, what: str) -> npt.NDArray[np.int32]:
    """Data of an input that TFLM reads in Prepare: it must be an int32 constant.

    Raises:
        UnsupportedOperatorError: it is computed, or of another type.
    """
    tensor = node.input(position)
    if tensor.data is None:
        refuse(node, f"the {what} is not a constant")
    supported(node, tensor, (DType.INT32,), what)
    found: npt.NDArray[np.int32] = np.asarray(tensor.data)
    return found


def int32_vector(array: Array) -> list[int]:
    """Elements of an index tensor of one inference, as Python integers."""
    values: list[int] = array.reshape(-1).tolist()
    return values
