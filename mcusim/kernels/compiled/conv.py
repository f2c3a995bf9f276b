"""Loops of integer convolutions, ordinary and grouped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.products import LANES, PIXELS, VECTORS, narrow_tile, wide_tile
from mcusim.kernels.compiled.requantization import (
    Scaling,
    WideScaling,
    requantize,
    requantize_wide,
)

if TYPE_CHECKING:
    from mcusim.kernels.reference.convolution import ConvolutionShape
    from mcusim.kernels.reference.convolution_windows import WindowPlan

__all__ = [
    "LONGEST_SUM",
    "Windows",
    "convolve",
    "convolve_wide",
    "pack_weights",
    "pad_images",
    "place_windows",
]

#: Products of int8 and int16 that int32 can sum whatever they are.
LONGEST_SUM = 510

#: Padded activations of about so many elements stay in the cache while they are convolved.
_CHUNK_ELEMENTS = 1 << 15


class Windows(NamedTuple):
    """Where the windows of a convolution lie in padded images, in elements.

    Attributes:
        height: rows of a padded image.
        width: columns of a padded image.
        top: rows of padding above.
        left: columns of padding to the left.
        zero_point: subtracted from every activation, so that padding is 0.
        images: how many images are padded together.
        starts: int64, where each output pixel's window begins, image by image, and then fillers up
            to whole tiles.
        segments: int64, where each run of consecutive activations begins in a window.
        pairs: length of such a run in pairs, the last one perhaps half used.
        padded: int16, the padded images, and room for what a window reads beyond their end. Their
            padding is 0 and stays so from call to call.
    """

    height: int
    width: int
    top: int
    left: int
    zero_point: int
    images: int
    starts: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    pairs: int
    padded: npt.NDArray[np.int16]


def place_windows(plan: WindowPlan, shape: ConvolutionShape, zero_point: int) -> Windows:
    """Lay out the memory in which a layer's images are convolved."""
    size = plan.height * plan.width * plan.channels
    images = max(1, _CHUNK_ELEMENTS // max(size, 1))
    starts = (np.arange(images)[:, np.newaxis] * size + plan.pixels).ravel()
    return Windows(
        height=plan.height,
        width=plan.width,
        top=shape.vertical.padding,
        left=shape.horizontal.padding,
        zero_point=zero_point,
        images=images,
        starts=np.concatenate([starts, np.zeros(PIXELS, np.int64)]),
        segments=plan.segments,
        pairs=plan.pairs,
        padded=np.zeros(images * size + 2 * plan.pairs + LANES, np.int16),
    )


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
def pad_images(x: Any, first: int, count: int, repeat: int, windows: Windows) -> None:
    """Copy images into the middle of padded ones as int16, less the zero point.

    Args:
        x: int8 or int16, ``[image][row][column][channel]``.
        first: the first image to copy.
        count: how many.
        repeat: how often each channel is repeated.
        windows: place of the images.
    """
    padded = windows.padded
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
def _tile(
    vectors: int, first: int, windows: Windows, begin: int, end: int, weights: Any, origin: int,
    sums: Any,
) -> None:  # fmt: skip
    x, starts, segments, pairs = windows.padded, windows.starts, windows.segments, windows.pairs
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
    images, pixels, stride = out.shape
    stored = out.reshape(-1)
    segments = windows.segments.size
    sums = np.empty(PIXELS * VECTORS * LANES, np.int32)
    spare = np.empty(PIXELS * LANES, out.dtype)
    for first in range(0, images, windows.images):
        count = min(windows.images, images - first)
        pad_images(x, first, count, 1, windows)
        origin = 0
        channel = 0
        while channel < scaling.channels:
            vectors = VECTORS if scaling.channels - channel > (VECTORS - 1) * LANES else 1
            width = vectors * LANES
            for tile in range(0, count * pixels, PIXELS):
                _tile(vectors, tile, windows, 0, segments, weights, origin, sums)
                target = (first * pixels + tile) * stride + first_channel + channel
                rest = min(PIXELS, count * pixels - tile)
                requantize(sums, rest, vectors, channel, scaling, stored, target, stride, spare)
            origin += width * segments * windows.pairs * 2
            channel += width


@njit(cache=True)
def convolve_wide(
    x: Any,
    windows: Windows,
    weights: Any,
    scaling: WideScaling,
    first_channel: int,
    out: Any,
    safe_segments: int,
) -> None:
    """Convolve int16 images with one group of filters, accumulating in int64.

    The arguments are those of :func:`convolve`, and ``safe_segments``, of which int32 holds the
    sum whatever the data are: :data:`LONGEST_SUM` products.
    """
    images, pixels, stride = out.shape
    stored = out.reshape(-1)
    channels = scaling.bias.size
    segments = windows.segments.size
    sums = np.empty(PIXELS * VECTORS * LANES, np.int32)
    totals = np.empty(sums.size, np.int64)
    for first in range(0, images, windows.images):
        count = min(windows.images, images - first)
        pad_images(x, first, count, 1, windows)
        origin = 0
        channel = 0
        while channel < channels:
            vectors = VECTORS if channels - channel > (VECTORS - 1) * LANES else 1
            width = vectors * LANES
            for tile in range(0, count * pixels, PIXELS):
                totals[:] = 0
                for segment in range(0, segments, safe_segments):
                    end = min(segment + safe_segments, segments)
                    _tile(vectors, tile, windows, segment, end, weights, origin, sums)
                    totals += sums
                target = (first * pixels + tile) * stride + first_channel + channel
                for pixel in range(min(PIXELS, count * pixels - tile)):
                    requantize_wide(
                        totals, pixel * width, channel, min(width, channels - channel), scaling,
                        stored, target + pixel * stride,
                    )  # fmt: skip
            origin += width * segments * windows.pairs * 2
            channel += width
