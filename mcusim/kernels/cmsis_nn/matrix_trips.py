"""Loop turns of the matrix products that CMSIS-NN's convolutions call, as closed formulas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mcusim.graph import Array, Tensor
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase

__all__ = [
    "Scaling",
    "nt_t_s8_trips",
    "nt_t_s16_mve_trips",
    "pixel_pair_s16_trips",
    "pixel_pair_trips",
    "tail_trips",
    "widening_trips",
]


@dataclass(frozen=True)
class Scaling:
    """What the loops depend on in the requantization of the outputs.

    Attributes:
        has_bias: whether a bias is given.
        right: fraction of the output channels that are shifted to the right, which takes other
            instructions than to the left: nearly always all of them.
        unshifted: fraction that is not shifted, which some builds take for a shift to the right
            of none, others for one to the left.
    """

    has_bias: bool = True
    right: float = 1.0
    unshifted: float = 0.0

    @classmethod
    def of_shifts(cls, has_bias: bool, shifts: Array | None) -> Scaling:
        """Of the channels' shifts, positive to the left; typical where they are not known."""
        if shifts is None:
            return cls(has_bias)
        return cls(has_bias, float(np.mean(shifts < 0)), float(np.mean(shifts == 0)))

    @classmethod
    def of_case(cls, case: LibraryCase, configuration: Configuration) -> Scaling:
        """Of a recorded call; before 2026 every call was given a bias."""
        has_bias = case.has_bias or configuration.generation != "2026"
        return cls.of_shifts(has_bias, case.arrays.get("shift"))

    @classmethod
    def of_layer(cls, has_bias: bool, source: Tensor, weights: Tensor, result: Tensor) -> Scaling:
        """Of a layer's multipliers, which lie below a half where they are shifted to the right."""
        if weights.quantization is None or not result.scale:
            return cls(has_bias)
        scales = weights.quantization.scales.astype(np.float64) * source.scale / result.scale
        if not scales.size:
            return cls(has_bias)
        right, left = scales < 0.5, scales >= 1.0
        return cls(has_bias, float(np.mean(right)), float(np.mean(~(right | left))))

    def turns(self, outputs: float, level: str = "") -> dict[str, float]:
        """Outputs by the direction of their shift, as levels of a profile."""
        return {
            f"{level}right_shift": outputs * self.right,
            f"{level}no_shift": outputs * self.unshifted,
        }


_DSP_BLOCK = 16
_LONGEST_NARROW_SUM = 512
_MVE_LANES = 16
_MVE_TILE = 4


