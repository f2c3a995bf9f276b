"""Draws layers that multiply by weights, and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mcusim.emulator.checks.drawing import Draw, one_operator, quantized, tensor
from mcusim.graph import DType, Graph, OptionValue, Tensor

__all__ = [
    "batch_matmul",
    "conv_2d",
    "depthwise_conv_2d",
    "fully_connected",
    "lstm",
    "svdf",
    "transpose_conv",
]

_KERNELS = ((1, 1), (1, 1), (3, 3), (3, 3), (2, 2), (5, 5), (1, 3), (1, 5), (3, 1), (4, 2))


def _bias_type(draw: Draw, dtype: DType) -> DType:
    return DType.INT32 if dtype is DType.INT8 else DType.INT64


def conv_2d(dtype: DType, weights: DType = DType.INT8) -> Callable[[Draw], Graph]:
    """CONV_2D; one in five of a single row, for which the library has a function of its own."""

    def drawn(draw: Draw) -> Graph:
        kernel = draw.one_of(*_KERNELS)
        channels, depth = draw.between(1, 18), draw.one_of(1, 2, 3, 4, 5, 8, 12, 13, 16)
        groups = 1
        if (dtype, weights) == (DType.INT8, DType.INT8) and draw.chance(0.15):
            groups = draw.one_of(2, 3, 4)
            channels = groups * draw.between(1, 5)
        windows = draw.windows(kernel, dilated=kernel != (1, 1) and draw.chance(0.15))
        batches = draw.one_of(1, 1, 1, 2)
        (rows, columns), (out_rows, out_columns) = windows.inputs, windows.outputs
        if kernel[0] == 1 and kernel[1] > 1 and draw.chance(0.7):
            rows = out_rows = 1
        source = draw.fed((batches, rows, columns, groups * depth), dtype)
        filters = draw.weights((channels, *kernel, depth), weights, 0)
        inputs: list[Tensor | None] = [source, filters]
        # The library's int16 function takes a bias of either type.
        kind = DType.INT32 if dtype is DType.INT16 and draw.chance(0.3) else _bias_type(draw, dtype)
        # With groups and no bias the library moves on from a null pointer.
        if groups > 1 or draw.chance(0.85):
            inputs.append(draw.bias(source, filters, kind, channels))
        shape = (batches, out_rows, out_columns, channels)
        output = draw.result(shape, source, filters, kernel[0] * kernel[1] * depth)
        return one_operator("CONV_2D", inputs, output, windows.options, "Conv2DOptions")

    return drawn


def depthwise_conv_2d(dtype: DType, weights: DType = DType.INT8) -> Callable[[Draw], Graph]:
    """DEPTHWISE_CONV_2D.

    With int4 weights always of an even number of input channels: with an odd one no release of the
    library finds the right half of a byte at the border of the image.
    """

    def drawn(draw: Draw) -> Graph:
        kernel = draw.one_of((3, 3), (3, 3), (3, 3), (2, 2), (5, 5), (1, 3), (3, 1), (1, 1))
        depth, multiplier = draw.between(1, 18), draw.one_of(1, 1, 1, 1, 2, 3, 4, 8)
        if weights is DType.INT4:
            depth += depth % 2
        channels = depth * multiplier
        windows = draw.windows(kernel, dilated=draw.chance(0.1))
        batches = draw.one_of(1, 1, 1, 2)
        source = draw.fed((batches, *windows.inputs, depth), dtype)
        filters = draw.weights((1, *kernel, channels), weights, 3)
        # int8 functions are given a bias of zeros by TFLite where there is none.
        bias = draw.bias(source, filters, _bias_type(draw, dtype), channels)
        output = draw.result(
            (batches, *windows.outputs, channels), source, filters, kernel[0] * kernel[1]
        )
        options = windows.options | {"depth_multiplier": multiplier}
        return one_operator(
            "DEPTHWISE_CONV_2D", [source, filters, bias], output, options, "DepthwiseConv2DOptions"
        )

    return drawn


def fully_connected(
    dtype: DType, weights: DType = DType.INT8, *, per_channel: bool = False
) -> Callable[[Draw], Graph]:
    """FULLY_CONNECTED of two dimensions."""

    def drawn(draw: Draw) -> Graph:
        batches, depth = draw.one_of(1, 1, 1, 2, 3), draw.between(1, 120)
        outputs = draw.between(2 if per_channel else 1, 24)
        source = draw.fed((batches, depth), dtype)
        filters = draw.weights((outputs, depth), weights, 0 if per_channel else None)
        kind = _bias_type(draw, dtype)
        bias = draw.bias(source, filters, kind, outputs) if draw.chance(0.8) else None
        output = draw.result((batches, outputs), source, filters, depth)
        options = {"fused_activation_function": draw.activation()}
        return one_operator(
            "FULLY_CONNECTED", [source, filters, bias], output, options, "FullyConnectedOptions"
        )

    return drawn


def transpose_conv(draw: Draw) -> Graph:
    """TRANSPOSE_CONV of int8, about half with so many channels that the filter is turned."""
    kernel = draw.one_of((3, 3), (2, 2), (4, 4), (1, 1), (3, 2), (2, 3), (1, 4))
    stride = draw.one_of((2, 2), (1, 1), (1, 1), (2, 2), (3, 3), (1, 2), (2, 1))
    depth = draw.one_of(1, 2, 3, 8, 16, 17, 20, 24)
    batches, channels = draw.one_of(1, 1, 1, 2), draw.between(1, 10)
    inputs = (draw.between(1, 6), draw.between(1, 6))
    same = draw.chance(0.5)
    made = [
        extent * step if same else (extent - 1) * step + taps
        for extent, step, taps in zip(inputs, stride, kernel, strict=True)
    ]
    source = draw.fed((batches, *inputs, depth), DType.INT8)
    filters = draw.weights((channels, *kernel, depth), DType.INT8, 0)
    bias = draw.bias(source, filters, DType.INT32, channels) if draw.chance(0.75) else None
    shape = (batches, *made, channels)
    taps = kernel[0] * kernel[1] * depth // (stride[0] * stride[1])
    output = draw.result(shape, source, filters, max(1, taps))
    extents = tensor((4,), DType.INT32, None, np.array(shape, np.int32))
    given: list[Tensor | None] = [extents, filters, source]
    options: dict[str, OptionValue] = {
        "padding": "SAME" if same else "VALID",
        "stride_h": stride[0],
        "stride_w": stride[1],
        "fused_activation_function": "NONE",
    }
    if bias is not None:
        given.append(bias)
    return one_operator("TRANSPOSE_CONV", given, output, options, "TransposeConvOptions")


def batch_matmul(dtype: DType) -> Callable[[Draw], Graph]:
    """BATCH_MATMUL, the right side stored by columns, as the library's function takes it."""

    def drawn(draw: Draw) -> Graph:
        outer = draw.one_of((1,), (2,), (3,), (1, 2), (2, 2), (2, 3))
        some = tuple(1 if draw.chance(0.4) else extent for extent in outer)
        of_left, of_right = draw.one_of(
            (outer, outer), (outer, outer), (outer, some), (some, outer)
        )
        rows, depth, columns = draw.between(1, 12), draw.between(1, 40), draw.between(1, 12)
        left = draw.fed((*of_left, rows, depth), dtype)
        right = draw.fed((*of_right, columns, depth), dtype)
        reach = 19000.0 if dtype is DType.INT16 else 74.0
        scale = left.scale * right.scale * math.sqrt(depth) * reach * 3
        output = tensor((*outer, rows, columns), dtype, draw.quantization(dtype, scale))
        options = {"adj_x": False, "adj_y": True, "asymmetric_quantize_inputs": False}
        return one_operator("BATCH_MATMUL", [left, right], output, options, "BatchMatMulOptions")

    return drawn


