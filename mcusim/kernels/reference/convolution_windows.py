"""Where the windows of a convolution lie in memory, for the fast path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.reference.convolution import ConvolutionShape

__all__ = ["WindowPlan", "window_plan"]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Places of the activations that an output needs, in elements of a padded image.

    Attributes:
        height: rows of the padded image, as far as windows reach.
        width: columns of it.
        channels: channels of it.
        pixels: int64, where each output pixel's window begins.
        segments: int64, where each run of consecutive activations begins in a window.
        length: activations of a run.
        pieces: runs that one row or tap of the kernel was cut into.
    """

    height: int
    width: int
    channels: int
    pixels: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    length: int
    pieces: int

    @property
    def pairs(self) -> int:
        """Length of a run in pairs, the last one perhaps half used."""
        return -(-self.length // 2)

    def split(self, weights: Array) -> npt.NDArray[np.int16]:
        """Filters ``[channel][row][column][depth]`` as ``[channel][segment][element]``.

        What a run reads beyond its row or tap meets zeros.
        """
        whole = self.segments.size // self.pieces
        runs = weights.reshape(len(weights), whole, -1)
        filled = np.zeros((len(weights), whole, self.pieces * self.length), np.int16)
        filled[:, :, : runs.shape[2]] = runs
        return filled.reshape(len(weights), self.segments.size, self.length)


def window_plan(
    shape: ConvolutionShape, image_channels: int, depth: int, longest: int | None = None
) -> WindowPlan:
    """Plan the windows of a convolution.

    Args:
        shape: its shape.
        image_channels: channels of the padded image.
        depth: consecutive channels that a tap needs.
        longest: a run is cut where it is longer.
    """
    rows, columns = shape.vertical, shape.horizontal
    height, width = rows.extent, columns.extent
    down = np.arange(rows.outputs)[:, np.newaxis] * rows.stride * width
    across = np.arange(columns.outputs)[np.newaxis] * columns.stride
    taps_down = np.arange(rows.kernel)[:, np.newaxis] * rows.dilation * width
    taps_across = np.arange(columns.kernel)[np.newaxis] * columns.dilation
    length = depth
    if depth == image_channels and columns.dilation == 1:
        taps_across = taps_across[:, :1]
        length = columns.kernel * depth
    pieces = 1 if longest is None else -(-length // longest)
    length = -(-length // pieces)
    starts = ((taps_down + taps_across) * image_channels).ravel()
    cuts = np.arange(pieces) * length
    return WindowPlan(
        height=height,
        width=width,
        channels=image_channels,
        pixels=((down + across) * image_channels).ravel().astype(np.int64),
        segments=(starts[:, np.newaxis] + cuts).ravel().astype(np.int64),
        length=length,
        pieces=pieces,
    )