def pixel_pair_trips(
    pairs: int, channels: int, columns: int, simd: Simd, scaling: Scaling
) -> dict[str, float]:
    """Turns of ``arm_nn_mat_mult_kernel_s8_s16``: two filters by two pixels, then one by two.

    Args:
        pairs: pairs of pixels, a call each.
        channels: filters.
        columns: products of an output.
        simd: ``"none"`` or ``"dsp"``.
        scaling: of the outputs.
    """
    twos, odd = pairs * (channels // 2), pairs * (channels % 2)
    trips: dict[str, float] = {
        "call": pairs,
        "tile": twos,
        "tile.bias": twos * scaling.has_bias,
        "odd_tile": odd,
        "odd_tile.bias": odd * scaling.has_bias,
        "odd_tile.after": odd if channels > 1 else 0,
        **scaling.turns(2 * pairs * channels),
        "scaling.output": 2 * pairs * channels,
    }
    if simd == "none":
        return trips | {"tile.product": twos * columns, "odd_tile.product": odd * columns}
    quads, tail = divmod(columns, 4)
    for name, turns in (("tile", twos), ("odd_tile", odd)):
        trips |= {f"{name}.quad": turns * quads, f"{name}.quads": turns * (quads > 0)}
        trips |= tail_trips(f"{name}.tail", turns, tail)
    return trips


def pixel_pair_s16_trips(
    pairs: int, channels: int, columns: int, simd: Simd, scaling: Scaling, wide: bool
) -> dict[str, float]:
    """Turns of ``arm_nn_mat_mult_kernel_s16``: as :func:`pixel_pair_trips`, of int16 pixels.

    Args:
        pairs: pairs of pixels, a call each.
        channels: filters.
        columns: products of an output.
        simd: ``"none"`` or ``"dsp"``.
        scaling: of the outputs.
        wide: sums are taken to 64 bits after 512 products, as with an int64 bias.
    """
    fast = min(columns, _LONGEST_NARROW_SUM) if wide else columns
    trips = pixel_pair_trips(pairs, channels, fast, simd, scaling)
    twos, odd = pairs * (channels // 2), pairs * (channels % 2)
    return trips | {
        "tile.narrow": twos * (not wide),
        "tile.wide_product": twos * (columns - fast),
        "odd_tile.narrow": odd * (not wide),
        "odd_tile.wide_product": odd * (columns - fast),
    }


def tail_trips(level: str, turns: float, tail: int) -> dict[str, float]:
    """Turns of what is left of a loop in steps of four, which compilers unroll: one level each."""
    return {f"{level}_{left}": turns * (tail == left) for left in (1, 2, 3)}


def widening_trips(calls: int, elements: int, simd: Simd) -> dict[str, float]:
    """Turns of ``arm_s8_to_s16_unordered_with_offset``, or of its twin without DSP."""
    if simd == "none":
        return {"call": calls, "element": calls * elements}
    quads, tail = divmod(elements, 4)
    trips = {"call": calls, "quad": calls * quads, "quads": calls * (quads > 0)}
    return trips | tail_trips("tail", calls, tail)


def nt_t_s8_trips(
    calls: Iterable[tuple[int, int]],
    channels: int,
    columns: int,
    simd: Simd,
    scaling: Scaling,
    quads: bool = True,
) -> dict[str, float]:
    """Turns of ``arm_nn_mat_mult_nt_t_s8``.

    Args:
        calls: how many calls of how many rows (pixels) each.
        channels: filters.
        columns: products of an output.
        simd: of the core.
        scaling: of the outputs.
        quads: whether steps of four follow those of sixteen, which before 2026 they did not.
    """
    listed = list(calls)
    count = sum(times for times, _ in listed)
    if simd == "mve":
        return _mve(listed, count, channels, columns)
    twos, odd_channel = divmod(channels, 2)
    pairs = sum(times * (rows // 2) for times, rows in listed)
    odd_rows = sum(times * (rows % 2) for times, rows in listed)
    rows = sum(times * rows for times, rows in listed)
    trips: dict[str, float] = {
        "call": count,
        "filter_pair": count * twos,
        "filter_pair.weight": count * twos * columns,
        "filter_pair.bias": count * twos * scaling.has_bias,
        "filter_pair.rows": count * twos if any(rows > 1 for _, rows in listed) else 0,
        "tile": twos * pairs,
        "odd_row": twos * odd_rows,
        "odd_filter": count * odd_channel,
        "odd_filter.row": odd_channel * rows,
        "odd_filter.product": odd_channel * rows * columns,
        **scaling.turns(rows * channels),
        "scaling.output": rows * channels,
    }
    if simd == "none":
        trips["tile.product"] = twos * pairs * columns
        trips["odd_row.product"] = twos * odd_rows * columns
        return trips
    blocks, rest = divmod(columns, _DSP_BLOCK)
    fours, tail = divmod(rest, 4) if quads else (0, rest)
    for name, turns in (("tile", twos * pairs), ("odd_row", twos * odd_rows)):
        trips |= {
            f"{name}.block": turns * blocks,
            f"{name}.blocks": turns * (blocks > 0),
            f"{name}.quad": turns * fours,
            f"{name}.quads": turns * (fours > 0),
        }
        if quads:
            trips |= tail_trips(f"{name}.tail", turns, tail)
        else:
            trips |= {f"{name}.tail": turns * tail, f"{name}.tails": turns * (tail > 0)}
    return trips


def _mve(
    calls: Iterable[tuple[int, int]], count: int, channels: int, columns: int
) -> dict[str, float]:
    fours, single = _tiles(calls)
    steps = -(-columns // _MVE_LANES)
    return {
        "call": count,
        "four_rows": fours,
        "four_rows.filter": fours * channels,
        "four_rows.step": fours * channels * steps,
        "row": single,
        "row.filter": single * channels,
        "row.step": single * channels * steps,
        "row.vector": single * (channels // 4),
        "row.tail": single * (channels % 4),
    }


def nt_t_s16_mve_trips(
    calls: Iterable[tuple[int, int]], channels: int, columns: int, wide: bool
) -> dict[str, float]:
    """Turns of ``arm_nn_mat_mult_nt_t_s16``, which only MVE has.

    Args:
        calls: how many calls of how many rows (pixels) each.
        channels: filters.
        columns: products of an output.
        wide: sums are taken to 64 bits after 512 products, as with an int64 bias.
    """
    listed = list(calls)
    fours, single = _tiles(listed)
    fast = min(columns, _LONGEST_NARROW_SUM) if wide else columns
    steps = -(-fast // (_MVE_LANES // 2))
    trips: dict[str, float] = {"call": sum(times for times, _ in listed)}
    for name, tiles in (("four_rows", fours), ("row", single)):
        trips |= {
            name: tiles,
            f"{name}.filter": tiles * channels,
            f"{name}.narrow": tiles * channels * (not wide),
            f"{name}.step": tiles * channels * steps,
            f"{name}.wide_product": tiles * channels * (columns - fast),
        }
    return trips


def _tiles(calls: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Tiles of four rows, and the rows that are left, over some calls."""
    listed = list(calls)
    fours = sum(times * (rows // _MVE_TILE) for times, rows in listed)
    return fours, sum(times * (rows % _MVE_TILE) for times, rows in listed)
