"""LOGISTIC and TANH as TFLM's reference kernels compute them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    saturating_left_shift,
    saturating_rounding_doubling_high_mul,
)
from mcusim.kernels.float_functions import exp_float32, tanh_float32
from mcusim.kernels.gemmlowp_functions import exp_on_negative_values, one_over_one_plus_x
from mcusim.kernels.lookup_tables import logistic_int16, tanh_int16
from mcusim.kernels.reference.checks import require, require_counts, require_same_type, supported
from mcusim.kernels.reference.conversions import clipped
from mcusim.kernels.reference.elementwise_call import path_call, typical_values
from mcusim.kernels.reference.tables import run_elements

__all__ = ["KERNELS", "input_radius"]

#: Integer bits of the fixed-point input of the int8 kernels.
_INTEGER_BITS = 4
_CUTOFF_UPPER, _CUTOFF_LOWER = np.float32(16.619047164916992), np.float32(-9.0)


def _prepare_logistic(node: Node) -> Binder:
    source, output = _checked(node)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, _logistic_floats)
    if source.dtype is DType.INT16:
        multiplier, shift = _int16_scale(node, source, output, exact_shifts=(0,))
        return run_elements(node, lambda x: logistic_int16(x, multiplier, shift))
    require(output.zero_point == -128, node, f"the output's zero point is {output.zero_point}")
    return run_elements(node, _int8_function(source, _logistic_int8))


def _prepare_tanh(node: Node) -> Binder:
    source, output = _checked(node)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, tanh_float32)
    if source.dtype is DType.INT16:
        multiplier, shift = _int16_scale(node, source, output, exact_shifts=(0, 1))
        return run_elements(node, lambda x: tanh_int16(x, multiplier, shift))
    return run_elements(node, _int8_function(source, _tanh_int8))


def _checked(node: Node) -> tuple[Tensor, Tensor]:
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, (DType.FLOAT32, DType.INT8, DType.INT16), "input")
    require_same_type(node, source, output, "input and output")
    require(source.elements == output.elements, node, "input and output differ in size")
    return source, output


def _int8_multiplier(scale: float) -> tuple[int, int]:
    fraction, shift = math.frexp(scale * (1 << (31 - _INTEGER_BITS)))
    # The library cuts a significand that rounds to 2**31 to int32.
    significand = round_half_away(fraction * (1 << 31))
    return int(np.int64(significand).astype(np.int32)), shift


def input_radius(scale: float) -> int:
    """Distance from the zero point at which the int8 kernels saturate without computing.

    Source: ``CalculateInputRadius``.
    """
    _, shift = _int8_multiplier(scale)
    largest = ((1 << _INTEGER_BITS) - 1) * (1 << (31 - _INTEGER_BITS))
    return math.floor(largest / 2.0**shift)


def _int8_function(
    source: Tensor, function: Callable[[Int32Array], Int32Array]
) -> Callable[[Array], Array]:
    """Source: ``reference_integer_ops::Logistic`` and ``Tanh`` for int8."""
    multiplier, shift = _int8_multiplier(source.scale)
    radius = input_radius(source.scale)

    def compute(values: Array) -> Array:
        centred = values.astype(np.int64) - source.zero_point
        inside = np.clip(centred, -radius, radius)
        stored = function(multiply_by_quantized_multiplier(inside, multiplier, shift))
        stored = np.where(centred >= radius, 127, stored)
        return np.where(centred <= -radius, -128, stored).astype(np.int8)

    return compute


def _logistic_int8(x: Int32Array) -> Array:
    """Source: gemmlowp ``logistic`` of Q4.27, brought to a scale of 1/256 and -128."""
    negative = np.minimum(x, -x)
    of_magnitude = one_over_one_plus_x(exp_on_negative_values(negative, _INTEGER_BITS))
    one = np.int32((1 << 31) - 1)
    value = np.where(x > 0, of_magnitude, one - of_magnitude)
    value = np.where(x == 0, np.int32(1 << 30), value)
    return clipped(rounding_divide_by_pot(value, 23) - 128, -128, 127)


def _tanh_int8(x: Int32Array) -> Array:
    """Source: gemmlowp ``tanh`` of Q4.27, brought to a scale of 1/128."""
    negative = np.minimum(x, -x)
    # Twice the value has the same bits and one integer bit more.
    magnitude = _one_minus_x_over_one_plus_x(exp_on_negative_values(negative, _INTEGER_BITS + 1))
    value = np.where(x < 0, -magnitude, magnitude)
    value = np.where(x == 0, 0, value)
    return clipped(rounding_divide_by_pot(value, 24), -128, 127)


def _one_minus_x_over_one_plus_x(a: Int32Array) -> Int32Array:
    """(1 - x) / (1 + x) of Q0.31 values in [0, 1].

    Source: gemmlowp ``one_minus_x_over_one_plus_x_for_x_in_0_1``.
    """
    product = saturating_rounding_doubling_high_mul
    half_denominator = ((a.astype(np.int64) + (1 << 31)) // 2).astype(np.int32)
    x = product(half_denominator, -1010580540) + np.int32(1515870810)
    for _ in range(3):
        one_minus = np.int32(1 << 29) - product(half_denominator, x)
        x = x + saturating_left_shift(product(x, one_minus), 2)
    return saturating_left_shift(x - np.int32(1 << 29), 2)


def _int16_scale(
    node: Node, source: Tensor, output: Tensor, exact_shifts: Sequence[int]
) -> tuple[int, int]:
    """Multiplier and shift that bring int16 to the table's steps; (0, shift) for powers of two.

    Source: ``CalculateArithmeticOpDataLogistic`` and TANH's ``CalculateArithmeticOpData``.
    """
    zero_points = (source.zero_point, output.zero_point)
    require(zero_points == (0, 0), node, f"int16 tensors have zero points {zero_points}")
    require(source.scale > 0 and output.scale > 0, node, "a tensor has no scale")
    exponent, is_power = _checked_log2(source.scale)
    shift = 12 + exponent
    multiplier = 0.0
    if not is_power or shift not in exact_shifts:
        multiplier = source.scale * 4096.0 * 3.0
        shift = 0
        while multiplier <= 32767.0 / 2.0 and shift <= 30:
            shift += 1
            multiplier *= 2.0
        require(multiplier < 2.0**31, node, f"the input's scale {source.scale:g} overflows int32")
    output_exponent, is_power = _checked_log2(output.scale)
    require(
        is_power and output_exponent == -15,
        node,
        f"the output's scale is {output.scale}, not 2^-15",
    )
    return int(multiplier), shift


def _checked_log2(scale: float) -> tuple[int, bool]:
    """Nearest power of two in float32, and whether it is within a thousandth.

    Source: ``CheckedLog2``.
    """
    log2 = np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2)))
    nearest = round_half_away(float(log2))
    return nearest, abs(float(log2) - nearest) < 1e-3


def _logistic_floats(x: Array) -> Array:
    """Source: ``reference_ops::Logistic``."""
    one = np.float32(1)
    result = np.where(x < _CUTOFF_LOWER, exp_float32(x), one / (one + exp_float32(-x)))
    return np.where(x > _CUTOFF_UPPER, one, result)


def _call(node: Node) -> KernelCall:
    """Kernel and trips: what saturates is not computed, and floats go by the ranges of expf."""
    source = node.input(0)
    real = typical_values(source)
    magnitude = np.abs(real)
    if source.dtype is DType.FLOAT32 and node.name == "TANH":
        return path_call(node, {"small": magnitude < 1, "large": magnitude >= 1})
    if source.dtype is DType.FLOAT32:
        half_ln2 = math.log(2) / 2
        small, middle = magnitude < half_ln2, magnitude < 3 * half_ln2
        paths = {"small": small, "middle": middle & ~small}
        paths |= {"negative": (real < 0) & ~middle, "positive": (real >= 0) & ~middle}
        return path_call(node, paths)
    if source.dtype is DType.INT8:
        reach = input_radius(source.scale) * source.scale
    else:
        # The table ends at 255 steps of 1 / 24, of the sigmoid's argument.
        reach = 255 / 24 / (2 if node.name == "TANH" else 1)
    saturated = magnitude >= reach
    return path_call(
        node,
        {
            "saturated": saturated,
            "negative": (real < 0) & ~saturated,
            "positive": (real >= 0) & ~saturated,
        },
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel("LOGISTIC", _prepare_logistic, _call),
    Kernel("TANH", _prepare_tanh, _call),
)
