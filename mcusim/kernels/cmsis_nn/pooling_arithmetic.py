"""What CMSIS-NN's pooling functions compute: their loops as the library writes them, and 2020's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.pooling_trips import in_place_windows
from mcusim.kernels.reference.pooling import Axis, Pooling

__all__ = [
    "accumulated",
    "avgpool_in_place",
    "avgpool_mirror",
    "max_pool_in_place",
    "max_pool_mirror",
    "truncated",
]

Limits = tuple[int, int]
Turns = dict[str, float]
Int64s = npt.NDArray[np.int64]

_MVE_BYTES = 16
_WORD_BYTES = 4


def truncated(sums: Int64s, count: int) -> Int64s:
    """C's division of ``sums`` by ``count``."""
    quotients: Int64s = np.where(sums < 0, -(-sums // count), sums // count)
    return quotients


def _rounded(sums: Int64s, count: int) -> Int64s:
    """Quotients rounded to the nearest, ties away from zero."""
    half = count // 2
    return truncated(np.where(sums > 0, sums + half, sums - half), count)


def _mean(total: int, count: int, limits: Limits) -> int:
    mean = int(_rounded(np.array(total, np.int64), count))
    return min(max(mean, limits[0]), limits[1])


def _pixels(pooling: Pooling, turns: Counter[str]) -> Iterator[tuple[int, int, int, int, int]]:
    """Batch, row and column of each output pixel, and where its window begins."""
    for batch in range(pooling.batches):
        turns["batch"] += 1
        for y in range(pooling.height.windows):
            turns["row"] += 1
            for x in range(pooling.width.windows):
                turns["pixel"] += 1
                yield (
                    batch,
                    y,
                    x,
                    y * pooling.height.stride - pooling.height.padding,
                    x * pooling.width.stride - pooling.width.padding,
                )


def _inside(axis: Axis, origin: int) -> range:
    return range(max(origin, 0), min(origin + axis.filter, axis.extent))


def avgpool_mirror(pooling: Pooling, x: Array, limits: Limits, simd: Simd) -> tuple[Array, Turns]:
    """``arm_avgpool_s8`` and ``arm_avgpool_s16`` loop by loop.

    Args:
        pooling: the shape.
        x: int8 or int16, shape ``(batches, rows, columns, channels)``.
        limits: least and largest result.
        simd: of the core.

    Returns:
        The output, and the turns of its loops that do not depend on data.
    """
    turns: Counter[str] = Counter(call=1)
    height, width, depth = pooling.height, pooling.width, pooling.channels
    out = np.empty((pooling.batches, height.windows, width.windows, depth), x.dtype)
    lanes = _MVE_BYTES // x.dtype.itemsize
    for batch, out_y, out_x, top, left in _pixels(pooling, turns):
        target = out[batch, out_y, out_x]
        if simd == "dsp":
            buffer = [0] * depth
            count = 0
            for y in _inside(height, top):
                turns["tap_row"] += 1
                for column in _inside(width, left):
                    if count:
                        turns["tap"] += 1
                    for channel in range(depth):
                        value = int(x[batch, y, column, channel])
                        buffer[channel] = buffer[channel] + value if count else value
                        turns["tap.element" if count else "element"] += 1
                    count += 1
            target[:] = [_mean(total, count, limits) for total in buffer]
        elif simd == "mve":
            for first in range(0, depth, lanes):
                turns["block"] += 1
                sums, count = np.zeros(min(lanes, depth - first), np.int64), 0
                for y in _inside(height, top):
                    turns["block.tap_row"] += 1
                    for column in _inside(width, left):
                        turns["block.tap"] += 1
                        sums += x[batch, y, column, first : first + lanes]
                        count += 1
                target[first : first + lanes] = [_mean(int(s), count, limits) for s in sums]
        elif x.dtype == np.int8:
            turns["pixel.next_channels"] += depth > 1
            for channel in range(depth):
                turns["output"] += 1
                target[channel] = _tested_mean(
                    pooling, x[batch, ..., channel], (top, left), limits, turns
                )
        else:
            for channel in range(depth):
                turns["output"] += 1
                total = count = 0
                for y in _inside(height, top):
                    turns["output.window_row"] += 1
                    for column in _inside(width, left):
                        turns["output.window_tap"] += 1
                        total += int(x[batch, y, column, channel])
                        count += 1
                target[channel] = _mean(total, count, limits)
    return out, {name: float(count) for name, count in turns.items()}


def _tested_mean(
    pooling: Pooling, plane: Array, origin: tuple[int, int], limits: Limits, turns: Counter[str]
) -> int:
    """The mean of one output without SIMD: four tests a tap."""
    total = count = 0
    for y in range(origin[0], origin[0] + pooling.height.filter):
        turns["output.tap_row"] += 1
        if 0 <= y < pooling.height.extent:
            turns["output.row_inside"] += 1
            turns["output.row_inside.tap"] += pooling.width.filter
        for x in range(origin[1], origin[1] + pooling.width.filter):
            turns["output.tap"] += 1
            if y < 0:
                continue
            turns["output.tap_not_above"] += 1
            if x < 0:
                continue
            turns["output.tap_not_left"] += 1
            if y >= pooling.height.extent:
                continue
            turns["output.tap_in_rows"] += 1
            if x >= pooling.width.extent:
                continue
            turns["output.tap_inside"] += 1
            total += int(plane[y, x])
            count += 1
    return _mean(total, count, limits)


def max_pool_mirror(pooling: Pooling, x: Array, limits: Limits, simd: Simd) -> tuple[Array, Turns]:
    """``arm_max_pool_s8`` and ``arm_max_pool_s16`` loop by loop; arguments as of the means.

    Returns:
        The output, and the turns of its loops beside memcpy's.
    """
    turns: Counter[str] = Counter(call=1)
    height, width = pooling.height, pooling.width
    out = np.empty((pooling.batches, height.windows, width.windows, pooling.channels), x.dtype)
    for batch, out_y, out_x, top, left in _pixels(pooling, turns):
        target = out[batch, out_y, out_x]
        count = 0
        for y in _inside(height, top):
            turns["tap_row"] += 1
            for column in _inside(width, left):
                tap = x[batch, y, column]
                if count == 0:
                    turns["copy.block"] += _blocks(tap) if simd == "mve" else 0
                    target[:] = tap
                else:
                    turns["tap"] += 1
                    if simd == "mve":
                        turns["tap.block"] += _blocks(tap)
                    else:
                        _count_words(turns, "tap", tap)
                        turns["replaced"] += int((tap > target).sum())
                    np.maximum(target, tap, out=target)
                count += 1
    for plane in out:
        if simd == "mve":
            turns["clamp.block"] += _blocks(plane.ravel())
        else:
            _count_words(turns, "clamp", plane.ravel())
        np.clip(plane, *limits, out=plane)
    return out, {name: float(count) for name, count in turns.items() if count}


def _blocks(values: Array) -> int:
    return -(-values.nbytes // _MVE_BYTES)


def _count_words(turns: Counter[str], level: str, values: Array) -> None:
    """A loop of words over ``values``, and its leftover elements."""
    left = len(values)
    step = _WORD_BYTES // values.itemsize
    turns[f"{level}.words" if left >= step else f"{level}.wordless"] += 1
    while left >= step:
        turns[f"{level}.word"] += 1
        turns[f"{level}.next_word"] += left < len(values)
        left -= step
    turns[f"{level}.left_{left}"] += 1


def avgpool_in_place(pooling: Pooling, x: Array, limits: Limits) -> tuple[Array, Array]:
    """``arm_avgpool_s8`` of 2020 on cores with DSP: means of rows, truncated, then of those.

    The first means overwrite the input, and are read again where a window begins before the input.

    Args:
        pooling: the shape.
        x: int8, shape ``(B, rows, columns, channels)``, not changed.
        limits: least and largest result.

    Returns:
        The output, shape ``(B, rows, columns, channels)``, and what the input holds afterwards.
    """
    left = x.copy()
    for window, (first, count) in enumerate(in_place_windows(pooling.width, True)):
        sums = accumulated([left[:, :, first + tap] for tap in range(count)])
        left[:, :, window] = truncated(sums, count).astype(np.int8)
    lines = left[:, :, : pooling.width.windows].reshape(len(x), pooling.height.extent, -1)
    rows = [
        np.clip(
            _rounded(accumulated([lines[:, first + tap] for tap in range(count)]), count), *limits
        )
        for first, count in in_place_windows(pooling.height, False)
    ]
    out = np.stack(rows, axis=1).astype(np.int8)
    return out.reshape(len(x), pooling.height.windows, pooling.width.windows, -1), left


def accumulated(taps: Sequence[Array]) -> Int64s:
    """Sums of int8 rows in an int16 buffer: saturated four elements at a time, the rest wrapped.

    Args:
        taps: one or more of one shape; four by four along their last axis.

    Source: ``arm_nn_accumulate_q7_to_q15`` of 2020.
    """
    quads = taps[0].shape[-1] // 4 * 4
    total = taps[0].astype(np.int64)
    for tap in taps[1:]:
        total = total + tap
        total[..., :quads] = np.clip(total[..., :quads], -(1 << 15), (1 << 15) - 1)
        total[..., quads:] = total[..., quads:].astype(np.int16)
    return total


def max_pool_in_place(pooling: Pooling, x: Array, limits: Limits) -> tuple[Array, Array]:
    """``arm_max_pool_s8_opt`` of 2020 on cores with DSP: along the rows in place, then down.

    Arguments and results as of :func:`avgpool_in_place`.
    """
    left = x.copy()
    for window, (first, count) in enumerate(in_place_windows(pooling.width, True)):
        left[:, :, window] = left[:, :, first]
        for tap in range(first + 1, first + count):
            left[:, :, window] = np.maximum(left[:, :, window], left[:, :, tap])
    rows = [
        left[:, first : first + count, : pooling.width.windows].max(axis=1)
        for first, count in in_place_windows(pooling.height, False)
    ]
    return np.clip(np.stack(rows, axis=1), *limits), left
