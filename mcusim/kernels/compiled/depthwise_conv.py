"""Loops of integer depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.conv import Windows, pad_images
from mcusim.kernels.compiled.products import LANES, PIXELS, depthwise_tile
from mcusim.kernels.compiled.requantization import (
    Scaling,
    WideScaling,
    requantize,
    requantize_wide,
)

__all__ = ["convolve_depthwise", "convolve_depthwise_wide"]


@njit(cache=True)
def convolve_depthwise(
    x: Any, windows: Windows, weights: Any, multiplier: int, scaling: Scaling, out: Any
) -> None:
    """Convolve images channel by channel, accumulating in int32.

    Args:
        x: int8, ``[image][row][column][channel]``.
        windows: of one image whose channels are repeated, a segment for each tap.
        weights: int16, ``[tap][output channel][2]``, zeros up to whole vectors of channels and
            in each second place.
        multiplier: output channels of an input channel.
        scaling: of the output channels.
        out: int8, ``[image][pixel][output channel]``.
    """
    images, pixels, channels = out.shape
    stored = out.reshape(-1)
    taps, width, _ = weights.shape
    factors = weights.reshape(-1)
    padded, starts, segments = windows.padded, windows.starts, windows.segments
    sums = np.empty(PIXELS * LANES, np.int32)
    spare = np.empty(PIXELS * LANES, out.dtype)
    for first in range(0, images, windows.images):
        count = min(windows.images, images - first)
        pad_images(x, first, count, multiplier, windows)
        for tile in range(0, count * pixels, PIXELS):
            for channel in range(0, channels, LANES):
                depthwise_tile(padded, starts, tile, segments, taps, factors, width, channel, sums)
                target = (first * pixels + tile) * channels + channel
                rest = min(PIXELS, count * pixels - tile)
                requantize(sums, rest, 1, channel, scaling, stored, target, channels, spare)


@njit(cache=True)
def convolve_depthwise_wide(
    x: Any, windows: Windows, weights: Any, multiplier: int, scaling: WideScaling, out: Any
) -> None:
    """Convolve int16 images channel by channel, accumulating in int64.

    The arguments are those of :func:`convolve_depthwise`.
    """
    images, pixels, channels = out.shape
    stored = out.reshape(-1)
    sums = np.empty(channels, np.int64)
    for first in range(0, images, windows.images):
        count = min(windows.images, images - first)
        pad_images(x, first, count, multiplier, windows)
        for place in range(count * pixels):
            sums[:] = 0
            for tap in range(windows.segments.size):
                start = windows.starts[place] + windows.segments[tap]
                row = windows.padded[start : start + channels]
                for channel in range(channels):
                    sums[channel] += np.int64(row[channel]) * np.int64(weights[tap, channel, 0])
            target = (first * pixels + place) * channels
            requantize_wide(sums, 0, 0, channels, scaling, stored, target)
