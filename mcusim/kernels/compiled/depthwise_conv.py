"""Loops of integer depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mcusim.kernels.compiled.conv import Windows, image_starts, pad_images
from mcusim.kernels.compiled.products import PIXELS
from mcusim.kernels.compiled.requantization import Scaling, requantize, requantize_wide

__all__ = ["convolve_depthwise", "convolve_depthwise_wide"]


@njit(cache=True)
def convolve_depthwise(
    x: Any, windows: Windows, weights: Any, multiplier: int, scaling: Scaling, out: Any
) -> None:
    """Convolve images channel by channel, accumulating in int32.

    Args:
        x: int8, ``[image][row][column][channel]``.
        windows: of one image whose channels are repeated, a segment for each tap.
        weights: int16, ``[tap][output channel]``.
        multiplier: output channels of an input channel.
        scaling: of the output channels.
        out: int8, ``[image][pixel][output channel]``.
    """
    images, pixels, channels = out.shape
    starts, padded = image_starts(windows, channels, images)
    chunk = (starts.size - PIXELS) // max(pixels, 1)
    sums = np.empty(channels, np.int32)
    for first in range(0, images, chunk):
        count = min(chunk, images - first)
        pad_images(x, first, count, multiplier, windows, padded)
        for place in range(count * pixels):
            sums[:] = 0
            for tap in range(windows.segments.size):
                start = starts[place] + windows.segments[tap]
                row = padded[start : start + channels]
                for channel in range(channels):
                    product = np.int32(row[channel]) * np.int32(weights[tap, channel])
                    sums[channel] = np.int32(sums[channel] + np.int32(product))
            result = out[first + place // pixels, place % pixels]
            requantize(sums, 0, channels, 0, scaling, result)


@njit(cache=True)
def convolve_depthwise_wide(
    x: Any, windows: Windows, weights: Any, multiplier: int, scaling: Scaling, out: Any
) -> None:
    """Convolve int16 images channel by channel, accumulating in int64.

    The arguments are those of :func:`convolve_depthwise`.
    """
    images, pixels, channels = out.shape
    starts, padded = image_starts(windows, channels, images)
    chunk = (starts.size - PIXELS) // max(pixels, 1)
    sums = np.empty(channels, np.int64)
    for first in range(0, images, chunk):
        count = min(chunk, images - first)
        pad_images(x, first, count, multiplier, windows, padded)
        for place in range(count * pixels):
            sums[:] = 0
            for tap in range(windows.segments.size):
                start = starts[place] + windows.segments[tap]
                row = padded[start : start + channels]
                for channel in range(channels):
                    sums[channel] += np.int64(row[channel]) * np.int64(weights[tap, channel])
            result = out[first + place // pixels, place % pixels]
            requantize_wide(sums, 0, channels, 0, scaling, result)
