"""CMSIS-NN's depthwise convolutions, loop by loop as the library runs them, every turn counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.cmsis_nn.depthwise_trips import (
    CHANNELS_PER_BLOCK_MVE,
    MVE_LANES,
    is_tiled,
)
from mcusim.kernels.cmsis_nn.matrix_mirror import Mirror, int32
from mcusim.kernels.cmsis_nn.quotients import quotient_kinds
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape

__all__ = [
    "depthwise_conv_3x3_s8",
    "depthwise_conv_s8",
    "depthwise_conv_s8_opt",
    "depthwise_conv_s16",
]

_SMALL = "arm_depthwise_conv_3x3_s8"
_OPT = "arm_depthwise_conv_s8_opt"
_BASIC = "arm_depthwise_conv_s8"
_TILED = "depthwise_conv_s8_mult_4"
_WIDENING = "arm_q7_to_q15_with_offset"


def depthwise_conv_3x3_s8(
    mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array
) -> Array:
    """``arm_depthwise_conv_3x3_s8``: kernel rows outside are skipped, columns by two tests.

    Args:
        mirror: the call; counts its turns.
        shape: of the convolution.
        x: int8, ``[1][row][column][channel]``.
        weights: int8, ``[1][3][3][channel]``.

    Returns:
        int8, ``[1][row][column][channel]``.
    """
    out = np.zeros(_output_shape(shape), np.int8)
    rows, columns = shape.vertical, shape.horizontal
    mirror.count(_SMALL, "call")
    for y in range(rows.outputs):
        mirror.count(_SMALL, "row")
        in_y = y * rows.stride - rows.padding
        first, last = max(0, -in_y), min(3, rows.inputs - in_y)
        for place in range(columns.outputs):
            mirror.count(_SMALL, "pixel")
            in_x = place * columns.stride - columns.padding
            quads, singles = divmod(shape.in_channels, 4)
            mirror.count(_SMALL, "quads" if quads else "no_quads")
            mirror.count(_SMALL, "singles" if singles else "no_singles")
            parts = [("quad", 4 * i, 4) for i in range(quads)]
            parts += [("single", 4 * quads + i, 1) for i in range(singles)]
            for part, channel, width in parts:
                sums = _begin(mirror, _SMALL, part, range(channel, channel + width))
                for row in range(first, last):
                    mirror.count(_SMALL, f"{part}.row")
                    has_left, has_right = in_x >= 0, columns.inputs - in_x >= 3
                    mirror.count(_SMALL, f"{part}.left" if has_left else f"{part}.no_left")
                    mirror.count(_SMALL, f"{part}.right" if has_right else f"{part}.no_right")
                    taps = [0] * has_left + [1] + [2] * has_right
                    for tap in taps:
                        if part == "quad" and mirror.simd == "none":
                            mirror.count("memcpy", "copy.access", 2)
                        for i in range(width):
                            value = int(x[0, in_y + row, in_x + tap, channel + i])
                            weight = int(weights[0, row, tap, channel + i])
                            sums[i] = int32(sums[i] + (value + mirror.input_offset) * weight)
                out[0, y, place, channel : channel + width] = [
                    mirror.output(total, channel + i, _SMALL) for i, total in enumerate(sums)
                ]
    return out


def _output_shape(shape: ConvolutionShape) -> tuple[int, int, int, int]:
    return (shape.batches, shape.vertical.outputs, shape.horizontal.outputs, shape.out_channels)


def _begin(mirror: Mirror, function: str, part: str, channels: Sequence[int]) -> list[int]:
    """Sums that begin with the bias, if there is one."""
    mirror.count(function, part)
    if mirror.bias is None:
        mirror.count(function, f"{part}.no_bias")
        return [0] * len(channels)
    return [int(mirror.bias[channel]) for channel in channels]


def depthwise_conv_s8_opt(
    mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array
) -> Array:
    """``arm_depthwise_conv_s8_opt``, which is another function on each kind of core.

    Arguments and result are those of :func:`depthwise_conv_3x3_s8`, with any kernel.
    """
    if mirror.simd == "none":
        mirror.count(_BASIC, "through_opt")
        return depthwise_conv_s8(mirror, shape, x, weights)
    if mirror.simd == "mve":
        return _opt_mve(mirror, shape, x, weights)
    out = np.zeros(_output_shape(shape), np.int8)
    fills: Counter[tuple[int, int]] = Counter()
    mirror.count(_OPT, "call")
    for y in range(shape.vertical.outputs):
        mirror.count(_OPT, "row")
        for place in range(shape.horizontal.outputs):
            mirror.count(_OPT, "pixel")
            column = _column(mirror, shape, x, y, place, fills)
            out[0, y, place] = _column_products(mirror, shape, column, weights)
    for level, times in fill_trips(fills).items():
        mirror.count("memset", level, int(times))
    return out


def _column(
    mirror: Mirror,
    shape: ConvolutionShape,
    x: Array,
    y: int,
    place: int,
    fills: Counter[tuple[int, int]],
) -> list[list[int]]:
    """All taps of a pixel as int16, the input's offset added; zeros outside."""
    rows, columns = shape.vertical, shape.horizontal
    in_y, in_x = y * rows.stride - rows.padding, place * columns.stride - columns.padding
    first, last = max(0, -in_y), min(rows.kernel, rows.inputs - in_y)
    zeros = [0] * shape.in_channels
    tap_bytes = 2 * shape.in_channels
    column: list[list[int]] = []

    def fill(taps: int) -> None:
        fills[taps * tap_bytes, len(column) * tap_bytes % 4] += 1
        column.extend([zeros] * taps)

    if first:
        mirror.count(_OPT, "fill_above")
        fill(first * columns.kernel)
    for row in range(first, last):
        mirror.count(_OPT, "tap_row")
        for tap in range(columns.kernel):
            if 0 <= in_x + tap < columns.inputs:
                mirror.count(_OPT, "tap_inside")
                column.append(_widened(mirror, x[0, in_y + row, in_x + tap]))
            else:
                mirror.count(_OPT, "tap_outside")
                fill(1)
    if last < rows.kernel:
        mirror.count(_OPT, "fill_below")
        fill((rows.kernel - last) * columns.kernel)
    return column


