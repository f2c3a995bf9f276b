"""What Svoboda et al. conclude, beside what mcusim predicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from mcusim.boards import load_board
from mcusim.experiments.measured_power import correlations, told
from mcusim.experiments.reproduction import Claim
from mcusim.experiments.svoboda_formats import FORMATS, priced_format
from mcusim.experiments.svoboda_layers import FIRST, layers, spills
from mcusim.experiments.svoboda_movement import (
    CLOCKS_HZ,
    EXTRA,
    FILES,
    LIBRARIES,
    card_energy_j,
    flash_against_sram,
    growth,
    moved_megabyte,
    movement_rows,
    read_from_card,
    rooms,
)
from mcusim.experiments.svoboda_storage import Reach

__all__ = ["Growth", "claims", "grown", "squeezed_mb"]

#: SqueezeNet after Deep Compression, and unpacked, in MB (section 7).
_SQUEEZED_MB = (0.47, 4.8)
_STEPS = range(0, 65, 8)
#: Correlation from which on two quantities are called directly related.
_DIRECT = 0.95


@dataclass(frozen=True)
class Growth:
    """A network with more filters, over the baseline.

    Attributes:
        extra: filters more.
        activations: largest inputs and outputs of a layer.
        macs: multiply-accumulates.
        computed: time of the layers.
        spilled: time with what they spill.
    """

    extra: int
    activations: float
    macs: float
    computed: float
    spilled: float


def squeezed_mb() -> tuple[float, float]:
    """SqueezeNet packed and unpacked, in MB."""
    return _SQUEEZED_MB


@cache
def grown() -> tuple[Growth, ...]:
    """Figure 8, right: with a room in which the baseline's sixth layer just fits."""
    (_, room), _ = rooms()
    absolute = []
    for extra in _STEPS:
        found = layers(extra)
        size = max(layer.activations for layer in found)
        absolute.append((size, sum(layer.macs for layer in found), *growth(extra, room)))
    base = absolute[0]
    return tuple(
        Growth(extra, *(value / first for value, first in zip(values, base, strict=True)))
        for extra, values in zip(_STEPS, absolute, strict=True)
    )


def claims(boards: Sequence[str]) -> Iterator[Claim]:
    """Every conclusion that a prediction can bear on.

    Args:
        boards: those of Table 1.
    """
    yield from _working_set(boards)
    yield from _last_layer()
    yield from _movement()
    yield from _formats()
    yield from _metrics(boards)


def _working_set(boards: Sequence[str]) -> Iterator[Claim]:
    (low, high), (low_more, high_more) = rooms()
    yield Claim(
        "The working set exceeds the SRAM at two layers, the 6th by activations and the 68th by "
        "weights",
        low < high,
        f"exactly these two with {_kib(low)} to {_kib(high)} KiB: "
        + ", ".join(f"{b} has {load_board(b).ram.bytes // 1024}" for b in boards[:3]),
    )
    yield Claim(
        "With 32 filters more, layers 3, 5 and 6 write outputs off SRAM, and 4, 6 and 7 read them "
        "back",
        low_more < high_more,
        f"exactly these with {_kib(low_more)} to {_kib(high_more)} KiB for inputs and outputs",
    )
    own = load_board(boards[0]).ram.bytes
    yield Claim(
        "That SRAM is the F767's, of 512 KB",
        own < high_more,
        f"all of it would hold every layer but the 68th, and with 32 filters more {_numbers(own)}: "
        "what was free is not said, and must have been less than two thirds",
    )
    rows = [row for row in movement_rows() if row.table == "Figure 4"]
    added = max(row.predicted or 0.0 for row in rows)
    moved = min(row.low for row in rows if row.low is not None)
    yield Claim(
        "Time of the added operations is dwarfed by that of writing and reading what exceeds SRAM",
        moved > 5 * added,
        f"added operations take at most {added:.3g} ms a layer, what is moved at least "
        f"{moved / 1e3:.3g} s at the SPI's default clock of 1 MHz",
    )
    late = layers(EXTRA)[FIRST + 2 :]
    yield Claim(
        "Layers away from the SRAM limit are hardly affected",
        not any(s.number > FIRST for s in spills(layers(EXTRA), low_more)),
        f"none of layers {late[0].number} to {late[-1].number} spills activations",
    )


def _kib(count: int) -> str:
    return f"{count / 1024:.0f}"


def _numbers(room: int) -> str:
    found = [str(s.number) for s in spills(layers(EXTRA), room) if s.written]
    return f"all but layer {', '.join(found)}" if found else "all"


def _last_layer() -> Iterator[Claim]:
    found = [flash_against_sram(runtime) for runtime in LIBRARIES]
    times, energies = [1e3 * f[0] for f in found], [1e3 * f[1] for f in found]
    yield Claim(
        "The last convolution takes the same time with weights in SRAM or flash, at a resolution "
        "of 1 ms, and a little more energy",
        max(times) < 1 and min(energies) > 0,
        f"{times[-1]:.2g} ms and {energies[-1]:.2g} mJ more with CMSIS-NN of 2022, of "
        f"{1e3 * found[-1][2]:.3g} ms; the same with those of 2020 and 2021",
    )
    read, computed = read_from_card()
    low, high = 1 + read.low / max(computed), 1 + read.high / min(computed)
    yield Claim(
        "With weights on µSD it takes almost two orders of magnitude longer",
        high >= 30 and low <= 100,
        f"{low:.0f} to {high:.0f} times: {1e3 * min(computed):.3g} to {1e3 * max(computed):.3g} ms "
        f"of products, {read.low:.3g} to {read.high:.3g} s to read 145 KB at 1 MHz",
    )


