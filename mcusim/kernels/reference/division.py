"""DIV, FLOOR_DIV and FLOOR_MOD as TFLM's reference kernels compute them."""

from __future__ import annotations

import numpy as np

from mcusim.errors import InputError
from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.fixed_point import (
    activation_range_quantized,
    quantize_multiplier,
    saturating_rounding_doubling_high_mul,
)
from mcusim.kernels.gemmlowp_functions import count_leading_zeros, reciprocal
from mcusim.kernels.reference.arithmetic import float_clamp, integer_clamp
from mcusim.kernels.reference.checks import (
    is_quantized,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.conversions import clamped, clipped
from mcusim.kernels.reference.elementwise_call import binary_call
from mcusim.kernels.reference.pairs import operands, run_pairs

__all__ = ["KERNELS"]

_INTEGER_BY_0 = "an integer is divided by 0"
_FLOOR_BY_0 = "TFLite Micro refuses to divide by 0"


def _divides(divisor: Tensor) -> bool:
    """Whether a divisor has no 0 that is known before it is computed."""
    return divisor.data is None or bool(divisor.data.all())


def _prepare_div(node: Node) -> Binder:
    """Source: ``CalculateOpDataDiv``, ``DivElementwise`` and ``BroadcastDivSlow``."""
    first, second, output = operands(node)
    supported(node, output, (DType.FLOAT32, DType.INT32, DType.INT8), "output")
    require_same_type(node, first, output, "input and output")
    if output.dtype is DType.FLOAT32:
        low, high = float_clamp(node)
        return run_pairs(node, lambda a, b: clamped(a / b, low, high))
    if output.dtype is DType.INT32:
        require(
            not is_quantized(first) and not is_quantized(second),
            node,
            "int32 inputs have a quantization",
        )
        least, most = integer_clamp(node)
        require(_divides(second), node, _INTEGER_BY_0)
        place = f"operator {node.index} (DIV)"
        return run_pairs(node, lambda a, b: clipped(_truncated(a, b, place), least, most))
    require(second.scale > 0 and output.scale > 0, node, "a tensor has no scale")
    # A device build of August 2026 divides the scales in float32.
    multiplier, shift = quantize_multiplier(first.scale / (second.scale * output.scale))
    least, most = activation_range_quantized(
        node.options.text("fused_activation_function", "NONE"),
        output.dtype,
        output.scale,
        output.zero_point,
    )

    def quotient(a: Array, b: Array) -> Array:
        numerator = a.astype(np.int64) - first.zero_point
        divisor = b.astype(np.int64) - second.zero_point
        sign = np.where(divisor < 0, -1, 1)
        raw = _scaled_quotient(numerator * sign, divisor * sign, multiplier, shift)
        return clipped(raw + output.zero_point, least, most)

    return run_pairs(node, quotient)


def _scaled_quotient(numerator: Array, divisor: Array, multiplier: int, shift: int) -> Array:
    """``numerator / divisor`` scaled by ``multiplier * 2**(shift - 31)``, by the reciprocal."""
    inverse, bits_over_one = reciprocal(divisor, 31)
    # Sign bits beyond the first, which the numerator can do without.
    magnitude = np.where(numerator < 0, ~numerator, numerator)
    headroom = count_leading_zeros(magnitude) - 1
    shifted = (numerator << headroom).astype(np.int32)
    unscaled = saturating_rounding_doubling_high_mul(shifted, inverse)
    total_shift = shift - bits_over_one - headroom
    return _divided(saturating_rounding_doubling_high_mul(unscaled, multiplier), -total_shift)


def _divided(x: Array, exponent: Array) -> Array:
    """``x / 2**exponent`` rounded to the nearest, also where the exponent is none of int32.

    A small quotient needs exponents beyond 31, which the language leaves open: x86, and so the
    interpreter, shifts by the exponent modulo 32, where a Cortex-M shifts everything out.

    Source: gemmlowp ``RoundingDivideByPOT``.
    """
    one = np.int64(1)
    mask = ((one << (exponent & 63)) - one).astype(np.int32)
    threshold = (mask >> 1) + (x < 0)
    return (x >> (exponent & 31).astype(np.int32)) + ((x & mask) > threshold)


def _truncated(a: Array, b: Array, place: str) -> Array:
    if not b.all():
        raise InputError(f"{place}: {_INTEGER_BY_0}")
    floor: Array = np.floor_divide(a, b)
    truncated: Array = floor + ((floor < 0) & (floor * b != a))
    return truncated


def _prepare_floor_div(node: Node) -> Binder:
    """Source: ``EvalFloorDiv``, which divides in double precision."""
    first, second, output = operands(node)
    supported(node, first, (DType.FLOAT32,), "input")
    require_same_type(node, first, output, "input and output")
    require(_divides(second), node, _FLOOR_BY_0)
    place = f"operator {node.index} (FLOOR_DIV)"

    def quotient(a: Array, b: Array) -> Array:
        if not b.all():
            raise InputError(f"{place}: {_FLOOR_BY_0}")
        floor: Array = np.floor(a.astype(np.float64) / b.astype(np.float64))
        return floor

    return run_pairs(node, quotient)


def _prepare_floor_mod(node: Node) -> Binder:
    """Source: ``FloorMod``."""
    first, _, output = operands(node)
    supported(node, first, (DType.FLOAT32,), "input")
    require_same_type(node, first, output, "input and output")

    def remainder(a: Array, b: Array) -> Array:
        truncated = np.fmod(a, b)
        crosses = (truncated != 0) & ((b < 0) != (truncated < 0))
        return np.where(crosses, truncated + b, truncated)

    return run_pairs(node, remainder)


KERNELS: tuple[Kernel, ...] = (
    Kernel("DIV", _prepare_div, binary_call),
    Kernel("FLOOR_DIV", _prepare_floor_div, binary_call),
    Kernel("FLOOR_MOD", _prepare_floor_mod, binary_call),
)
