"""Loops of integer transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mcusim.kernels.compiled.float_convolution import Geometry
from mcusim.kernels.compiled.requantization import Scaling, requantize, requantize_wide

__all__ = ["convolve_transposed", "convolve_transposed_wide"]


@njit(cache=True)
def _scatter(
    x: Any, image: int, zero_point: int, weights: Any, geometry: Geometry, sums: Any
) -> None:
    kernel_h, kernel_w, depth, channels = weights.shape
    out_h, out_w, _ = sums.shape
    _, in_h, in_w, _ = x.shape
    sums[:] = 0
    for in_y in range(in_h):
        for in_x in range(in_w):
            for row in range(kernel_h):
                y = in_y * geometry.stride_h - geometry.top + row
                if y < 0 or y >= out_h:
                    continue
                for column in range(kernel_w):
                    at = in_x * geometry.stride_w - geometry.left + column
                    if at < 0 or at >= out_w:
                        continue
                    target = sums[y, at]
                    for channel in range(depth):
                        value = np.int32(x[image, in_y, in_x, channel] - zero_point)
                        factors = weights[row, column, channel]
                        for i in range(channels):
                            target[i] += np.int32(value * np.int32(factors[i]))


@njit(cache=True)
def convolve_transposed(
    x: Any, zero_point: int, weights: Any, geometry: Geometry, scaling: Scaling, out: Any
) -> None:
    """Scatter images over a larger output, accumulating in int32.

    Args:
        x: int8, ``[image][row][column][channel]``.
        zero_point: of the input.
        weights: int16, ``[row][column][input channel][output channel]``.
        geometry: strides and padding.
        scaling: of the output channels.
        out: int8, ``[image][row][column][output channel]``.
    """
    images, out_h, out_w, channels = out.shape
    sums = np.empty((out_h, out_w, channels), np.int32)
    for image in range(images):
        _scatter(x, image, zero_point, weights, geometry, sums)
        for y in range(out_h):
            for at in range(out_w):
                requantize(sums[y, at], 0, channels, 0, scaling, out[image, y, at])


@njit(cache=True)
def convolve_transposed_wide(
    x: Any, zero_point: int, weights: Any, geometry: Geometry, scaling: Scaling, out: Any
) -> None:
    """Scatter int16 images over a larger output, accumulating in int64.

    The arguments are those of :func:`convolve_transposed`.
    """
    images, out_h, out_w, channels = out.shape
    sums = np.empty((out_h, out_w, channels), np.int64)
    for image in range(images):
        _scatter(x, image, zero_point, weights, geometry, sums)
        for y in range(out_h):
            for at in range(out_w):
                requantize_wide(sums[y, at], 0, channels, 0, scaling, out[image, y, at])
