"""Loops of integer convolutions, ordinary and grouped."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mcusim.kernels.compiled.products import LANES, PIXELS, VECTORS, narrow_tile, wide_tile
from mcusim.kernels.compiled.requantization import Scaling, requantize, requantize_wide

__all__ = [
    "LONGEST_SUM",
    "Windows",
    "convolve",
    "convolve_wide",
    "image_starts",
    "pack_weights",
    "pad_images",
]

#: Products of int8 and int16 that int32 can sum whatever they are.
LONGEST_SUM = 510

#: Padded activations of so many elements stay in the cache while they are convolved.
_CHUNK_ELEMENTS = 1 << 17


class Windows(NamedTuple):
    """Where the windows of a convolution lie in a padded image, in elements.

    Attributes:
        height: rows of a padded image.
        width: columns of a padded image.
        top: rows of padding above.
        left: columns of padding to the left.
        zero_point: subtracted from every activation, so that padding is 0.
        pixels: int64, where each output pixel's window begins.
        segments: int64, where each run of consecutive activations begins in a window.
        pairs: length of such a run in pairs, the last one perhaps half used.
    """

    height: int
    width: int
    top: int
    left: int
    zero_point: int
    pixels: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    pairs: int


def pack_weights(weights: npt.NDArray[Any], pairs: int) -> npt.NDArray[np.int16]:
    """Order weights as the tiles read them: wide blocks of channels, then a narrow one.

    Args:
        weights: ``[channel][segment][element]``.
        pairs: length of a segment in pairs.

    Returns:
        int16, flat, ``[block][segment][pair][channel][2]``, zeros where channels or elements end.
    """
    channels, segments, elements = weights.shape
    vectors = -(-channels // LANES)
    filled = np.zeros((vectors * LANES, segments, 2 * pairs), np.int16)
    filled[:channels, :, :elements] = weights
    wide = vectors // VECTORS * VECTORS * LANES
    parts = [
        filled[:wide].reshape(-1, VECTORS * LANES, segments, pairs, 2),
        filled[wide:].reshape(-1, LANES, segments, pairs, 2),
    ]
    return np.concatenate([part.transpose(0, 2, 3, 1, 4).ravel() for part in parts])


@njit(cache=True)
def pad_images(x: Any, first: int, count: int, repeat: int, windows: Windows, padded: Any) -> None:
    """Copy images into the middle of padded ones as int16, less the zero point.

    Args:
        x: int8 or int16, ``[image][row][column][channel]``.
        first: the first image to copy.
        count: how many.
        repeat: how often each channel is repeated.
        windows: place of the image.
        padded: int16, flat; its padding is 0 already and stays.
    """
    _, rows, columns, channels = x.shape
    rows = min(rows, windows.height - windows.top)
    columns = min(columns, windows.width - windows.left)
    stride = windows.width * channels * repeat
    for image in range(count):
        for row in range(rows):
            start = (image * windows.height + windows.top + row) * stride
            target = padded[start + windows.left * channels * repeat :]
            source = x[first + image, row].reshape(-1)
            if repeat == 1:
                for i in range(columns * channels):
                    target[i] = source[i] - windows.zero_point
            else:
                for i in range(columns * channels):
                    for copy in range(repeat):
                        target[i * repeat + copy] = source[i] - windows.zero_point


@njit(cache=True)
def image_starts(windows: Windows, channels: int, images: int) -> Any:
    """Window starts of so many images as stay in the cache, and the padded images themselves.

    Returns:
        int64 starts, pixel by pixel, then repeats of the last one that fill a tile; and int16
        zeros that hold the images, with room for what a window reads beyond its end.
    """
    size = windows.height * windows.width * channels
    chunk = max(1, min(images, _CHUNK_ELEMENTS // max(size, 1)))
    pixels = windows.pixels.size
    starts = np.empty(chunk * pixels + PIXELS, np.int64)
    for image in range(chunk):
        for pixel in range(pixels):
            starts[image * pixels + pixel] = image * size + windows.pixels[pixel]
    starts[chunk * pixels :] = 0
    return starts, np.zeros(chunk * size + 2 * windows.pairs, np.int16)


@njit(cache=True)
def _tile(
    vectors: int, x: Any, starts: Any, first: int, windows: Windows, begin: int, end: int,
    weights: Any, origin: int, sums: Any,
) -> None:  # fmt: skip
    segments, pairs = windows.segments, windows.pairs
    if vectors == 1:
        narrow_tile(x, starts, first, segments, begin, end, pairs, weights, origin, sums)
    else:
        wide_tile(x, starts, first, segments, begin, end, pairs, weights, origin, sums)


@njit(cache=True)
def convolve(
    x: Any, windows: Windows, weights: Any, scaling: Scaling, first_channel: int, out: Any
) -> None:
    """Convolve images with one group of filters, accumulating in int32.

    Args:
        x: int8 or int16, ``[image][row][column][channel]``.
        windows: of one image.
        weights: from :func:`pack_weights`.
        scaling: of the group's output channels.
        first_channel: where these begin in ``out``.
        out: of the type of ``x``, ``[image][pixel][channel]``.
    """
    images, pixels = out.shape[:2]
    channels = scaling.bias.size
    starts, padded = image_starts(windows, x.shape[3], images)
    chunk = (starts.size - PIXELS) // max(pixels, 1)
    segments = windows.segments.size
    sums = np.empty(PIXELS * VECTORS * LANES, np.int32)
    for first in range(0, images, chunk):
        count = min(chunk, images - first)
        pad_images(x, first, count, 1, windows, padded)
        origin = 0
        channel = 0
        while channel < channels:
            vectors = VECTORS if channels - channel > (VECTORS - 1) * LANES else 1
            width = vectors * LANES
            for tile in range(0, count * pixels, PIXELS):
                _tile(vectors, padded, starts, tile, windows, 0, segments, weights, origin, sums)
                for place in range(tile, min(tile + PIXELS, count * pixels)):
                    requantize(
                        sums,
                        (place - tile) * width,
                        min(width, channels - channel),
                        channel,
                        scaling,
                        out[first + place // pixels, place % pixels, first_channel:],
                    )
            origin += width * segments * windows.pairs * 2
            channel += width


@njit(cache=True)
def convolve_wide(
    x: Any,
    windows: Windows,
    weights: Any,
    scaling: Scaling,
    first_channel: int,
    out: Any,
    safe_segments: int,
) -> None:
    """Convolve int16 images with one group of filters, accumulating in int64.

    The arguments are those of :func:`convolve`, and ``safe_segments``, of which int32 holds the
    sum whatever the data are: :data:`LONGEST_SUM` products.
    """
    images, pixels = out.shape[:2]
    channels = scaling.bias.size
    starts, padded = image_starts(windows, x.shape[3], images)
    chunk = (starts.size - PIXELS) // max(pixels, 1)
    segments = windows.segments.size
    sums = np.empty(PIXELS * VECTORS * LANES, np.int32)
    totals = np.empty(sums.size, np.int64)
    for first in range(0, images, chunk):
        count = min(chunk, images - first)
        pad_images(x, first, count, 1, windows, padded)
        origin = 0
        channel = 0
        while channel < channels:
            vectors = VECTORS if channels - channel > (VECTORS - 1) * LANES else 1
            width = vectors * LANES
            for tile in range(0, count * pixels, PIXELS):
                totals[:] = 0
                for segment in range(0, segments, safe_segments):
                    end = min(segment + safe_segments, segments)
                    _tile(
                        vectors, padded, starts, tile, windows, segment, end, weights, origin, sums
                    )
                    totals += sums
                for place in range(tile, min(tile + PIXELS, count * pixels)):
                    requantize_wide(
                        totals,
                        (place - tile) * width,
                        min(width, channels - channel),
                        channel,
                        scaling,
                        out[first + place // pixels, place % pixels, first_channel:],
                    )
            origin += width * segments * windows.pairs * 2
            channel += width
