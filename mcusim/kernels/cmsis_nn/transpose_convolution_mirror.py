"""CMSIS-NN's transposed convolutions, loop by loop as the library runs them, turns counted."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.column_trips import copy_trips, fill_trips
from mcusim.kernels.cmsis_nn.convolve_mirror import convolve_s8
from mcusim.kernels.cmsis_nn.matrix_mirror import (
    Mirror,
    int32,
    left_over,
    pixel_pair,
    products_nt_t,
    widened,
)
from mcusim.kernels.cmsis_nn.transpose_convolution_trips import (
    buffer_columns,
    flushed_rows,
    late_rows,
    row_product_trips,
    upscaled_shape,
)
from mcusim.kernels.reference.convolution import ConvolutionShape

__all__ = ["transpose_conv_reversed", "transpose_conv_s8"]

_DIRECT = "arm_transpose_conv_s8"
_ROW = "arm_nn_transpose_conv_row_s8_s32"
_WRAPPER = "arm_transpose_conv_wrapper_s8"
_GENERAL = "arm_convolve_s8"
_UPSCALED = "arm_convolve_s8_upscaled"
_LANES = 16


def transpose_conv_s8(
    mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array, *, flushes_partly: bool
) -> Array:
    """``arm_transpose_conv_s8``: each input row is scattered over a buffer of rows of sums.

    Args:
        mirror: the call; counts its turns.
        shape: of the convolution that the transposed one turns around.
        x: int8, ``[batch][row][column][channel]``.
        weights: int8, ``[output channel][row][column][channel]``.
        flushes_partly: whether the library is of July 2026 or later.

    Returns:
        int8, ``[batch][row][column][output channel]``, 0 where nothing is written.
    """
    return _Rolling(mirror, shape, x, weights, flushes_partly).run()


class _Rolling:
    def __init__(
        self,
        mirror: Mirror,
        shape: ConvolutionShape,
        x: Array,
        weights: Array,
        flushes_partly: bool,
    ) -> None:
        self.mirror, self.shape, self.x, self.weights = mirror, shape, x, weights
        self.flushed = flushed_rows(shape.vertical, flushes_partly)
        self.width = buffer_columns(shape.horizontal)
        self.height = max(shape.vertical.kernel, shape.vertical.stride)
        self.sums = np.zeros((self.height, self.width, shape.out_channels), np.int64)
        self.copies: Counter[tuple[int, int, int]] = Counter()
        self.fills: Counter[tuple[int, int]] = Counter()
        self.written: list[list[list[int]]] = []

    def run(self) -> Array:
        shape, mirror = self.shape, self.mirror
        rows = shape.vertical
        mirror.count(_DIRECT, "call")
        for batch in range(shape.batches):
            mirror.count(_DIRECT, "batch")
            self._reset(range(self.height))
            first = 0
            for in_y in range(rows.outputs):
                mirror.count(_DIRECT, "input_row")
                self._scatter(self.x[batch, in_y], in_y, first)
                mirror.count(_DIRECT, "flush", int(self.flushed[in_y] > 0))
                for _ in range(self.flushed[in_y]):
                    mirror.count(_DIRECT, "flushed_row")
                    self._write(first)
                    self._reset(range(first, first + 1))
                    first = (first + 1) % self.height
            for is_output in late_rows(rows):
                mirror.count(_DIRECT, "late_row")
                if is_output:
                    self._write(first)
                first = (first + 1) % self.height
        if mirror.simd != "mve":
            for level, times in (copy_trips(self.copies) | fill_trips(self.fills)).items():
                mirror.count("memcpy" if level.startswith("copy") else "memset", level, int(times))
        out = np.zeros(
            (shape.batches * rows.inputs, shape.horizontal.inputs, shape.out_channels), np.int8
        )
        kept = self.written[: len(out)]
        out[: len(kept)] = kept
        return out.reshape(shape.batches, rows.inputs, shape.horizontal.inputs, -1)

    def _reset(self, rows: range) -> None:
        """Begin rows of sums: pixel by pixel with a bias, all at once without."""
        mirror, channels = self.mirror, self.shape.out_channels
        pixels = len(rows) * self.width
        mirror.count(_DIRECT, "reset_step", pixels * -(-4 * channels // _LANES))
        if mirror.bias is None:
            self.fills[4 * channels * pixels, 0] += 1
            self.sums[rows] = 0
            return
        mirror.count(_DIRECT, "copy", pixels)
        self.copies[4 * channels, 0, 0] += pixels
        self.sums[rows] = mirror.bias

    def _write(self, row: int) -> None:
        mirror, columns = self.mirror, self.shape.horizontal
        pixels = []
        for x in range(columns.padding, columns.padding + columns.inputs):
            mirror.count(_DIRECT, "pixel")
            mirror.count(_DIRECT, "vector", -(-self.shape.out_channels // 4))
            pixels.append(
                [
                    mirror.output(int(total), channel, _DIRECT)
                    for channel, total in enumerate(self.sums[row, x])
                ]
            )
        self.written.append(pixels)

    def _scatter(self, pixels: Array, in_y: int, first: int) -> None:
        """``arm_nn_transpose_conv_row_s8_s32``: four input columns at a time, then two, one."""
        rows = self.shape.vertical
        above = max(0, rows.padding - in_y * rows.stride)
        below = max(0, in_y * rows.stride + rows.kernel - rows.padding - rows.inputs - 1)
        self.mirror.count(_ROW, "call")
        start, left = 0, len(pixels)
        for step in (4, 2, 1):
            while left >= step:
                self._step(
                    pixels, range(start, start + step), range(above, rows.kernel - below), first
                )
                start, left = start + step, left - step

    def _step(self, pixels: Array, places: range, kernel_rows: range, first: int) -> None:
        mirror, shape = self.mirror, self.shape
        is_mve = mirror.simd == "mve"
        part = "" if is_mve else {4: "four", 2: "two", 1: "one"}[len(places)]
        begin = "" if is_mve else f"{part}."
        if not is_mve:
            mirror.count(_ROW, part)
        for channel in range(shape.out_channels):
            mirror.count(_ROW, f"{begin}channel")
            for turn, row in enumerate(kernel_rows):
                mirror.count(_ROW, f"{begin}row")
                target = self.sums[(first + turn) % self.height]
                for tap in range(shape.horizontal.kernel):
                    mirror.count(_ROW, f"{begin}tap")
                    self._count_products(part, len(places))
                    factors = self.weights[channel, row, tap].astype(np.int64)
                    for place in places:
                        values = pixels[place].astype(np.int64) + mirror.input_offset
                        at = place * shape.horizontal.stride + tap
                        target[at, channel] = int32(int(target[at, channel] + values @ factors))

    def _count_products(self, part: str, width: int) -> None:
        count, depth = self.mirror.count, self.shape.in_channels
        if self.mirror.simd == "mve":
            count(_ROW, "tap.column", width)
            vectors = -(-depth // _LANES)
            count(_ROW, "vector", vectors)
            count(_ROW, "vector.column", vectors * width)
        else:
            for level, turns in row_product_trips(part, depth, self.mirror.simd).items():
                count(_ROW, level, turns)


def transpose_conv_reversed(
    mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array
) -> Array:
    """The filter turned around, then ``arm_convolve_s8`` over an input stretched by the strides.

    Arguments and result are those of :func:`transpose_conv_s8`.
    """
    turned = np.zeros_like(weights)
    flat, target = weights.ravel(), turned.reshape(-1)
    copies: Counter[tuple[int, int, int]] = Counter()
    depth, taps = shape.in_channels, shape.taps
    for channel in range(shape.out_channels):
        mirror.count(_WRAPPER, "filter")
        for tap in range(taps):
            mirror.count(_WRAPPER, "filter_row", int(tap % shape.horizontal.kernel == 0))
            mirror.count(_WRAPPER, "filter_tap")
            source = (channel * taps + tap) * depth
            place = (channel * taps + taps - 1 - tap) * depth
            target[place : place + depth] = flat[source : source + depth]
            copies[depth, source % 4, place % 4] += 1
    wide = upscaled_shape(shape)
    if (shape.vertical.stride, shape.horizontal.stride) == (1, 1):
        out = convolve_s8(mirror, wide, x, turned)
    else:
        out = _stretched(mirror, shape, wide, x, turned, copies)
    if mirror.simd != "mve":
        for level, times in copy_trips(copies).items():
            mirror.count("memcpy", level, int(times))
    return out


def _stretched(
    mirror: Mirror,
    shape: ConvolutionShape,
    wide: ConvolutionShape,
    x: Array,
    weights: Array,
    copies: Counter[tuple[int, int, int]],
) -> Array:
    """Every column is filled with the zero point, then the taps that meet a pixel are copied."""
    out = np.zeros(
        (shape.batches, wide.vertical.outputs, wide.horizontal.outputs, shape.out_channels), np.int8
    )
    filters = [[int(w) for w in row] for row in weights.reshape(len(weights), -1)]
    fills: Counter[tuple[int, int]] = Counter()
    at_once = 4 if mirror.simd == "mve" else 2
    mirror.count(_UPSCALED, "call")
    for batch in range(shape.batches):
        mirror.count(_UPSCALED, "batch")
        flat = out[batch].reshape(-1, shape.out_channels)
        columns: list[list[int]] = []
        pixel = 0
        for y in range(wide.vertical.outputs):
            mirror.count(_UPSCALED, "row")
            for place in range(wide.horizontal.outputs):
                mirror.count(_UPSCALED, "pixel")
                start = len(columns) * wide.taps * wide.in_channels
                column = _column(mirror, shape, wide, x, (batch, y, place), start, copies)
                fills[len(column), start % 4] += 1
                if mirror.simd == "dsp":
                    column = widened(mirror, "arm_s8_to_s16_unordered_with_offset", column)
                elif mirror.simd == "none":
                    column = widened(mirror, "arm_q7_to_q15_with_offset", column)
                columns.append(column)
                if len(columns) == at_once:
                    found = _multiplied(mirror, filters, columns)
                    flat[pixel : pixel + at_once] = found
                    pixel, columns = pixel + at_once, []
        if columns:
            flat[pixel:] = _multiplied(mirror, filters, columns)
    if mirror.simd != "mve":
        for level, times in fill_trips(fills).items():
            mirror.count("memset", level, int(times))
    return out


def _column(
    mirror: Mirror,
    shape: ConvolutionShape,
    wide: ConvolutionShape,
    x: Array,
    pixel: tuple[int, int, int],
    start: int,
    copies: Counter[tuple[int, int, int]],
) -> list[int]:
    batch, y, place = pixel
    depth = wide.in_channels
    column = [-mirror.input_offset] * (wide.taps * depth)
    mirror.count(_UPSCALED, "fill_step", -(-len(column) // _LANES))
    for row in range(wide.vertical.kernel):
        mirror.count(_UPSCALED, "kernel_row")
        at_y = y - wide.vertical.padding + row
        if not 0 <= at_y < wide.vertical.inputs or at_y % shape.vertical.stride:
            continue
        mirror.count(_UPSCALED, "kernel_row_inside")
        for tap in range(wide.horizontal.kernel):
            mirror.count(_UPSCALED, "tap")
            at_x = place - wide.horizontal.padding + tap
            if not 0 <= at_x < wide.horizontal.inputs or at_x % shape.horizontal.stride:
                continue
            mirror.count(_UPSCALED, "tap_inside")
            mirror.count(_UPSCALED, "copy_step", -(-depth // _LANES))
            in_y, in_x = at_y // shape.vertical.stride, at_x // shape.horizontal.stride
            target = (row * wide.horizontal.kernel + tap) * depth
            column[target : target + depth] = [int(value) for value in x[batch, in_y, in_x]]
            source = ((batch * x.shape[1] + in_y) * x.shape[2] + in_x) * depth
            copies[depth, source % 4, (start + target) % 4] += 1
    return column


def _multiplied(
    mirror: Mirror, filters: list[list[int]], columns: list[list[int]]
) -> list[list[int]]:
    if mirror.simd == "mve":
        mirror.count(_GENERAL, "product")
        return products_nt_t(mirror, filters, columns)
    if len(columns) == 1:
        return [left_over(mirror, _GENERAL, filters, columns[0], 0)]
    mirror.count(_GENERAL, "pair")
    return pixel_pair(mirror, "arm_nn_mat_mult_kernel_s8_s16", filters, columns, 0)
