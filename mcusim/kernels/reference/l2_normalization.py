"""L2_NORMALIZATION as TFLM's reference kernel computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier
from mcusim.kernels.reference.checks import require, require_counts, require_same_type, supported
from mcusim.kernels.reference.conversions import clipped
from mcusim.kernels.reference.inverse_square_root import inverse_square_root

__all__ = ["KERNELS"]


def _prepare(node: Node) -> Binder:
    """Source: ``L2NormPrepare`` and both ``L2Normalization``."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, output, (DType.FLOAT32, DType.INT8), "output")
    require_same_type(node, source, output, "input and output")
    require(len(source.shape) <= 4, node, f"has {len(source.shape)} dimensions, more than 4")
    require(len(source.shape) > 0, node, "the input is a scalar")
    require(source.shape == output.shape, node, "input and output differ in shape")
    activation = node.options.text("fused_activation_function", "NONE")
    require(activation == "NONE", node, f"has the fused activation {activation}")
    normalize = _floats if output.dtype is DType.FLOAT32 else _int8
    zero_point = source.zero_point

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        array = inputs[0]
        assert array is not None
        with np.errstate(all="ignore"):
            return [normalize(array, zero_point)]

    return lambda: run


def _floats(x: Array, _: int) -> Array:
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    for position in range(x.shape[-1]):
        # One after the other, as the library adds them.
        total += np.square(x[..., position : position + 1])
    norm = np.sqrt(total)
    least = np.float32(1e-6)
    return x / np.where(norm < least, least, norm)


def _int8(x: Array, zero_point: int) -> Array:
    centred = x.astype(np.int64) - zero_point
    squares = np.square(centred).sum(axis=-1, keepdims=True).astype(np.int32)
    inverse, right_shift = inverse_square_root(squares)
    # The output has a scale of 1/128.
    scaled = multiply_by_quantized_multiplier(centred, inverse, 7 - right_shift)
    return clipped(scaled, -128, 127).astype(np.int8)


def _call(node: Node) -> KernelCall:
    output = node.output()
    return KernelCall(
        kernel="L2Normalization",
        profile=f"reference/l2_normalization_{output.dtype.value}",
        trips={
            "call": 1,
            "row": output.elements // max(1, output.shape[-1]),
            "element": output.elements,
        },
    )


KERNELS: tuple[Kernel, ...] = (Kernel("L2_NORMALIZATION", _prepare, _call),)
