"""The fixed-point arithmetic that TFLite Micro's quantized kernels share, on NumPy arrays.

Integers wrap where the library's wrap: every function returns what a two's complement machine
computes, also beyond the ranges that the library promises to hold.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType

__all__ = [
    "Int32Array",
    "activation_range",
    "activation_range_quantized",
    "multiply_by_quantized_multiplier",
    "multiply_by_quantized_multiplier_once",
    "multiply_by_quantized_multiplier_wide",
    "quantize_multiplier",
    "quantize_multiplier_greater_than_one",
    "quantize_multiplier_smaller_than_one",
    "quantize_multipliers",
    "round_half_away",
    "rounding_divide_by_pot",
    "saturating_left_shift",
    "saturating_rounding_doubling_high_mul",
]

Int32Array: TypeAlias = npt.NDArray[np.int32]

_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def round_half_away(value: float) -> int:
    """Nearest integer, ties away from zero, as C's ``round``.

    Source: ``TfLiteRound``.
    """
    magnitude = abs(value)
    below = math.floor(magnitude)
    rounded = below + (magnitude - below >= 0.5)
    return -rounded if value < 0 else rounded


@lru_cache(maxsize=1 << 14)
def quantize_multiplier(real: float) -> tuple[int, int]:
    """Write a real multiplier as ``multiplier * 2**(shift - 31)``.

    Args:
        real: the multiplier, in double precision; negative ones keep their sign.

    Returns:
        The Q31 multiplier, its magnitude in [2**30, 2**31), and the shift, positive to the left;
        ``(0, 0)`` for zero and for what is below 2**-32.

    Raises:
        UnsupportedOperatorError: the multiplier is not finite, where the library aborts.

    Source: ``QuantizeMultiplier`` with double rounding.
    """
    if not math.isfinite(real):
        raise UnsupportedOperatorError(
            f"a quantization multiplier is {real}: a scale is zero or not finite"
        )
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = round_half_away(fraction * (1 << 31))
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return fixed, shift


def quantize_multipliers(real: npt.ArrayLike) -> tuple[Int32Array, Int32Array]:
    """:func:`quantize_multiplier` of each element.

    Returns:
        Multipliers and shifts, int32, shape of ``real``.

    Raises:
        UnsupportedOperatorError: a multiplier is not finite.
    """
    values = np.asarray(real, np.float64)
    pairs = [quantize_multiplier(value) for value in values.ravel().tolist()]
    table = np.array(pairs, np.int32).reshape(-1, 2)
    return table[:, 0].reshape(values.shape), table[:, 1].reshape(values.shape)


def quantize_multiplier_smaller_than_one(real: float) -> tuple[int, int]:
    """:func:`quantize_multiplier` of a multiplier in (0, 1); the shift is zero or negative.

    Raises:
        UnsupportedOperatorError: the multiplier is out of the range, where the library aborts.

    Source: ``QuantizeMultiplierSmallerThanOneExp``.
    """
    if not 0 < real < 1:
        raise UnsupportedOperatorError(
            f"a quantization multiplier is {real:g} where TFLite Micro needs one between 0 and 1"
        )
    multiplier, shift = quantize_multiplier(real)
    if shift > 0:
        raise UnsupportedOperatorError(
            f"a quantization multiplier is {real!r}, which rounds to 1, where TFLite Micro needs "
            "one between 0 and 1"
        )
    return multiplier, shift


def quantize_multiplier_greater_than_one(real: float) -> tuple[int, int]:
    """:func:`quantize_multiplier` of a multiplier above 1; the shift is positive.

    Raises:
        UnsupportedOperatorError: the multiplier is 1 or less, where the library aborts.

    Source: ``QuantizeMultiplierGreaterThanOne``.
    """
    if not real > 1:
        raise UnsupportedOperatorError(
            f"a quantization multiplier is {real:g} where TFLite Micro needs one above 1"
        )
    return quantize_multiplier(real)


def saturating_rounding_doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> Int32Array:
    """High 32 bits of ``2 * a * b``, rounded to the nearest, ties up.

    Args:
        a: int32 values, any shape.
        b: int32 values, broadcast against ``a``.

    Returns:
        int32; saturated in the one case that overflows, both factors -2**31.

    Source: gemmlowp ``SaturatingRoundingDoublingHighMul``.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    # Its nudge depends on the sign and its division truncates: together a floor of one nudge.
    high: Int32Array = np.minimum((product + (1 << 30)) >> 31, _INT32_MAX).astype(np.int32)
    return high


def rounding_divide_by_pot(x: npt.ArrayLike, exponent: npt.ArrayLike) -> Int32Array:
    """``x / 2**exponent`` rounded to the nearest, ties away from zero.

    Args:
        x: int32 values, any shape.
        exponent: in [0, 31], broadcast against ``x``.

    Returns:
        int32.

    Source: gemmlowp ``RoundingDivideByPOT``.
    """
    value, bits = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << bits) - 1
    threshold = (mask >> 1) + (value < 0)
    return ((value >> bits) + ((value & mask) > threshold)).astype(np.int32)


def saturating_left_shift(x: npt.ArrayLike, exponent: npt.ArrayLike) -> Int32Array:
    """``x * 2**exponent``, saturated to int32.

    Args:
        x: int32 values, any shape.
        exponent: in [0, 31], broadcast against ``x``.

    Returns:
        int32.

    Source: gemmlowp ``SaturatingRoundingMultiplyByPOT`` and ``ShiftLeft``.
    """
    shifted = np.asarray(x, np.int64) << np.asarray(exponent, np.int64)
    saturated: Int32Array = np.clip(shifted, _INT32_MIN, _INT32_MAX).astype(np.int32)
    return saturated


