"""Transcendental functions in fixed point, as gemmlowp and TFLite Micro compute them.

Values are raw int32: ``raw * 2**(integer_bits - 31)`` is the real number, written Qm.n with m
integer bits. Intermediates are held in int64 and cut to int32 where the library's registers would
wrap.

Source of the arithmetic: gemmlowp ``fixedpoint.h`` and TFLite ``kernels/internal/common.h``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcusim.kernels.fixed_point import (
    Int32Array,
    rounding_divide_by_pot,
    saturating_left_shift,
    saturating_rounding_doubling_high_mul,
)

__all__ = [
    "count_leading_zeros",
    "exp_on_negative_values",
    "log_of_at_least_one",
    "one_over_one_plus_x",
    "reciprocal",
]

_ONE = (1 << 31) - 1

#: exp(-2**k) in Q0.31, from exp(-1/4) on.
_EXP_OF_POWERS: tuple[tuple[int, int], ...] = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def _wrapped(x: npt.NDArray[np.int64]) -> Int32Array:
    return x.astype(np.int32)


def _plus(a: npt.ArrayLike, b: npt.ArrayLike) -> Int32Array:
    return _wrapped(np.asarray(a, np.int64) + np.asarray(b, np.int64))


def _minus(a: npt.ArrayLike, b: npt.ArrayLike) -> Int32Array:
    return _wrapped(np.asarray(a, np.int64) - np.asarray(b, np.int64))


def _half_sum(a: npt.ArrayLike, b: npt.ArrayLike) -> Int32Array:
    """Half the sum of values that are not negative, ties up: ``RoundingHalfSum``."""
    return _wrapped((np.asarray(a, np.int64) + np.asarray(b, np.int64) + 1) >> 1)


def count_leading_zeros(x: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Zeros above the highest set bit of each value as uint32; 32 for zero.

    Source: ``CountLeadingZeros``.
    """
    unsigned = np.asarray(x, np.int64) & 0xFFFFFFFF
    # The exponent of a double is the number of bits of an integer that it holds exactly.
    _, bits = np.frexp(unsigned.astype(np.float64))
    return 32 - bits.astype(np.int64)


def _exp_of_last_quarter(a: npt.ArrayLike) -> Int32Array:
    """exp of Q0.31 values in [-1/4, 0).

    Source: ``exp_on_interval_between_negative_one_quarter_and_0_excl``.
    """
    product = saturating_rounding_doubling_high_mul
    exp_of_minus_eighth, third = 1895147668, 715827883
    x = _plus(a, 1 << 28)
    x2 = product(x, x)
    x3 = product(x2, x)
    x4_over_4 = rounding_divide_by_pot(product(x2, x2), 2)
    series = rounding_divide_by_pot(_plus(product(_plus(x4_over_4, x3), third), x2), 1)
    return _plus(exp_of_minus_eighth, product(exp_of_minus_eighth, _plus(x, series)))


def exp_on_negative_values(a: npt.ArrayLike, integer_bits: int = 5) -> Int32Array:
    """exp of fixed-point values that are zero or negative.

    Args:
        a: raw int32 with ``integer_bits`` integer bits, any shape.
        integer_bits: of ``a``.

    Returns:
        Raw int32 in Q0.31, shape of ``a``.

    Source: gemmlowp ``exp_on_negative_values``.
    """
    raw = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = np.int64(1) << (fraction_bits - 2)
    within = (raw & (quarter - 1)) - quarter
    result = _exp_of_last_quarter(saturating_left_shift(within, integer_bits))
    remainder = within - raw
    for exponent, factor in _EXP_OF_POWERS:
        if exponent < integer_bits:
            is_set = (remainder >> (fraction_bits + exponent)) & 1 != 0
            scaled = saturating_rounding_doubling_high_mul(result, factor)
            result = np.where(is_set, scaled, result)
    return np.where(raw == 0, np.int32(_ONE), result)


