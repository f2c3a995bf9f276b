"""RELU, RELU6, LEAKY_RELU, PRELU, ELU and HARD_SWISH as TFLM's reference kernels compute them.

Multipliers come from scales divided in double precision, as the interpreter divides them. A device
build of August 2026 divides those of RELU, LEAKY_RELU and HARD_SWISH in float32, which moves some
int16 results by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
)
from mcusim.kernels.float_functions import expm1_float32
from mcusim.kernels.reference.broadcasting import broadcast_loop, require_broadcast
from mcusim.kernels.reference.checks import require, require_counts, require_same_type, supported
from mcusim.kernels.reference.conversions import (
    clamped,
    clipped,
    round_floats,
    truncate_to_int32,
)
from mcusim.kernels.reference.elementwise_call import (
    dimension_trips,
    nest_trips,
    path_call,
    scaling_carries,
    typical_values,
    unary_call,
)
from mcusim.kernels.reference.pairs import run_pairs
from mcusim.kernels.reference.tables import run_elements

__all__ = ["KERNELS"]

_QUANTIZED = (DType.INT8, DType.INT16)


def _checked(node: Node, *types: DType) -> tuple[Tensor, Tensor]:
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, types, "input")
    require_same_type(node, source, output, "input and output")
    require(source.elements == output.elements, node, "input and output differ in size")
    return source, output


def _require_scales(node: Node, *tensors: Tensor) -> None:
    require(all(tensor.scale > 0 for tensor in tensors), node, "a tensor has no scale")


def _prepare_relu(node: Node) -> Binder:
    """Source: ``CalculateReluOpData``, ``ReluQuantized`` and ``ReluFloat``."""
    source, output = _checked(node, DType.FLOAT32, *_QUANTIZED)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: clamped(x.copy(), 0.0, math.inf))
    _require_scales(node, source, output)
    if source.dtype is DType.INT16:
        zero_points = (source.zero_point, output.zero_point)
        require(zero_points == (0, 0), node, f"int16 tensors have zero points {zero_points}")
    multiplier, shift = quantize_multiplier(source.scale / output.scale)
    limits = np.iinfo(source.dtype.numpy)
    low, high = max(int(limits.min), output.zero_point), int(limits.max)

    def relu(x: Array) -> Array:
        centred = x.astype(np.int64) - source.zero_point
        scaled = multiply_by_quantized_multiplier(centred, multiplier, shift)
        return clipped(scaled + output.zero_point, low, high)

    return run_elements(node, relu)


def _prepare_relu6(node: Node) -> Binder:
    """Clamp to 0 and 6 at the input's scale, whatever the output's is.

    Source: ``Relu6Prepare``, ``Relu6Quantized`` and ``Relu6Float``.
    """
    source, _ = _checked(node, DType.FLOAT32, *_QUANTIZED)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: clamped(x.copy(), 0.0, 6.0))
    _require_scales(node, source)
    limits = np.iinfo(source.dtype.numpy)
    six = round_half_away(float(np.float32(6) / np.float32(source.scale))) + source.zero_point
    high = min(max(six, int(limits.min)), int(limits.max))
    # Above comes first, where the zero point is above six.
    return run_elements(
        node, lambda x: np.where(x > high, high, np.maximum(x.astype(np.int64), source.zero_point))
    )


def _prepare_leaky_relu(node: Node) -> Binder:
    """Source: ``CalculateOpDataLeakyRelu``, ``QuantizeLeakyRelu`` and ``LeakyRelu``."""
    source, output = _checked(node, DType.FLOAT32, *_QUANTIZED)
    alpha = np.float32(node.options.real("alpha"))
    if source.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: np.where(x > 0, x, x * alpha))
    _require_scales(node, source, output)
    identity = quantize_multiplier(source.scale / output.scale)
    multiplier, shift = quantize_multiplier(source.scale * float(alpha) / output.scale)
    sign = -1 if multiplier < 0 else 1
    limits = np.iinfo(source.dtype.numpy)

    def leaky_relu(x: Array) -> Array:
        centred = x.astype(np.int64) - source.zero_point
        positive = multiply_by_quantized_multiplier(centred, *identity)
        negative = sign * multiply_by_quantized_multiplier(centred, sign * multiplier, shift)
        scaled = np.where(centred >= 0, positive, negative) + output.zero_point
        return clipped(scaled, limits.min, limits.max)

    return run_elements(node, leaky_relu)


def _prepare_prelu(node: Node) -> Binder:
    """Source: ``CalculatePreluParams`` and ``BroadcastPrelu4DSlow``."""
    require_counts(node, 2)
    source, slope, output = node.input(0), node.input(1), node.output()
    supported(node, source, (DType.FLOAT32, *_QUANTIZED), "input")
    require_same_type(node, source, output, "input and output")
    slope_type = DType.FLOAT32 if source.dtype is DType.FLOAT32 else DType.INT8
    supported(node, slope, (slope_type,), "slope")
    require_broadcast(node, (source, slope), output)
    if source.dtype is DType.FLOAT32:
        rank = max(len(tensor.shape) for tensor in (source, slope, output))
        require(rank <= 4, node, f"has {rank} dimensions, more than 4")
        return run_pairs(node, lambda x, alpha: np.where(x >= 0, x, x * alpha))
    _require_scales(node, source, slope, output)
    identity = quantize_multiplier(source.scale / output.scale)
    of_slope = quantize_multiplier(source.scale * slope.scale / output.scale)
    limits = np.iinfo(source.dtype.numpy)

    def prelu(x: Array, alpha: Array) -> Array:
        centred = x.astype(np.int64) - source.zero_point
        positive = multiply_by_quantized_multiplier(centred, *identity)
        product = centred * (alpha.astype(np.int64) - slope.zero_point)
        negative = multiply_by_quantized_multiplier(product, *of_slope)
        scaled = np.where(centred >= 0, positive, negative) + output.zero_point
        return clipped(scaled, limits.min, limits.max)

    return run_pairs(node, prelu)


def _prepare_elu(node: Node) -> Binder:
    """Source: ``Elu``, and for int8 ``PopulateLookupTable``."""
    source, output = _checked(node, DType.FLOAT32, DType.INT8)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: np.where(x < 0, expm1_float32(x), x))
    _require_scales(node, source, output)

    def elu(x: Array) -> Array:
        real = np.float32(source.scale) * (x.astype(np.int64) - source.zero_point).astype(
            np.float32
        )
        transformed = np.where(
            real < 0, np.exp(real.astype(np.float64)).astype(np.float32) - np.float32(1), real
        )
        scaled = transformed * (np.float32(1) / np.float32(output.scale))
        rounded = round_floats(scaled) + np.float32(output.zero_point)
        return clipped(truncate_to_int32(rounded), -128, 127)

    return run_elements(node, elu)


def _prepare_hard_swish(node: Node) -> Binder:
    """Source: ``HardSwishPrepare`` and ``HardSwish``."""
    source, output = _checked(node, DType.FLOAT32, DType.INT8)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, _hard_swish_floats)
    _require_scales(node, source, output)
    fine_scale = source.scale / 128
    output_multiplier, output_shift = _int16_multiplier(fine_scale / output.scale)
    require(output_shift <= 0, node, "the output's scale is below the input's / 128")
    relu_multiplier, relu_shift = _int16_multiplier(fine_scale / (3 / 32768))

    def hard_swish(x: Array) -> Array:
        fine = _int16(_int16(x.astype(np.int64) - source.zero_point) * 128)
        scaled = _high_product(fine, output_multiplier)
        relu = fine
        if relu_shift > 0:
            relu = clipped(relu << (relu_shift - 1), -32768, 32767)
        relu = _high_product(relu, relu_multiplier)
        if relu_shift > 0:
            relu = clipped(relu << 1, -32768, 32767)
        elif relu_shift < 0:
            relu = _divided(relu, -relu_shift)
        relu = _int16((relu + (1 << 15)) >> 1)
        product = relu * scaled
        truncated = np.sign(product) * (np.abs(product) >> 15)
        stored = _divided(_int16(truncated), -output_shift) + output.zero_point
        return clipped(_int16(stored), -128, 127)

    return run_elements(node, hard_swish)


def _hard_swish_floats(x: Array) -> Array:
    three, six, zero = np.float32(3), np.float32(6), np.float32(0)
    raised = x + three
    raised = np.where(zero < raised, raised, zero)
    return x * np.where(raised < six, raised, six) / six


def _int16_multiplier(real: float) -> tuple[int, int]:
    """Source: ``DownScaleInt32ToInt16Multiplier``."""
    multiplier, shift = quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, 32767), shift


def _int16(x: Array) -> Array:
    return x.astype(np.int16).astype(np.int64)


def _high_product(a: Array, b: int) -> Array:
    """High 16 bits of ``2 * a * b``, rounded to the nearest, ties up.

    Source: gemmlowp ``SaturatingRoundingDoublingHighMul`` for int16.
    """
    rounded: Array = (a * b + (1 << 14)) >> 15
    return clipped(rounded, -32768, 32767)


def _divided(x: Array, exponent: int) -> Array:
    """``x / 2**exponent`` in int16, rounded to the nearest, ties away from zero.

    Source: gemmlowp ``RoundingDivideByPOT`` for int16, whose mask is cut to 16 bits.
    """
    mask = int(np.int64((1 << exponent) - 1).astype(np.int16))
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def _relu_call(node: Node) -> KernelCall:
    """Kernel and trips of RELU and LEAKY_RELU: scaling down takes other steps than scaling up."""
    source, output = node.input(0), node.output()
    if source.dtype is DType.FLOAT32:
        return unary_call(node)
    real = typical_values(source)
    negative = real < 0
    ratio = source.scale / output.scale if output.scale else 0.0
    alpha = abs(node.options.real("alpha")) if node.name == "LEAKY_RELU" else 1.0
    down = negative & (ratio * alpha < 1) | ~negative & (ratio < 1)
    paths = {"negative": negative, "positive": ~negative, "scaled_down": down}
    of_negative, of_positive = (
        scaling_carries(source, real, ratio * factor) for factor in (alpha, 1.0)
    )
    return path_call(node, paths | {"carried": np.where(negative, of_negative, of_positive)})


def _prelu_call(node: Node) -> KernelCall:
    """Kernel and trips of PRELU: integers in the nest of broadcasting, floats in four loops."""
    source, slope, output = node.input(0), node.input(1), node.output()
    negative = typical_values(source) < 0
    paths = {"negative": negative, "positive": ~negative}
    if source.dtype is DType.FLOAT32:
        return _float_prelu_call(node, paths)
    # What the slope turns positive is rounded in fewer steps than what it leaves negative.
    if source.data is not None and slope.data is not None:
        lifting = np.broadcast_to(slope.data < slope.zero_point, source.shape)
    else:
        # Any value beside any slope.
        negative = negative.ravel()
        lifting = (typical_values(slope) < 0).reshape(-1, 1)
    ratio = source.scale / output.scale if output.scale else 0.0
    down = negative & (ratio * slope.scale < 1) | ~negative & (ratio < 1)
    paths = {"negative": negative & ~lifting, "lifted": negative & lifting}
    paths |= {"positive": ~negative, "scaled_down": down}
    loop = broadcast_loop((source.shape, slope.shape), output.shape)
    nest = {f"nest.{level}": turns for level, turns in nest_trips(loop).items()}
    short = len(slope.shape) if len(slope.shape) < 4 else 0
    loops = {"slope.dimension": len(slope.shape), "slope.short": short}
    strides = dimension_trips((source.shape, slope.shape), output.shape, True)
    return path_call(node, paths, {**loops, **strides, **nest})


def _float_prelu_call(node: Node, paths: Mapping[str, npt.NDArray[np.bool_]]) -> KernelCall:
    """Four loops, the innermost of which the compiler makes twice: for operands that both
    advance by one (``dense``), and for others (``strided``)."""
    source, slope, output = node.input(0), node.input(1), node.output()
    four = (1,) * (4 - len(output.shape)) + output.shape
    dense = source.shape[-1:] == slope.shape[-1:] == output.shape[-1:]
    loops = {
        "slope.dimension": len(slope.shape),
        "slope.short": len(slope.shape) if len(slope.shape) < 4 else 0,
        "batch": four[0],
        "plane": math.prod(four[:2]),
        "dense.row": math.prod(four[:3]) * dense,
        "strided.row": math.prod(four[:3]) * (not dense),
    }
    paths = {
        f"{kind}.{name}": taken & (dense == (kind == "dense"))
        for kind in ("dense", "strided")
        for name, taken in paths.items()
    }
    return path_call(node, paths, loops)


def _relu6_call(node: Node) -> KernelCall:
    """Kernel and trips of RELU6, whose comparisons end early above 6."""
    real = typical_values(node.input(0), reach=8.0)
    below, above = real < 0, real > 6
    return path_call(node, {"below": below, "inside": ~below & ~above, "above": above})


def _hard_swish_call(node: Node) -> KernelCall:
    """Kernel and trips of HARD_SWISH."""
    source = node.input(0)
    if source.dtype is not DType.FLOAT32:
        return unary_call(node)
    real = typical_values(source)
    below, above = real < -3, real > 3
    return path_call(node, {"below": below, "inside": ~below & ~above, "above": above})


KERNELS: tuple[Kernel, ...] = (
    Kernel("RELU", _prepare_relu, _relu_call),
    Kernel("RELU6", _prepare_relu6, _relu6_call),
    Kernel("LEAKY_RELU", _prepare_leaky_relu, _relu_call),
    Kernel("PRELU", _prepare_prelu, _prelu_call),
    Kernel("ELU", _prepare_elu, unary_call),
    Kernel("HARD_SWISH", _prepare_hard_swish, _hard_swish_call),
)
