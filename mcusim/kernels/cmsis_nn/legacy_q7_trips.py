"""How often the loops of CMSIS-NN's legacy q7 functions run, on cores with DSP.

These functions scale by powers of two. Built without built-in functions, every access to four bytes
is a call of memcpy, which costs more where the address is no multiple of four: the level
``unaligned`` counts those.

Source: CMSIS-NN of CMSIS 5.8.0 (2021), the functions of the same names; :func:`softmax_q7_trips`
also of February 2020.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.cmsis_nn.pooling_trips import in_place_windows
from mcusim.kernels.reference.pooling import Axis

__all__ = [
    "SquareConvolution",
    "SquarePooling",
    "avepool_q7_trips",
    "convolve_q7_basic_trips",
    "convolve_q7_fast_trips",
    "convolve_q7_rgb_trips",
    "fully_connected_q7_opt_trips",
    "fully_connected_q7_trips",
    "maxpool_q7_trips",
    "relu_q7_trips",
    "softmax_q7_trips",
]

Trips = dict[str, float]


@dataclass(frozen=True)
class SquareConvolution:
    """A convolution of square images.

    Attributes:
        extent: rows and columns of the input.
        channels: of the input.
        kernel: rows and columns of the filter.
        padding: on each side.
        stride: in both directions.
        outputs: rows and columns of the output.
        filters: channels of the output.
    """

    extent: int
    channels: int
    kernel: int
    padding: int
    stride: int
    outputs: int
    filters: int

    @property
    def products(self) -> int:
        """Products of an output."""
        return self.kernel * self.kernel * self.channels

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.outputs * self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those on padding included."""
        return self.pixels * self.products * self.filters

    def origin(self, output: int) -> int:
        """First row or column of a window."""
        return output * self.stride - self.padding

    def inside(self, output: int) -> range:
        """Taps of a window that lie inside the input, along one axis."""
        first = self.origin(output)
        return range(max(0, -first), min(self.kernel, self.extent - first))


@dataclass(frozen=True)
class SquarePooling:
    """A pooling of square images.

    Attributes:
        extent: rows and columns of the input.
        channels: of input and output.
        kernel: rows and columns of a window.
        padding: on each side.
        stride: in both directions.
        outputs: rows and columns of the output.
    """

    extent: int
    channels: int
    kernel: int
    padding: int
    stride: int
    outputs: int

    @property
    def axis(self) -> Axis:
        """Rows, or columns: they are alike."""
        return Axis(self.extent, self.outputs, self.kernel, self.stride, self.padding)


def _quads(level: str, turns: int, elements: int) -> Trips:
    """A loop of four elements a turn, and its leftover, one level for each number of them."""
    quads, tail = divmod(elements, 4)
    trips: Trips = {
        f"{level}.quad": turns * quads,
        f"{level}.next_quad": turns * max(quads - 1, 0),
        f"{level}.quads": turns * (quads > 0),
    }
    return trips | {f"{level}.tail_{left}": turns * (tail == left) for left in range(4)}


def _products(shape: SquareConvolution) -> Trips:
    """Two filters by two pixels at a time; the last pixel of an odd number alone."""
    pairs, left = divmod(shape.pixels, 2)
    twos, odd = divmod(shape.filters, 2)
    trips: Trips = {"pair": pairs, "tile": pairs * twos, "odd_tile": pairs * odd, "left": left}
    trips["left.filter"] = left * shape.filters
    trips |= _quads("tile", pairs * twos, shape.products)
    trips |= _quads("odd_tile", pairs * odd, shape.products)
    return trips | _quads("left.filter", left * shape.filters, shape.products)