def one_over_one_plus_x(a: npt.ArrayLike) -> Int32Array:
    """1 / (1 + x) of Q0.31 values in [0, 1).

    Args:
        a: raw int32 in Q0.31, any shape.

    Returns:
        Raw int32 in Q0.31.

    Source: gemmlowp ``one_over_one_plus_x_for_x_in_0_1``.
    """
    product = saturating_rounding_doubling_high_mul
    half_denominator = _half_sum(a, _ONE)
    x = _plus(1515870810, product(half_denominator, -1010580540))
    for _ in range(3):
        one_minus = _minus(1 << 29, product(half_denominator, x))
        x = _plus(x, saturating_left_shift(product(x, one_minus), 2))
    return saturating_left_shift(x, 1)


def reciprocal(x: npt.ArrayLike, integer_bits: int) -> tuple[Int32Array, npt.NDArray[np.int64]]:
    """1 / x of positive fixed-point values.

    Args:
        x: raw int32 with ``integer_bits`` integer bits, positive, any shape.
        integer_bits: of ``x``.

    Returns:
        Raw int32 in Q0.31 and the bits by which x exceeds 1: the reciprocal is
        ``raw * 2**(-31 - bits)``.

    Source: ``GetReciprocal``.
    """
    headroom = count_leading_zeros(x)
    shifted = ((np.asarray(x, np.int64) << headroom) & 0xFFFFFFFF) - (1 << 31)
    return one_over_one_plus_x(_wrapped(shifted)), integer_bits - headroom


def log_of_at_least_one(
    x: npt.ArrayLike, integer_bits: int, output_integer_bits: int
) -> Int32Array:
    """Natural logarithm of fixed-point values of 1 and more.

    Args:
        x: raw int32 with ``integer_bits`` integer bits, any shape.
        integer_bits: of ``x``.
        output_integer_bits: of the result.

    Returns:
        Raw int32.

    Source: ``log_x_for_x_greater_than_or_equal_to_1_impl``.
    """
    product = saturating_rounding_doubling_high_mul
    log_2, sqrt_sqrt_half, sqrt_half, quarter = 1488522236, 1805811301, 1518500250, 536870912
    alpha_n, alpha_d, alpha_i, alpha_f = 117049297, 127690142, 1057819769, 638450708
    accumulator_bits = output_integer_bits + 1
    shifted_quarter = rounding_divide_by_pot(quarter, accumulator_bits)
    raw = np.asarray(x, np.int64)

    def power_of_two(exponent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(saturating_left_shift(exponent, 31 - accumulator_bits), np.int64)

    # The value scaled into [1/2, 1) in two ways, directly and premultiplied by sqrt(1/2).
    headroom_a = count_leading_zeros(raw)
    scaled_a = saturating_left_shift(raw, np.maximum(headroom_a - 1, 0))
    r_a = saturating_left_shift(product(scaled_a, sqrt_half), 1)
    power_a = _saturated(power_of_two(integer_bits - headroom_a) + shifted_quarter)
    headroom_b = count_leading_zeros(product(raw, sqrt_half)) - 1
    r_b = saturating_left_shift(raw, np.maximum(headroom_b, 0))
    power_b = _saturated(power_of_two(integer_bits - headroom_b) - shifted_quarter)

    r = np.minimum(r_a, r_b)
    power = np.maximum(power_a, power_b)
    p = _half_sum(r, sqrt_sqrt_half)
    q = _minus(r, sqrt_sqrt_half)
    q = _plus(q, q)
    square = product(q, q)
    numerator = _plus(product(q, r), product(product(q, square), alpha_n))
    denominator = _plus(
        product(p, _plus(_plus(alpha_i, q), product(alpha_d, square))), product(alpha_f, q)
    )
    quotient = product(
        rounding_divide_by_pot(numerator, accumulator_bits), one_over_one_plus_x(denominator)
    )
    return saturating_left_shift(_plus(product(power, log_2), quotient), 1)


def _saturated(x: npt.NDArray[np.int64]) -> Int32Array:
    return np.clip(x, -(1 << 31), _ONE).astype(np.int32)
