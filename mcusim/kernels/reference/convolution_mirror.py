"""TFLM's convolutions loop by loop, as the library writes them, counting the turns of each loop.

Slow, and only for reading and for holding the fast paths and the trip counts against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.fixed_point import (
    activation_range,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_wide,
)
from mcusim.kernels.reference.conv import conv_shape, uses_int32_sums
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, output_scaling
from mcusim.kernels.reference.depthwise_conv import depthwise_shape
from mcusim.kernels.reference.transpose_conv import transposed_shape

__all__ = ["conv_mirror", "depthwise_mirror", "transposed_mirror"]


@dataclass(frozen=True)
class _Arithmetic:
    """What a kernel computes with: float32, or integers of any size that wrap in the end."""

    zero: Any
    times: Callable[[Any, Any], Any]
    stored: Callable[[Any, int], Any]


def _arithmetic(
    node: Node, position: int, channels: int, bias: Array | None, is_wide: bool
) -> _Arithmetic:
    source = node.input(position)
    if source.dtype is DType.FLOAT32:
        bounds = activation_range(node.options.text("fused_activation_function"))
        least, most = map(np.float32, bounds)

        def clamped(total: Any, channel: int) -> Any:
            value = total + (np.float32(0) if bias is None else bias[channel])
            value = max(value, least)
            return min(value, most)

        return _Arithmetic(np.float32(0), lambda x, w: x * w, clamped)
    scaling = output_scaling(node, source, node.input(1), channels)

    def requantized(total: Any, channel: int) -> Any:
        total += 0 if bias is None else int(bias[channel])
        scale = scaling.multipliers[channel], scaling.shifts[channel]
        if is_wide:
            value = int(multiply_by_quantized_multiplier_wide(total, *scale))
        else:
            wrapped = (total + (1 << 31)) % (1 << 32) - (1 << 31)
            value = int(multiply_by_quantized_multiplier(wrapped, *scale))
        return min(max(value + scaling.output_zero_point, scaling.low), scaling.high)

    return _Arithmetic(0, lambda x, w: (int(x) - scaling.input_zero_point) * int(w), requantized)


def conv_mirror(
    node: Node, x: Array, weights: Array, bias: Array | None
) -> tuple[Array, Counter[str]]:
    """CONV_2D of one inference.

    Args:
        node: the operator.
        x: its input, ``[batch][row][column][channel]``.
        weights: its filter, ``[channel][row][column][depth]``.
        bias: its bias, ``[channel]``.

    Returns:
        The output, and the turns of each loop level.

    Source: ``reference_ops::Conv`` and ``reference_integer_ops::ConvPerChannel``.
    """
    shape = conv_shape(node)
    is_wide = node.input(0).dtype is DType.INT16 and not uses_int32_sums(node)
    arithmetic = _arithmetic(node, 0, shape.out_channels, bias, is_wide)
    turns: Counter[str] = Counter(call=1)
    out = np.empty(node.output().shape, node.output().dtype.numpy)
    width = shape.out_channels // (shape.in_channels // shape.kernel_channels)
    for batch, out_y in product(range(shape.batches), range(shape.vertical.outputs)):
        turns["row"] += 1
        for out_x in range(shape.horizontal.outputs):
            turns["pixel"] += 1
            for channel in range(shape.out_channels):
                turns["output"] += 1
                first = channel // width * shape.kernel_channels
                total = arithmetic.zero
                for row in range(shape.vertical.kernel):
                    turns["kernel_row"] += 1
                    in_y = _place(shape.vertical, out_y, row)
                    for column in range(shape.horizontal.kernel):
                        in_x = _place(shape.horizontal, out_x, column)
                        if not _is_inside(turns, "tap", shape, in_x, in_y):
                            continue
                        turns["tap_inside"] += 1
                        for depth in range(shape.kernel_channels):
                            turns["product"] += 1
                            total += arithmetic.times(
                                x[batch, in_y, in_x, first + depth],
                                weights[channel, row, column, depth],
                            )
                turns["bias"] += bias is not None
                out[batch, out_y, out_x, channel] = arithmetic.stored(total, channel)
    return out, turns


def depthwise_mirror(
    node: Node, x: Array, weights: Array, bias: Array | None
) -> tuple[Array, Counter[str]]:
    """DEPTHWISE_CONV_2D of one inference; the filter is ``[1][row][column][channel]``.

    Arguments and results are those of :func:`conv_mirror`.

    Source: ``reference_ops::DepthwiseConv`` and
    ``reference_integer_ops::DepthwiseConvPerChannel``.
    """
    shape = depthwise_shape(node)
    is_wide = node.input(0).dtype is DType.INT16
    arithmetic = _arithmetic(node, 0, shape.out_channels, bias, is_wide)
    turns: Counter[str] = Counter(call=1)
    out = np.empty(node.output().shape, node.output().dtype.numpy)
    multiplier = shape.out_channels // shape.in_channels
    for batch, out_y in product(range(shape.batches), range(shape.vertical.outputs)):
        turns["row"] += 1
        for out_x in range(shape.horizontal.outputs):
            turns["pixel"] += 1
            for in_channel in range(shape.in_channels):
                turns["channel"] += 1
                for copy in range(multiplier):
                    turns["output"] += 1
                    channel = copy + in_channel * multiplier
                    total = arithmetic.zero
                    for row in range(shape.vertical.kernel):
                        turns["kernel_row"] += 1
                        in_y = _place(shape.vertical, out_y, row)
                        is_row_inside = 0 <= in_y < shape.vertical.inputs
                        turns["kernel_row_inside"] += is_row_inside
                        for column in range(shape.horizontal.kernel):
                            in_x = _place(shape.horizontal, out_x, column)
                            turns["tap"] += 1
                            turns["tap_in_row"] += is_row_inside
                            turns["tap_in_row_not_left"] += is_row_inside and in_x >= 0
                            if is_row_inside and 0 <= in_x < shape.horizontal.inputs:
                                turns["product"] += 1
                                total += arithmetic.times(
                                    x[batch, in_y, in_x, in_channel],
                                    weights[0, row, column, channel],
                                )
                    turns["bias"] += bias is not None
                    out[batch, out_y, out_x, channel] = arithmetic.stored(total, channel)
    return out, turns


def transposed_mirror(
    node: Node, x: Array, weights: Array, bias: Array | None
) -> tuple[Array, Counter[str]]:
    """TRANSPOSE_CONV of one inference; the filter is ``[channel][row][column][depth]``.

    Arguments and results are those of :func:`conv_mirror`.

    Source: ``reference_ops::TransposeConv`` and ``reference_integer_ops::TransposeConv``.
    """
    shape = transposed_shape(node)
    is_wide = node.input(2).dtype is DType.INT16
    arithmetic = _arithmetic(node, 2, shape.out_channels, bias, is_wide)
    turns: Counter[str] = Counter(call=1)
    out = np.empty(node.output().shape, node.output().dtype.numpy)
    totals = np.full(out.shape, arithmetic.zero, None if out.dtype == np.float32 else object)
    pixels = product(
        range(shape.batches), range(shape.vertical.outputs), range(shape.horizontal.outputs)
    )
    for batch, in_y, in_x in pixels:
        turns["input_pixel"] += 1
        for depth in range(shape.in_channels):
            turns["input"] += 1
            for row in range(shape.vertical.kernel):
                turns["kernel_row"] += 1
                out_y = _place(shape.vertical, in_y, row)
                for column in range(shape.horizontal.kernel):
                    turns["tap"] += 1
                    out_x = _place(shape.horizontal, in_x, column)
                    # The library tests the place once for every channel.
                    turns["tap_inside"] += (
                        0 <= out_x < shape.horizontal.inputs and 0 <= out_y < shape.vertical.inputs
                    )
                    for channel in range(shape.out_channels):
                        if not _is_inside(turns, "scatter", shape, out_x, out_y):
                            continue
                        turns["product"] += 1
                        totals[batch, out_y, out_x, channel] += arithmetic.times(
                            x[batch, in_y, in_x, depth], weights[channel, row, column, depth]
                        )
    for place in np.ndindex(*out.shape):
        turns["output"] += 1
        turns["output_pixel"] += place[3] == 0
        turns["output.biased"] += bias is not None
        out[place] = arithmetic.stored(totals[place], place[3])
    return out, turns


def _place(axis: Axis, output: int, tap: int) -> int:
    return output * axis.stride - axis.padding + tap * axis.dilation


def _is_inside(
    turns: Counter[str], level: str, shape: ConvolutionShape, at_x: int, at_y: int
) -> bool:
    """Test a tap's place in the library's order, counting each test that is passed."""
    turns[level] += 1
    if at_x < 0:
        return False
    turns[f"{level}_not_left"] += 1
    if at_x >= shape.horizontal.inputs:
        return False
    turns[f"{level}_in_columns"] += 1
    if at_y < 0:
        return False
    turns[f"{level}_not_above"] += 1
    return at_y < shape.vertical.inputs
