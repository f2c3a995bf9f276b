"""Runs of Deutel et al. 2023: what was published of them, and the networks that they may be of."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mcusim.boards import load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.experiments.deutel_networks import SKEWS, element_pruned, structure_pruned
from mcusim.graph import Graph
from mcusim.resources import data_path

__all__ = [
    "ARDUINO",
    "BUILDS",
    "PICO",
    "PI_4B",
    "Published",
    "Run",
    "estimated",
    "graphs",
    "likely",
    "measured",
    "pi_runs",
    "possible",
    "slowest_pi",
    "tflm_software",
]

ARDUINO, PICO = "arduino-nano-33-ble-sense", "raspberry-pi-pico"
PI_4B = "raspberry-pi-4b"
_NAMES = {ARDUINO: "Arduino", PICO: "Pico", PI_4B: "Pi 4B"}
#: How TF-Micro was compiled for the Arduino: like dnnruntime, or as its IDE does.
BUILDS = ("gcc-O3", "gcc-Os")
#: The text: "the Pi 4B runs between 1.0 and 1.5 GHz".
_PI_SLOWEST_HZ = 1.0e9

#: Tables 3 and 4 on the Pi 4B: network, type, element-wise or not, compression in percent, and ms,
#: mW, mJ.
_PI_4B = (
    ("LeNet", "float32", False, 99.18, 1.81, 3754.70, 6.65),
    ("LeNet", "uint8", False, 99.18, 2.16, 3624.90, 7.68),
    ("LeNet", "float32", True, 95.0, 5.66, 3772.18, 21.00),
    ("LeNet", "uint8", True, 95.0, 5.10, 3673.70, 18.31),
    ("LeNet", "float32", False, 99.7, 1.91, 3554.33, 6.67),
    ("LeNet", "uint8", False, 99.7, 2.01, 3581.79, 7.11),
    ("LeNet", "float32", True, 97.0, 5.35, 3816.72, 20.12),
    ("LeNet", "uint8", True, 97.0, 4.64, 3787.84, 17.05),
    ("AlexNet", "float32", False, 95.9, 6.60, 3795.81, 24.43),
    ("AlexNet", "uint8", False, 95.9, 3.96, 3809.41, 14.82),
    ("AlexNet", "float32", False, 98.2, 2.68, 3687.37, 9.71),
    ("AlexNet", "uint8", False, 98.2, 2.93, 4187.75, 12.28),
    ("AlexNet", "float32", False, 99.6, 2.45, 4182.59, 10.25),
    ("AlexNet", "uint8", False, 99.6, 2.10, 4134.21, 8.68),
    ("ResNet", "float32", False, 93.2, 29.41, 4234.81, 124.24),
    ("ResNet", "uint8", False, 93.2, 21.32, 4085.92, 86.54),
    ("ResNet", "float32", False, 98.7, 9.41, 4536.99, 42.06),
    ("ResNet", "uint8", False, 98.7, 7.74, 3863.07, 28.82),
    ("ResNet", "float32", False, 99.6, 5.42, 3560.66, 18.70),
    ("ResNet", "uint8", False, 99.6, 3.45, 3881.06, 13.37),
)


@dataclass(frozen=True)
class Run:
    """A measured run.

    Attributes:
        network: ``"LeNet"``, ``"AlexNet"`` or ``"ResNet"``.
        is_float: float32, or uint8 (int8 under TF-Micro).
        is_element: element-wise pruning, or structural.
        compression: share of the parameters that was removed.
        board: name of the board.
        runtimes: that it may have been.
        builds: of it, likewise.
    """

    network: str
    is_float: bool
    is_element: bool
    compression: float
    board: str
    runtimes: tuple[str, ...] = ("dnnruntime",)
    builds: tuple[str, ...] = BUILDS[:1]

    @property
    def what(self) -> str:
        """Which row of a table it is."""
        kind = "float32" if self.is_float else "uint8"
        pruning = "element" if self.is_element else "structure"
        return f"{self.network} {kind}, {pruning} {100 * self.compression:g} %, {self.place}"

    @property
    def place(self) -> str:
        """The board as the paper calls it."""
        return _NAMES[self.board]


@dataclass(frozen=True)
class Published:
    """What was published of a run.

    Attributes:
        table: ``"Table 3"`` to ``"Table 5"``.
        latency_ms: of an inference.
        power_mw: meanwhile.
        energy_mj: of an inference.
    """

    table: str
    latency_ms: float
    power_mw: float
    energy_mj: float


def measured() -> Iterator[tuple[Run, Published]]:
    """Runs on microcontrollers, and what was published of them."""
    path = data_path("calibration", "measured", "deutel_2022.csv")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = re.match(r"(\w+) (\w+), (.*?)pruning ([\d.]+)%", row["published_as"])
            table = re.search(r"table (\d)", row["source"])
            if found is None or table is None:
                continue
            network, kind, pruning, percent = found.groups()
            runtimes: tuple[str, ...] = ("dnnruntime",)
            builds: tuple[str, ...] = BUILDS[:1]
            if table[1] == "5":
                runtimes, builds = tflm_software(row["board"])
            run = Run(
                network,
                kind == "float32",
                pruning.startswith("element"),
                float(percent) / 100,
                row["board"],
                runtimes,
                builds,
            )
            numbers = (float(row[key]) for key in ("latency_ms", "power_mw", "energy_mj"))
            yield run, Published(f"Table {table[1]}", *numbers)


def pi_runs() -> Iterator[tuple[Run, Published]]:
    """Runs on the Pi 4B, under onnxruntime."""
    for network, kind, is_element, percent, *numbers in _PI_4B:
        table = "Table 3" if network == "LeNet" else "Table 4"
        run = Run(network, kind == "float32", is_element, percent / 100, PI_4B)
        yield run, Published(table, *numbers)


def possible(run: Run) -> list[Estimate]:
    """Estimates over what is not known of a run; what is most likely first."""
    # Elements that are zero are stored and multiplied like others by onnxruntime.
    is_sparse = run.is_element and run.board != PI_4B
    compression = 0.0 if run.is_element and not is_sparse else run.compression
    return [
        estimated(graph, run.board, runtime, build)
        for runtime in run.runtimes
        for build in run.builds
        for graph in graphs(run.network, run.is_float, is_sparse, compression)
    ]


def slowest_pi(run: Run) -> float:
    """Times longer that the slowest of the Pi 4B's clocks makes a run."""
    return load_board(run.board).clock.default_hz / _PI_SLOWEST_HZ


