"""Float functions of the C library whose results are not always the nearest float32.

newlib on the device and glibc under the interpreter both descend from Sun's fdlibm; its order of
float32 operations is followed here, so that the bits are the same. glibc's expf is younger and
computes in double precision.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["exp_float32", "expm1_float32", "tanh_float32"]

Float32Array: TypeAlias = npt.NDArray[np.float32]

_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)
_LN2_HIGH, _LN2_LOW = np.float32(6.9313812256e-01), np.float32(9.0580006145e-06)
_INVERSE_LN2 = np.float32(1.4426950216)
_HALF_LN2, _LN2_AND_HALF = np.float32(0.34657359), np.float32(1.0397208)
#: 27 ln 2, from which on exp(x) - 1 is exp(x), or -1.
_LARGE = np.float32(18.714973)
_TINY = np.float32(2.0**-25)
#: Coefficients of the rational approximation, highest power first.
_COEFFICIENTS = tuple(
    np.float32(value)
    for value in (
        -2.0109921195e-07,
        4.0082177293e-06,
        -7.9365076090e-05,
        1.5873016091e-03,
        -3.3333335072e-02,
        1.0,
    )
)

#: Powers 2**(i / 32) and the cubic for 2**r, r at most 1/64, of glibc's expf.
_POWERS = np.exp2(np.arange(32) / 32)
_CUBIC = tuple(
    float.fromhex(value)
    for value in ("0x1.c6af84b912394p-5", "0x1.ebfce50fac4f3p-3", "0x1.62e42ff0c52d6p-1")
)
#: From here on exp(x) is infinite, and zero from here down.
_OVERFLOW, _UNDERFLOW = 88.72283935546875, -103.97208404541016


def exp_float32(x: Float32Array) -> Float32Array:
    """exp(x), as the interpreter's C library rounds it.

    In rare cases it is one unit from the nearest float32, which a quotient doubles.

    Args:
        x: float32, any shape.

    Returns:
        float32, shape of ``x``.

    Source: glibc ``expf``: x in units of ln(2) / 32, a table of powers and a cubic, in double.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        wide = np.clip(x.astype(np.float64), _UNDERFLOW - 1, _OVERFLOW + 1)
        units = wide * (32 / np.log(2))
        whole = np.rint(units)
        rest = (units - whole) / 32
        steps = np.where(np.isnan(whole), 0, whole).astype(np.int64)
        power = np.ldexp(_POWERS[steps % 32], (steps // 32).astype(np.int32))
        cube, square, line = _CUBIC
        sum_ = (cube * rest + square) * (rest * rest) + (line * rest + 1)
        result = (sum_ * power).astype(np.float32)
    result = np.where(x > _OVERFLOW, np.float32(np.inf), result)
    return np.where(x < _UNDERFLOW, np.float32(0), result).astype(np.float32)


def expm1_float32(x: Float32Array) -> Float32Array:
    """exp(x) - 1.

    Args:
        x: float32, any shape.

    Returns:
        float32, shape of ``x``.

    Source: fdlibm ``expm1f``.
    """
    magnitude = np.abs(x)
    reduced = magnitude > _HALF_LN2
    nearest = np.trunc(_INVERSE_LN2 * x + np.copysign(_HALF, x))
    nearest = np.where(magnitude < _LN2_AND_HALF, np.copysign(_ONE, x), nearest)
    nearest = np.where(reduced & (magnitude < np.float32(200)), nearest, np.float32(0))
    high = x - nearest * _LN2_HIGH
    low = nearest * _LN2_LOW
    rest = high - low
    correction = (high - rest) - low
    power = nearest.astype(np.int32)

    half = _HALF * rest
    square = rest * half
    series = np.full_like(rest, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        series = coefficient + square * series
    t = np.float32(3) - series * half
    e = square * ((series - t) / (np.float32(6) - rest * t))
    unreduced = rest - (rest * e - square)
    e = (rest * (e - correction) - correction) - square

    scaled = np.ldexp(_ONE - (e - rest), power) - _ONE
    small_power = np.ldexp((_ONE - np.ldexp(_ONE, -power)) - (e - rest), power)
    large_power = np.ldexp((rest - (e + np.ldexp(_ONE, -power))) + _ONE, power)
    result = np.where(power < 23, small_power, large_power)
    result = np.where((power <= -2) | (power > 56), scaled, result)
    up = np.where(rest < np.float32(-0.25), -_TWO * (e - (rest + _HALF)), _ONE + _TWO * (rest - e))
    result = np.where(power == 1, up, result)
    result = np.where(power == -1, _HALF * (rest - e) - _HALF, result)
    result = np.where(power == 0, unreduced, result)
    result = np.where((x <= -_LARGE), -_ONE, result)
    result = np.where(magnitude < _TINY, x, result)
    result = np.where(x > np.float32(88.721679688), np.float32(np.inf), result)
    return np.where(np.isnan(x), x, result)


def tanh_float32(x: Float32Array) -> Float32Array:
    """Hyperbolic tangent.

    Args:
        x: float32, any shape.

    Returns:
        float32, shape of ``x``.

    Source: fdlibm ``tanhf``.
    """
    magnitude = np.abs(x)
    large = magnitude >= _ONE
    t = expm1_float32(np.where(large, _TWO, -_TWO) * magnitude)
    value = np.where(large, _ONE - _TWO / (t + _TWO), -t / (t + _TWO))
    value = np.where(magnitude < np.float32(2.0**-55), magnitude, value)
    value = np.where(magnitude >= np.float32(22), _ONE, value)
    return np.where(np.isnan(x), x, np.copysign(value, x))
