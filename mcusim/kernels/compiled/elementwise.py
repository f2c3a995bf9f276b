"""Compiled loops of elementwise kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.fixed_point import (
    multiply_by_quantized_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrapped_int32,
)

__all__ = ["clamp", "look_up", "look_up_pairs", "rescaled_products", "rescaled_sums"]

Flat = npt.NDArray[Any]
Pair = tuple[int, int]


@njit(cache=True)
def look_up_pairs(table: Flat, first: Flat, second: Flat, out: Flat) -> None:
    """Replace each pair of bytes by its entry of a table.

    Args:
        table: uint8, shape ``(65536,)``, by ``256 * first + second``.
        first: uint8, one dimension.
        second: uint8, of the same length.
        out: uint8, of the same length, written.
    """
    for i in range(out.size):
        out[i] = table[(np.intp(first[i]) << 8) | np.intp(second[i])]


@njit(cache=True)
def look_up(table: Flat, values: Flat, out: Flat) -> None:
    """Replace each value by its entry of a table.

    Args:
        table: any type, by value.
        values: uint8 or uint16, one dimension, in the table's range.
        out: of the table's type and the values' length, written.
    """
    for i in range(out.size):
        out[i] = table[values[i]]


@njit(cache=True)
def clamp(values: Flat, low: float, high: float) -> None:
    """``min(max(value, low), high)`` in place, as C++ computes it: NaN and -0 stay.

    Args:
        values: float32, one dimension.
        low: float32.
        high: float32.
    """
    for i in range(values.size):
        value = values[i]
        value = low if value < low else value
        values[i] = high if high < value else value


@njit(cache=True)
def _scaled_down(x: int, multiplier: int, shift: int) -> int:
    product = saturating_rounding_doubling_high_mul(x, multiplier)
    return rounding_divide_by_pot(product, -shift)


@njit(cache=True)
def rescaled_sums(
    first: Flat,
    second: Flat,
    sign: int,
    left_shift: int,
    offsets: Pair,
    one: Pair,
    other: Pair,
    result: tuple[int, int, int],
    limits: Pair,
    out: Flat,
) -> None:
    """Sums or differences of quantized values, brought to one scale and then to the result's.

    Args:
        first: int16, one dimension.
        second: int16, of the same length.
        sign: 1 to add, -1 to subtract.
        left_shift: bits that the common scale is finer by.
        offsets: added to the operands.
        one: multiplier and shift of the first operand, the shift not to the left.
        other: of the second.
        result: of the result, and its zero point.
        limits: least and largest result.
        out: int16, of the same length, written.
    """
    for i in range(out.size):
        a = wrapped_int32((int(first[i]) + offsets[0]) << left_shift)
        b = wrapped_int32((int(second[i]) + offsets[1]) << left_shift)
        a = _scaled_down(a, one[0], one[1])
        b = _scaled_down(b, other[0], other[1])
        raw = _scaled_down(wrapped_int32(a + sign * b), result[0], result[1]) + result[2]
        out[i] = min(limits[1], max(limits[0], raw))


@njit(cache=True)
def rescaled_products(
    first: Flat, second: Flat, multiplier: int, shift: int, limits: Pair, out: Flat
) -> None:
    """Products of quantized values without zero points, brought to the result's scale.

    Args:
        first: int16, one dimension.
        second: int16, of the same length.
        multiplier: of the result's scale.
        shift: likewise, to either side.
        limits: least and largest result.
        out: int16, of the same length, written.
    """
    for i in range(out.size):
        product = int(first[i]) * int(second[i])
        raw = multiply_by_quantized_multiplier(product, multiplier, shift)
        out[i] = min(limits[1], max(limits[0], raw))
