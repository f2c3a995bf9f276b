"""Predictions as an experiment's rows need them: a build that is known, or a range over builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mcusim.boards import Board, load_board
from mcusim.errors import McusimError
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.experiments.reproduction import Row
from mcusim.models import load_model

__all__ = ["Run", "Span", "estimated", "latency_row", "span"]


@dataclass(frozen=True)
class Run:
    """A configuration that was measured.

    Attributes:
        model: name of a network of the zoo.
        board: name of the board.
        runtime: that ran it.
        build: compiler and flag.
        fpu: whether the build used the FPU; the board's own when None.
    """

    model: str
    board: str
    runtime: str
    build: str
    fpu: bool | None = None


@dataclass(frozen=True)
class Span:
    """The smallest and largest of several predictions."""

    low_s: float
    high_s: float


@lru_cache(maxsize=512)
def estimated(run: Run) -> Estimate:
    """The estimate of a run.

    Raises:
        McusimError: it cannot be run.
    """
    return estimate(load_model(run.model), _board(run.board), run.runtime, run.build, fpu=run.fpu)


@lru_cache(maxsize=64)
def _board(name: str) -> Board:
    return load_board(name)


def span(runs: Sequence[Run]) -> Span:
    """The range of latency over binaries that a row may have been, intervals included.

    Raises:
        McusimError: none of them can be run.
    """
    bounds = []
    failure: McusimError | None = None
    for run in runs:
        try:
            bounds.append(estimated(run).latency_interval_s)
        except McusimError as error:
            failure = error
    if not bounds:
        assert failure is not None
        raise failure
    return Span(min(low for low, _ in bounds), max(high for _, high in bounds))


def latency_row(
    table: str, what: str, published_ms: float | None, runs: Sequence[Run], note: str = ""
) -> Row:
    """A row in milliseconds: one run with its interval, or several as the range over them.

    Args:
        table: of the publication.
        what: which row of it.
        published_ms: the number; None where there is none.
        runs: binaries that it may have been.
        note: what a reader must know.
    """
    if len(runs) > 1:
        reach = span(runs)
        return Row(
            table, what, "ms", published_ms, None, 1e3 * reach.low_s, 1e3 * reach.high_s, note
        )
    found = estimated(runs[0])
    low, high = found.latency_interval_s
    fitted = found.board.calibration
    seen = fitted is not None and f"{found.runtime} {found.build}" in fitted.software
    return Row(
        table,
        what,
        "ms",
        published_ms,
        1e3 * found.latency_s,
        1e3 * low,
        1e3 * high,
        note,
        seen,
    )
