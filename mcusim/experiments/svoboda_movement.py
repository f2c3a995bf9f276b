"""Where weights and activations lie in Svoboda et al.: last layer, spills, files on the card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from mcusim.boards import Board, load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.experiments.reproduction import Row
from mcusim.experiments.svoboda_formats import layer_products_s
from mcusim.experiments.svoboda_layers import FIRST, Layer, Spill, layers, network, spills
from mcusim.experiments.svoboda_storage import (
    Card,
    Reach,
    board_power_w,
    flash_read_s,
    flash_write_s,
    sram_read_s,
)

__all__ = [
    "CLOCKS_HZ",
    "DEFAULT_HZ",
    "EXTRA",
    "FILES",
    "LIBRARIES",
    "board",
    "card_energy_j",
    "flash_against_sram",
    "growth",
    "moved_megabyte",
    "movement_rows",
    "read_from_card",
    "rooms",
    "spilled_s",
]

#: Clocks of the SPI: the slowest and fastest that the paper names, and its default between.
CLOCKS_HZ = (100e3, 1e6, 25e6)
DEFAULT_HZ = 1e6
#: Bytes of files that were written.
FILES = (10, 1_000, 10_000, 200_000)
#: Filters more in Figure 4.
EXTRA = 32
#: Generations of CMSIS-NN that the paper of early 2022 may have used.
LIBRARIES = ("cmsis-nn@2020", "cmsis-nn@2021", "cmsis-nn@2022")

_BUILD = "gcc-O3"
_LAST = 61
_MEGABYTE = 1 << 20
_CARD = Card()


@cache
def board() -> Board:
    """The board of all experiments."""
    return load_board("nucleo-f767zi")


@cache
def _estimate(extra: int, runtime: str, weights: str) -> Estimate:
    return estimate(network(extra), board(), runtime, _BUILD, placement={"weights": weights})


def rooms() -> tuple[tuple[int, int], tuple[int, int]]:
    """Bytes of RAM with which layers exceed it as in the paper: from, and below.

    Returns:
        For the baseline, whose working set is larger at the layer of most activations and at the
        dense one; and for 32 more filters, which write at 3, 5 and 6 and read at 4, 6 and 7.
    """
    found = layers()
    dense = max(found, key=lambda layer: layer.weights)
    *_, next_largest, largest = sorted(x.working_set for x in found if x is not dense)
    more = layers(EXTRA)
    ends = sorted({size for x in more for size in (x.activations, x.outputs)})
    fitting = [
        (low, high)
        for low, high in pairwise(ends)
        if _written(spills(more, low)) == [3, 5, 6]
        and [s.number for s in spills(more, low) if s.read] == [4, 6, 7]
    ]
    return (next_largest, largest), (fitting[0][0], fitting[-1][1])


def _written(found: Sequence[Spill]) -> list[int]:
    return [spill.number for spill in found if spill.written]


def spilled_s(spill: Spill, clock_hz: float = DEFAULT_HZ) -> tuple[Reach, Reach]:
    """Time to write and to read what a layer moves, in seconds."""
    return _CARD.write_s(spill.written, clock_hz), _CARD.read_s(spill.read, clock_hz)


def growth(extra: int, room: int) -> tuple[float, float]:
    """Time of the layers, and that with what they spill at the default clock, in seconds.

    Args:
        extra: filters more.
        room: bytes of RAM for inputs and outputs.
    """
    computed = _estimate(extra, LIBRARIES[-1], "flash").latency_s
    moved = sum(r.middle for s in spills(layers(extra), room) for r in spilled_s(s) if r.low)
    return computed, computed + moved


def flash_against_sram(runtime: str) -> tuple[float, float, float]:
    """The last convolution with weights in flash: seconds and joules more, and its seconds."""
    flash, ram = (_estimate(0, runtime, place).layers[_LAST] for place in ("flash", "ram"))
    return flash.latency_s - ram.latency_s, flash.energy_j - ram.energy_j, ram.latency_s


def _last_layer() -> Layer:
    return next(layer for layer in layers() if layer.operator == _LAST)


def read_from_card() -> tuple[Reach, list[float]]:
    """Reading the last convolution's weights, and what it takes to compute it, in seconds."""
    own = [layer_products_s(_last_layer(), "q7_products_simd", True)]
    return _CARD.read_s(_last_layer().weights, DEFAULT_HZ), own + [
        flash_against_sram(runtime)[2] for runtime in LIBRARIES
    ]


def moved_megabyte() -> dict[str, Reach]:
    """Time to move 1 MB, in seconds, by what is done."""
    found = {
        "read from SRAM": Reach(*[sram_read_s(board(), _MEGABYTE)] * 2),
        "read from flash": Reach(*[flash_read_s(board(), _MEGABYTE)] * 2),
        "erase and write flash": flash_write_s(_MEGABYTE),
    }
    for clock_hz in (DEFAULT_HZ, CLOCKS_HZ[-1]):
        at = f"µSD at {clock_hz / 1e6:g} MHz"
        found[f"read from {at}"] = _CARD.read_s(_MEGABYTE, clock_hz)
        found[f"write to {at}"] = _CARD.write_s(_MEGABYTE, clock_hz)
    return found


