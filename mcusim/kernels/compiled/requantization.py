"""Scaling of accumulators to stored values, a row of channels at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mcusim.kernels.compiled.fixed_point import multiply_by_quantized_multiplier_wide
from mcusim.kernels.reference.convolution import OutputScaling

__all__ = ["Scaling", "requantize", "requantize_wide", "scaling"]


class Scaling(NamedTuple):
    """Scaling of each output channel, in the form that the loops want.

    Attributes:
        bias: int64, added to the accumulator first.
        multiplier: int32, Q31.
        left: int64, bits of left shift, taken modulo 32 as machines do.
        right: int64, bits of right shift.
        half: int64, half of the right shift's divisor.
        tie: int64, -1 where there is a right shift: what pulls a negative tie away from zero.
        shift: int64, the exponent as the library keeps it, positive to the left.
        offset: zero point of the output.
        low: least stored value.
        high: largest stored value.
    """

    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.int32]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    half: npt.NDArray[np.int64]
    tie: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    offset: int
    low: int
    high: int


def scaling(
    parameters: OutputScaling, bias: npt.NDArray[Any] | None, channels: slice = slice(None)
) -> Scaling:
    """Prepare a layer's scaling for its loops.

    Args:
        parameters: of the layer.
        bias: int32 or int64, for all its output channels.
        channels: which of them to prepare.
    """
    shift = parameters.shifts[channels].astype(np.int64)
    right = np.maximum(-shift, 0)
    added = np.zeros(shift.size, np.int64) if bias is None else bias.ravel()[channels]
    return Scaling(
        bias=added.astype(np.int64),
        multiplier=parameters.multipliers[channels].astype(np.int32),
        left=np.maximum(shift, 0) & 31,
        right=right,
        half=(np.int64(1) << right) >> 1,
        tie=-(right > 0).astype(np.int64),
        shift=shift,
        offset=parameters.output_zero_point,
        low=parameters.low,
        high=parameters.high,
    )


@njit(cache=True)
def requantize(sums: Any, start: int, count: int, first: int, scaling: Scaling, out: Any) -> None:
    """Store ``count`` channels of a pixel from int32 sums, rounding twice.

    Args:
        sums: int32, flat, wrapping.
        start: position of the first sum.
        count: channels.
        first: the first channel.
        scaling: of all channels.
        out: stored values of the pixel, all channels.

    Source: ``MultiplyByQuantizedMultiplier(int32_t, …)``, addition of the output's zero point,
    clamp.
    """
    for i in range(count):
        channel = first + i
        total = np.int32(sums[start + i] + scaling.bias[channel])
        shifted = int(np.int32(np.int64(total) << scaling.left[channel]))
        high = (shifted * scaling.multiplier[channel] + (1 << 30)) >> 31
        high = min(high, 0x7FFFFFFF)
        rounded = high + scaling.half[channel] + ((high >> 63) & scaling.tie[channel])
        value = (rounded >> scaling.right[channel]) + scaling.offset
        out[first + i] = max(min(value, scaling.high), scaling.low)


@njit(cache=True)
def requantize_wide(
    sums: Any, start: int, count: int, first: int, scaling: Scaling, out: Any
) -> None:
    """Store ``count`` channels of a pixel from int64 sums, rounding once.

    Source: ``MultiplyByQuantizedMultiplier(int64_t, …)`` and clamp.
    """
    for i in range(count):
        channel = first + i
        total = sums[start + i] + scaling.bias[channel]
        value = multiply_by_quantized_multiplier_wide(
            total, int(scaling.multiplier[channel]), int(scaling.shift[channel])
        )
        out[first + i] = max(min(value, scaling.high), scaling.low)