def _widened(mirror: Mirror, values: Array) -> list[int]:
    """``arm_q7_to_q15_with_offset``: four at a time, put back in order, then one."""
    quads, tail = divmod(len(values), 4)
    mirror.count(_WIDENING, "call")
    mirror.count(_WIDENING, "quads", int(quads > 0))
    mirror.count(_WIDENING, "quad", quads)
    if tail:
        mirror.count(_WIDENING, f"tail_{tail}")
    return [int(value) + mirror.input_offset for value in values]


def _column_products(
    mirror: Mirror, shape: ConvolutionShape, column: list[list[int]], weights: Array
) -> list[int]:
    """Four channels at a time, two taps in each ``SMLAD``; then channel by channel."""
    factors = weights.reshape(shape.taps, -1)
    quads, singles = divmod(shape.in_channels, 4)
    outputs: list[int] = []
    mirror.count(_OPT, "quads", int(quads > 0))
    for quad in range(quads):
        channels = range(4 * quad, 4 * quad + 4)
        sums = _begin(mirror, _OPT, "quad", channels)
        mirror.count(_OPT, "quad.pairs", int(shape.taps > 1))
        for tap in range(0, shape.taps - 1, 2):
            mirror.count(_OPT, "quad.pair")
            mirror.count(_OPT, "quad.pair.again", int(tap > 0))
            for i, channel in enumerate(channels):
                first = column[tap][channel] * int(factors[tap, channel])
                second = column[tap + 1][channel] * int(factors[tap + 1, channel])
                sums[i] = int32(sums[i] + first + second)
        if shape.taps % 2:
            mirror.count(_OPT, "quad.odd_tap")
            for i, channel in enumerate(channels):
                product = column[-1][channel] * int(factors[-1, channel])
                sums[i] = int32(sums[i] + product)
        outputs += [
            mirror.output(total, channel, _OPT)
            for total, channel in zip(sums, channels, strict=True)
        ]
    mirror.count(_OPT, "singles", int(singles > 0))
    for channel in range(4 * quads, shape.in_channels):
        (total,) = _begin(mirror, _OPT, "single", [channel])
        for tap in range(shape.taps):
            mirror.count(_OPT, "single.tap")
            mirror.count(_OPT, "single.tap.again", int(tap > 0))
            total = int32(total + column[tap][channel] * int(factors[tap, channel]))
        outputs.append(mirror.output(total, channel, _OPT))
    return outputs