def _unaligned_weights(shape: SquareConvolution) -> int:
    """Reads of four weights, and of two inputs of the second column, at other addresses."""
    columns = -(-shape.pixels // 2)
    quads = shape.products // 4
    rows = sum(row * shape.products % 4 > 0 for row in range(shape.filters))
    tiles = -(-shape.filters // 2)
    second = 2 * quads * tiles * (shape.pixels // 2) if shape.products % 2 else 0
    return columns * rows * quads + second


def _gathered(shape: SquareConvolution) -> tuple[Counter[tuple[int, int]], int, int]:
    """Fills of taps outside by bytes and address, taps inside, those at unaligned addresses."""
    fills: Counter[tuple[int, int]] = Counter()
    inside = unaligned = 0
    bytes_a_tap = 2 * shape.channels
    for y in range(shape.outputs):
        rows = shape.inside(y)
        for x in range(shape.outputs):
            columns = shape.inside(x)
            second = (y * shape.outputs + x) % 2 * shape.products * 2
            inside += len(rows) * len(columns)
            if shape.channels % 4:
                at = shape.origin(y) * shape.extent + shape.origin(x)
                unaligned += sum(
                    (at + row * shape.extent + column) * shape.channels % 4 > 0
                    for row in rows
                    for column in columns
                )
            if len(rows) * len(columns) < shape.kernel * shape.kernel:
                for tap in range(shape.kernel * shape.kernel):
                    row, column = divmod(tap, shape.kernel)
                    if row not in rows or column not in columns:
                        fills[bytes_a_tap, (second + tap * bytes_a_tap) % 4] += 1
    return fills, inside, unaligned


def convolve_q7_basic_trips(shape: SquareConvolution) -> Trips:
    """Turns of ``arm_convolve_HWC_q7_basic``: each tap is widened by a call of its own."""
    fills, inside, unaligned = _gathered(shape)
    reads = unaligned * (shape.channels // 4) + _unaligned_weights(shape)
    trips: Trips = {
        "call": 1,
        "row": shape.outputs,
        "pixel": shape.pixels,
        "tap_row": shape.pixels * shape.kernel,
        "tap": shape.pixels * shape.kernel * shape.kernel,
        "tap_inside": inside,
        "unaligned": reads,
    }
    trips |= _quads("tap_inside", inside, shape.channels)
    return trips | fill_trips(fills) | _products(shape)


def convolve_q7_rgb_trips(shape: SquareConvolution) -> Trips:
    """Turns of ``arm_convolve_HWC_q7_RGB``; of other than three channels it refuses at once."""
    if shape.channels != 3:
        names = convolve_q7_rgb_trips(SquareConvolution(1, 3, 1, 0, 1, 1, 1))
        return dict.fromkeys(names, 0.0) | {"refused": 1.0}
    fills, inside, unaligned = _gathered(shape)
    return {
        "refused": 0,
        "call": 1,
        "row": shape.outputs,
        "pixel": shape.pixels,
        "tap_row": shape.pixels * shape.kernel,
        "tap_inside": inside,
        "tap_outside": sum(fills.values()),
        "unaligned": unaligned + _unaligned_weights(shape),
        **_products(shape),
    }


def convolve_q7_fast_trips(shape: SquareConvolution) -> Trips:
    """Turns of ``arm_convolve_HWC_q7_fast``: rows of taps are widened at once away from the edges.

    It refuses channels that are no multiple of four, and an odd number of filters.
    """
    if shape.channels % 4 or shape.filters % 2:
        names = convolve_q7_fast_trips(SquareConvolution(1, 4, 1, 0, 1, 1, 2))
        return dict.fromkeys(names, 0.0) | {"refused": 1.0}
    middle = max(shape.outputs - 2 * shape.padding, 0)
    fills, inside, _ = _gathered(shape)
    inner = middle * middle
    rows_of_inner = inner * shape.kernel
    outer = shape.pixels - inner
    taps_inside = inside - rows_of_inner * shape.kernel
    return {
        "refused": 0,
        "call": 1,
        "row": shape.outputs,
        "inner": inner,
        "inner.tap_row": rows_of_inner,
        "outer": outer,
        "outer.tap_row": outer * shape.kernel,
        "outer.tap_inside": taps_inside,
        "outer.tap": outer * shape.kernel * shape.kernel,
        "widened.quad": inside * shape.channels // 4,
        **fill_trips(fills),
        **_products(shape),
    }


def fully_connected_q7_trips(columns: int, rows: int) -> Trips:
    """Turns of ``arm_fully_connected_q7``: two outputs at a time.

    Args:
        columns: elements of the vector.
        rows: outputs.
    """
    pairs, odd = divmod(rows, 2)
    unaligned = sum(row * columns % 4 > 0 for row in range(rows)) * (columns // 4)
    trips: Trips = {"call": 1, "pairs": pairs > 0, "pair": pairs, "odd": odd}
    trips["unaligned"] = unaligned
    trips |= _quads("vector", 1, columns)
    return trips | _quads("pair", pairs, columns) | _quads("odd", odd, columns)


def fully_connected_q7_opt_trips(columns: int, rows: int) -> Trips:
    """Turns of ``arm_fully_connected_q7_opt``: four outputs at a time, weights interleaved."""
    fours, left = divmod(rows, 4)
    start = 4 * fours * columns
    unaligned = sum((start + row * columns) % 4 > 0 for row in range(left)) * (columns // 4)
    trips: Trips = {
        "call": 1,
        "fours": fours > 0,
        "four": fours,
        "single": left,
        "singles_after": fours > 0 and left > 0,
        "unaligned": unaligned,
    }
    trips |= _quads("vector", 1, columns)
    return trips | _quads("four", fours, columns) | _quads("single", left, columns)


def _two_passes(shape: SquarePooling) -> tuple[int, int, int]:
    """Later taps along the rows, later rows, and elements of a row of the output."""
    across = sum(count - 1 for _, count in in_place_windows(shape.axis, True))
    down = sum(count - 1 for _, count in in_place_windows(shape.axis, False))
    return shape.extent * across, down, shape.outputs * shape.channels


def _unaligned_lines(shape: SquarePooling, reads_target: bool) -> int:
    """Words that the second pass reads or writes at addresses that are no multiples of four."""
    line = shape.outputs * shape.channels
    found = 0
    for window, (first, count) in enumerate(in_place_windows(shape.axis, False)):
        target = window * line % 4 > 0
        for row in range(first + 1, first + count):
            source = row * shape.extent * shape.channels % 4 > 0
            found += (source + 2 * target * reads_target) * (line // 4)
    return found


def maxpool_q7_trips(shape: SquarePooling) -> Trips:
    """Turns of ``arm_maxpool_q7_HWC``: along the rows in place, then down, four bytes a turn."""
    later, later_rows, line = _two_passes(shape)
    windows = shape.extent * shape.outputs
    moved: Counter[int] = Counter()
    moved[shape.channels] += windows
    moved[line] += shape.outputs
    trips: Trips = {
        "call": 1,
        "row": shape.extent,
        "window": windows,
        "window.tap": later,
        "out_row": shape.outputs,
        "out_row.tap": later_rows,
        "unaligned": _unaligned_lines(shape, True),
        **_moved(moved),
    }
    first, second = _quads("tap", later, shape.channels), _quads("tap", later_rows, line)
    return trips | {level: turns + second[level] for level, turns in first.items()}


def _moved(moved: Counter[int]) -> Trips:
    """Turns of memmove, of one that moves 16 bytes and words at a time, and of one by bytes."""
    trips = dict.fromkeys(("call", "long", "block16", "word", "byte", "length"), 0)
    for length, times in moved.items():
        is_long = length >= 16
        trips["call"] += times
        trips["long"] += times * is_long
        trips["block16"] += times * is_long * (length // 16)
        trips["word"] += times * is_long * (length % 16 // 4)
        trips["byte"] += times * (length % 4 if is_long else length)
        trips["length"] += times * length
    return {f"move.{name}": float(count) for name, count in trips.items()}


def avepool_q7_trips(shape: SquarePooling) -> Trips:
    """Turns of ``arm_avepool_q7_HWC``: sums of int16 along the rows, then down, both truncated."""
    later, later_rows, line = _two_passes(shape)
    windows = shape.extent * shape.outputs
    trips: Trips = {
        "call": 1,
        "row": shape.extent,
        "window": windows,
        "window.tap": later,
        "out_row": shape.outputs,
        "out_row.tap": later_rows,
        "element": (windows + shape.outputs * shape.outputs) * shape.channels,
        "unaligned": _unaligned_lines(shape, False),
    }
    for level, along, down in (
        ("widen", windows, shape.outputs),
        ("accumulate", later, later_rows),
    ):
        first, second = _quads(level, along, shape.channels), _quads(level, down, line)
        trips |= {name: turns + second[name] for name, turns in first.items()}
    return trips


def relu_q7_trips(size: int) -> Trips:
    """Turns of ``arm_relu_q7``, whose size is a ``uint16_t``: 65,536 elements count as none."""
    return {"call": 1, **_quads("element", 1, size % (1 << 16))}


def softmax_q7_trips(size: int, vectorized: bool) -> Trips:
    """Turns of ``arm_softmax_q7``: the largest, the sum, then the quotients.

    Args:
        size: elements.
        vectorized: four elements a turn, as in the library of 2020.
    """
    trips: Trips = {"call": 1, "element": size}
    return trips | (_quads("element", 1, size) if vectorized else {})
