"""Submissions to MLPerf Tiny on Cortex-M boards, each with what mcusim says of it.

Published numbers are those of ``calibration/measured/mlperf_tiny.csv``, which says of each row what
software ran and how far that is known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mcusim.boards import Board, board_names, load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.models import load_model
from mcusim.resources import data_path

__all__ = [
    "ASSUMED",
    "CLOSED",
    "IN_RAM",
    "KNOWN",
    "OPEN",
    "UNSEEN",
    "Submission",
    "submissions",
]

KNOWN = "Known runtimes"
CLOSED = "Closed runtimes"
IN_RAM = "Weights in RAM"
UNSEEN = "Board that no fit has seen"
ASSUMED = "Runtime not stated: as if of CMSIS-NN"
OPEN = "Not predicted"

#: Software that stands for one that is not stated, on boards that have a file.
_STAND_IN = ("cmsis-nn", "gcc-O3")
_NOT_STATED = "runtime not stated"

#: Boards without a file whose chip is that of another one.
_SAME_CHIP = {"b-u585i-iot02a": "nucleo-u575zi-q"}
#: Submissions on boards without a file: board, clock, runtime, status, reason, source, and ms.
_FURTHER = (
    (
        "b-u585i-iot02a",
        "160000000",
        "plumerai@2022.2",
        "unseen",
        "priced as NUCLEO-U575ZI-Q: an STM32U585 is an STM32U575 with cryptography",
        "MLPerf Tiny v1.0 closed, plumerai, B_U585I_IOT02A",
        {
            "ad-autoencoder": "4.8514",
            "resnet-8": "107.0549",
            "ds-cnn": "35.4371",
            "mobilenet-v1-0.25": "107.0435",
        },
    ),
    (
        "ek-ra6m4",
        "200000000",
        "",
        "unknown",
        "runtime not stated",
        "MLPerf Tiny v0.7 closed, renesas, EK-RA6M4",
        {
            "ad-autoencoder": "4.6131",
            "resnet-8": "246.1841",
            "ds-cnn": "50.5715",
            "mobilenet-v1-0.25": "162.3640",
        },
    ),
)


@dataclass(frozen=True)
class Submission:
    """A submission's result on one benchmark, with what mcusim says of it.

    Attributes:
        cells: its row of the file.
        found: the estimate; None where its software is not known.
        weights: memory that the weights lie in.
    """

    cells: dict[str, str]
    found: Estimate | None
    weights: str

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.cells["model"]

    @property
    def board(self) -> str:
        """Name of the board."""
        return self.cells["board"]

    @property
    def software(self) -> str:
        """Runtime and build; empty where it is not known."""
        return f"{self.cells['runtime']} {self.cells['build']}".strip()

    @property
    def is_closed(self) -> bool:
        """Whether its kernels are not published."""
        return self.found is not None and self.found.build == "closed"

    @property
    def table(self) -> str:
        """What the row is evidence of."""
        if self.found is None:
            return OPEN
        if self.cells["status"] == "unseen":
            return UNSEEN
        if self.cells["reason"] == _NOT_STATED:
            return ASSUMED
        if self.weights != "flash":
            return IN_RAM
        return CLOSED if self.is_closed else KNOWN

    @property
    def measured_s(self) -> float:
        """Published time of an inference."""
        return float(self.cells["latency_ms"]) / 1e3

    @property
    def share(self) -> float:
        """Of the estimate: generated code that calls the kernels has no interpreter."""
        assert self.found is not None
        if self.is_closed or self.cells["interpreter"] == "yes":
            return 1.0
        return 1.0 - self.found.invoke.latency_s / self.found.latency_s

    @property
    def predicted_s(self) -> float:
        """Our time of an inference."""
        assert self.found is not None
        return self.share * self.found.latency_s


@cache
def submissions() -> tuple[Submission, ...]:
    """Every row, in the order of the file; those on boards without a file last."""
    path = data_path("calibration", "measured", "mlperf_tiny.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file), *_further_rows()]
    return tuple(_priced(cells) for cells in rows)


def _further_rows() -> Iterator[dict[str, str]]:
    """Submissions on boards that have no file, which no fit holds."""
    for board, clock_hz, runtime, status, reason, source, times in _FURTHER:
        for model, latency_ms in times.items():
            yield {
                "board": board,
                "clock_hz": clock_hz,
                "supply_v": "",
                "regulator": "",
                "model": model,
                "runtime": runtime,
                "build": "",
                "interpreter": "yes",
                "latency_ms": latency_ms,
                "energy_mj": "",
                "status": status,
                "reason": reason,
                "published_as": "",
                "source": source,
            }


def _priced(cells: dict[str, str]) -> Submission:
    in_ram = cells["status"] == "excluded" and cells["reason"].startswith("weights copied to RAM")
    weights = "ram" if in_ram else "flash"
    found = None
    software = cells["runtime"], cells["build"] or "closed"
    is_assumed = cells["reason"] == _NOT_STATED and cells["board"] in board_names()
    if is_assumed:
        software = _STAND_IN
    if is_assumed or in_ram or cells["status"] in ("known", "closed", "repeat", "unseen"):
        found = estimate(
            load_model(cells["model"]),
            _board(cells["board"]),
            *software,
            clock_hz=float(cells["clock_hz"]),
            placement={"weights": weights},
            supply_v=float(cells["supply_v"]) if cells["supply_v"] else None,
            regulator="smps" if cells["regulator"] == "smps" else None,
        )
    return Submission(cells, found, weights)


@cache
def _board(name: str) -> Board:
    return load_board(_SAME_CHIP.get(name, name))