def card_energy_j(size: float, clock_hz: float) -> Reach:
    """Energy of the board while it writes a file to the card, in joules."""
    return _CARD.write_s(size, clock_hz).times(board_power_w(clock_hz))


def _power_w(what: str) -> float:
    """Power of the board meanwhile: as published with the card, else our prediction of it."""
    if "25 MHz" in what:
        return board_power_w(CLOCKS_HZ[-1])
    if "µSD" in what:
        return board_power_w(DEFAULT_HZ)
    return board().power.active_w(board().clock.default_hz)


def movement_rows() -> Iterator[Row]:
    """Figures 4 to 6 and what section 5.1 says in words."""
    yield from _spill_rows()
    yield from _last_layer_rows()
    plotted = "plotted only; a range over the card, or over typical and longest times of the flash"
    for what, reach in moved_megabyte().items():
        yield Row("Figure 5", f"1 MB: {what}", "s", None, None, reach.low, reach.high, plotted)
        energy = reach.times(_power_w(what))
        yield Row("Figure 5", f"1 MB: {what}", "J", None, None, energy.low, energy.high, plotted)
    for size in FILES:
        for clock_hz in CLOCKS_HZ:
            energy = card_energy_j(size, clock_hz).times(1e3)
            yield Row(
                "Figure 6", f"write {size:,} bytes at {clock_hz / 1e3:,.0f} kHz", "mJ", None, None,
                energy.low, energy.high, "plotted only; a range over the card, without file system",
            )  # fmt: skip
    slow, fast = board_power_w(CLOCKS_HZ[0]), board_power_w(CLOCKS_HZ[-1])
    for clock_hz, power_w in ((CLOCKS_HZ[0], slow), (CLOCKS_HZ[-1], fast)):
        yield Row(
            "Section 5.1", f"power while writing to µSD at {clock_hz / 1e3:,.0f} kHz", "mW",
            1e3 * power_w, note="of the whole board, taken as given: ours is a line through both",
        )  # fmt: skip
    yield Row(
        "Section 5.1", "power more from the slowest to the fastest SPI", "%", 25.0,
        100 * (fast / slow - 1), note="follows from the two powers; the text says up to 25 %",
    )  # fmt: skip


def _spill_rows() -> Iterator[Row]:
    low, high = rooms()[1]
    moved = {s.number: s for s in spills(layers(EXTRA), high - 1)}
    plain, more = (_estimate(extra, LIBRARIES[-1], "flash").layers for extra in (0, EXTRA))
    for layer in layers(EXTRA)[:FIRST]:
        if layer.kind != "pad":
            added = more[layer.operator].latency_s - plain[layer.operator].latency_s
            yield Row(
                "Figure 4", f"layer {layer.number}: added operations", "ms", None, 1e3 * added,
                note="plotted only; CMSIS-NN of 2022",
            )  # fmt: skip
        spill = moved.get(layer.number)
        if spill is None:
            continue
        for what, reach in zip(("written", "read back"), spilled_s(spill), strict=True):
            if reach.low:
                yield Row(
                    "Figure 4", f"layer {layer.number}: {what}, µSD at 1 MHz", "ms", None, None,
                    1e3 * reach.low, 1e3 * reach.high,
                    f"plotted only; {low / 1024:.0f} to {high / 1024:.0f} KiB of RAM for inputs "
                    "and outputs",
                )  # fmt: skip


def _last_layer_rows() -> Iterator[Row]:
    found = [flash_against_sram(runtime) for runtime in LIBRARIES]
    power = board().power
    least = power.measured_over_predicted_low
    times = [1e3 * seconds for seconds, _, _ in found]
    energies = [1e3 * joules for _, joules, _ in found]
    yield Row(
        "Section 5.1", "last convolution, weights in flash instead of SRAM: energy", "mJ", 0.07,
        energies[-1], least * min(energies), board_power_w(CLOCKS_HZ[0]) * times[-1],
        "CMSIS-NN of 2022, up to the power of the whole board with its card: each line of weights "
        "waits once",
    )  # fmt: skip
    yield Row(
        "Section 5.1", "last convolution, weights in flash instead of SRAM: time", "ms", None,
        times[-1], note="published: the same at a resolution of 1 ms",
    )  # fmt: skip
    read, computed = read_from_card()
    ends = [math.log10(1 + reach / each) for reach in (read.low, read.high) for each in computed]
    yield Row(
        "Section 5.1", "last convolution, weights on µSD: time", "orders of magnitude", None, None,
        min(ends), max(ends),
        "published: almost two. SPI at its default of 1 MHz, weights read once, a range over the "
        "card and over kernels",
    )  # fmt: skip