@cache
def graphs(network: str, is_float: bool, is_element: bool, compression: float) -> tuple[Graph, ...]:
    """Networks of a number of parameters; what is most likely first.

    Args:
        network: as for :class:`Run`.
        is_float: as for :class:`Run`.
        is_element: as for :class:`Run`.
        compression: as for :class:`Run`.
    """
    if is_element:
        return tuple(
            element_pruned(compression, dense_only=only, is_float=is_float)
            for only in (False, True)
        )
    skews = SKEWS if compression else SKEWS[:1]
    return tuple(structure_pruned(network, compression, skew, is_float) for skew in skews)


@cache
def estimated(graph: Graph, board: str, runtime: str, build: str = BUILDS[0]) -> Estimate:
    """The estimate of a network on a board."""
    return estimate(graph, load_board(board), runtime, build)


def likely(
    network: str,
    is_float: bool,
    compression: float,
    board: str,
    runtime: str = "dnnruntime",
    build: str = BUILDS[0],
) -> Estimate:
    """The estimate of a network whose structures are pruned alike in all layers."""
    return estimated(graphs(network, is_float, False, compression)[0], board, runtime, build)


def tflm_software(board: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runtimes and builds that TF-Micro may have been on a board.

    The Pico's SDK compiles with -O3 and its core has no SIMD; the Arduino's IDE compiles with -Os
    and takes the kernels of CMSIS-NN, a build of one's own need not.
    """
    return (("tflm", "cmsis-nn"), BUILDS) if board == ARDUINO else (("tflm",), BUILDS[:1])
