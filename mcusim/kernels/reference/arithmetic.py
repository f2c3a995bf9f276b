"""ADD, SUB, MUL, SQUARED_DIFFERENCE and ADD_N as TFLM's reference kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel
from mcusim.kernels.fixed_point import (
    activation_range,
    activation_range_quantized,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantize_multiplier_smaller_than_one,
)
from mcusim.kernels.reference.checks import (
    is_quantized,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.conversions import clamped, clipped
from mcusim.kernels.reference.elementwise_call import binary_call, unary_call
from mcusim.kernels.reference.pairs import operands, run_flat_pairs, run_pairs

__all__ = ["KERNELS", "float_clamp", "integer_clamp"]

_INT32 = np.iinfo(np.int32)


def float_clamp(node: Node) -> tuple[float, float]:
    """Range of a float32 operator's fused activation; a clamp to finite values without one."""
    return activation_range(_activation(node))


def integer_clamp(node: Node) -> tuple[int, int]:
    """Range of an int32 operator's fused activation.

    Source: ``CalculateActivationRange<int32_t>``.
    """
    low, high = activation_range(_activation(node))
    return max(int(low), _INT32.min), min(int(high), _INT32.max)


@dataclass(frozen=True)
class _Rescaling:
    """Both inputs brought to one scale with ``left_shift`` bits to spare, the result to its own."""

    left_shift: int
    offsets: tuple[int, int]
    multipliers: tuple[tuple[int, int], tuple[int, int]]
    output: tuple[int, int]
    output_offset: int
    low: int
    high: int

    def scaled(self, values: Array, position: int) -> Array:
        """Input ``position`` at the common scale, int32."""
        centred = values.astype(np.int64) + self.offsets[position]
        shifted = (centred << self.left_shift).astype(np.int32)
        return multiply_by_quantized_multiplier(shifted, *self.multipliers[position])

    def stored(self, raw: Array) -> Array:
        """The result as stored, int32 within the output's range."""
        scaled = multiply_by_quantized_multiplier(raw, *self.output) + self.output_offset
        return clipped(scaled, self.low, self.high)


def _sum_rescaling(node: Node, first: Tensor, second: Tensor, output: Tensor) -> _Rescaling:
    """The rescaling of ADD and SUB.

    Source: ``CalculateOpDataAdd`` and ``CalculateOpDataSub``. A device build of August 2026
    divides SUB's scales in float32, which moves a result by one on rounding ties; the interpreter
    divides them in double precision, as both do for ADD.
    """
    require(is_quantized(output), node, "the output has no quantization")
    left_shift = 15 if output.dtype is DType.INT16 else 20
    twice_max = 2 * max(first.scale, second.scale)
    require(twice_max > 0, node, "the inputs have no scale")
    real_output = twice_max / ((1 << left_shift) * output.scale) if output.scale else float("inf")
    low, high = activation_range_quantized(
        _activation(node), output.dtype, output.scale, output.zero_point
    )
    return _Rescaling(
        left_shift,
        (-first.zero_point, -second.zero_point),
        (
            quantize_multiplier_smaller_than_one(first.scale / twice_max),
            quantize_multiplier_smaller_than_one(second.scale / twice_max),
        ),
        quantize_multiplier_smaller_than_one(real_output),
        output.zero_point,
        low,
        high,
    )


def _prepare_sum(node: Node, sign: int) -> Binder:
    first, second, output = operands(node)
    supported(node, output, (DType.FLOAT32, DType.INT32, DType.INT8, DType.INT16), "output")
    require_same_type(node, first, output, "input and output")
    combine = np.add if sign > 0 else np.subtract
    if output.dtype is DType.FLOAT32:
        low, high = float_clamp(node)
        return run_pairs(node, lambda a, b: clamped(combine(a, b), low, high))
    if output.dtype is DType.INT32:
        tensors = (first, second) if sign > 0 else (first, second, output)
        require(
            not any(is_quantized(t) for t in tensors), node, "int32 tensors have a quantization"
        )
        if sign > 0:
            # The library ignores ADD's fused activation for int32.
            return run_pairs(node, combine)
        least, most = integer_clamp(node)
        return run_pairs(node, lambda a, b: clipped(combine(a, b), least, most))
    rescaling = _sum_rescaling(node, first, second, output)
    if output.dtype is DType.INT8:
        return run_pairs(
            node,
            lambda a, b: rescaling.stored(combine(rescaling.scaled(a, 0), rescaling.scaled(b, 1))),
        )
    return partial(_bind_int16_sum, node, sign, rescaling)


def _bind_int16_sum(node: Node, sign: int, rescaling: _Rescaling) -> BoundKernel:
    from mcusim.kernels.compiled.elementwise import rescaled_sums

    one, other = rescaling.multipliers
    result = (*rescaling.output, rescaling.output_offset)
    limits = (rescaling.low, rescaling.high)

    def compute(first: Array, second: Array, out: Array) -> None:
        rescaled_sums(
            first,
            second,
            sign,
            rescaling.left_shift,
            rescaling.offsets,
            one,
            other,
            result,
            limits,
            out,
        )

    return run_flat_pairs(node, compute)


def _prepare_add(node: Node) -> Binder:
    return _prepare_sum(node, 1)


def _prepare_sub(node: Node) -> Binder:
    return _prepare_sum(node, -1)