def svdf(state: DType) -> Callable[[Draw], Graph]:
    """SVDF with a state of int8 or int16."""

    def drawn(draw: Draw) -> Graph:
        batches, depth, units = draw.one_of(1, 1, 2, 3), draw.between(1, 40), draw.between(1, 16)
        rank, memory = draw.one_of(1, 1, 2, 3), draw.between(1, 12)
        filters = units * rank
        source = draw.fed((batches, depth), DType.INT8)
        feature = draw.weights((filters, depth), DType.INT8, None)
        reach = 74 * 74 * math.sqrt(depth) / (48 if state is DType.INT8 else 12000)
        of_state = source.scale * feature.scale * reach
        # The bias's scale must be the product of two others to 1e-5.
        time_scale = float(2.0 ** draw.random.uniform(-9, -6))
        time = tensor(
            (filters, memory), state, quantized(time_scale), draw.values((filters, memory), state)
        )
        sums = quantized(of_state * time_scale)
        span = 1 << (12 if state is DType.INT8 else 20)
        values = draw.random.integers(-span, span, units).astype(np.int32)
        bias = tensor((units,), DType.INT32, sums, values)
        kept = tensor((batches, memory * filters), state, quantized(of_state), is_variable=True)
        wide = 74 if state is DType.INT8 else 19000
        scale = of_state * time_scale * wide * wide * math.sqrt(memory * rank) / 48
        output = tensor((batches, units), DType.INT8, draw.quantization(DType.INT8, scale))
        options: dict[str, OptionValue] = {
            "rank": rank,
            "fused_activation_function": "NONE",
            "asymmetric_quantize_inputs": False,
        }
        return one_operator(
            "SVDF", [source, feature, time, bias, kept], output, options, "SVDFOptions"
        )

    return drawn


