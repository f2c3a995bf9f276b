"""How often the loops of CMSIS-NN's pooling functions run, as closed formulas of the shape.

Where counts depend on data (the division of a core without one, bytes that a later tap replaces)
they are exact for an input whose values are given, and typical otherwise: each value equally
likely.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.quotients import quotient_levels, quotient_sizes
from mcusim.kernels.reference.pooling import Axis, Pooling

__all__ = [
    "avgpool_in_place_trips",
    "avgpool_plain_trips",
    "avgpool_trips",
    "first_taps",
    "in_place_windows",
    "max_pool_in_place_trips",
    "max_pool_plain_trips",
    "max_pool_trips",
    "memmove_trips",
]

_MVE_BYTES = 16
_WORD_BYTES = 4


def avgpool_trips(
    pooling: Pooling, dtype: DType, simd: Simd, x: Array | None = None
) -> dict[str, float]:
    """Turns of ``arm_avgpool_s8`` and ``arm_avgpool_s16``.

    With DSP the sums of a pixel's channels lie in a buffer, to which each tap adds; with MVE
    they lie in registers, 16 bytes of channels at a time; else each output has its own loops, which
    for int8 visit taps outside of the input, too.

    Args:
        pooling: the shape.
        dtype: int8 or int16.
        simd: of the core.
        x: the input, for counts that depend on it.
    """
    if simd == "none" and dtype is DType.INT8:
        return avgpool_plain_trips(pooling, x)
    height, width, depth = pooling.height, pooling.width, pooling.channels
    pixels = pooling.batches * height.windows * width.windows
    tap_rows = pooling.batches * height.total_taps * width.windows
    taps = pooling.batches * height.total_taps * width.total_taps
    trips: dict[str, float] = {
        "call": 1,
        "batch": pooling.batches,
        "row": pooling.batches * height.windows,
        "pixel": pixels,
    }
    if simd == "none":
        trips |= {
            "output": pixels * depth,
            "output.window_row": tap_rows * depth,
            "output.window_tap": taps * depth,
        }
        return trips | _quotients(pooling, dtype, x)
    if simd == "mve":
        blocks = -(-depth * dtype.numpy.itemsize // _MVE_BYTES)
        return trips | {
            "block": pixels * blocks,
            "block.tap_row": tap_rows * blocks,
            "block.tap": taps * blocks,
        }
    return trips | {
        "tap_row": tap_rows,
        "tap": taps - pixels,
        "element": pixels * depth,
        "tap.element": (taps - pixels) * depth,
    }


def avgpool_plain_trips(pooling: Pooling, x: Array | None = None) -> dict[str, float]:
    """Turns of ``arm_avgpool_s8`` without SIMD: four bounds tests for each tap of an output.

    They go: above, left, below, right; the first that fails ends them. A compiler may test a row
    but once, so rows inside and their taps count, too.
    """
    height, width = pooling.height, pooling.width
    pixels = pooling.batches * height.windows * width.windows
    outputs = pixels * pooling.channels
    planes = pooling.batches * pooling.channels
    taps = height.windows * height.filter * width.windows * width.filter
    not_above = height.windows * height.filter - _before(height)
    not_left = width.windows * width.filter - _before(width)
    in_rows = height.total_taps
    trips: dict[str, float] = {
        "call": 1,
        "batch": pooling.batches,
        "row": pooling.batches * height.windows,
        "pixel": pixels,
        "pixel.next_channels": pixels * (pooling.channels > 1),
        "output": outputs,
        "output.tap_row": outputs * height.filter,
        "output.tap": planes * taps,
        "output.tap_not_above": planes * not_above * width.windows * width.filter,
        "output.tap_not_left": planes * not_above * not_left,
        "output.tap_in_rows": planes * in_rows * not_left,
        "output.tap_inside": planes * in_rows * width.total_taps,
        "output.row_inside": planes * in_rows * width.windows,
        "output.row_inside.tap": planes * in_rows * width.windows * width.filter,
    }
    return trips | _quotients(pooling, DType.INT8, x)


def _before(axis: Axis) -> int:
    """Taps of all windows that lie before the input."""
    windows = range(min(axis.windows, -(-axis.padding // axis.stride)))
    origins = (window * axis.stride - axis.padding for window in windows)
    return sum(min(max(-origin, 0), axis.filter) for origin in origins)


def max_pool_trips(
    pooling: Pooling, dtype: DType, simd: Simd, x: Array | None = None
) -> dict[str, float]:
    """Turns of ``arm_max_pool_s8`` and ``arm_max_pool_s16``: compared and clamped by words.

    A window's first tap is copied: :func:`first_taps` says what from where.

    Args:
        pooling: the shape.
        dtype: int8 or int16.
        simd: of the core.
        x: the input, for counts that depend on it.
    """
    height, width = pooling.height, pooling.width
    size = dtype.numpy.itemsize
    pixels = pooling.batches * height.windows * width.windows
    later = pooling.batches * height.total_taps * width.total_taps - pixels
    plane = height.windows * width.windows * pooling.channels
    trips: dict[str, float] = {
        "call": 1,
        "batch": pooling.batches,
        "row": pooling.batches * height.windows,
        "pixel": pixels,
        "tap_row": pooling.batches * height.total_taps * width.windows,
        "tap": later,
    }
    if simd == "mve":
        blocks = -(-pooling.channels * size // _MVE_BYTES)
        return trips | {
            "copy.block": pixels * blocks,
            "tap.block": later * blocks,
            "clamp.block": pooling.batches * -(-plane * size // _MVE_BYTES),
        }
    trips |= _words("tap", later, pooling.channels, size)
    trips |= _words("clamp", pooling.batches, plane, size)
    return trips | {"replaced": _replaced(pooling, x)}


def _words(level: str, turns: int, elements: int, size: int = 1) -> dict[str, float]:
    """A loop by words, and what is left of it: none to three elements, one level each.

    Turns after the first count beside all turns, and none beside some, as a branch is taken back to
    the loop's beginning after all but the last turn, and around a loop without turns.
    """
    step = _WORD_BYTES // size
    words, tail = divmod(elements, step)
    trips: dict[str, float] = {
        f"{level}.word": turns * words,
        f"{level}.next_word": turns * max(words - 1, 0),
        f"{level}.words": turns * (words > 0),
        f"{level}.wordless": turns * (words == 0),
    }
    return trips | {f"{level}.left_{left}": turns * (tail == left) for left in range(step)}


def first_taps(pooling: Pooling, size: int) -> dict[tuple[int, int, int], int]:
    """How often so many bytes are copied from and to an address (modulo four).

    Args:
        pooling: the shape.
        size: bytes of an element.
    """
    length = pooling.channels * size
    height, width = pooling.height, pooling.width
    pixels = pooling.batches * height.windows * width.windows
    if length % 4 == 0:
        return {(length, 0, 0): pixels}
    top, left = height.bounds[0], width.bounds[0]
    batch = np.arange(pooling.batches) * height.extent * width.extent
    source = (batch[:, None, None] + top[:, None] * width.extent + left) * length % 4
    target = np.arange(pixels) * length % 4
    found = Counter((source.ravel() * 4 + target).tolist())
    return {(length, key // 4, key % 4): times for key, times in found.items()}


def _replaced(pooling: Pooling, x: Array | None) -> float:
    """Elements that a later tap of a window replaces."""
    if x is not None:
        return float(_replacements(pooling, x))
    planes = pooling.batches * pooling.channels
    # Among values that all differ, the k-th is the largest so far once in k.
    return planes * sum(
        times * sum(1 / k for k in range(2, taps + 1))
        for taps, times in pooling.window_counts.items()
    )


def _replacements(pooling: Pooling, x: Array) -> int:
    found = 0
    for top, bottom in zip(*pooling.height.bounds, strict=True):
        for left, right in zip(*pooling.width.bounds, strict=True):
            window = x[:, top:bottom, left:right].reshape(len(x), -1, pooling.channels)
            largest = np.maximum.accumulate(window, axis=1)
            found += int((window[:, 1:] > largest[:, :-1]).sum())
    return found


def _quotients(pooling: Pooling, dtype: DType, x: Array | None) -> dict[str, float]:
    """What the sums' signs and the quotients' sizes add where division is a function."""
    planes = pooling.batches * pooling.channels
    if x is None:
        shares = np.zeros(5)
        for count, times in pooling.window_counts.items():
            shares += planes * times * _typical_quotients(max(count, 1), dtype)
        sizes, negative = shares[:4], float(shares[4])
    else:
        sums = _sums(pooling, x)
        windows = np.array([max(count, 1) for count in pooling.windows])
        counts = windows.reshape(1, *sums.shape[1:3], 1)
        means = (np.abs(sums) + counts // 2) // counts
        sizes = quotient_sizes(means).reshape(4, -1).sum(axis=1)
        negative = float((sums <= 0).sum())
    divisions = planes * pooling.height.windows * pooling.width.windows
    return quotient_levels(divisions, negative, sizes)


@cache
def _typical_quotients(count: int, dtype: DType) -> npt.NDArray[np.float64]:
    """Means of :func:`quotient_sizes` and of the sign, over ``count`` equally likely values."""
    largest = 1 << (dtype.bits - 1)
    means = np.arange(largest + 1, dtype=np.int64)
    if count == 1:
        weights = np.full(len(means), 1.0)
    else:
        spread = largest / math.sqrt(3 * count)
        edges = [math.erf(edge / (spread * math.sqrt(2))) for edge in np.arange(largest + 2) - 0.5]
        weights = np.diff(edges)
        weights[0] = edges[1]
    shares = quotient_sizes(means) @ (weights / weights.sum())
    return np.append(shares, 0.5)


def _sums(pooling: Pooling, data: Array) -> npt.NDArray[np.int64]:
    """Sum of each window, shape ``(batches, rows, columns, channels)``."""
    total = data.astype(np.int64)
    for axis, (first, end) in ((1, pooling.height.bounds), (2, pooling.width.bounds)):
        ends = np.insert(np.cumsum(total, axis=axis), 0, 0, axis=axis)
        total = ends.take(end, axis=axis) - ends.take(first, axis=axis)
    return total


def in_place_windows(axis: Axis, from_target: bool) -> list[tuple[int, int]]:
    """First element of each window in the library of 2020, and how many it takes, at least one.

    Args:
        axis: along rows or columns.
        from_target: a window that would begin before the input begins at its own target instead
            of at the input's beginning, as along the rows.
    """
    windows = []
    for window in range(axis.windows):
        origin = window * axis.stride - axis.padding
        first = origin if origin >= 0 else window if from_target else 0
        windows.append((first, max(min(origin + axis.filter, axis.extent) - first, 1)))
    return windows


def _later_taps(axis: Axis, from_target: bool) -> int:
    return sum(count - 1 for _, count in in_place_windows(axis, from_target))


def avgpool_in_place_trips(pooling: Pooling) -> dict[str, float]:
    """Turns of ``arm_avgpool_s8`` of 2020 with DSP: along the rows in place, then down."""
    windows = pooling.height.extent * pooling.width.windows
    later = pooling.height.extent * _later_taps(pooling.width, True)
    later_rows = _later_taps(pooling.height, False)
    line = pooling.width.windows * pooling.channels
    parts = {
        "widen": _joined(
            _words("widen", windows, pooling.channels),
            _words("widen", pooling.height.windows, line),
        ),
        "accumulate": _joined(
            _words("accumulate", later, pooling.channels),
            _words("accumulate", later_rows, line),
        ),
    }
    return {
        "call": 1,
        "row": pooling.height.extent,
        "window": windows,
        "window.tap": later,
        "window.element": windows * pooling.channels,
        "out_row": pooling.height.windows,
        "out_row.tap": later_rows,
        "out_row.element": pooling.height.windows * line,
        **parts["widen"],
        **parts["accumulate"],
    }


def _joined(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {level: turns + other[level] for level, turns in one.items()}


def max_pool_in_place_trips(pooling: Pooling) -> dict[str, float]:
    """Turns of ``arm_max_pool_s8_opt`` of 2020 with DSP, beside those of memmove."""
    windows = pooling.height.extent * pooling.width.windows
    later = pooling.height.extent * _later_taps(pooling.width, True)
    later_rows = _later_taps(pooling.height, False)
    line = pooling.width.windows * pooling.channels
    compared = _joined(_words("tap", later, pooling.channels), _words("tap", later_rows, line))
    return {
        "call": 1,
        "row": pooling.height.extent,
        "window": windows,
        "window.tap": later,
        "out_row": pooling.height.windows,
        "out_row.tap": later_rows,
        **compared,
        **_words("clamp", 1, pooling.height.windows * line),
    }


def memmove_trips(pooling: Pooling) -> dict[str, float]:
    """Turns of newlib's memmove in ``arm_max_pool_s8_opt``, which never moves backwards there.

    It moves 16 bytes a turn, then words, where there are 16 and both addresses are aligned; all
    else by bytes.
    """
    moved = _moved_rows(pooling)
    turns = {"long": 0, "block16": 0, "word": 0, "byte": 0, "bytes": 0, "call": 0}
    for (length, source, target), times in moved.items():
        is_long = source == target == 0 and length >= 16
        rest = length % 4 if is_long else length
        turns["call"] += times
        turns["long"] += times * is_long
        turns["block16"] += times * is_long * (length // 16)
        turns["word"] += times * is_long * (length % 16 // 4)
        turns["byte"] += times * rest
        turns["bytes"] += times * (rest > 0)
    return {f"move.{name}": float(count) for name, count in turns.items()}


def _moved_rows(pooling: Pooling) -> dict[tuple[int, int, int], int]:
    """How often so many bytes are moved from and to an address, modulo four."""
    depth, width = pooling.channels, pooling.width
    moved: Counter[tuple[int, int, int]] = Counter()
    for window, (first, _) in enumerate(in_place_windows(width, True)):
        for row in range(pooling.height.extent):
            at = row * width.extent
            moved[depth, (at + first) * depth % 4, (at + window) * depth % 4] += 1
    line = width.windows * depth
    for window, (first, _) in enumerate(in_place_windows(pooling.height, False)):
        moved[line, first * width.extent * depth % 4, window * line % 4] += 1
    return moved


def max_pool_plain_trips(pooling: Pooling) -> dict[str, float]:
    """Turns of ``arm_max_pool_s8`` of 2020: each output has its own loops."""
    height, width = pooling.height, pooling.width
    pixels = height.windows * width.windows
    return {
        "call": 1,
        "row": height.windows,
        "pixel": pixels,
        "output": pixels * pooling.channels,
        "output.tap_row": pooling.channels * height.total_taps * width.windows,
        "output.tap": pooling.channels * height.total_taps * width.total_taps,
    }
