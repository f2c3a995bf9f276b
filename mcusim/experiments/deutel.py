"""Deutel et al. 2023: pruned and quantized networks under dnnruntime, on Pico, Arduino and Pi 4B.

"Energy-efficient Deployment of Deep Learning Applications on Cortex-M based Microcontrollers using
Deep Compression", MBMV 2023, arXiv:2205.10369.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from mcusim.boards import load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.experiments.deutel_networks import SKEWS, element_pruned, structure_pruned
from mcusim.experiments.reproduction import Claim, Figure, Reproduction, Row, Series
from mcusim.graph import Graph
from mcusim.resources import data_path

__all__ = ["reproduce"]

_ARDUINO, _PICO = "arduino-nano-33-ble-sense", "raspberry-pi-pico"

#: RAM that Arduino's Mbed OS and its stacks take before a sketch takes any; the Pico's SDK, next to
#: none. Rounded down from what the Arduino IDE reports of an empty sketch.
_SYSTEM_BYTES = {_ARDUINO: 40_000, _PICO: 0}

#: Tables 3 and 4 on the Pi 4B: network, type, pruning, compression in percent, ms, mW, mJ.
_PI_4B = (
    ("LeNet", "float32", "structure", 99.18, 1.81, 3754.70, 6.65),
    ("LeNet", "uint8", "structure", 99.18, 2.16, 3624.90, 7.68),
    ("LeNet", "float32", "element", 95.0, 5.66, 3772.18, 21.00),
    ("LeNet", "uint8", "element", 95.0, 5.10, 3673.70, 18.31),
    ("LeNet", "float32", "structure", 99.7, 1.91, 3554.33, 6.67),
    ("LeNet", "uint8", "structure", 99.7, 2.01, 3581.79, 7.11),
    ("LeNet", "float32", "element", 97.0, 5.35, 3816.72, 20.12),
    ("LeNet", "uint8", "element", 97.0, 4.64, 3787.84, 17.05),
    ("AlexNet", "float32", "structural", 95.9, 6.60, 3795.81, 24.43),
    ("AlexNet", "uint8", "structural", 95.9, 3.96, 3809.41, 14.82),
    ("AlexNet", "float32", "structural", 98.2, 2.68, 3687.37, 9.71),
    ("AlexNet", "uint8", "structural", 98.2, 2.93, 4187.75, 12.28),
    ("AlexNet", "float32", "structural", 99.6, 2.45, 4182.59, 10.25),
    ("AlexNet", "uint8", "structural", 99.6, 2.10, 4134.21, 8.68),
    ("ResNet", "float32", "structural", 93.2, 29.41, 4234.81, 124.24),
    ("ResNet", "uint8", "structural", 93.2, 21.32, 4085.92, 86.54),
    ("ResNet", "float32", "structural", 98.7, 9.41, 4536.99, 42.06),
    ("ResNet", "uint8", "structural", 98.7, 7.74, 3863.07, 28.82),
    ("ResNet", "float32", "structural", 99.6, 5.42, 3560.66, 18.70),
    ("ResNet", "uint8", "structural", 99.6, 3.45, 3881.06, 13.37),
)

_RANGE = "shapes of the pruned network are not published: a range over them"
_BINARY = "; whether its kernels were those of CMSIS-NN is not said"


@dataclass(frozen=True)
class _Run:
    """A measured run on a microcontroller.

    Attributes:
        network: ``"LeNet"``, ``"AlexNet"`` or ``"ResNet"``.
        is_float: float32, or uint8 (int8 under TF-Micro).
        is_element: element-wise pruning, or structural.
        compression: share of the parameters that was removed.
        board: name of the board.
        runtimes: that it may have been.
    """

    network: str
    is_float: bool
    is_element: bool
    compression: float
    board: str
    runtimes: tuple[str, ...] = ("dnnruntime",)

    @property
    def what(self) -> str:
        kind = "float32" if self.is_float else "uint8"
        pruning = "element" if self.is_element else "structure"
        place = "Arduino" if self.board == _ARDUINO else "Pico"
        return f"{self.network} {kind}, {pruning} {100 * self.compression:g} %, {place}"


def reproduce() -> Reproduction:
    """Tables 3 to 5, Figure 6, and what the paper concludes from them."""
    rows = [row for run, published in _measured() for row in _rows(run, published)]
    rows += _pi_rows()
    return Reproduction(
        "deutel",
        "Deutel et al. 2023, Energy-efficient Deployment of Deep Learning Applications on Cortex-M "
        "based Microcontrollers using Deep Compression",
        tuple(rows),
        tuple(_claims()),
        (_flash_figure(), _ram_figure()),
        _REMARKS,
    )


def _measured() -> Iterator[tuple[_Run, dict[str, str]]]:
    """Runs on microcontrollers, and what was published of them."""
    path = data_path("calibration", "measured", "deutel_2022.csv")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = re.match(r"(\w+) (\w+), (.*?)pruning ([\d.]+)%", row["published_as"])
            if found is None:
                continue
            network, kind, pruning, percent = found.groups()
            runtimes: tuple[str, ...] = ("dnnruntime",)
            if _table(row) == "Table 5":
                runtimes = ("tflm", "cmsis-nn") if row["board"] == _ARDUINO else ("tflm",)
            yield (
                _Run(
                    network,
                    kind == "float32",
                    pruning.startswith("element"),
                    float(percent) / 100,
                    row["board"],
                    runtimes,
                ),
                row,
            )


def _rows(run: _Run, published: dict[str, str]) -> Iterator[Row]:
    found = [e for e, _ in _estimates(run)]
    # Which of two runtimes it was is not known: there is a range, and no number in it.
    middle = found[0] if len(run.runtimes) == 1 else None
    table = _table(published)
    note = _RANGE
    if run.is_element:
        note = "which layers are sparse is not published: a range over it"
    if "dnnruntime" not in run.runtimes:
        note += _BINARY if len(run.runtimes) > 1 else ""
    intervals = [e.latency_interval_s for e in found]
    energies = [e.energy_interval_j for e in found]
    yield Row(
        table,
        run.what,
        "ms",
        float(published["latency_ms"]),
        None if middle is None else middle.latency_s * 1e3,
        min(low for low, _ in intervals) * 1e3,
        max(high for _, high in intervals) * 1e3,
        note,
    )
    yield Row(
        table,
        run.what,
        "mJ",
        float(published["energy_mj"]),
        None if middle is None else middle.energy_j * 1e3,
        min(low for low, _ in energies) * 1e3,
        max(high for _, high in energies) * 1e3,
        note,
    )


def _table(published: dict[str, str]) -> str:
    found = re.search(r"table (\d)", published["source"])
    return f"Table {found[1] if found else '?'}"


def _pi_rows() -> Iterator[Row]:
    for network, kind, pruning, percent, latency_ms, power_mw, energy_mj in _PI_4B:
        table = "Table 3" if network == "LeNet" else "Table 4"
        what = f"{network} {kind}, {pruning} {percent:g} %, Pi 4B"
        note = "onnxruntime on Linux, which mcusim does not model"
        for unit, value in (("ms", latency_ms), ("mW", power_mw), ("mJ", energy_mj)):
            yield Row(table, what, unit, value, note=note)


def _estimates(run: _Run) -> list[tuple[Estimate, Graph]]:
    """Over what is not known of a run; what is most likely first."""
    return [
        (_estimate(graph, run.board, runtime), graph)
        for runtime in run.runtimes
        for graph in _graphs(run.network, run.is_float, run.is_element, run.compression)
    ]


@cache
def _graphs(
    network: str, is_float: bool, is_element: bool, compression: float
) -> tuple[Graph, ...]:
    if is_element:
        return tuple(
            element_pruned(compression, dense_only=only, is_float=is_float)
            for only in (False, True)
        )
    return tuple(structure_pruned(network, compression, skew, is_float) for skew in SKEWS)


@cache
def _estimate(graph: Graph, board: str, runtime: str) -> Estimate:
    return estimate(graph, load_board(board), runtime)


def _likely(
    network: str, is_float: bool, compression: float, board: str, runtime: str = "dnnruntime"
) -> Estimate:
    return _estimate(_graphs(network, is_float, False, compression)[0], board, runtime)


def _claims() -> Iterator[Claim]:
    both = [
        (n, c, b)
        for n, rates in (
            ("LeNet", (0.9918, 0.997)),
            ("AlexNet", (0.996,)),
            ("ResNet", (0.987, 0.996)),
        )
        for c in rates
        for b in (_ARDUINO, _PICO)
    ]
    gains = {
        key: _likely(key[0], True, *key[1:]).latency_s / _likely(key[0], False, *key[1:]).latency_s
        for key in both
    }
    here, there = (
        [g for (_, _, b), g in gains.items() if b == board] for board in (_ARDUINO, _PICO)
    )
    yield Claim(
        "Quantized models always outperform their float32 counterparts, much more so on the Pico",
        min(gains.values()) > 1 and min(there) > max(here),
        f"{min(here):.1f} to {max(here):.1f} times on the Arduino, {min(there):.1f} to "
        f"{max(there):.1f} on the Pico",
    )
    slower = [
        _likely(n, f, c, _PICO).latency_s / _likely(n, f, c, _ARDUINO).latency_s
        for n, c, _ in both[::2]
        for f in (True, False)
    ]
    yield Claim(
        "The Pico takes longer than the Arduino, at twice its clock",
        min(slower) > 1,
        f"{min(slower):.2f} to {max(slower):.2f} times as long",
    )
    yield from _deployment_claims()
    yield from _memory_claims()
    yield from _comparison_claims()


#: What could not be deployed on a board, and what could: network, float, element, share.
_DEPLOYED = {
    _ARDUINO: (
        (("AlexNet", True, False, 0.959), False),
        (("AlexNet", False, False, 0.959), False),
        (("AlexNet", True, False, 0.982), False),
        (("AlexNet", False, False, 0.982), True),
        (("AlexNet", True, False, 0.996), True),
        (("ResNet", True, False, 0.932), False),
        (("ResNet", False, False, 0.932), True),
        (("LeNet", True, True, 0.95), False),
        (("LeNet", False, True, 0.95), True),
    ),
    _PICO: (
        (("AlexNet", True, False, 0.959), False),
        (("AlexNet", False, False, 0.959), True),
        (("AlexNet", True, False, 0.982), False),
        (("AlexNet", False, False, 0.982), True),
        (("ResNet", True, False, 0.932), False),
        (("ResNet", False, False, 0.932), True),
        (("LeNet", True, True, 0.95), True),
        (("LeNet", False, True, 0.95), True),
    ),
}


def _deployment_claims() -> Iterator[Claim]:
    for board, cases in _DEPLOYED.items():
        wrong = []
        for key, deployed in cases:
            if _fits(_graphs(*key)[0], board) is not deployed:
                kind = "float32" if key[1] else "uint8"
                wrong.append(f"{key[0]} {kind} {100 * key[3]:g} %")
        name = "Arduino" if board == _ARDUINO else "Pico"
        yield Claim(
            f"What could be deployed on the {name}, and what could not, of {len(cases)} models",
            not wrong,
            "as published" if not wrong else f"otherwise: {', '.join(wrong)}",
        )


def _fits(graph: Graph, board: str) -> bool:
    found = _estimate(graph, board, "dnnruntime")
    ram = (found.ram_bytes or 0) + _SYSTEM_BYTES[board]
    return found.flash_bytes <= found.board.flash.bytes and ram <= found.board.ram.bytes


#: Shares of LeNet's parameters that are left, for Figure 6.
_SHARES = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)


def _sizes(is_float: bool, is_element: bool) -> list[tuple[float, float]]:
    """Flash and RAM of LeNet on the Pico by what is left of it."""
    found = []
    for share in _SHARES:
        graph = _graphs("LeNet", is_float, is_element, 1 - share)[0]
        sized = _estimate(graph, _PICO, "dnnruntime")
        weights = next(p.size_bytes for p in sized.flash if p.name == "weights")
        found.append((float(weights), float(sized.arena_bytes or 0)))
    return found


def _memory_claims() -> Iterator[Claim]:
    flash = {kind: [f for f, _ in _sizes(kind, True)] for kind in (True, False)}
    plateaus = {
        kind: min(s for s, size in zip(_SHARES, sizes, strict=True) if size > 0.99 * sizes[0])
        for kind, sizes in flash.items()
    }
    yield Claim(
        "Element-wise pruning saves no flash until a share is pruned, and a larger one of uint8",
        plateaus[False] < plateaus[True] < 1.0,
        f"float32 stays at its size down to {plateaus[True]:.0%} of the weights, uint8 down to "
        f"{plateaus[False]:.0%}",
    )
    ram = [r for _, r in _sizes(False, True)]
    yield Claim(
        "Element-wise pruning saves no SRAM",
        len(set(ram)) == 1,
        f"{ram[0]:,.0f} bytes at every share",
    )
    structure = _sizes(False, False)
    shrinks = all(
        later[0] < earlier[0] and later[1] <= earlier[1] for earlier, later in pairwise(structure)
    )
    yield Claim(
        "Structural pruning saves flash in proportion, and SRAM",
        shrinks,
        f"{structure[0][0]:,.0f} to {structure[-1][0]:,.0f} bytes of flash, "
        f"{structure[0][1]:,.0f} to {structure[-1][1]:,.0f} of SRAM",
    )


def _comparison_claims() -> Iterator[Claim]:
    ratios = {
        board: _likely("AlexNet", True, 0.996, board, "tflm").latency_s
        / _likely("AlexNet", True, 0.996, board).latency_s
        for board in (_ARDUINO, _PICO)
    }
    yield Claim(
        "float32 AlexNet takes longer under TF-Micro: 136 % on the Arduino, 28 % on the Pico",
        all(ratio > 1 for ratio in ratios.values()),
        f"{100 * ratios[_ARDUINO] - 100:+.0f} % and {100 * ratios[_PICO] - 100:+.0f} %",
    )
    quantized = {
        runtime: [
            _likely("AlexNet", False, share, _ARDUINO, runtime).latency_s
            / _likely("AlexNet", False, share, _ARDUINO).latency_s
            for share in (0.982, 0.996)
        ]
        for runtime in ("tflm", "cmsis-nn")
    }
    yield Claim(
        "Quantized, TF-Micro is slightly faster on the Arduino: 12 to 13 % less time",
        None if min(quantized["cmsis-nn"]) < 1 < max(quantized["tflm"]) else False,
        f"{quantized['tflm'][0]:.2f} times the time of dnnruntime with TFLM's own kernels, "
        f"{quantized['cmsis-nn'][0]:.2f} with those of CMSIS-NN: which ran is not said",
    )


def _flash_figure() -> Figure:
    return _figure("deutel-flash", "Flash for LeNet's weights (Figure 6a)", 0)


def _ram_figure() -> Figure:
    return _figure("deutel-sram", "SRAM for LeNet's activations (Figure 6b)", 1)


def _figure(name: str, title: str, which: int) -> Figure:
    kinds: Sequence[tuple[str, bool, bool]] = (
        ("structure, float32", True, False),
        ("structure, uint8", False, False),
        ("element, float32", True, True),
        ("element, uint8", False, True),
    )
    series = tuple(
        Series(label, _SHARES, [sizes[which] / 1024 for sizes in _sizes(is_float, is_element)])
        for label, is_float, is_element in kinds
    )
    return Figure(name, title, "share of the parameters left", "KiB", series, logarithmic=True)


_REMARKS = (
    "dnnruntime is not public. Its kernels here are our own reading of sections 3.2 and 4, in C, "
    "whose instructions were counted; the interval is as wide as from that reading to the other "
    "plausible one. No row is in any fit.",
    "The shapes of the pruned networks are not published. The predicted number is for structures "
    "pruned alike in all layers; the range reaches over networks of the same number of parameters "
    "whose first half (LeNet's and AlexNet's convolutions) keeps twice or half the share of the "
    "second, and over the interval of each.",
    "ResNet's parameters, 9,377,354, agree with the 9.4 M of Table 1 for a first convolution of 64 "
    "filters, no padding, and shortcuts of 5x5 convolutions, none of which the table prints.",
    "LeNet pruned by elements takes 392 ms in uint8 on the Pico at 95 % and at 97 % alike: either "
    "the two are one model, or what is sparse does not matter there. The range holds both a "
    "network of sparse layers only and one whose convolutions are dense.",
    "float32 on the Pico is slower here than published: the Pico's SDK replaces the C library's "
    "arithmetic on floats by the faster one in its ROM, and the C library's was counted.",
    "The Arduino's published power is bimodal, 82 to 118 mW and 140 to 151 mW, which nothing in "
    "the paper explains; energies there are off by as much.",
)
