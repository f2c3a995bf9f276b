"""Loops of integer transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.float_convolution import Geometry
from mcusim.kernels.compiled.products import LANES
from mcusim.kernels.compiled.requantization import (
    Scaling,
    WideScaling,
    requantize,
    requantize_wide,
)

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
    stored = out.reshape(-1)
    pixels = out_h * out_w
    vectors = -(-channels // LANES)
    # A vector of sums may reach into the next pixel; what it reads there is not stored.
    every = np.empty(pixels * channels + LANES, np.int32)
    image_sums = every[: pixels * channels].reshape(out_h, out_w, channels)
    spare = np.empty(LANES, out.dtype)
    for image in range(images):
        _scatter(x, image, zero_point, weights, geometry, image_sums)
        for pixel in range(pixels):
            target = (image * pixels + pixel) * channels
            sums = every[pixel * channels :]
            requantize(sums, 1, vectors, 0, scaling, stored, target, channels, spare)


@njit(cache=True)
def convolve_transposed_wide(
    x: Any, zero_point: int, weights: Any, geometry: Geometry, scaling: WideScaling, out: Any
) -> None:
    """Scatter int16 images over a larger output, accumulating in int64.

    The arguments are those of :func:`convolve_transposed`.
    """
    images, out_h, out_w, channels = out.shape
    stored = out.reshape(-1)
    pixels = out_h * out_w
    sums = np.empty((out_h, out_w, channels), np.int64)
    for image in range(images):
        _scatter(x, image, zero_point, weights, geometry, sums)
        every = sums.reshape(-1)
        for pixel in range(pixels):
            target = (image * pixels + pixel) * channels
            requantize_wide(every, pixel * channels, 0, channels, scaling, stored, target)
