"""Fixed-point arithmetic against the definitions, written out in whole numbers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType
from mcusim.kernels import fixed_point as fp
from mcusim.kernels.compiled import fixed_point as compiled

int32s = st.integers(-(2**31), 2**31 - 1)
multipliers = st.integers(2**30, 2**31 - 1)


def wrapped(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def nearest_ties_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def nearest_ties_away(value: Fraction) -> int:
    return nearest_ties_up(value) if value >= 0 else -nearest_ties_up(-value)


@given(int32s, int32s)
@example(-(2**31), -(2**31))
@example(-3, 2**30)
@example(3, 2**30)
def test_high_product_rounds_ties_up_and_saturates_its_one_overflow(a: int, b: int) -> None:
    expected = min(nearest_ties_up(Fraction(a * b, 2**31)), 2**31 - 1)
    assert fp.saturating_rounding_doubling_high_mul(a, b) == expected
    assert compiled.saturating_rounding_doubling_high_mul(a, b) == expected


@given(int32s, st.integers(0, 31))
@example(-3, 1)
@example(3, 1)
@example(-(2**31), 31)
def test_division_by_a_power_of_two_rounds_ties_away_from_zero(x: int, exponent: int) -> None:
    expected = nearest_ties_away(Fraction(x, 2**exponent))
    assert fp.rounding_divide_by_pot(x, exponent) == expected
    assert compiled.rounding_divide_by_pot(x, exponent) == expected


@given(int32s, multipliers, st.integers(-31, 30))
def test_scaling_rounds_twice(x: int, multiplier: int, shift: int) -> None:
    left = wrapped(x << max(shift, 0))
    high = nearest_ties_up(Fraction(left * multiplier, 2**31))
    expected = nearest_ties_away(Fraction(high, 2 ** max(-shift, 0)))
    assert fp.multiply_by_quantized_multiplier(x, multiplier, shift) == expected
    assert compiled.multiply_by_quantized_multiplier(x, multiplier, shift) == expected


@given(int32s, multipliers, st.integers(-31, 0))
def test_scaling_once_rounds_the_exact_product(x: int, multiplier: int, shift: int) -> None:
    exact = Fraction(x * multiplier, 2 ** (31 - shift))
    assert fp.multiply_by_quantized_multiplier_once(x, multiplier, shift) == nearest_ties_up(exact)


def test_the_second_rounding_is_visible() -> None:
    """0.4999999998 is rounded to the tie 0.5 first, and then away from zero."""
    x, multiplier, shift = 1, 2**31 - 1, -1
    assert fp.multiply_by_quantized_multiplier(x, multiplier, shift) == 1
    assert fp.multiply_by_quantized_multiplier_once(x, multiplier, shift) == 0


@given(st.integers(-(2**47), 2**47 - 1), multipliers, st.integers(-31, 7))
@example(123456789, 0x7FFF0000, -5)
@example(123456789, 0x7FFEFFFF, -5)
def test_wide_scaling_has_a_multiplier_of_15_bits(x: int, multiplier: int, shift: int) -> None:
    reduced = min((multiplier + 2**15) // 2**16, 0x7FFF)
    expected = wrapped(nearest_ties_up(Fraction(x * reduced, 2 ** (15 - shift))))
    assert fp.multiply_by_quantized_multiplier_wide(x, multiplier, shift) == expected
    assert compiled.multiply_by_quantized_multiplier_wide(x, multiplier, shift) == expected


@given(st.floats(2.0**-31, 2.0**30, allow_nan=False))
@example(1.0)
@example(1.0 - 2.0**-40)
@example(0.75)
def test_a_quantized_multiplier_is_the_nearest_of_31_bits(real: float) -> None:
    multiplier, shift = fp.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    error = abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(2) ** (shift - 32)


def test_extreme_multipliers() -> None:
    assert fp.quantize_multiplier(0.0) == (0, 0)
    assert fp.quantize_multiplier(2.0**-33) == (0, 0)
    assert fp.quantize_multiplier(2.0**-32) == (2**30, -31)
    assert fp.quantize_multiplier(-0.5) == (-(2**30), 0)
    assert fp.quantize_multiplier_smaller_than_one(0.25) == (2**30, -1)
    assert fp.quantize_multiplier_greater_than_one(3.0) == (3 * 2**29, 2)
    for refused in (math.inf, math.nan):
        with pytest.raises(UnsupportedOperatorError, match="multiplier"):
            fp.quantize_multiplier(refused)
    for refused in (0.0, 1.0, 1 - 2.0**-40):
        with pytest.raises(UnsupportedOperatorError, match="between 0 and 1"):
            fp.quantize_multiplier_smaller_than_one(refused)
    with pytest.raises(UnsupportedOperatorError, match="above 1"):
        fp.quantize_multiplier_greater_than_one(1.0)


def test_arrays_broadcast() -> None:
    multipliers, shifts = fp.quantize_multipliers([0.5, 0.0625])
    scaled = fp.multiply_by_quantized_multiplier([[100, 100], [-100, -100]], multipliers, shifts)
    assert scaled.dtype == np.int32
    assert scaled.tolist() == [[50, 6], [-50, -6]]


@given(int32s, st.integers(0, 31))
@settings(max_examples=30)
def test_left_shift_saturates(x: int, exponent: int) -> None:
    expected = max(min(x << exponent, 2**31 - 1), -(2**31))
    assert fp.saturating_left_shift(x, exponent) == expected


def test_fused_activations_bound_the_stored_values() -> None:
    """6 / 0.1 is 60 in float32; a bound outside the type leaves the type's own."""
    bounds = fp.activation_range_quantized
    assert bounds("NONE", DType.INT8, 0.1, 3) == (-128, 127)
    assert bounds("RELU", DType.INT8, 0.1, 3) == (3, 127)
    assert bounds("RELU6", DType.INT8, 0.1, -10) == (-10, 50)
    assert bounds("RELU6", DType.INT8, 0.01, 0) == (0, 127)
    assert bounds("RELU_N1_TO_1", DType.UINT8, 0.02, 128) == (78, 178)
    assert bounds("RELU_N1_TO_1", DType.INT16, 0.5, 0) == (-2, 2)
    assert bounds("TANH", DType.INT16, 0.5, 0) == (-32768, 32767)
    with pytest.raises(UnsupportedOperatorError, match="int32"):
        bounds("RELU6", DType.INT8, 0.0, 0)
    with pytest.raises(UnsupportedOperatorError, match="uint8, int8 or int16"):
        bounds("RELU", DType.INT32, 1.0, 0)


def test_fused_activations_bound_real_values() -> None:
    assert fp.activation_range("RELU_N1_TO_1") == (-1.0, 1.0)
    assert fp.activation_range("RELU6") == (0.0, 6.0)
    least, largest = fp.activation_range("NONE")
    assert (np.float32(least), np.float32(largest)) == (
        np.finfo(np.float32).min,
        np.finfo(np.float32).max,
    )
