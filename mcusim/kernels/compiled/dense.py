"""Loops of fully connected layers and products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_wide,
    wrapped_int32,
)

__all__ = ["dot_products", "requantize_rows", "requantize_rows_wide"]

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.int64]


@njit(cache=True)
def requantize_rows(
    sums: Wide,
    bias: Wide,
    multipliers: Wide,
    shifts: Wide,
    offset: int,
    low: int,
    high: int,
    out: Any,
) -> None:
    """Store rows of sums, wrapped to int32 and rounded twice.

    Args:
        sums: int64, shape ``(rows, outputs)``.
        bias: int64, shape ``(outputs,)``, added to each row.
        multipliers: Q31 as int64, shape ``(outputs,)``.
        shifts: int64, shape ``(outputs,)``, positive to the left.
        offset: zero point of the output.
        low: least stored value.
        high: largest stored value.
        out: int8 or int16, shape of ``sums``, written.
    """
    for row in range(len(out)):
        for i in range(out.shape[1]):
            total = wrapped_int32(sums[row, i] + bias[i])
            value = multiply_by_quantized_multiplier(total, multipliers[i], shifts[i]) + offset
            out[row, i] = max(min(value, high), low)


@njit(cache=True)
def requantize_rows_wide(
    sums: Wide,
    bias: Wide,
    multipliers: Wide,
    shifts: Wide,
    offset: int,
    low: int,
    high: int,
    out: Any,
) -> None:
    """Store rows of int64 sums, rounded once; arguments as of :func:`requantize_rows`."""
    for row in range(len(out)):
        for i in range(out.shape[1]):
            total = sums[row, i] + bias[i]
            value = multiply_by_quantized_multiplier_wide(total, multipliers[i], shifts[i])
            out[row, i] = max(min(value + offset, high), low)


@njit(cache=True)
def dot_products(
    x: Floats, weights: Floats, bias: Floats, low: np.float32, high: np.float32, out: Floats
) -> None:
    """Float32 rows by columns, each sum in the order of the depth, without fused operations.

    Args:
        x: float32, shape ``(inferences, rows, depth)``.
        weights: float32, shape ``(inferences, depth, outputs)``.
        bias: float32, shape ``(inferences, outputs)``, added to each sum at the end.
        low: least output.
        high: largest output.
        out: float32, shape ``(inferences, rows, outputs)``, written.

    An operand of one inference serves all.
    """
    rows, depth = x.shape[1:]
    outputs = out.shape[2]
    totals = np.empty(outputs, np.float32)
    for inference in range(len(out)):
        left = x[inference % len(x)]
        right = weights[inference % len(weights)]
        addend = bias[inference % len(bias)]
        for row in range(rows):
            totals[:] = np.float32(0)
            for d in range(depth):
                factor = left[row, d]
                column = right[d]
                for i in range(outputs):
                    totals[i] += factor * column[i]
            for i in range(outputs):
                value = totals[i] + addend[i]
                value = low if value < low else value
                out[inference, row, i] = high if high < value else value