def multiply_by_quantized_multiplier(
    x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike
) -> Int32Array:
    """Scale int32 accumulators by ``multiplier * 2**(shift - 31)``, rounding twice.

    The product is rounded to the nearest Q31, ties up, then shifted right with ties away from
    zero. LiteRT's FULLY_CONNECTED and CMSIS-NN's single-rounding build round once instead: see
    :func:`multiply_by_quantized_multiplier_once`.

    Args:
        x: accumulators, int32, any shape.
        multiplier: Q31 multipliers, broadcast against ``x``.
        shift: exponents, positive to the left, broadcast against ``x``. A left shift that
            overflows wraps.

    Returns:
        int32, the broadcast shape.

    Source: ``MultiplyByQuantizedMultiplier(int32_t, …)`` without ``TFLITE_SINGLE_ROUNDING``.
    """
    bits = np.asarray(shift, np.int64)
    # A machine takes a shift modulo 32.
    shifted = (np.asarray(x, np.int64) << (np.maximum(bits, 0) & 31)).astype(np.int32)
    product = saturating_rounding_doubling_high_mul(shifted, multiplier)
    return rounding_divide_by_pot(product, np.maximum(-bits, 0))


def multiply_by_quantized_multiplier_once(
    x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike
) -> Int32Array:
    """Scale int32 accumulators by ``multiplier * 2**(shift - 31)``, rounding once, ties up.

    Args:
        x: accumulators, int32, any shape.
        multiplier: Q31 multipliers, not negative, broadcast against ``x``.
        shift: exponents in [-31, 30], positive to the left, broadcast against ``x``.

    Returns:
        int32, the broadcast shape.

    Source: ``MultiplyByQuantizedMultiplier(int32_t, …)`` under ``TFLITE_SINGLE_ROUNDING``.
    """
    total_shift = 31 - np.asarray(shift, np.int64)
    nudge = np.int64(1) << (total_shift - 1)
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    return ((product + nudge) >> total_shift).astype(np.int32)


def multiply_by_quantized_multiplier_wide(
    x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike
) -> Int32Array:
    """Scale int64 accumulators by ``multiplier * 2**(shift - 31)`` as the 16x8 kernels do.

    The multiplier is first rounded to 15 bits; the product is then rounded once, ties up.

    Args:
        x: accumulators, int64, in [-2**47, 2**47), any shape.
        multiplier: Q31 multipliers, not negative, broadcast against ``x``.
        shift: exponents in [-31, 7], positive to the left, broadcast against ``x``.

    Returns:
        int32, the broadcast shape.

    Source: ``MultiplyByQuantizedMultiplier(int64_t, …)``, the same with single and with double
    rounding.
    """
    significand = np.asarray(multiplier, np.int64)
    reduced = np.where(significand < 0x7FFF0000, (significand + (1 << 15)) >> 16, 0x7FFF)
    total_shift = 15 - np.asarray(shift, np.int64)
    nudge = np.int64(1) << ((total_shift - 1) & 63)
    product = np.asarray(x, np.int64) * reduced
    scaled: Int32Array = ((product + nudge) >> (total_shift & 63)).astype(np.int32)
    return scaled


def activation_range(activation: str) -> tuple[float, float]:
    """Range that a fused activation leaves of a float32 result.

    Args:
        activation: the schema's name; what is no clamp (``TANH``, ``SIGN_BIT``) is ignored, as
            the library ignores it.

    Returns:
        Least and largest value, both exact in float32.

    Source: ``CalculateActivationRange``.
    """
    if activation == "RELU":
        return 0.0, _FLOAT32_MAX
    if activation == "RELU6":
        return 0.0, 6.0
    if activation == "RELU_N1_TO_1":
        return -1.0, 1.0
    return -_FLOAT32_MAX, _FLOAT32_MAX


def activation_range_quantized(
    activation: str, dtype: DType, scale: float, zero_point: int
) -> tuple[int, int]:
    """Range that a fused activation leaves of a quantized result.

    Args:
        activation: the schema's name.
        dtype: type of the output: uint8, int8 or int16.
        scale: scale of the output, a float32 value.
        zero_point: zero point of the output.

    Returns:
        Least and largest stored value.

    Raises:
        UnsupportedOperatorError: the type is none of the three, or a bound overflows int32.

    Source: ``CalculateActivationRangeQuantized``.
    """
    if dtype not in (DType.UINT8, DType.INT8, DType.INT16):
        raise UnsupportedOperatorError(f"the output is {dtype.value}, not uint8, int8 or int16")
    limits = np.iinfo(dtype.numpy)
    low, high = int(limits.min), int(limits.max)

    def stored(real: float) -> int:
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = float(np.float32(real) / np.float32(scale))
        if not _INT32_MIN <= quotient <= _INT32_MAX + 1:
            raise UnsupportedOperatorError(
                f"the output's scale {scale:g} puts the bound of {activation} beyond int32"
            )
        return zero_point + round_half_away(quotient)

    if activation == "RELU":
        return max(low, stored(0.0)), high
    if activation == "RELU6":
        return max(low, stored(0.0)), min(high, stored(6.0))
    if activation == "RELU_N1_TO_1":
        return max(low, stored(-1.0)), min(high, stored(1.0))
    return low, high