def lstm(dtype: DType) -> Callable[[Draw], Graph]:
    """UNIDIRECTIONAL_SEQUENCE_LSTM."""

    def drawn(draw: Draw) -> Graph:
        batches, steps = draw.one_of(1, 1, 2, 3), draw.one_of(1, 2, 3, 4)
        depth, units = draw.between(1, 20), draw.between(1, 16)
        by_time = draw.chance(0.3)
        outer = (steps, batches) if by_time else (batches, steps)
        narrow = dtype is DType.INT8
        of_hidden = quantized(1 / 128 if narrow else 1 / 32768)
        source = tensor((*outer, depth), dtype, quantized(0.0157, 2) if narrow else quantized(6e-5))

        def weights(columns: int, scale: float) -> Tensor:
            values = draw.random.integers(-127, 128, (units, columns)).astype(np.int8)
            return tensor((units, columns), DType.INT8, quantized(scale), values)

        def bias() -> Tensor:
            reach = 5000 if narrow else 1_000_000
            kind = _bias_type(draw, dtype)
            values = draw.random.integers(-reach, reach, units).astype(kind.numpy)
            return tensor((units,), kind, quantized(source.scale * 0.006), values)

        inputs: list[Tensor | None] = [source]
        inputs += [weights(depth, 0.006) for _ in range(4)]
        inputs += [weights(units, 0.005) for _ in range(4)]
        inputs += [None, None, None, *(bias() for _ in range(4)), None, None]
        inputs.append(tensor((batches, units), dtype, of_hidden, is_variable=True))
        inputs.append(tensor((batches, units), DType.INT16, quantized(2.0**-11), is_variable=True))
        inputs += [None] * 4
        output = tensor((*outer, units), dtype, of_hidden)
        options: dict[str, OptionValue] = {
            "fused_activation_function": "TANH",
            "cell_clip": 10.0,
            "proj_clip": 0.0,
            "time_major": by_time,
            "asymmetric_quantize_inputs": False,
            "diagonal_recurrent_tensors": False,
        }
        return one_operator(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            inputs,
            output,
            options,
            "UnidirectionalSequenceLSTMOptions",
        )

    return drawn
