"""ABS, NEG, SQRT, RSQRT, SQUARE, EXP, LOG, SIN, COS, ROUND, FLOOR, CEIL and LOGICAL_NOT.

Multipliers of ABS and RSQRT come from scales in double precision, as the interpreter computes them;
a device build of August 2026 has float32 there, which moves some int16 results by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mcusim.errors import InputError
from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from mcusim.kernels.reference.checks import (
    is_quantized,
    require,
    require_counts,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.conversions import clipped
from mcusim.kernels.reference.elementwise_call import unary_call
from mcusim.kernels.reference.inverse_square_root import inverse_square_root
from mcusim.kernels.reference.tables import run_elements

__all__ = ["KERNELS"]


def _of_doubles(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function of the C library, rounded once to float32: at most one unit off the library's."""
    return lambda x: function(x.astype(np.float64)).astype(np.float32)


def _round(x: Array) -> Array:
    """Ties to even by way of the floor, so that what rounds up to zero is +0.

    Source: ``RoundToNearest``.
    """
    floor = np.floor(x)
    above = x - floor
    half = np.float32(0.5)
    down = (above < half) | ((above == half) & (np.fmod(floor, np.float32(2)) == 0))
    return np.where(down, floor, floor + np.float32(1))


_FLOAT_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "NEG": np.negative,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "EXP": _of_doubles(np.exp),
    "LOG": _of_doubles(np.log),
    "SIN": _of_doubles(np.sin),
    "COS": _of_doubles(np.cos),
    "ROUND": _round,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
}


def _checked(node: Node, *types: DType) -> tuple[Tensor, Tensor]:
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, types, "input")
    require_same_type(node, source, output, "input and output")
    require(source.elements == output.elements, node, "input and output differ in size")
    return source, output


def _prepare_floats(node: Node) -> Binder:
    source, output = _checked(node, DType.FLOAT32)
    if node.name in ("EXP", "ROUND", "CEIL"):
        require(source.shape == output.shape, node, "input and output differ in shape")
    return run_elements(node, _FLOAT_FUNCTIONS[node.name])


def _prepare_logical_not(node: Node) -> Binder:
    _checked(node, DType.BOOL)
    return run_elements(node, np.logical_not)


def _prepare_abs(node: Node) -> Binder:
    """Source: ``PrepareAbsRsqrt`` and ``AbsEvalQuantized``."""
    source, output = _checked(node, DType.FLOAT32, DType.INT8, DType.INT16)
    plain_int16 = source.dtype is DType.INT16 and not is_quantized(source)
    if source.dtype is DType.FLOAT32 or plain_int16:
        return run_elements(node, np.abs)
    _require_quantized(node, source, output)
    limits = np.iinfo(source.dtype.numpy)
    rescales = source.scale != output.scale
    multiplier, shift = quantize_multiplier(source.scale / output.scale)

    def absolute(x: Array) -> Array:
        magnitude = np.abs(x.astype(np.int64) - source.zero_point)
        if rescales:
            magnitude = multiply_by_quantized_multiplier(magnitude, multiplier, shift)
        return clipped(magnitude + output.zero_point, limits.min, limits.max)

    return run_elements(node, absolute)


def _prepare_rsqrt(node: Node) -> Binder:
    """Source: ``PrepareAbsRsqrt`` and ``RsqrtEvalQuantized``, which knows int16 too."""
    source, output = _checked(node, DType.FLOAT32, DType.INT8, DType.INT16)
    if source.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: np.float32(1) / np.sqrt(x))
    _require_quantized(node, source, output)
    below_zero = "TFLite Micro refuses a value below zero"
    known = source.data
    require(known is None or not (known < source.zero_point).any(), node, below_zero)
    limits = np.iinfo(source.dtype.numpy)
    multiplier, shift = quantize_multiplier(1.0 / (math.sqrt(source.scale) * output.scale))
    spare = 20

    def inverse_root(x: Array) -> Array:
        value = x.astype(np.int64) - source.zero_point
        inverse, right_shift = inverse_square_root(np.maximum(value, 0))
        scaled = multiply_by_quantized_multiplier(1, inverse, spare - right_shift)
        stored = multiply_by_quantized_multiplier(scaled, multiplier, shift - spare)
        return np.where(
            value == 0, limits.max, clipped(stored + output.zero_point, limits.min, limits.max)
        )

    def bind() -> BoundKernel:
        compute = run_elements(node, inverse_root)()

        def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
            array = inputs[0]
            if array is not None and array.size and int(array.min()) < source.zero_point:
                raise InputError(f"operator {node.index} (RSQRT): {below_zero}")
            return compute(inputs)

        return run

    return bind


def _require_quantized(node: Node, source: Tensor, output: Tensor) -> None:
    require(is_quantized(source) and is_quantized(output), node, "a tensor has no quantization")
    require(source.scale > 0 and output.scale > 0, node, "a scale is zero")
    if source.dtype is DType.INT16:
        zero_points = (source.zero_point, output.zero_point)
        require(zero_points == (0, 0), node, f"int16 tensors have zero points {zero_points}")


KERNELS: tuple[Kernel, ...] = (
    *(Kernel(name, _prepare_floats, unary_call) for name in _FLOAT_FUNCTIONS),
    Kernel("ABS", _prepare_abs, unary_call),
    Kernel("RSQRT", _prepare_rsqrt, unary_call),
    Kernel("LOGICAL_NOT", _prepare_logical_not, unary_call),
)