def _opt_mve(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """Blocks of channels; of each, columns of four pixels and vectors of four channels."""
    out = np.zeros(_output_shape(shape), np.int8)
    flat = out.reshape(-1, shape.out_channels)
    mirror.count(_OPT, "call")
    for first in range(0, shape.in_channels, CHANNELS_PER_BLOCK_MVE):
        mirror.count(_OPT, "block")
        channels = range(first, min(first + CHANNELS_PER_BLOCK_MVE, shape.in_channels))
        waiting: list[Array] = []
        pixel = 0
        for y in range(shape.vertical.outputs):
            mirror.count(_OPT, "row")
            for place in range(shape.horizontal.outputs):
                mirror.count(_OPT, "pixel")
                waiting.append(_column_mve(mirror, shape, x, y, place, channels))
                if len(waiting) == 4:
                    mirror.count(_OPT, "four")
                    found = _vectors_mve(mirror, shape, waiting, weights, channels, "four")
                    flat[pixel : pixel + 4, channels] = found
                    pixel, waiting = pixel + 4, []
        for column in waiting:
            mirror.count(_OPT, "left")
            flat[pixel, channels] = _vectors_mve(
                mirror, shape, [column], weights, channels, "left"
            )[0]
            pixel += 1
    return out


def _column_mve(
    mirror: Mirror, shape: ConvolutionShape, x: Array, y: int, place: int, channels: range
) -> Array:
    rows, columns = shape.vertical, shape.horizontal
    column = np.full((shape.taps, len(channels)), -mirror.input_offset, np.int64)
    steps = -(-len(channels) // MVE_LANES)
    for row in range(rows.kernel):
        mirror.count(_OPT, "tap_row")
        in_y = y * rows.stride - rows.padding + row
        for tap in range(columns.kernel):
            in_x = place * columns.stride - columns.padding + tap
            is_inside = 0 <= in_y < rows.inputs and 0 <= in_x < columns.inputs
            level = "tap_inside" if is_inside else "tap_outside"
            mirror.count(_OPT, level)
            mirror.count(_OPT, f"{level}.step", steps)
            if is_inside:
                column[row * columns.kernel + tap] = x[0, in_y, in_x, channels]
    return column


def _vectors_mve(
    mirror: Mirror,
    shape: ConvolutionShape,
    pixels: Sequence[Array],
    weights: Array,
    channels: range,
    level: str,
) -> list[list[int]]:
    factors = weights.reshape(shape.taps, -1).astype(np.int64)
    outputs: list[list[int]] = [[] for _ in pixels]
    for vector in range(0, len(channels), 4):
        mirror.count(_OPT, f"{level}.vector")
        mirror.count(_OPT, f"{level}.tap", shape.taps)
        for i in range(vector, min(vector + 4, len(channels))):
            channel = channels[i]
            own = factors[:, channel]
            # A sum of the weights carries the input's offset.
            start = int(own.sum()) * mirror.input_offset
            start += 0 if mirror.bias is None else int(mirror.bias[channel])
            for pixel, column in enumerate(pixels):
                total = start + int(column[:, i] @ own)
                outputs[pixel].append(mirror.output(total, channel, _OPT))
    return outputs


def depthwise_conv_s8(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """``arm_depthwise_conv_s8``: tiles of four multipliers, or one output at a time.

    Args:
        mirror: the call; counts its turns.
        shape: of the convolution.
        x: int8, ``[batch][row][column][channel]``.
        weights: int8, ``[1][row][column][output channel]``.

    Returns:
        int8, ``[batch][row][column][output channel]``.
    """
    mirror.count(_BASIC, "call")
    if not is_tiled(shape):

        def requantized(total: int, channel: int) -> int:
            return mirror.output(total, channel, _BASIC)

        return _one_by_one(mirror, shape, x, weights, _BASIC, requantized)
    mirror.count(_TILED, "call")
    out = np.zeros(_output_shape(shape), np.int8)
    multiplier = shape.out_channels // shape.in_channels
    for y in range(shape.vertical.outputs):
        mirror.count(_TILED, "row")
        for place in range(shape.horizontal.outputs):
            mirror.count(_TILED, "pixel")
            for in_channel in range(shape.in_channels):
                mirror.count(_TILED, "channel")
                start = in_channel * multiplier
                for first in range(start, start + multiplier, 4):
                    channels = range(first, first + 4)
                    sums = _begin(mirror, _TILED, "tile", channels)
                    for row, tap, in_y, in_x in _taps(mirror, shape, y, place, _TILED, "tile"):
                        value = int(x[0, in_y, in_x, in_channel]) + mirror.input_offset
                        for i, channel in enumerate(channels):
                            sums[i] = int32(sums[i] + value * int(weights[0, row, tap, channel]))
                    out[0, y, place, channels] = [
                        mirror.output(total, channel, _TILED)
                        for total, channel in zip(sums, channels, strict=True)
                    ]
    return out


def depthwise_conv_s16(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """``arm_depthwise_conv_s16``: one output at a time, sums of 64 bits.

    Arguments and result are those of :func:`depthwise_conv_s8`, of int16 activations.
    """
    function = "arm_depthwise_conv_s16"
    mirror.count(function, "call")

    def requantized(total: int, channel: int) -> int:
        mirror.count(function, "scaling.output")
        return mirror.output_wide(total, channel)

    return _one_by_one(mirror, shape, x, weights, function, requantized)


def _one_by_one(
    mirror: Mirror,
    shape: ConvolutionShape,
    x: Array,
    weights: Array,
    function: str,
    requantized: Callable[[int, int], int],
) -> Array:
    out = np.zeros(_output_shape(shape), x.dtype)
    multiplier = shape.out_channels // shape.in_channels
    dilated = (shape.vertical.dilation > 1) + (shape.horizontal.dilation > 1)
    for batch in range(shape.batches):
        mirror.count(function, "batch")
        for y in range(shape.vertical.outputs):
            mirror.count(function, "row")
            for place in range(shape.horizontal.outputs):
                mirror.count(function, "pixel")
                for in_channel in range(shape.in_channels):
                    mirror.count(function, "channel")
                    for channel in range(in_channel * multiplier, (in_channel + 1) * multiplier):
                        (total,) = _begin(mirror, function, "output", [channel])
                        mirror.count(function, "output.dilated", dilated)
                        if mirror.simd == "none":
                            _divide(mirror, function, shape.vertical, y)
                            _divide(mirror, function, shape.horizontal, place)
                        taps = _taps(mirror, shape, y, place, function, "output")
                        for row, tap, in_y, in_x in taps:
                            value = int(x[batch, in_y, in_x, in_channel]) + mirror.input_offset
                            total += value * int(weights[0, row, tap, channel])
                        out[batch, y, place, channel] = requantized(total, channel)
    return out


def _divide(mirror: Mirror, function: str, axis: Axis, output: int) -> None:
    """Find the first and the last tap inside of the input, by division where it is dilated."""
    if axis.dilation > 1:
        start = output * axis.stride - axis.padding
        ends = [end - start + axis.dilation - 1 for end in (0, axis.inputs)]
        for level, count in quotient_kinds(ends, axis.dilation).items():
            mirror.count(function, level, count)


def _taps(
    mirror: Mirror, shape: ConvolutionShape, y: int, place: int, function: str, part: str
) -> list[tuple[int, int, int, int]]:
    """Taps inside, with the row and column of the input that they meet."""
    rows, columns = shape.vertical, shape.horizontal
    found = []
    for row in range(rows.kernel):
        in_y = y * rows.stride - rows.padding + row * rows.dilation
        if not 0 <= in_y < rows.inputs:
            continue
        mirror.count(function, f"{part}.row")
        taps = []
        for tap in range(columns.kernel):
            in_x = place * columns.stride - columns.padding + tap * columns.dilation
            if 0 <= in_x < columns.inputs:
                mirror.count(function, f"{part}.tap")
                taps.append((row, tap, in_y, in_x))
        mirror.count(function, f"{part}.row_with_taps", bool(taps))
        found += taps
    return found
