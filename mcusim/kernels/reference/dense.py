"""Sums of products of stored values: what FULLY_CONNECTED, BATCH_MATMUL and LSTM gates share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
    multiply_by_quantized_multiplier_wide,
    quantize_multiplier,
)
from mcusim.kernels.reference.checks import require

__all__ = ["Rescaling", "accumulate", "bind_rows", "product_multiplier"]


@dataclass(frozen=True, eq=False)
class Rescaling:
    """How sums of products of stored values become stored values.

    Attributes:
        input_offset: added to every input.
        filter_offset: added to every weight.
        multipliers: Q31, one for all outputs or one each.
        shifts: exponents, as many.
        output_offset: zero point of the output.
        low: least stored value.
        high: largest stored value.
        wide: sums are int64, not int32, and are rounded once.
        dtype: of the output.
        rounds_once: int32 sums are rounded once, too, as CMSIS-NN does if built for it.
    """

    input_offset: int
    filter_offset: int
    multipliers: Int32Array
    shifts: Int32Array
    output_offset: int
    low: int
    high: int
    wide: bool
    dtype: DType
    rounds_once: bool = False

    def stored(self, sums: npt.NDArray[np.int64]) -> Array:
        """Stored values of sums, shape ``(…, outputs)``.

        Source: ``MultiplyByQuantizedMultiplier`` and clamp.
        """
        if self.wide:
            scaled = multiply_by_quantized_multiplier_wide(sums, self.multipliers, self.shifts)
        else:
            multiply = (
                multiply_by_quantized_multiplier_once
                if self.rounds_once
                else multiply_by_quantized_multiplier
            )
            scaled = multiply(sums.astype(np.int32), self.multipliers, self.shifts)
        shifted = (scaled.astype(np.int64) + self.output_offset).astype(np.int32)
        clamped: Array = np.clip(shifted, self.low, self.high).astype(self.dtype.numpy)
        return clamped


def product_multiplier(
    node: Node, one: Tensor, other: Tensor, bias: Tensor | None, scale: float
) -> tuple[int, int]:
    """Multiplier and shift from products of two quantized tensors to a third.

    Args:
        node: the operator.
        one: a factor.
        other: the other factor.
        bias: added to the products, if any.
        scale: of the result.

    Raises:
        UnsupportedOperatorError: the bias has another scale than the products, or a scale is no
            scale.

    Source: ``GetQuantizedConvolutionMultipler`` and ``QuantizeMultiplier``. Its product of two
    scales is rounded to float32 in the device builds of August 2026, which moves a result of int16
    by one on rounding ties; the interpreter keeps it in double precision, and so does this.
    """
    with np.errstate(all="ignore"):
        product, result = np.float64(one.scale) * other.scale, np.float64(scale)
        if bias is not None:
            require(
                bool(abs(product - bias.scale) / result <= 0.02),
                node,
                f"the bias has scale {bias.scale:g}, input times weights {product:g}",
            )
        require(bool(product >= 0), node, f"a scale is negative: {one.scale:g}, {other.scale:g}")
        return quantize_multiplier(float(product / result))


def bind_rows(
    weights: npt.NDArray[np.int8], bias: Array | None, rescaling: Rescaling, dtype: DType
) -> Callable[[Array], Array]:
    """Prepare constant weights for rows of inputs.

    Sums are products of matrices in floating point, in the shortest type that holds every partial
    sum exactly; offsets are folded into the bias.

    Args:
        weights: int8, shape ``(outputs, depth)``.
        bias: int32 or int64, shape ``(outputs,)``.
        rescaling: of the sums.
        dtype: of the inputs, int8 or int16.

    Returns:
        A function from stored inputs, shape ``(rows, depth)``, to stored outputs, shape
        ``(rows, outputs)``.
    """
    from mcusim.kernels.compiled.dense import requantize_rows, requantize_rows_wide

    moved = weights.astype(np.int32) + np.int32(rescaling.filter_offset)
    constant = rescaling.input_offset * moved.sum(axis=1, dtype=np.int64)
    if bias is not None:
        constant = constant + bias.reshape(-1)[: len(weights)]
    every = np.zeros(len(weights), np.int64)
    multipliers, shifts = rescaling.multipliers + every, rescaling.shifts + every
    clamp = rescaling.output_offset, rescaling.low, rescaling.high
    largest = np.abs(moved).sum(axis=1, dtype=np.int64).max(initial=0) * (1 << (dtype.bits - 1))
    matrix = np.ascontiguousarray(moved.T, np.float32 if largest <= 1 << 24 else np.float64)
    store = requantize_rows_wide if rescaling.wide else requantize_rows

    def run(x: Array) -> Array:
        sums = (x.astype(matrix.dtype) @ matrix).astype(np.int64)
        if rescaling.rounds_once and not rescaling.wide:
            return rescaling.stored(sums + constant)
        out = np.empty(sums.shape, rescaling.dtype.numpy)
        store(sums, constant, multipliers, shifts, *clamp, out)
        return out

    return run


def accumulate(
    x: Array, weights: Array, bias: Array | None, input_offset: int, filter_offset: int
) -> npt.NDArray[np.int64]:
    """Sums of products of rows with rows, for weights that are computed.

    Args:
        x: stored inputs, shape ``(…, rows, depth)``.
        weights: stored, shape ``(…, outputs, depth)``.
        bias: stored, shape ``(…, outputs)``.
        input_offset: added to every input.
        filter_offset: added to every weight.

    Returns:
        int64, shape ``(…, rows, outputs)``, exact.
    """
    left = x.astype(np.float64) + input_offset
    right = weights.astype(np.float64) + filter_offset
    sums: npt.NDArray[np.int64] = (left @ right.swapaxes(-1, -2)).astype(np.int64)
    return sums if bias is None else sums + bias[..., np.newaxis, :]
