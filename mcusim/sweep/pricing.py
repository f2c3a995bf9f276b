"""What a worker does: prices points, wherever it runs."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from mcusim import __version__
from mcusim.boards import Board
from mcusim.errors import InputError, McusimError, ModelError
from mcusim.estimator import estimate
from mcusim.graph import Graph
from mcusim.sweep.store import Row
from mcusim.tflite import read
from mcusim.zoo.description import UNTRAINED, described

__all__ = ["Candidate", "Job", "Point", "Settings", "priced"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model of a sweep.

    Attributes:
        text: a description in a line, the path of a file, or the name of a network of the zoo.
        digest: SHA-256 of what it holds, hexadecimal.
        content: bytes of a ``.tflite`` file; the network, of other files and of the zoo; None for
            a description, which is built where it is priced.
        error: why it cannot be loaded.
    """

    text: str
    digest: str
    content: bytes | Graph | None = None
    error: str = ""

    def graph(self) -> Graph:
        """The network.

        Raises:
            ModelError: it cannot be loaded.
        """
        if self.error:
            raise ModelError(self.error)
        if isinstance(self.content, Graph):
            return self.content
        if isinstance(self.content, bytes):
            path = Path(self.text)
            return read(self.content, os.fsencode(path.name).decode(errors="replace"), path.parent)
        return described(self.text)


@dataclass(frozen=True)
class Settings:
    """How models run: all of a point but its model.

    Attributes:
        board: where.
        board_digest: SHA-256 of what the board's files hold, hexadecimal.
        runtime: the software that runs it.
        build: compiler and flag.
        clock_hz: clock of the core.
        placement: where each of code, weights, arena and stack lies, in order of their names.
    """

    board: Board
    board_digest: str
    runtime: str
    build: str
    clock_hz: float
    placement: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Point:
    """One estimate to make: its key, its model, and which settings of its job's it runs under."""

    key: str
    candidate: Candidate
    settings: int


@dataclass(frozen=True)
class Job:
    """Points that one worker prices at a time.

    Attributes:
        points: the points.
        settings: the pickled tuple of :class:`Settings` that they count by. It stays the same
            bytes for a whole sweep, so that a worker unpacks its boards once.
        version: of mcusim, which the worker must have as well.
    """

    points: tuple[Point, ...]
    settings: bytes
    version: str = __version__


def priced(job: Job) -> list[Row]:
    """Price the points of a job, in order; what refuses a point stands in its row.

    Raises:
        InputError: the worker has another version of mcusim.
    """
    if job.version != __version__:
        raise InputError(f"a worker has mcusim {__version__}, the sweep is made with {job.version}")
    settings = _unpacked(job.settings)
    return [_row(point, settings[point.settings]) for point in job.points]


@lru_cache(maxsize=2)
def _unpacked(content: bytes) -> tuple[Settings, ...]:
    settings: tuple[Settings, ...] = pickle.loads(content)
    return settings


@lru_cache(maxsize=2)
def _graph(candidate: Candidate) -> Graph:
    """The last models stay, as one model's points follow each other."""
    return candidate.graph()


def _row(point: Point, settings: Settings) -> Row:
    row = Row(
        point.key,
        point.candidate.text,
        settings.board.name,
        settings.runtime,
        settings.build,
        settings.clock_hz,
        json.dumps(dict(settings.placement)),
    )
    try:
        figures = _figures(point.candidate, settings)
    except McusimError as error:
        figures = {"error": " ".join(str(error).split())}
    return replace(row, **figures)  # type: ignore[arg-type]


def _figures(candidate: Candidate, settings: Settings) -> dict[str, str | float | bool | None]:
    graph = _graph(candidate)
    found = estimate(
        graph,
        settings.board,
        settings.runtime,
        settings.build,
        clock_hz=settings.clock_hz,
        placement=dict(settings.placement),
    )
    ram, flash = settings.board.ram.bytes, settings.board.flash.bytes
    ram_bytes, flash_bytes = found.ram_bytes, found.flash_bytes
    return {
        "untrained": graph.description == UNTRAINED,
        "latency_s": found.latency_s,
        "latency_low_s": found.latency_interval_s[0],
        "latency_high_s": found.latency_interval_s[1],
        "energy_j": found.energy_j,
        "energy_low_j": found.energy_interval_j[0],
        "energy_high_j": found.energy_interval_j[1],
        "macs": found.macs,
        "arena_bytes": found.arena_bytes,
        "ram_bytes": ram_bytes,
        "flash_bytes": flash_bytes,
        "fits": (ram_bytes or 0) <= ram and flash_bytes <= flash,
        "unpriced": sum(not layer.is_priced for layer in found.layers),
    }
