"""A vector times the rows of a matrix, loop by loop as CMSIS-NN runs it.

Plain Python, slow, with every turn counted: the fast path must give the same outputs, the closed
formulas the same turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Generation
from mcusim.kernels.cmsis_nn.vector_matrix_trips import INT16_COLUMNS_IN_INT32
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
    multiply_by_quantized_multiplier_wide,
)
from mcusim.kernels.reference.dense import Rescaling

__all__ = [
    "vec_mat_mult_t_s4",
    "vec_mat_mult_t_s8",
    "vec_mat_mult_t_s16",
    "vec_mat_mult_t_svdf_s8",
]

Row = Sequence[int]
Turns = Counter[str]

#: Outputs that are computed at a time.
_TILE: dict[Simd, int] = {"none": 3, "dsp": 2, "mve": 4}
#: Bytes of a word in the order in which SXTB16 with and without rotation takes them.
_WORD_ORDER = (1, 3, 0, 2)


def vec_mat_mult_t_s8(
    lhs: Row,
    rhs: Sequence[Row],
    bias: Row | None,
    rescaling: Rescaling,
    simd: Simd,
    generation: Generation = "2026",
) -> tuple[list[int], Turns]:
    """``arm_nn_vec_mat_mult_t_s8``, or ``arm_nn_vec_mat_mult_t_per_ch_s8`` for many scales.

    Args:
        lhs: stored inputs.
        rhs: stored weights of each output.
        bias: of each output.
        rescaling: of the sums.
        simd: of the core.
        generation: of the library.

    Returns:
        The outputs and the turns of each loop level.
    """
    turns: Turns = Counter({"call": 1})
    columns, tile = len(lhs), _TILE[simd]
    steps = {
        "none": _one_by_one,
        "mve": _sixteen_lanes,
        "dsp": _blocks_of_sixteen if generation in ("2020", "2020apr") else _words,
    }[simd]
    out = []
    rows = len(rhs) // tile * tile
    turns["tiles"] += rows > 0
    turns["odds"] += rows < len(rhs)
    turns["long_division"] += simd == "none" and len(rhs) >= 2 * tile
    starts = [*range(0, rows, tile), *range(rows, len(rhs))]
    for start in starts:
        level, count = ("tile", tile) if start < rows else ("odd", 1)
        turns[level] += 1
        turns[f"{level}.bias"] += bias is not None
        sums = [0 if bias is None else bias[start + i] for i in range(count)]
        for k in steps(turns, level, columns):
            value = lhs[k] + rescaling.input_offset
            for i in range(count):
                sums[i] += value * (rhs[start + i][k] + rescaling.filter_offset)
        for i in range(count):
            out.append(_stored(rescaling, sums[i], start + i))
            shift = rescaling.shifts[_scale_of(rescaling, start + i)]
            turns[f"{level}.right_shift"] += bool(shift < 0)
            turns[f"{level}.no_shift"] += bool(shift == 0)
    return out, turns


def _one_by_one(turns: Turns, level: str, columns: int) -> Iterator[int]:
    for k in range(columns):
        turns[f"{level}.product"] += 1
        yield k


def _sixteen_lanes(turns: Turns, level: str, columns: int) -> Iterator[int]:
    for start in range(0, columns, 16):
        turns[f"{level}.step"] += 1
        yield from range(start, min(start + 16, columns))


def _words(turns: Turns, level: str, columns: int) -> Iterator[int]:
    """Four columns a turn, unrolled by four after what is left of four turns; then single ones."""
    words, left = divmod(columns, 4)
    peeled = words % 4
    if words:
        turns[f"{level}.peeled_{peeled}"] += 1
        turns[f"{level}.fours"] += words >= 4
        turns[f"{level}.no_four"] += words < 4
    else:
        turns[f"{level}.no_quad"] += 1
    for word in range(words):
        turns[f"{level}.four"] += word >= peeled and (word - peeled) % 4 == 0
        turns[f"{level}.quad"] += 1
        yield from (4 * word + k for k in _WORD_ORDER)
    turns[f"{level}.left_{left}"] += 1
    yield from range(4 * words, columns)


def _blocks_of_sixteen(turns: Turns, level: str, columns: int) -> Iterator[int]:
    blocks = columns // 16
    turns[f"{level}.blocks"] += blocks > 0
    turns[f"{level}.no_block"] += blocks == 0
    for block in range(blocks):
        turns[f"{level}.block"] += 1
        for word in range(4):
            yield from (16 * block + 4 * word + k for k in _WORD_ORDER)
    yield from _singles(turns, level, 16 * blocks, columns)


def _singles(turns: Turns, level: str, start: int, columns: int) -> Iterator[int]:
    turns[f"{level}.singles"] += start < columns
    turns[f"{level}.no_single"] += start == columns
    for k in range(start, columns):
        turns[f"{level}.single"] += 1
        yield k


def _scale_of(rescaling: Rescaling, channel: int) -> int:
    return channel if rescaling.multipliers.size > 1 else 0


def _stored(rescaling: Rescaling, total: int, channel: int) -> int:
    position = _scale_of(rescaling, channel)
    multiplier, shift = rescaling.multipliers[position], rescaling.shifts[position]
    if rescaling.wide:
        scaled = int(multiply_by_quantized_multiplier_wide(total, multiplier, shift))
    else:
        scale = (
            multiply_by_quantized_multiplier_once
            if rescaling.rounds_once
            else multiply_by_quantized_multiplier
        )
        scaled = int(scale(np.int64(total).astype(np.int32), multiplier, shift))
    return min(max(scaled + rescaling.output_offset, rescaling.low), rescaling.high)


def vec_mat_mult_t_s16(
    lhs: Row, rhs: Sequence[Row], bias: Row | None, rescaling: Rescaling, simd: Simd
) -> tuple[list[int], Turns]:
    """``arm_nn_vec_mat_mult_t_s16``; arguments as of :func:`vec_mat_mult_t_s8`."""
    turns: Turns = Counter({"call": 1})
    tile = 1 if simd == "none" else _TILE[simd]
    rows = len(rhs) // tile * tile
    turns["tiles"] += simd != "none" and rows > 0
    out = []
    for start in [*range(0, rows, tile), *range(rows, len(rhs))]:
        level, count = ("tile", tile) if start < rows else ("odd", 1)
        level = "output" if simd == "none" else level
        turns[level] += 1
        turns[f"{level}.bias"] += bias is not None
        sums = [0] * count
        for k in _int16_columns(turns, level, len(lhs), simd):
            for i in range(count):
                sums[i] += lhs[k] * rhs[start + i][k]
        for i in range(count):
            total = sums[i] + (0 if bias is None else bias[start + i])
            out.append(_stored(rescaling, total, start + i))
    return out, turns


def _int16_columns(turns: Turns, level: str, columns: int, simd: Simd) -> Iterator[int]:
    fast = min(columns, INT16_COLUMNS_IN_INT32)
    if simd == "none":
        yield from _one_by_one(turns, level, columns)
    elif simd == "mve":
        for start in range(0, fast, 8):
            turns[f"{level}.step"] += 1
            yield from range(start, min(start + 8, fast))
        turns[f"{level}.slow"] += columns - fast
        yield from range(fast, columns)
    else:
        turns[f"{level}.quads"] += fast >= 4
        turns[f"{level}.no_quad"] += fast < 4
        for word in range(fast // 4):
            turns[f"{level}.quad"] += 1
            yield from range(4 * word, 4 * word + 4)
        yield from _singles(turns, level, fast // 4 * 4, columns)


def vec_mat_mult_t_svdf_s8(
    lhs: Row, rhs: Sequence[Row], rescaling: Rescaling, simd: Simd
) -> tuple[list[int], Turns]:
    """``arm_nn_vec_mat_mult_t_svdf_s8``; arguments as of :func:`vec_mat_mult_t_s8`."""
    turns: Turns = Counter({"call": 1})
    tile = 2 if simd == "dsp" else 3
    rows = len(rhs) // tile * tile
    turns["tiles"] += rows > 0
    turns["long_division"] += simd == "none" and len(rhs) >= 2 * tile
    out = []
    for start in [*range(0, rows, tile), *range(rows, len(rhs))]:
        level, count = ("tile", tile) if start < rows else ("odd", 1)
        turns[level] += 1
        sums = [0] * count
        for k in _svdf_columns(turns, level, len(lhs), simd):
            for i in range(count):
                sums[i] += (lhs[k] + rescaling.input_offset) * rhs[start + i][k]
        out += [_stored(rescaling, sums[i], start + i) for i in range(count)]
    return out, turns


def _svdf_columns(turns: Turns, level: str, columns: int, simd: Simd) -> Iterator[int]:
    if simd == "none":
        yield from _one_by_one(turns, level, columns)
        return
    if simd == "mve":
        yield from _sixteen_lanes(turns, level, columns)
        return
    blocks = columns // 16 if level == "tile" else 0
    turns[f"{level}.left_{columns % 4}"] += 1
    for word in range(columns // 4):
        if word < 4 * blocks:
            turns[f"{level}.block"] += word % 4 == 0
        else:
            turns[f"{level}.quad"] += 1
        yield from (4 * word + k for k in _WORD_ORDER)
    yield from range(columns // 4 * 4, columns)


def vec_mat_mult_t_s4(
    lhs: Row, packed: bytes, bias: Row | None, rescaling: Rescaling, simd: Simd
) -> tuple[list[int], Turns]:
    """``arm_nn_vec_mat_mult_t_s4``; arguments as of :func:`vec_mat_mult_t_s8`.

    Args:
        lhs: stored inputs.
        packed: weights of all outputs without a gap, two a byte, the lower half first; bytes after
            the last weight are ignored.
        bias: of each output.
        rescaling: of the sums, with as many multipliers as there are outputs.
        simd: of the core.
    """
    turns: Turns = Counter({"call": 1})
    columns, outputs = len(lhs), rescaling.multipliers.size
    tiles = outputs // 4
    out = [0] * outputs

    def row(output: int, level: str) -> None:
        total = 0 if bias is None else bias[output]
        for k in range(columns):
            weight = _half(packed, output * columns + k)
            total += (lhs[k] + rescaling.input_offset) * weight
        out[output] = _stored(rescaling, total, output)
        # The two rows of a pair, half of the outputs apart, share their turns.
        if level == "odd" or output < 2 * tiles:
            _count_halves(turns, level, columns, simd)

    for tile in range(tiles):
        turns["tile"] += 1
        turns["tile.split"] += columns % 2 if simd == "mve" else 0
        for output in (2 * tile, 2 * tile + 1):
            row(output, "tile")
            row(output + 2 * tiles, "tile")
    for output in range(4 * tiles, outputs):
        turns["odd"] += 1
        row(output, "odd")
    return out, turns


def _half(packed: bytes, position: int) -> int:
    """A signed weight of four bits."""
    value = packed[position // 2] >> (4 if position % 2 else 0) & 15
    return value - 16 if value > 7 else value


def _count_halves(turns: Turns, level: str, columns: int, simd: Simd) -> None:
    if simd == "mve":
        turns[f"{level}.block"] += columns // 32 + (columns % 32 >= 16) + (columns % 16 > 0)
        return
    together = 4 if simd == "dsp" else 2
    turns[f"{level}.step"] += columns // together
    turns[f"{level}.left"] += columns % together
