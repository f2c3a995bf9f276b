"""CMSIS-NN's convolutions, loop by loop as the library runs them, with every turn counted."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.column_trips import copy_trips, fill_trips
from mcusim.kernels.cmsis_nn.matrix_mirror import (
    Mirror,
    left_over,
    pixel_pair,
    products_nt_t,
    widened,
)
from mcusim.kernels.cmsis_nn.matrix_mirror_s16 import (
    left_over_s16,
    pixel_pair_s16,
    products_nt_t_s16,
)
from mcusim.kernels.reference.convolution import ConvolutionShape

__all__ = ["convolve_1x1_s8", "convolve_1x1_s8_fast", "convolve_s8", "convolve_s16"]

_MVE_BYTES = 16


def convolve_s8(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """``arm_convolve_s8`` of 2026, and of older generations for cores with DSP.

    Args:
        mirror: the call; counts its turns.
        shape: of the convolution.
        x: int8, ``[batch][row][column][channel]``.
        weights: int8, ``[filter][row][column][channel of the group]``.

    Returns:
        int8, ``[batch][row][column][channel]``.
    """
    return _Columns(mirror, shape, x, weights, "arm_convolve_s8").convolve()


def convolve_s16(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """``arm_convolve_s16``: as :func:`convolve_s8`, of int16 inputs; it knows no groups."""
    return _Columns(mirror, shape, x, weights, "arm_convolve_s16").convolve()


class _Columns:
    """A convolution that gathers the column of each pixel and multiplies some at a time."""

    def __init__(
        self, mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array, function: str
    ) -> None:
        self.mirror, self.shape, self.x, self.function = mirror, shape, x, function
        self.groups = shape.in_channels // shape.kernel_channels
        self.filters = [[int(w) for w in row] for row in weights.reshape(len(weights), -1)]
        self.copies: Counter[tuple[int, int, int]] = Counter()
        self.fills: Counter[tuple[int, int]] = Counter()
        self.is_int16 = function == "arm_convolve_s16"

    def convolve(self) -> Array:
        shape, mirror = self.shape, self.mirror
        vertical, horizontal = shape.vertical.outputs, shape.horizontal.outputs
        out = np.zeros((shape.batches, vertical, horizontal, shape.out_channels), self.x.dtype)
        per_group = shape.out_channels // self.groups
        mirror.count(self.function, "call")
        for batch in range(shape.batches):
            mirror.count(self.function, "batch")
            for group in range(self.groups):
                mirror.count(self.function, "group")
                first = group * per_group
                waiting: list[tuple[int, int]] = []
                columns: list[list[int]] = []
                for y in range(vertical):
                    mirror.count(self.function, "row")
                    for x in range(horizontal):
                        mirror.count(self.function, "pixel")
                        columns.append(self._gathered(batch, group, y, x, len(columns)))
                        waiting.append((y, x))
                        if len(columns) == (4 if mirror.simd == "mve" else 2):
                            self._multiply(out[batch], waiting, columns, first)
                            columns, waiting = [], []
                if columns:
                    self._multiply(out[batch], waiting, columns, first)
        if mirror.simd != "mve":
            copies = {} if mirror.before_2026 else copy_trips(self.copies)
            for level, times in (copies | fill_trips(self.fills)).items():
                mirror.count(self.function, level, int(times))
        return out

    def _gathered(self, batch: int, group: int, y: int, x: int, position: int) -> list[int]:
        """The column of one pixel, as the products want it."""
        shape, mirror = self.shape, self.mirror
        depth = shape.kernel_channels
        size = 2 if self.is_int16 or mirror.before_2026 else 1
        column: list[int] = []
        for tap_y in range(shape.vertical.kernel):
            mirror.count(self.function, "kernel_row")
            for tap_x in range(shape.horizontal.kernel):
                place_y = y * shape.vertical.stride - shape.vertical.padding
                place_x = x * shape.horizontal.stride - shape.horizontal.padding
                place_y += tap_y * shape.vertical.dilation
                place_x += tap_x * shape.horizontal.dilation
                tap = tap_y * shape.horizontal.kernel + tap_x
                target = (tap + position * shape.taps) * depth * size % 4
                if self._is_inside(place_y, place_x):
                    values = self.x[batch, place_y, place_x, group * depth : (group + 1) * depth]
                    found = [int(value) for value in values]
                    row = batch * shape.vertical.inputs + place_y
                    source = (row * shape.horizontal.inputs + place_x) * shape.in_channels
                    source = (source + group * depth) * size % 4
                    self._copied(depth * size, source, target)
                    if mirror.before_2026:
                        found = widened(mirror, "arm_q7_to_q15_with_offset", found)
                    column += found
                else:
                    self._filled(depth * size, target)
                    outside = 0 if self.is_int16 or mirror.before_2026 else -mirror.input_offset
                    column += [outside] * depth
        if self.is_int16 or mirror.simd == "mve" or mirror.before_2026:
            return column
        widening = "arm_s8_to_s16_unordered_with_offset"
        if mirror.simd == "none":
            widening = "arm_q7_to_q15_with_offset"
        return widened(mirror, widening, column)

    def _is_inside(self, y: int, x: int) -> bool:
        """Four tests, in the library's order."""
        count, shape = self.mirror.count, self.shape
        count(self.function, "tap")
        if y < 0:
            return False
        count(self.function, "tap_not_above")
        if y >= shape.vertical.inputs:
            return False
        count(self.function, "tap_in_rows")
        if x < 0:
            return False
        count(self.function, "tap_not_left")
        if x >= shape.horizontal.inputs:
            return False
        count(self.function, "tap_inside")
        return True

    def _copied(self, length: int, source: int, target: int) -> None:
        self.copies[length, source, target] += 1
        if self.mirror.simd == "mve":
            self.mirror.count(self.function, "copy.step", -(-length // _MVE_BYTES))

    def _filled(self, length: int, target: int) -> None:
        self.fills[length, target] += 1
        if self.mirror.simd == "mve":
            self.mirror.count(self.function, "fill.step", -(-length // _MVE_BYTES))

    def _multiply(
        self, out: Array, pixels: list[tuple[int, int]], columns: list[list[int]], first: int
    ) -> None:
        mirror = self.mirror
        per_group = self.shape.out_channels // self.groups
        filters = self.filters[first : first + per_group]
        if mirror.simd == "mve":
            mirror.count(self.function, "product")
            found = (
                products_nt_t_s16(mirror, filters, columns)
                if self.is_int16
                else products_nt_t(mirror, filters, columns, first)
            )
        elif len(columns) == 1:
            found = [self._left_over(filters, columns[0], first)]
        else:
            mirror.count(self.function, "pair")
            if self.is_int16:
                found = pixel_pair_s16(mirror, filters, columns)
            else:
                product = "arm_nn_mat_mult_kernel_s8_s16"
                if self.groups > 1:
                    mirror.count(self.function, "group_pair")
                    product = "arm_nn_mat_mult_kernel_row_offset_s8_s16"
                found = pixel_pair(mirror, product, filters, columns, first)
        for (y, x), values in zip(pixels, found, strict=True):
            out[y, x, first : first + per_group] = values

    def _left_over(self, filters: list[list[int]], column: list[int], first: int) -> list[int]:
        if not self.is_int16:
            return left_over(self.mirror, self.function, filters, column, first)
        return left_over_s16(self.mirror, self.function, filters, column)


def convolve_1x1_s8_fast(
    mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array
) -> Array:
    """``arm_convolve_1x1_s8_fast``: one matrix product of all pixels."""
    mirror.count("arm_convolve_1x1_s8_fast", "call")
    rows = [[int(value) for value in row] for row in x.reshape(-1, shape.in_channels)]
    filters = [[int(w) for w in row] for row in weights.reshape(len(weights), -1)]
    found = np.array(products_nt_t(mirror, filters, rows)).astype(x.dtype)
    return found.reshape(
        shape.batches, shape.vertical.outputs, shape.horizontal.outputs, shape.out_channels
    )


def convolve_1x1_s8(mirror: Mirror, shape: ConvolutionShape, x: Array, weights: Array) -> Array:
    """``arm_convolve_1x1_s8``: a matrix product of each row of the output."""
    function = "arm_convolve_1x1_s8"
    filters = [[int(w) for w in row] for row in weights.reshape(len(weights), -1)]
    mirror.count(function, "call")
    images = []
    for image in x:
        mirror.count(function, "batch")
        lines = []
        for y in range(shape.vertical.outputs):
            mirror.count(function, "row")
            line = image[y * shape.vertical.stride, :: shape.horizontal.stride]
            line = line[: shape.horizontal.outputs]
            rows = [[int(value) for value in pixel] for pixel in line]
            lines.append(products_nt_t(mirror, filters, rows))
        images.append(lines)
    return np.array(images).astype(x.dtype)