def _prepare_mul(node: Node) -> Binder:
    """Source: ``CalculateOpDataMul``, ``MulElementwise`` and ``BroadcastMul6DSlow``."""
    first, second, output = operands(node)
    supported(node, first, (DType.INT8, DType.INT16, DType.INT32, DType.FLOAT32), "input")
    require_same_type(node, first, output, "input and output")
    if output.dtype is DType.FLOAT32:
        low, high = float_clamp(node)
        return run_pairs(node, lambda a, b: clamped(a * b, low, high))
    if output.dtype is DType.INT32:
        least, most = integer_clamp(node)
        return run_pairs(node, lambda a, b: clipped(a * b, least, most))
    require(output.scale != 0, node, "the output has no scale")
    multiplier = quantize_multiplier(first.scale * second.scale / output.scale)
    limits = activation_range_quantized(
        _activation(node), output.dtype, output.scale, output.zero_point
    )
    offsets = (first.zero_point, second.zero_point, output.zero_point)
    if output.dtype is DType.INT16:
        require(
            offsets == (0, 0, 0), node, f"int16 tensors have zero points {offsets} instead of 0"
        )
        return partial(_bind_int16_product, node, multiplier, limits)

    def product(a: Array, b: Array) -> Array:
        raw = (a.astype(np.int64) - offsets[0]) * (b.astype(np.int64) - offsets[1])
        scaled = multiply_by_quantized_multiplier(raw.astype(np.int32), *multiplier)
        return clipped(scaled + offsets[2], *limits)

    return run_pairs(node, product)


def _bind_int16_product(
    node: Node, multiplier: tuple[int, int], limits: tuple[int, int]
) -> BoundKernel:
    from mcusim.kernels.compiled.elementwise import rescaled_products

    def compute(first: Array, second: Array, out: Array) -> None:
        rescaled_products(first, second, *multiplier, limits, out)

    return run_flat_pairs(node, compute)


def _prepare_squared_difference(node: Node) -> Binder:
    """Source: ``SquaredDifferencePrepare`` and ``SquaredDifference``."""
    first, second, output = operands(node)
    supported(node, output, (DType.FLOAT32, DType.INT32, DType.INT8, DType.INT16), "output")
    require_same_type(node, first, output, "input and output")
    if output.dtype in (DType.FLOAT32, DType.INT32):
        return run_pairs(node, lambda a, b: np.square(a - b))
    limits = np.iinfo(output.dtype.numpy)
    tensors = (first, second, output)
    if output.dtype is DType.INT8:
        require(
            all(limits.min <= t.zero_point <= limits.max for t in tensors),
            node,
            "a zero point is outside of int8",
        )
    else:
        require(
            all(t.zero_point == 0 for t in tensors),
            node,
            "int16 tensors have zero points other than 0",
        )
    left_shift = 7 if output.dtype is DType.INT8 else 0
    twice_max = 2 * max(first.scale, second.scale)
    require(twice_max > 0 and output.scale > 0, node, "a tensor has no scale")
    rescaling = _Rescaling(
        left_shift,
        (-first.zero_point, -second.zero_point),
        (
            quantize_multiplier_smaller_than_one(first.scale / twice_max),
            quantize_multiplier_smaller_than_one(second.scale / twice_max),
        ),
        quantize_multiplier(twice_max * twice_max / ((1 << 2 * left_shift) * output.scale)),
        output.zero_point,
        int(limits.min),
        int(limits.max),
    )

    def function(a: Array, b: Array) -> Array:
        difference = rescaling.scaled(a, 0) - rescaling.scaled(b, 1)
        return rescaling.stored(difference * difference)

    return run_pairs(node, function)


def _prepare_add_n(node: Node) -> Binder:
    """Source: ``AddN``, whose int8 form also adds the scaled zero point of an empty sum."""
    require(len(node.inputs) >= 2, node, "has fewer than 2 inputs")
    require(len(node.outputs) == 1, node, "has more than 1 output")
    tensors, output = [node.input(i) for i in range(len(node.inputs))], node.output()
    first = tensors[0]
    supported(node, output, (DType.FLOAT32, DType.INT8), "output")
    for tensor in (*tensors, output):
        require(tensor.dtype is first.dtype, node, "tensors have different types")
        require(tensor.shape == first.shape, node, "tensors have different shapes")
    if output.dtype is DType.FLOAT32:
        return lambda: _add_floats
    for tensor in tensors:
        same = tensor.zero_point == first.zero_point and tensor.scale == first.scale
        require(same, node, "inputs have different quantizations")
    require(first.scale > 0 and output.scale > 0, node, "a tensor has no scale")
    real_output = 2 * first.scale / ((1 << 20) * output.scale)
    rescaling = _Rescaling(
        20,
        (-first.zero_point, -first.zero_point),
        (quantize_multiplier_smaller_than_one(0.5),) * 2,
        quantize_multiplier_smaller_than_one(real_output),
        output.zero_point,
        -128,
        127,
    )
    return partial(_bind_add_n_int8, rescaling)


def _bind_add_n_int8(rescaling: _Rescaling) -> BoundKernel:
    table = rescaling.scaled(np.arange(256, dtype=np.uint8).view(np.int8), 0)
    empty = rescaling.scaled(np.zeros(1, np.int8), 0)

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        total: Array = empty
        for array in inputs:
            if array is not None:
                total = total + table.take(array.view(np.uint8))
        return [rescaling.stored(total).astype(np.int8)]

    return run


def _add_floats(inputs: Sequence[Array | None]) -> list[Array]:
    total: Array = np.zeros(1, np.float32)
    with np.errstate(all="ignore"):
        for array in inputs:
            if array is not None:
                total = total + array
    return [total]


def _activation(node: Node) -> str:
    return node.options.text("fused_activation_function", "NONE")


KERNELS: tuple[Kernel, ...] = (
    Kernel("ADD", _prepare_add, binary_call),
    Kernel("SUB", _prepare_sub, binary_call),
    Kernel("MUL", _prepare_mul, binary_call),
    Kernel("SQUARED_DIFFERENCE", _prepare_squared_difference, binary_call),
    Kernel("ADD_N", _prepare_add_n, unary_call),
)
