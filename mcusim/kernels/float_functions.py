"""Float functions of the C library whose results are not always the nearest float32.

newlib on the device and glibc under the interpreter both descend from Sun's fdlibm; its order of
float32 operations is followed here, so that the bits are the same.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["expm1_float32", "tanh_float32"]

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
