"""What CMSIS-NN's legacy q7 functions compute on cores with DSP, loop by loop.

No outputs of theirs were recorded beside their inputs: this is the source as read, held against
nothing but itself. Outputs are ``(sum + (bias << bias_shift) + half) >> out_shift``, saturated.

Source: CMSIS-NN of CMSIS 5.8.0 (2021), the functions of the same names; softmax also of 2020.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.kernels.cmsis_nn.legacy_q7_trips import SquareConvolution, SquarePooling
from mcusim.kernels.cmsis_nn.pooling_arithmetic import accumulated, truncated
from mcusim.kernels.cmsis_nn.pooling_trips import in_place_windows

__all__ = [
    "Shifts",
    "avepool_q7",
    "convolve_q7",
    "fully_connected_q7",
    "maxpool_q7",
    "relu_q7",
    "softmax_q7",
]

Int8s = npt.NDArray[np.int8]
Turns = dict[str, float]

_QUAD = 4
#: The base lies so far below the largest value, and a power of two is at most so large.
_SOFTMAX_RANGE = 8
_SOFTMAX_BITS = 3


@dataclass(frozen=True)
class Shifts:
    """Scales of a layer, powers of two.

    Attributes:
        bias: to the left, of the bias.
        output: to the right, of the sum.
    """

    bias: int
    output: int

    def start(self, bias: int) -> int:
        """What a sum begins with: the bias, and half of what the shift drops."""
        return (bias << self.bias) + ((1 << self.output) >> 1)

    def stored(self, total: int) -> int:
        """``__SSAT(total >> out_shift, 8)``."""
        return min(max(total >> self.output, -128), 127)


def _dot(level: str, weights: Int8s, values: Int8s, start: int, turns: Counter[str]) -> int:
    """Products of four a turn, then one by one; counted once for each tile by the caller."""
    total, at = start, 0
    turns[f"{level}.quads"] += len(values) >= _QUAD
    while len(values) - at >= _QUAD:
        turns[f"{level}.quad"] += 1
        turns[f"{level}.next_quad"] += at > 0
        for i in range(at, at + _QUAD):
            total += int(weights[i]) * int(values[i])
        at += _QUAD
    turns[f"{level}.tail_{len(values) - at}"] += 1
    for i in range(at, len(values)):
        total += int(weights[i]) * int(values[i])
    return total


def convolve_q7(
    shape: SquareConvolution, x: Int8s, weights: Int8s, bias: Int8s, shifts: Shifts
) -> tuple[Int8s, Turns]:
    """``arm_convolve_HWC_q7_basic``; the bits of ``…_fast`` and ``…_RGB`` are the same.

    Args:
        shape: of the convolution.
        x: int8, shape ``(extent, extent, channels)``.
        weights: int8, shape ``(filters, kernel, kernel, channels)``.
        bias: int8, shape ``(filters,)``.
        shifts: scales.

    Returns:
        int8 of shape ``(outputs, outputs, filters)``, and the turns of the products' loops.
    """
    turns: Counter[str] = Counter()
    out = np.empty((shape.pixels, shape.filters), np.int8)
    rows = weights.reshape(shape.filters, -1)
    waiting: list[tuple[int, Int8s]] = []

    def multiply(level: str, filters: range) -> None:
        first = True
        for row in filters:
            for pixel, column in waiting:
                # A tile of several sums is one turn of each loop.
                counted = turns if first else Counter[str]()
                start = shifts.start(int(bias[row]))
                total = _dot(level, rows[row], column, start, counted)
                out[pixel, row] = shifts.stored(total)
                first = False

    for pixel in range(shape.pixels):
        waiting.append((pixel, _column(shape, x, pixel)))
        if len(waiting) < 2:
            continue
        turns["pair"] += 1
        for first in range(0, shape.filters - 1, 2):
            turns["tile"] += 1
            multiply("tile", range(first, first + 2))
        if shape.filters % 2:
            turns["odd_tile"] += 1
            multiply("odd_tile", range(shape.filters - 1, shape.filters))
        waiting.clear()
    if waiting:
        turns["left"] += 1
        for row in range(shape.filters):
            turns["left.filter"] += 1
            multiply("left.filter", range(row, row + 1))
    image = out.reshape(shape.outputs, shape.outputs, shape.filters)
    return image, {name: float(count) for name, count in turns.items()}


def _column(shape: SquareConvolution, x: Int8s, pixel: int) -> Int8s:
    """The taps of a pixel, zero outside of the input."""
    y, column = divmod(pixel, shape.outputs)
    taps = np.zeros((shape.kernel, shape.kernel, shape.channels), np.int8)
    rows, columns = shape.inside(y), shape.inside(column)
    top, left = shape.origin(y), shape.origin(column)
    taps[rows.start : rows.stop, columns.start : columns.stop] = x[
        top + rows.start : top + rows.stop, left + columns.start : left + columns.stop
    ]
    return taps.ravel()


def fully_connected_q7(
    x: Int8s, weights: Int8s, bias: Int8s, shifts: Shifts, interleaved: bool = False
) -> tuple[Int8s, Turns]:
    """``arm_fully_connected_q7``, or ``…_opt``, which takes four outputs at a time instead of two.

    Args:
        x: int8, shape ``(columns,)``.
        weights: int8, shape ``(rows, columns)``; ``…_opt`` wants them stored in another order.
        bias: int8, shape ``(rows,)``.
        shifts: scales.
        interleaved: ``…_opt``.

    Returns:
        int8 of shape ``(rows,)``, and the turns of the products' loops.
    """
    turns: Counter[str] = Counter()
    step, level, single = (4, "four", "single") if interleaved else (2, "pair", "odd")
    out = np.empty(len(weights), np.int8)
    grouped = len(weights) // step * step
    for row, line in enumerate(weights):
        name = level if row < grouped else single
        is_first = row >= grouped or row % step == 0
        turns[name] += is_first
        counted = turns if is_first else Counter[str]()
        total = _dot(name, line, x, shifts.start(int(bias[row])), counted)
        out[row] = shifts.stored(total)
    return out, {name: float(count) for name, count in turns.items()}


def maxpool_q7(shape: SquarePooling, x: Int8s) -> tuple[Int8s, Int8s]:
    """``arm_maxpool_q7_HWC``: the output, and what the input holds afterwards.

    Args:
        shape: of the pooling.
        x: int8, shape ``(extent, extent, channels)``, not changed.
    """
    left = x.copy()
    for window, (first, count) in enumerate(in_place_windows(shape.axis, True)):
        left[:, window] = left[:, first]
        for tap in range(first + 1, first + count):
            left[:, window] = np.maximum(left[:, window], left[:, tap])
    rows = (
        left[first : first + count, : shape.outputs].max(axis=0)
        for first, count in in_place_windows(shape.axis, False)
    )
    return np.stack(list(rows)), left


def avepool_q7(shape: SquarePooling, x: Int8s) -> tuple[Int8s, Int8s]:
    """``arm_avepool_q7_HWC``: both means truncated; arguments as of :func:`maxpool_q7`."""
    left = x.copy()
    for window, (first, count) in enumerate(in_place_windows(shape.axis, True)):
        left[:, window] = _mean([left[:, first + tap] for tap in range(count)])
    lines = left[:, : shape.outputs].reshape(shape.extent, -1)
    rows = (
        _mean([lines[first + tap] for tap in range(count)])
        for first, count in in_place_windows(shape.axis, False)
    )
    return np.stack(list(rows)).reshape(shape.outputs, shape.outputs, shape.channels), left


def _mean(taps: list[Int8s]) -> Int8s:
    return truncated(accumulated(taps), len(taps)).astype(np.int8)


def relu_q7(x: Int8s, size: int) -> Int8s:
    """``arm_relu_q7`` of the first ``size`` elements, which is a ``uint16_t``."""
    out = x.copy()
    count = size % (1 << 16)
    out.ravel()[:count] = np.maximum(x.ravel()[:count], 0)
    return out


def softmax_q7(x: Int8s, wraps: bool = False) -> Int8s:
    """``arm_softmax_q7``: powers of two of the distance from the largest, as shares of their sum.

    Args:
        x: int8, one dimension.
        wraps: the library of 2020, which takes four differences at once in eight bits each.
    """
    base = int(x.max()) - _SOFTMAX_RANGE
    quads = len(x) // _QUAD * _QUAD if wraps else 0
    above = [_difference(int(v), base, i < quads) for i, v in enumerate(x)]
    total = sum(1 << min(max(d, 0), (1 << _SOFTMAX_BITS) - 1) for d in above)
    share = (1 << 20) // total
    below = _shifts(x, base, quads)
    return np.array([min(share >> shift, 127) for shift in below], np.int8)


def _difference(value: int, base: int, wraps: bool) -> int:
    return _wrapped(value - base) if wraps else value - base


def _shifts(x: Int8s, base: int, quads: int) -> Iterable[int]:
    for i, value in enumerate(x):
        shift = 13 + base - int(value)
        yield min(max(_wrapped(shift) if i < quads else shift, 0), 31)


def _wrapped(value: int) -> int:
    return (value + 128) % 256 - 128
