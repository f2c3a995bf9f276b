"""QUANTIZE, DEQUANTIZE and CAST as TFLM's reference kernels compute them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from mcusim.kernels.reference.checks import is_quantized, require, require_counts, supported
from mcusim.kernels.reference.conversions import clipped, round_floats, truncate_to_int32
from mcusim.kernels.reference.elementwise_call import (
    path_call,
    scaling_carries,
    typical_values,
    unary_call,
)
from mcusim.kernels.reference.tables import run_elements

__all__ = ["KERNELS"]

#: Types that QUANTIZE writes, by the type that it reads.
_QUANTIZES: dict[DType, tuple[DType, ...]] = {
    DType.FLOAT32: (DType.INT8, DType.INT16),
    DType.INT32: (DType.INT8, DType.INT16),
    DType.INT16: (DType.INT8, DType.INT16, DType.INT32),
    DType.INT8: (DType.INT8, DType.UINT8, DType.INT16, DType.INT32),
    DType.UINT8: (DType.INT8,),
}
_CASTS_FROM = (
    DType.INT8,
    DType.INT16,
    DType.INT32,
    DType.UINT32,
    DType.FLOAT32,
    DType.BOOL,
)
_CASTS_TO = (
    DType.INT8,
    DType.INT16,
    DType.INT32,
    DType.UINT32,
    DType.FLOAT32,
    DType.BOOL,
)


def _prepare_quantize(node: Node) -> Binder:
    """Source: ``PrepareQuantizeReference``, ``AffineQuantize`` and ``Requantize``."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, tuple(_QUANTIZES), "input")
    supported(node, output, _QUANTIZES[source.dtype], f"output of a {source.dtype.value} input")
    require(is_quantized(output), node, "the output has no quantization")
    quantization = output.quantization
    require(
        quantization is not None and not quantization.is_per_channel,
        node,
        "the output is quantized per channel",
    )
    require(source.elements == output.elements, node, "input and output differ in size")
    require(output.scale > 0, node, "the output has no scale")
    limits = np.iinfo(output.dtype.numpy)
    if source.dtype is DType.FLOAT32:
        scale, zero_point = np.float32(output.scale), np.int32(output.zero_point)

        def quantize(x: Array) -> Array:
            steps = truncate_to_int32(round_floats(x / scale))
            return clipped(steps + zero_point, limits.min, limits.max)

        return run_elements(node, quantize)
    multiplier, shift = quantize_multiplier(source.scale / output.scale)

    def requantize(x: Array) -> Array:
        scaled = multiply_by_quantized_multiplier(_centred(x, source.zero_point), multiplier, shift)
        return clipped(scaled + np.int32(output.zero_point), limits.min, limits.max)

    return run_elements(node, requantize)


def _centred(x: Array, zero_point: int) -> Array:
    """Stored values less their zero point, in int32."""
    return (x.astype(np.int64) - zero_point).astype(np.int32)


def _prepare_dequantize(node: Node) -> Binder:
    """Source: ``DequantizePrepare`` and ``Dequantize``, which multiplies in double precision."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, (DType.INT8, DType.INT16, DType.UINT8), "input")
    supported(node, output, (DType.FLOAT32,), "output")
    require(source.elements == output.elements, node, "input and output differ in size")
    scale, zero_point = source.scale, source.zero_point
    return run_elements(node, lambda x: (scale * _centred(x, zero_point)).astype(np.float32))


def _prepare_cast(node: Node) -> Binder:
    """Convert one type to another; a float saturates where the integer cannot hold it.

    Source: ``CastEval``. A device build of August 2026 has a plain C++ conversion: it saturates to
    int32 and then keeps the low bits of a smaller integer, and it refuses to write bool.
    """
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    supported(node, source, _CASTS_FROM, "input")
    supported(node, output, _CASTS_TO, "output")
    require(source.elements == output.elements, node, "input and output differ in size")
    target = output.dtype.numpy
    if output.dtype is DType.BOOL:
        return run_elements(node, lambda x: x != 0)
    if source.dtype is not DType.FLOAT32 or output.dtype is DType.FLOAT32:
        return run_elements(node, lambda x: x.astype(target))
    return run_elements(node, lambda x: _saturated(x, target))


def _saturated(x: Array, dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    nearest = np.clip(np.trunc(x.astype(np.float64)), limits.min, limits.max)
    return np.where(np.isnan(x), 0.0, nearest).astype(dtype)


def _quantize_call(node: Node) -> KernelCall:
    """Kernel and trips of QUANTIZE, whose loops differ by the type that they write."""
    source, output = node.input(0), node.output()
    real = typical_values(source)
    byte = output.dtype in (DType.INT8, DType.UINT8)
    every, none = np.ones(real.shape, bool), np.zeros(real.shape, bool)
    # Software divides floats at once by a power of two.
    power = source.dtype is DType.FLOAT32 and np.frexp(np.float32(output.scale))[0] == 0.5
    paths = {
        "to_byte": every if byte and not power else none,
        "to_wider": none if byte or power else every,
        "negative": real < 0,
    }
    if source.dtype is DType.FLOAT32:
        paths["to_byte.by_power"] = every if byte and power else none
        paths["to_wider.by_power"] = every if power and not byte else none
    if source.dtype is not DType.FLOAT32:
        ratio = source.scale / output.scale if output.scale else 0.0
        paths["scaled_down"] = every if ratio < 1 else none
        paths["carried"] = scaling_carries(source, real, ratio)
    return path_call(node, paths)


def _dequantize_call(node: Node) -> KernelCall:
    """Kernel and trips of DEQUANTIZE, which multiplies doubles in software on most cores.

    libgcc's ``__muldf3`` returns early for zero and for a power of two; otherwise the product of
    the significands is ``whole`` when it is 2 or more, and ``shifted`` once when it is less.
    """
    source = node.input(0)
    if source.data is not None:
        stored = source.data.astype(np.int64)
    else:
        # Every value, since few are powers of two.
        limits = np.iinfo(source.dtype.numpy)
        stored = np.arange(limits.min, limits.max + 1, dtype=np.int64)
    values = stored - source.zero_point
    zero = values == 0
    significands, _ = np.frexp(np.abs(values).astype(np.float64))
    power = significands == 0.5
    whole = significands * np.frexp(source.scale)[0] >= 0.5
    return path_call(
        node,
        {"zero": zero, "power": power, "whole": whole & ~power, "shifted": ~whole & ~zero & ~power},
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel("QUANTIZE", _prepare_quantize, _quantize_call),
    Kernel("DEQUANTIZE", _prepare_dequantize, _dequantize_call),
    Kernel("CAST", _prepare_cast, unary_call),
)
