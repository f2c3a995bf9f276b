"""FULLY_CONNECTED."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import (
    Int32Array,
    activation_range,
    activation_range_quantized,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_wide,
    quantize_multipliers,
)
from mcusim.kernels.reference.checks import (
    is_quantized,
    refuse,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.dense import Rescaling, accumulate, bind_rows, product_multiplier

__all__ = ["KERNELS", "DenseTurns", "fully_connected_mirror", "prepare"]


def _channel_multipliers(
    node: Node, source: Tensor, weights: Tensor, output: Tensor
) -> tuple[Int32Array, Int32Array]:
    quantization = weights.quantization
    assert quantization is not None
    require(weights.dtype is not DType.INT4, node, "int4 weights have more than one scale")
    scales = quantization.scales
    axis = quantization.axis
    require(
        axis < len(weights.shape) and scales.size == weights.shape[axis],
        node,
        f"the weights, of shape {weights.shape}, have {scales.size} scales along axis {axis}",
    )
    outputs = output.shape[-1]
    require(scales.size >= outputs, node, f"{scales.size} scales for {outputs} outputs")
    with np.errstate(all="ignore"):
        products = np.float64(source.scale) * scales.astype(np.float64)
        real = products / np.float64(output.scale)
    multipliers, shifts = quantize_multipliers(real[:outputs])
    return multipliers, shifts


def _is_per_channel(weights: Tensor) -> bool:
    quantization = weights.quantization
    return is_quantized(weights) and quantization is not None and quantization.is_per_channel


def _rescaling(node: Node, source: Tensor, weights: Tensor, bias: Tensor | None) -> Rescaling:
    """Source: ``CalculateOpDataFullyConnected``."""
    output = node.output()
    per_channel = _is_per_channel(weights)
    if per_channel:
        multipliers, shifts = _channel_multipliers(node, source, weights, output)
    else:
        multiplier, shift = product_multiplier(node, source, weights, bias, output.scale)
        multipliers, shifts = np.array([multiplier], np.int32), np.array([shift], np.int32)
    activation = node.options.text("fused_activation_function", "NONE")
    low, high = activation_range_quantized(
        activation, output.dtype, output.scale, output.zero_point
    )
    return Rescaling(
        input_offset=-source.zero_point,
        filter_offset=0 if per_channel else -weights.zero_point,
        multipliers=multipliers,
        shifts=shifts,
        output_offset=output.zero_point,
        low=low,
        high=high,
        wide=source.dtype is DType.INT16 and not _sums_int32(node, bias),
        dtype=output.dtype,
    )


def _sums_int32(node: Node, bias: Tensor | None) -> bool:
    """Whether an int16 kernel accumulates in int32."""
    if bias is None:
        return node.options.text("quantized_bias_type", "FLOAT32") == "INT32"
    return bias.dtype is DType.INT32


@dataclass(frozen=True)
class _Shape:
    """Rows of the input and of the output, and lengths of both."""

    batches: int
    depth: int
    outputs: int


def _shape(node: Node) -> _Shape:
    source, weights, output = node.input(0), node.input(1), node.output()
    require(len(weights.shape) >= 2, node, f"the weights have shape {weights.shape}")
    require(len(output.shape) >= 1, node, "the output is a scalar")
    outputs, depth = output.shape[-1], weights.shape[-1]
    batches = output.elements // max(outputs, 1)
    rows = weights.elements // max(depth, 1)
    require(outputs <= rows, node, f"{outputs} outputs from weights of shape {weights.shape}")
    require(
        source.elements >= batches * depth,
        node,
        f"an input of shape {source.shape} is short of {batches} times {depth} elements",
    )
    return _Shape(batches, depth, outputs)


def _type(node: Node) -> DType:
    """Type of the input, refused unless the library computes it with these weights."""
    source, weights = node.input(0), node.input(1)
    require_same_type(node, source, node.output(), "input and output")
    dtype = supported(node, source, (DType.INT8, DType.INT16, DType.FLOAT32), "input")
    allowed = {
        DType.FLOAT32: (DType.FLOAT32,),
        DType.INT8: (DType.INT8, DType.INT4),
        DType.INT16: (DType.INT8,),
    }[dtype]
    if weights.dtype not in allowed:
        refuse(node, f"the input is {dtype.value} and the weights are {weights.dtype.value}")
    return dtype


def prepare(
    node: Node, adjust: Callable[[Rescaling], Rescaling] = lambda rescaling: rescaling
) -> Binder:
    """Check a node and prepare it.

    Args:
        node: the operator.
        adjust: what another library's kernel does otherwise with the sums.

    Raises:
        UnsupportedOperatorError: the library refuses the node.

    Source: ``FullyConnectedPrepare`` and ``FullyConnectedEval``.
    """
    source, weights, bias = node.input(0), node.input(1), node.optional_input(2)
    dtype = _type(node)
    shape = _shape(node)
    if dtype is DType.FLOAT32:
        _require_bias(node, bias, shape, DType.FLOAT32)
        return partial(_bind_float, node, shape)
    rescaling = _rescaling(node, source, weights, bias)
    _require_bias(node, bias, shape, DType.INT64 if rescaling.wide else DType.INT32)
    rescaling = adjust(rescaling)
    if weights.data is None or (bias is not None and bias.data is None):
        return partial(_bind_computed_weights, rescaling, shape, node.output())
    return partial(_bind_constant_weights, node, rescaling, shape, weights.data)


def _bind_constant_weights(
    node: Node, rescaling: Rescaling, shape: _Shape, data: Array
) -> BoundKernel:
    source, bias, output = node.input(0), node.optional_input(2), node.output()
    flat = data.reshape(-1, shape.depth)[: shape.outputs]
    rows = bind_rows(flat, None if bias is None else bias.data, rescaling, source.dtype)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = inputs[0]
        assert x is not None
        flat = _rows(x, shape)
        return [rows(flat.reshape(-1, shape.depth)).reshape(len(x), *output.shape)]

    return run


def _require_bias(node: Node, bias: Tensor | None, shape: _Shape, dtype: DType) -> None:
    if bias is not None:
        supported(node, bias, (dtype,), "bias")
        require(bias.elements >= shape.outputs, node, f"the bias has shape {bias.shape}")


def _rows(x: Array, shape: _Shape) -> Array:
    """The elements that the kernel reads, shape ``(inferences, batches, depth)``."""
    flat = x.reshape(len(x), -1)[:, : shape.batches * shape.depth]
    return flat.reshape(len(x), shape.batches, shape.depth)


def _bind_computed_weights(rescaling: Rescaling, shape: _Shape, output: Tensor) -> BoundKernel:
    """Weights or bias that another operator computes."""

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, weights, bias = _operands(inputs, shape)
        sums = accumulate(x, weights, bias, rescaling.input_offset, rescaling.filter_offset)
        return [rescaling.stored(sums).reshape(-1, *output.shape)]

    return run


def _operands(inputs: Sequence[Array | None], shape: _Shape) -> tuple[Array, Array, Array | None]:
    """Input, weights and bias of each inference, as rows."""
    x, weights = inputs[0], inputs[1]
    assert x is not None
    assert weights is not None
    bias = inputs[2] if len(inputs) > 2 else None
    flat = weights.reshape(len(weights), -1, shape.depth)[:, : shape.outputs]
    cut = None if bias is None else bias.reshape(len(bias), -1)[:, : shape.outputs]
    return _rows(x, shape), flat, cut


def _bind_float(node: Node, shape: _Shape) -> BoundKernel:
    """Source: ``reference_ops::FullyConnected``."""
    from mcusim.kernels.compiled.dense import dot_products

    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    low, high = (np.float32(bound) for bound in activation_range(activation))
    none = np.zeros((1, shape.outputs), np.float32)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, weights, bias = _operands(inputs, shape)
        count = max(len(x), len(weights), 1 if bias is None else len(bias))
        out = np.empty((count, shape.batches, shape.outputs), np.float32)
        dot_products(
            np.ascontiguousarray(x),
            np.ascontiguousarray(weights.swapaxes(1, 2)),
            none if bias is None else np.ascontiguousarray(bias),
            low,
            high,
            out,
        )
        return [out.reshape(count, *output.shape)]

    return run


@dataclass(frozen=True)
class DenseTurns:
    """Turns of the loops of a FULLY_CONNECTED.

    Attributes:
        batches: rows of inputs.
        outputs: elements of the output.
        biases: additions of a bias.
        products: products of an input with a weight.
    """

    batches: int
    outputs: int
    biases: int
    products: int


def fully_connected_mirror(
    x: Array, weights: Array, bias: Array | None, rescaling: Rescaling
) -> tuple[Array, DenseTurns]:
    """FULLY_CONNECTED of stored values, loop by loop as the library computes it.

    Args:
        x: int8 or int16, shape ``(batches, depth)``.
        weights: int8, shape ``(outputs, depth)``.
        bias: int32 or int64, shape ``(outputs,)``.
        rescaling: of the sums.

    Returns:
        The output, shape ``(batches, outputs)``, and the turns of its loops.

    Source: ``reference_integer_ops::FullyConnected`` and ``FullyConnectedPerChannel``.
    """
    depth, outputs = x.shape[1], len(weights)
    out = np.empty((len(x), outputs), rescaling.dtype.numpy)
    batches = counted = biases = products = 0
    for batch in range(len(x)):
        batches += 1
        for channel in range(outputs):
            counted += 1
            total = 0
            for d in range(depth):
                products += 1
                weight = int(weights[channel, d]) + rescaling.filter_offset
                total += weight * (int(x[batch, d]) + rescaling.input_offset)
            if bias is not None:
                biases += 1
                total += int(bias[channel])
            position = channel if rescaling.multipliers.size > 1 else 0
            scale = rescaling.multipliers[position], rescaling.shifts[position]
            if rescaling.wide:
                scaled = int(multiply_by_quantized_multiplier_wide(total, *scale))
            else:
                wrapped = (total + (1 << 31)) % (1 << 32) - (1 << 31)
                scaled = int(multiply_by_quantized_multiplier(wrapped, *scale))
            stored = max(scaled + rescaling.output_offset, rescaling.low)
            out[batch, channel] = min(stored, rescaling.high)
    return out, DenseTurns(batches, counted, biases, products)


def _call(node: Node) -> KernelCall:
    source, weights, bias = node.input(0), node.input(1), node.optional_input(2)
    _type(node)
    shape = _shape(node)
    outputs = shape.batches * shape.outputs
    products = outputs * shape.depth
    trips: dict[str, float] = {
        "call": 1,
        "next_batch": shape.batches - 1,
        "output": outputs,
        "bias": 0 if bias is None else outputs,
    }
    if source.dtype is DType.FLOAT32:
        trips["product"] = products
        # In soft float an addition that cancels leading bits costs more. A sum of n terms of both
        # signs is about sqrt(n) terms long, so the n-th addition does so ever less often.
        trips["cancellation"] = outputs * 2 * (math.sqrt(shape.depth) - 1)
        return KernelCall(
            "reference_ops::FullyConnected",
            "reference/fully_connected_float32",
            trips,
            macs=products,
        )
    per_channel = _is_per_channel(weights)
    # The kernel of one scale adds the weights' zero point to each weight, the other does not.
    trips["product"] = 0 if per_channel else products
    trips["channel_output"] = outputs if per_channel else 0
    trips["channel_product"] = products if per_channel else 0
    profile = f"reference/fully_connected_{source.dtype.value}"
    if weights.dtype is DType.INT4:
        trips["unpacked_weight"] = weights.elements
        profile = "reference/fully_connected_int4"
    elif source.dtype is DType.INT16 and _sums_int32(node, bias):
        profile += "_sums_int32"
    name = "FullyConnectedPerChannel" if per_channel else "FullyConnected"
    return KernelCall(f"reference_integer_ops::{name}", profile, trips, macs=products)


KERNELS: tuple[Kernel, ...] = (Kernel("FULLY_CONNECTED", prepare, _call),)
