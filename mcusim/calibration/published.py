"""Published runs on boards that mcusim knows, with where each is printed and how far it is used.

``calibration/measured/`` holds them, a CSV file a source. Each run has a status: ``known``, its
binary is known and its kernels were counted; ``closed``, its runtime is not published, and enters
as factors over CMSIS-NN; ``repeat``, another row has the same run; ``unknown``, nothing prices its
binary; ``excluded``, the figure itself is not to be trusted. Each says why.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mcusim.resources import data_path

__all__ = ["STATUSES", "PublishedRun", "data_set_sha256", "published_runs"]

STATUSES = ("known", "closed", "repeat", "unknown", "excluded")


@dataclass(frozen=True)
class PublishedRun:
    """A run as somebody published it.

    Attributes:
        file: name of the CSV file.
        line: of it, from 1.
        board: name of the board.
        clock_hz: clock of the core.
        supply_v: supply voltage; None where it is not stated.
        regulator: ``"smps"`` where the source says so; empty where it says nothing.
        model: network of the zoo; empty where its shape is not published.
        float_ends: whether the network quantizes its input and dequantizes its output.
        runtime: as :func:`mcusim.estimate` takes it; empty where there is none.
        build: as :func:`mcusim.estimate` takes it; empty where it is not known.
        has_interpreter: whether an interpreter calls the kernels.
        fpu: ``"off"`` where the build computes floats without the core's unit.
        icache: ``"off"`` where this firmware leaves off a cache that the board's file has on.
        weights: memory that weights lie in, where it is not the usual one.
        latency_s: time of one inference.
        energy_j: energy of one inference; None where it was not measured.
        power_w: mean power while energy was measured; None where it was not.
        status: one of :data:`STATUSES`.
        reason: why it has that status.
        published_as: how the source calls the software.
        source: where it is printed.
    """

    file: str
    line: int
    board: str
    clock_hz: float
    supply_v: float | None
    regulator: str
    model: str
    float_ends: bool
    runtime: str
    build: str
    has_interpreter: bool
    fpu: str
    icache: str
    weights: str
    latency_s: float
    energy_j: float | None
    power_w: float | None
    status: str
    reason: str
    published_as: str
    source: str

    @property
    def software(self) -> str:
        """Runtime and build, as boards name what they were measured with."""
        return f"{self.runtime} {self.build}".strip()


def _files() -> tuple[Path, ...]:
    return tuple(sorted(data_path("calibration", "measured").glob("*.csv")))


@cache
def published_runs(status: str | None = None) -> tuple[PublishedRun, ...]:
    """Every published run, or those of one status, in the order of the files.

    Args:
        status: one of :data:`STATUSES`; all of them when None.
    """
    runs = []
    for path in _files():
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            runs += [_run(path.name, reader.line_num, row) for row in reader]
    return tuple(run for run in runs if status in (None, run.status))


@cache
def data_set_sha256() -> str:
    """SHA-256 over the files, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(file: str, line: int, row: Mapping[str, str]) -> PublishedRun:
    return PublishedRun(
        file,
        line,
        row["board"],
        float(row["clock_hz"]),
        _optional(row["supply_v"], 1.0),
        row["regulator"],
        row["model"],
        row["float_ends"] == "yes",
        row["runtime"],
        row["build"],
        row["interpreter"] == "yes",
        row.get("fpu", ""),
        row.get("icache", ""),
        row.get("weights", ""),
        float(row["latency_ms"]) / 1e3 if row["latency_ms"] else float("nan"),
        _optional(row["energy_mj"], 1e-3),
        _optional(row["power_mw"], 1e-3),
        row["status"],
        row["reason"],
        row["published_as"],
        row["source"],
    )


def _optional(cell: str, unit: float) -> float | None:
    return float(cell) * unit if cell else None
