"""Loops of float32 convolutions: each output sums its products in the library's order.

Loops run over output channels innermost, where the library's run over taps, so that they vectorize
although each channel's own sum keeps its order. Products and sums round apart: nothing here is
compiled with contraction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcusim.kernels.compiled.compiler import njit

__all__ = ["Geometry", "convolve", "convolve_depthwise", "convolve_transposed"]


class Geometry(NamedTuple):
    """Steps of a convolution, in rows and columns."""

    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    top: int
    left: int


@njit(cache=True)
def _store(sums: Any, first: int, bias: Any, low: Any, high: Any, out: Any) -> None:
    """Add the bias and clamp as ``std::max`` and ``std::min`` do: NaN and -0 stay."""
    for channel in range(sums.size):
        value = sums[channel] + bias[first + channel]
        value = low if value < low else value
        out[first + channel] = high if high < value else value


@njit(cache=True)
def convolve(
    x: Any, weights: Any, bias: Any, low: Any, high: Any, geometry: Geometry, out: Any
) -> None:
    """Convolve images.

    Args:
        x: float32, ``[image][row][column][channel]``.
        weights: float32, ``[group][row][column][channel][output channel of the group]``.
        bias: float32, for each output channel.
        low: float32, least result.
        high: float32, largest result.
        geometry: steps of the convolution.
        out: float32, ``[image][row][column][output channel]``.
    """
    images, out_h, out_w, _ = out.shape
    groups, kernel_h, kernel_w, depth, width = weights.shape
    in_h, in_w = x.shape[1:3]
    sums = np.empty(width, np.float32)
    for image in range(images):
        for out_y in range(out_h):
            for out_x in range(out_w):
                for group in range(groups):
                    sums[:] = 0
                    for row in range(kernel_h):
                        y = out_y * geometry.stride_h - geometry.top + geometry.dilation_h * row
                        if y < 0 or y >= in_h:
                            continue
                        for column in range(kernel_w):
                            across = geometry.dilation_w * column - geometry.left
                            at = out_x * geometry.stride_w + across
                            if at < 0 or at >= in_w:
                                continue
                            for channel in range(depth):
                                value = x[image, y, at, group * depth + channel]
                                factors = weights[group, row, column, channel]
                                for i in range(width):
                                    sums[i] += value * factors[i]
                    _store(sums, group * width, bias, low, high, out[image, out_y, out_x])


@njit(cache=True)
def convolve_depthwise(
    x: Any, weights: Any, bias: Any, low: Any, high: Any, geometry: Geometry, out: Any
) -> None:
    """Convolve images channel by channel.

    The arguments are those of :func:`convolve`, but ``weights`` is ``[row][column][input
    channel][multiplier]``.
    """
    images, out_h, out_w, channels = out.shape
    kernel_h, kernel_w, depth, multiplier = weights.shape
    in_h, in_w = x.shape[1:3]
    sums = np.empty(channels, np.float32)
    for image in range(images):
        for out_y in range(out_h):
            for out_x in range(out_w):
                sums[:] = 0
                for row in range(kernel_h):
                    y = out_y * geometry.stride_h - geometry.top + geometry.dilation_h * row
                    if y < 0 or y >= in_h:
                        continue
                    for column in range(kernel_w):
                        across = geometry.dilation_w * column - geometry.left
                        at = out_x * geometry.stride_w + across
                        if at < 0 or at >= in_w:
                            continue
                        values, factors = x[image, y, at], weights[row, column]
                        if multiplier == 1:
                            for i in range(depth):
                                sums[i] += values[i] * factors[i, 0]
                        else:
                            for i in range(depth):
                                for copy in range(multiplier):
                                    sums[i * multiplier + copy] += values[i] * factors[i, copy]
                _store(sums, 0, bias, low, high, out[image, out_y, out_x])


@njit(cache=True)
def convolve_transposed(
    x: Any, weights: Any, bias: Any, low: Any, high: Any, geometry: Geometry, out: Any
) -> None:
    """Scatter images over a larger output.

    The arguments are those of :func:`convolve`, but ``weights`` is ``[row][column][input
    channel][output channel]``.
    """
    images, out_h, out_w, channels = out.shape
    kernel_h, kernel_w, depth, _ = weights.shape
    in_h, in_w = x.shape[1:3]
    for image in range(images):
        out[image] = 0
        for in_y in range(in_h):
            for in_x in range(in_w):
                for channel in range(depth):
                    value = x[image, in_y, in_x, channel]
                    for row in range(kernel_h):
                        y = in_y * geometry.stride_h - geometry.top + row
                        if y < 0 or y >= out_h:
                            continue
                        for column in range(kernel_w):
                            at = in_x * geometry.stride_w - geometry.left + column
                            if at < 0 or at >= out_w:
                                continue
                            target, factors = out[image, y, at], weights[row, column, channel]
                            for i in range(channels):
                                target[i] += value * factors[i]
        for y in range(out_h):
            for at in range(out_w):
                _store(out[image, y, at], 0, bias, low, high, out[image, y, at])
