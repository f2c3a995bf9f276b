"""Tables with interpolation that TFLite's int16 kernels compute functions by."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from mcusim.kernels.fixed_point import Int32Array

__all__ = [
    "Int16Array",
    "int16_table",
    "interpolated",
    "logistic_int16",
    "sigmoid_table",
    "tanh_int16",
]

Int16Array = npt.NDArray[np.int16]
_Floats = npt.NDArray[np.float32]

_STEPS = 512


def _rounded(x: _Floats) -> _Floats:
    """Nearest integers, ties away from zero."""
    below = np.floor(np.abs(x))
    nearest = below + (np.abs(x) - below >= np.float32(0.5))
    signed: _Floats = np.copysign(nearest, x).astype(np.float32)
    return signed


def int16_table(
    function: Callable[[_Floats], _Floats],
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> Int16Array:
    """Table of a function at 512 steps and the end, each step biased by half its error midway.

    Args:
        function: float32 to float32, elementwise.
        input_scale: scale of the int16 inputs.
        input_zero_point: their zero point.
        output_scale: scale of the int16 results.
        output_zero_point: their zero point.

    Returns:
        int16, 513 values.

    Source: ``LUTPopulateInt16<float>``.
    """
    one = np.float32(1)
    scale, result_scale = np.float32(input_scale), np.float32(output_scale)
    low = scale * np.float32(-32768 - input_zero_point)
    high = scale * np.float32(32767 - input_zero_point)
    span = result_scale * np.float32(32767 - output_zero_point) - result_scale * np.float32(
        -32768 - output_zero_point
    )
    step = (high - low) / np.float32(_STEPS)
    half_step = step / np.float32(2)
    inverse = np.float32(65536) / span
    index = np.arange(_STEPS, dtype=np.float32)
    value = function(low + index * step) * inverse
    middle = function(low + index * step + half_step) * inverse
    following = function(low + (index + one) * step) * inverse
    sample = _rounded(value)
    interpolation = _rounded((following + sample) / np.float32(2))
    bias = _rounded((interpolation - _rounded(middle)) / np.float32(2))
    last = _rounded(function(np.array([high], np.float32)) * inverse)
    steps = np.concatenate([sample - bias, last])
    table: Int16Array = np.clip(steps, -32768, 32767).astype(np.int16)
    return table


def interpolated(value: Int16Array, table: Int16Array) -> Int16Array:
    """Values of a table of :func:`int16_table` at int16 inputs.

    Args:
        value: int16, any shape.
        table: int16, 513 values.

    Returns:
        int16, shape of ``value``.

    Source: ``LUTLookup(int16_t, const int16_t*)``.
    """
    index = 256 + (value.astype(np.int32) >> 7)
    base = table[index].astype(np.int32)
    # The slope is an int16 and wraps.
    slope = (table[index + 1].astype(np.int32) - base).astype(np.int16).astype(np.int32)
    delta = (slope * (value.astype(np.int32) & 0x7F) + 64) >> 7
    found: Int16Array = (base + delta).astype(np.int16)
    return found


@cache
def sigmoid_table() -> npt.NDArray[np.int32]:
    """sigmoid(i / 24) in Q0.16 for i in 0…255, int32, raised by half the error midway.

    The last value, which interpolation only leads to, is the largest of Q0.16.

    Source: ``sigmoid_table_uint16``, whose values are those of this formula.
    """
    steps = np.arange(0, 255.5, 0.5) / 24
    value = 65536 / (1 + np.exp(-steps))
    at, midway, following = value[:-2:2], value[1:-1:2], value[2::2]
    table = np.floor(at + (midway - (at + following) / 2) / 2 + 0.5).astype(np.int32)
    table = np.append(table, np.int32(0xFFFF))
    table.setflags(write=False)
    return table


def _table_input(x: Int16Array, multiplier: int, left_shift: int) -> Int32Array:
    if multiplier == 0:
        multiplier, left_shift = 3 << left_shift, 0
    nudge = 1 << (left_shift - 1) if left_shift > 0 else 0
    scaled = x.astype(np.int64) * multiplier + nudge
    return (scaled.astype(np.int32) >> left_shift).astype(np.int32)


def logistic_int16(x: Int16Array, multiplier: int, left_shift: int) -> Int16Array:
    """sigmoid of int16 values, in Q0.15.

    Args:
        x: int16, any shape; Q3.12 once scaled by ``multiplier / 3 * 2**-left_shift``.
        multiplier: three times a scale, or 0 for a power of two.
        left_shift: bits to the right that the product is rounded by; to the left where
            ``multiplier`` is 0.

    Returns:
        int16, shape of ``x``.

    Source: ``reference_integer_ops::Logistic(int16_t)``.
    """
    scaled = _table_input(x, multiplier, left_shift).astype(np.int64)
    magnitude = np.abs(scaled)
    index = magnitude >> 9
    table = sigmoid_table().astype(np.int64)
    below = np.minimum(index, 254)
    between = (table[below] << 9) + (magnitude & 0x1FF) * (table[below + 1] - table[below])
    result = np.where(index >= 255, 0x7FFF << 10, between)
    signed = np.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return (signed >> 10).astype(np.int16)


def tanh_int16(x: Int16Array, multiplier: int, left_shift: int) -> Int16Array:
    """tanh of int16 values, in Q0.15.

    Args:
        x: int16, any shape; Q3.12 once scaled by ``multiplier / 3 * 2**-left_shift``.
        multiplier: three times a scale, or 0 for a power of two.
        left_shift: bits to the right that the product is rounded by; to the left where
            ``multiplier`` is 0.

    Returns:
        int16, shape of ``x``.

    Source: ``reference_integer_ops::Tanh(int16_t)``, by sigmoid: tanh(x) = 2 sigmoid(2x) - 1.
    """
    scaled = _table_input(x, multiplier, left_shift).astype(np.int64)
    magnitude = np.abs(scaled)
    index = magnitude >> 8
    table = sigmoid_table().astype(np.int64)
    below = np.minimum(index, 254)
    between = (table[below] << 8) + (magnitude & 0xFF) * (table[below + 1] - table[below])
    result = np.where(index >= 255, 0xFFFF << 8, between)
    signed = np.where(
        scaled >= 0, result - (1 << 23) + (1 << 7), -result + (1 << 23) + (1 << 7) - 1
    )
    return (signed >> 8).astype(np.int16)