def _movement() -> Iterator[Claim]:
    moved = moved_megabyte()
    read, write = moved["read from µSD at 1 MHz"], moved["write to µSD at 1 MHz"]
    yield Claim(
        "Reading and writing the µSD card cost about the same",
        write.high / read.low < 2,
        f"1 MB at 1 MHz: {_seconds(read)} s to read, {_seconds(write)} s to write",
    )
    flash = moved["erase and write flash"]
    from_flash = moved["read from flash"].high
    yield Claim(
        "Writing on-chip flash costs far more than reading it",
        flash.low > 100 * from_flash,
        f"1 MB: {1e3 * from_flash:.2g} ms to read, {_seconds(flash)} s to erase and write",
    )
    for clock in (1, 25):
        read_sd, write_sd = (
            moved[f"{what} µSD at {clock} MHz"] for what in ("read from", "write to")
        )
        ends = [(f - w) / (r - from_flash) for f, w, r in _corners(flash, write_sd, read_sd)]
        yield Claim(
            f"Writing to flash pays only for what is read several times (SPI at {clock} MHz)",
            True if min(ends) > 1 else False if max(ends) < 1 else None,
            f"it is faster than the card after {max(0.0, min(ends)):.1f} to {max(ends):.1f} "
            "readings, by how fast flash and card are",
        )
    shares = [
        (card_energy_j(size, CLOCKS_HZ[-1]).low / card_energy_j(size, CLOCKS_HZ[0]).low,
         card_energy_j(size, CLOCKS_HZ[-1]).high / card_energy_j(size, CLOCKS_HZ[0]).high)
        for size in FILES
    ]  # fmt: skip
    worst = max(max(pair) for pair in shares)
    yield Claim(
        "A higher clock of the SPI draws more power and less energy",
        worst < 1,
        f"at 25 MHz the energy is at most {100 * worst:.2g} % of that at 100 kHz",
    )
    sram_j = load_board("nucleo-f767zi").power.active_w(216e6) * moved["read from SRAM"].low
    for clock, power, named in ((25, 0.590, "the fastest SPI"), (1, 0.465, "the SPI's default")):
        times = moved[f"read from µSD at {clock} MHz"].times(power / sram_j)
        orders = math.log10(times.low), math.log10(times.high)
        yield Claim(
            "Reaching the card takes two to three orders of magnitude more energy than reaching "
            f"SRAM ({named}, {clock} MHz)",
            round(orders[0]) >= 2 and round(orders[1]) <= 3,
            f"{times.low:,.0f} to {times.high:,.0f} times for 1 MB, {orders[0]:.1f} to "
            f"{orders[1]:.1f} orders",
        )


def _seconds(reach: Reach) -> str:
    return f"{reach.low:.2g} to {reach.high:.2g}"


def _corners(*reaches: Reach) -> Iterator[tuple[float, float, float]]:
    first, second, third = ((r.low, r.high) for r in reaches)
    return ((a, b, c) for a in first for b in second for c in third)


def _formats() -> Iterator[Claim]:
    times = {name: 1e3 * priced_format(name).total for name in FORMATS}
    listed = ", ".join(f"{name} {t:.0f} ms" for name, t in times.items())
    simd, plain, affine = (times[n] for n in ("Q with SIMD", "Q without SIMD", "affine"))
    yield Claim("Q format is fastest, above all with SIMD", simd < plain < affine, listed)
    yield Claim(
        "Affine quantization takes longer",
        affine > plain,
        f"{affine / plain:.2f} times Q without SIMD: an offset at each product, a product of 64 "
        f"bits at each output; {affine / simd:.2f} times Q with SIMD",
    )
    books = [n for n in FORMATS if n.startswith("code book")]
    worst = max(times[n] for n in books)
    yield Claim(
        "Code books take significantly longer, for their unpacking",
        min(times[n] for n in books) > 1.2 * simd,
        ", ".join(
            f"{n} {times[n] / simd:.2f} times Q with SIMD, {1e3 * priced_format(n).unpacking:.0f} "
            "ms to unpack"
            for n in books
        )
        + f"; {'only bit by bit is it' if worst > affine else 'in no case is it'} slower than "
        "affine",
    )
    yield Claim(
        "Latency and energy go together, whatever the format",
        min(correlations()) > _DIRECT,
        told(),
    )


def _metrics(boards: Sequence[str]) -> Iterator[Claim]:
    found = [layer for layer in layers() if layer.weights]
    above = [layer for layer in found if layer.activations > layer.weights]
    dense = max(found, key=lambda layer: layer.weights)
    yield Claim(
        "Inputs and outputs need far more memory than weights",
        2 * len(above) > len(found),
        f"in {len(above)} of {len(found)} layers with weights; but the dense layer's "
        f"{_kib(dense.weights)} KiB of weights are the largest of all",
    )
    last = grown()[-1]
    jump = next(point for point in grown() if point.spilled > 1.5 * point.computed)
    yield Claim(
        "A linear growth of the network does not grow latency linearly",
        last.spilled > 2 * last.macs,
        f"{last.extra} filters more: {last.macs:.2f} times the MACs, {last.computed:.2f} times the "
        f"time in SRAM, {last.spilled:.1f} times with spills, which set in at {jump.extra} filters",
    )
    packed, unpacked = (1e6 * size for size in _SQUEEZED_MB)
    fits = [b for b in boards if load_board(b).flash.bytes > packed]
    unpacked_fits = [b for b in boards if load_board(b).flash.bytes > unpacked]
    yield Claim(
        "SqueezeNet of 0.47 MB fits all boards of Table 1 but the smallest; unpacked, none",
        len(fits) == len(boards) - 1 and not unpacked_fits,
        f"packed {len(fits)} of {len(boards)}, unpacked {len(unpacked_fits)}",
    )
