"""The matrix products of CMSIS-NN's convolutions, loop by loop as the library runs them.

Plain Python, slow, with every turn counted: the fast path must give the same outputs, the closed
formulas the same turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.reference.convolution import OutputScaling

__all__ = [
    "Mirror",
    "Row",
    "int32",
    "left_over",
    "pixel_pair",
    "products_nt_t",
    "sums_of",
    "widened",
]

_MVE_TILE = 4

Row = Sequence[int]


def int32(value: int) -> int:
    """The value as 32 bits hold it."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


@dataclass
class Mirror:
    """One call of a convolution, and the turns of its loops so far.

    Attributes:
        simd: of the core.
        scaling: quantization of the outputs.
        bias: of each output channel; None without one.
        rounds_once: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
        is_wide: int16 with an int64 bias.
        before_2026: an older generation, whose loops differ.
        turns: by function and loop level.
    """

    simd: Simd
    scaling: OutputScaling
    bias: Row | None
    rounds_once: bool = False
    is_wide: bool = False
    before_2026: bool = False
    turns: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def input_offset(self) -> int:
        """What the library adds to each input."""
        return -self.scaling.input_zero_point

    def count(self, function: str, level: str, times: int = 1) -> None:
        """Count turns of a loop level."""
        self.turns.setdefault(function, Counter())[level] += times

    def start(self, channel: int, function: str, level: str) -> int:
        """The bias of a channel, 0 without one."""
        if self.bias is None:
            return 0
        self.count(function, level)
        return int(self.bias[channel])

    def count_shift(self, channel: int, function: str, level: str = "right_shift") -> int:
        """Count an output by the direction of its shift, and return that: positive to the left."""
        shift = int(self.scaling.shifts[channel])
        self.count(function, level, int(shift < 0))
        self.count(function, level.replace("right", "no"), int(shift == 0))
        self.count(function, "scaling.output")
        return shift

    def output(self, total: int, channel: int, function: str, level: str = "right_shift") -> int:
        """Requantize a sum: ``arm_nn_requantize``, the output's zero point, the clamp."""
        shift = self.count_shift(channel, function, level)
        scale = self._once if self.rounds_once else self._twice
        value = scale(int32(total), int(self.scaling.multipliers[channel]), shift)
        value += self.scaling.output_zero_point
        return min(max(value, self.scaling.low), self.scaling.high)

    def output_wide(self, total: int, channel: int) -> int:
        """Requantize a sum of 64 bits: ``arm_nn_requantize_s64``, the clamp."""
        multiplier = int(self.scaling.multipliers[channel])
        reduced = (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
        value = int32((total * reduced) >> (14 - int(self.scaling.shifts[channel])))
        value = (value + 1) >> 1
        return min(max(value, self.scaling.low), self.scaling.high)

    @staticmethod
    def _twice(value: int, multiplier: int, shift: int) -> int:
        left, right = max(shift, 0), max(-shift, 0)
        high = int32((int32(value << left) * multiplier + (1 << 30)) >> 31)
        mask = (1 << right) - 1
        threshold = (mask >> 1) + (high < 0)
        return (high >> right) + ((high & mask) > threshold)

    @staticmethod
    def _once(value: int, multiplier: int, shift: int) -> int:
        return int32((((value * multiplier) >> (30 - shift)) + 1) >> 1)


def _tail(mirror: Mirror, function: str, level: str, left: int) -> None:
    if left:
        mirror.count(function, f"{level}_{left}")


def widened(mirror: Mirror, function: str, values: Row) -> list[int]:
    """A column of int8 as int16 with the input's offset; in 2026 and with DSP out of order.

    Of four values the even ones come first, as ``SXTAB16`` takes them.
    """
    offset = mirror.input_offset
    mirror.count(function, "call")
    if mirror.simd == "none":
        mirror.count(function, "element", len(values))
        return [value + offset for value in values]
    wide: list[int] = []
    quads, left = divmod(len(values), 4)
    for quad in range(quads):
        mirror.count(function, "quad")
        a, b, c, d = (value + offset for value in values[4 * quad : 4 * quad + 4])
        wide += [a, b, c, d] if mirror.before_2026 else [a, c, b, d]
    mirror.count(function, "quads", int(quads > 0))
    _tail(mirror, function, "tail", left)
    return wide + [value + offset for value in values[4 * quads :]]


def _dual(weights: Row, values: Row, total: int) -> int:
    """``SMLAD``: two products more."""
    return int32(total + weights[0] * values[0] + weights[1] * values[1])


def _quad(weights: Row, columns: Sequence[Row], totals: list[int], in_order: bool) -> None:
    """Four products for each column: the weights' even ones first, unless order was restored."""
    a, b, c, d = weights
    first, second = ((a, b), (c, d)) if in_order else ((a, c), (b, d))
    for i, column in enumerate(columns):
        totals[i] = _dual(first, column[:2], totals[i])
        totals[i] = _dual(second, column[2:], totals[i])


def sums_of(
    mirror: Mirror,
    function: str,
    level: str,
    filters: Sequence[Row],
    columns: Sequence[Row],
    starts: Row,
    in_order: bool,
) -> list[list[int]]:
    """Sums of some filters with one or two columns, all in one loop: [filter][column]."""
    length = len(filters[0])
    sums = [[start] * len(columns) for start in starts]
    done = 0
    if mirror.simd == "dsp":
        quads, left = divmod(length, 4)
        for quad in range(quads):
            mirror.count(function, f"{level}.quad")
            at = slice(4 * quad, 4 * quad + 4)
            for weights, totals in zip(filters, sums, strict=True):
                _quad(weights[at], [column[at] for column in columns], totals, in_order)
        mirror.count(function, f"{level}.quads", int(quads > 0))
        _tail(mirror, function, f"{level}.tail", left)
        done = 4 * quads
    else:
        mirror.count(function, f"{level}.product", length)
    for k in range(done, length):
        for weights, totals in zip(filters, sums, strict=True):
            for i, column in enumerate(columns):
                totals[i] = int32(totals[i] + weights[k] * column[k])
    return sums


def pixel_pair(
    mirror: Mirror, function: str, filters: Sequence[Row], columns: Sequence[Row], first: int
) -> list[list[int]]:
    """``arm_nn_mat_mult_kernel_s8_s16``: two filters by two pixels at a time, then one by two.

    Args:
        mirror: the call.
        function: this function's name, or its twin's for groups.
        filters: weights of each filter.
        columns: two columns of :func:`widened`.
        first: output channel of the first filter.

    Returns:
        Outputs by pixel and filter.
    """
    mirror.count(function, "call")
    outputs: list[list[int]] = [[], []]
    for at in range(0, len(filters), 2):
        group = list(filters[at : at + 2])
        level = "tile" if len(group) == 2 else "odd_tile"
        mirror.count(function, level)
        if level == "odd_tile" and at:
            mirror.count(function, "odd_tile.after")
        channels = range(first + at, first + at + len(group))
        if mirror.bias is not None:
            mirror.count(function, f"{level}.bias")
        starts = [0 if mirror.bias is None else int(mirror.bias[c]) for c in channels]
        in_order = mirror.before_2026
        sums = sums_of(mirror, function, level, group, columns, starts, in_order)
        for channel, totals in zip(channels, sums, strict=True):
            for pixel in (0, 1):
                outputs[pixel].append(mirror.output(totals[pixel], channel, function))
    return outputs


def left_over(
    mirror: Mirror, function: str, filters: Sequence[Row], column: Row, first: int
) -> list[int]:
    """The loop of a convolution for a last pixel that has no partner."""
    mirror.count(function, "left")
    outputs = []
    for i, weights in enumerate(filters):
        mirror.count(function, "left.output")
        start = mirror.start(first + i, function, "left.bias")
        in_order = mirror.before_2026
        ((total,),) = sums_of(mirror, function, "left", [weights], [column], [start], in_order)
        outputs.append(mirror.output(total, first + i, function, "left.right_shift"))
    return outputs


def products_nt_t(
    mirror: Mirror, filters: Sequence[Row], rows: Sequence[Row], first: int = 0
) -> list[list[int]]:
    """``arm_nn_mat_mult_nt_t_s8``: the input's offset is added to a sum of the weights.

    Args:
        mirror: the call.
        filters: weights of each filter.
        rows: int8 inputs of each pixel.
        first: output channel of the first filter.

    Returns:
        Outputs by pixel and filter.
    """
    function = "arm_nn_mat_mult_nt_t_s8"
    mirror.count(function, "call")
    if mirror.simd == "mve":
        return _products_mve(mirror, filters, rows, first)
    outputs: list[list[int]] = [[] for _ in rows]
    for at in range(0, len(filters) - 1, 2):
        group = list(filters[at : at + 2])
        mirror.count(function, "filter_pair")
        mirror.count(function, "filter_pair.weight", len(group[0]))
        starts = [int32(sum(weights) * mirror.input_offset) for weights in group]
        if mirror.bias is not None:
            mirror.count(function, "filter_pair.bias")
            starts = [
                int32(start + int(mirror.bias[first + at + i])) for i, start in enumerate(starts)
            ]
        mirror.count(function, "filter_pair.rows", int(len(rows) > 1))
        for row in range(0, len(rows), 2):
            pixels = rows[row : row + 2]
            level = "tile" if len(pixels) == 2 else "odd_row"
            mirror.count(function, level)
            sums = _blocked_sums(mirror, function, level, group, pixels, starts)
            for i, totals in enumerate(sums):
                for pixel, total in enumerate(totals):
                    outputs[row + pixel].append(mirror.output(total, first + at + i, function))
    if len(filters) % 2:
        _odd_filter(mirror, function, filters[-1], rows, first + len(filters) - 1, outputs)
    return outputs


def _odd_filter(
    mirror: Mirror,
    function: str,
    weights: Row,
    rows: Sequence[Row],
    channel: int,
    outputs: list[list[int]],
) -> None:
    """The last filter of an odd number: product by product, whatever the core."""
    mirror.count(function, "odd_filter")
    for row, values in enumerate(rows):
        mirror.count(function, "odd_filter.row")
        total = 0 if mirror.bias is None else int(mirror.bias[channel])
        for weight, value in zip(weights, values, strict=True):
            mirror.count(function, "odd_filter.product")
            total = int32(total + weight * (value + mirror.input_offset))
        outputs[row].append(mirror.output(total, channel, function))


def _blocked_sums(
    mirror: Mirror,
    function: str,
    level: str,
    filters: Sequence[Row],
    rows: Sequence[Row],
    starts: Row,
) -> list[list[int]]:
    length = len(filters[0])
    sums = [[start] * len(rows) for start in starts]
    done = 0
    if mirror.simd == "dsp":
        blocks = length // 16
        quads = 0 if mirror.before_2026 else length % 16 // 4
        mirror.count(function, f"{level}.block", blocks)
        mirror.count(function, f"{level}.blocks", int(blocks > 0))
        mirror.count(function, f"{level}.quad", quads)
        mirror.count(function, f"{level}.quads", int(quads > 0))
        done = 16 * blocks + 4 * quads
        for k in range(0, done, 4):
            for weights, totals in zip(filters, sums, strict=True):
                for i, row in enumerate(rows):
                    a, b, c, d = row[k : k + 4]
                    _quad_of(weights[k : k + 4], (a, c, b, d), totals, i)
        left = length - done
        if mirror.before_2026:
            mirror.count(function, f"{level}.tail", left)
            mirror.count(function, f"{level}.tails", int(left > 0))
        else:
            _tail(mirror, function, f"{level}.tail", left)
    else:
        mirror.count(function, f"{level}.product", length)
    for k in range(done, length):
        for weights, totals in zip(filters, sums, strict=True):
            for i, row in enumerate(rows):
                totals[i] = int32(totals[i] + weights[k] * row[k])
    return sums


def _quad_of(weights: Row, unordered: Row, totals: list[int], position: int) -> None:
    single = [totals[position]]
    _quad(weights, [unordered], single, in_order=False)
    totals[position] = single[0]


def _products_mve(
    mirror: Mirror, filters: Sequence[Row], rows: Sequence[Row], first: int
) -> list[list[int]]:
    function = "arm_nn_mat_mult_nt_t_s8"
    steps = -(-len(filters[0]) // 16)
    outputs: list[list[int]] = [[] for _ in rows]
    whole = len(rows) // _MVE_TILE * _MVE_TILE
    starts = list(range(0, whole, _MVE_TILE)) + list(range(whole, len(rows)))
    for start in starts:
        pixels = range(start, start + _MVE_TILE) if start < whole else range(start, start + 1)
        level = "four_rows" if start < whole else "row"
        mirror.count(function, level)
        for i, weights in enumerate(filters):
            mirror.count(function, f"{level}.filter")
            mirror.count(function, f"{level}.step", steps)
            # One pass sums the products and the weights, which then carry the input's offset.
            offset = sum(weights) * mirror.input_offset
            offset += 0 if mirror.bias is None else int(mirror.bias[first + i])
            for pixel in pixels:
                total = sum(w * x for w, x in zip(weights, rows[pixel], strict=True))
                outputs[pixel].append(mirror.output(total + offset, first + i, function))
        if level == "row":
            mirror.count(function, "row.vector", len(filters) // 4)
            mirror.count(function, "row.tail", len(filters) % 4)
    return outputs
