"""Which boards get scales of their own: those whose runs predict what was left out better so."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from mcusim.calibration.joint_fit import JointFit, fit_jointly
from mcusim.calibration.priced_runs import PricedRun, price_run
from mcusim.calibration.published import published_runs
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE

__all__ = [
    "COMPARED_WITH",
    "BoardFit",
    "alike",
    "board_fits",
    "closed_runs",
    "joint_fit",
    "known_runs",
    "log_error",
]

#: Software that closed runtimes are compared with.
COMPARED_WITH = ("cmsis-nn", "gcc-O3")


@dataclass(frozen=True)
class BoardFit:
    """A fit of one board.

    Attributes:
        board: its name.
        runs: what it was fitted to, known runs first.
        before: mean size of the logarithm of measured over predicted time of its runs, predicted
            from runs of other networks on other boards (known runs), or from other boards and what
            the same software takes there (closed runs).
        after: the same, with the board's own runs of other networks, or of other software.
        refused: why it keeps its core's scale; empty where it has its own.
    """

    board: str
    runs: tuple[PricedRun, ...]
    before: float
    after: float
    refused: str


@cache
def known_runs() -> tuple[PricedRun, ...]:
    """Runs whose binary is known, priced."""
    return tuple(price_run(run) for run in published_runs("known"))


@cache
def closed_runs() -> tuple[PricedRun, ...]:
    """Runs of closed runtimes on cores with DSP instructions, priced as :data:`COMPARED_WITH`.

    What such software takes on a core without them says nothing of that core: it runs other kernels
    there, and what they gain over CMSIS-NN is another gain.
    """
    priced = (price_run(run, *COMPARED_WITH) for run in published_runs("closed"))
    return tuple(p for p in priced if SIMD_OF_CORE[p.profile.removesuffix("-soft")] == "dsp")


@cache
def alike() -> frozenset[str]:
    """Boards that keep their core's scale."""
    return frozenset(fit.board for fit in board_fits() if fit.refused)


@cache
def joint_fit() -> JointFit:
    """The fit of all runs."""
    return fit_jointly(known_runs(), closed_runs(), alike())


def log_error(fit: JointFit, run: PricedRun) -> float:
    """Logarithm of measured over fitted time."""
    return math.log(run.measured / fit.of(run.run.board, run.core, run.run.software).cycles(run))


@cache
def board_fits() -> tuple[BoardFit, ...]:
    """The fit of every board that has runs, judged by what it had not seen."""
    runs = (*known_runs(), *closed_runs())
    return tuple(_board_fit(board) for board in dict.fromkeys(p.run.board for p in runs))


def _board_fit(board: str) -> BoardFit:
    known = tuple(p for p in known_runs() if p.run.board == board)
    closed = tuple(p for p in closed_runs() if p.run.board == board)
    if known:
        before, after = _known_errors(known)
    else:
        before = _closed_error(board, None)
        after = _closed_error(board, closed)
    refused = ""
    if after > before:
        refused = (
            f"fitted to its own runs, runs left out are wrong by {100 * math.expm1(after):.1f} % "
            f"in the mean, predicted from other boards by {100 * math.expm1(before):.1f} %"
        )
    return BoardFit(board, known + closed, before, after, refused)


def _known_errors(own: Sequence[PricedRun]) -> tuple[float, float]:
    """Mean errors of a board's known runs without and with its runs of other networks."""
    before, after = [], []
    for model in dict.fromkeys(p.run.model for p in own):
        known = [p for p in known_runs() if p.run.model != model]
        closed = [p for p in closed_runs() if p.run.model != model]
        fit = fit_jointly(known, closed)
        board = own[0].run.board
        without = fit_jointly(
            [p for p in known if p.run.board != board], [p for p in closed if p.run.board != board]
        )
        for p in own:
            if p.run.model == model:
                before.append(abs(log_error(without, p)))
                after.append(abs(log_error(fit, p)))
    return statistics.fmean(before), statistics.fmean(after)


def _closed_error(board: str, own: Sequence[PricedRun] | None) -> float:
    """Mean error of a board's closed runs, each runtime left out; with none of its own if None."""
    closed = closed_runs()
    rows = [p for p in closed if p.run.board == board]
    sizes = []
    for runtime in dict.fromkeys(p.run.runtime for p in rows):
        others = [p for p in closed if p.run.board != board]
        kept = [p for p in own or () if p.run.runtime != runtime]
        fit = fit_jointly(known_runs(), [*others, *kept])
        factors: dict[str, list[float]] = {}
        for p in others:
            if p.run.runtime == runtime:
                factors.setdefault(p.run.model, []).append(log_error(fit, p))
        sizes += [
            abs(log_error(fit, p) - statistics.fmean(factors[p.run.model]))
            for p in rows
            if p.run.runtime == runtime and p.run.model in factors
        ]
    return statistics.fmean(sizes)
