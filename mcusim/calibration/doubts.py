"""What speaks against measured runs, or against a fit to them, in sentences for people."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterator, Sequence

from mcusim.boards import Board
from mcusim.calibration.board_fit import TimeFit, is_as_published, percent
from mcusim.calibration.measurements import Measurement
from mcusim.calibration.priced_measurements import CalibrationLine

__all__ = [
    "contradictions",
    "fit_is_worse",
    "is_confirmed",
    "outlier_note",
    "refusal",
    "unusual",
]

#: Two rows of the same run that are further apart, as a logarithm, contradict each other.
_CONTRADICTORY = 0.15


def is_confirmed(board: Board, fit: TimeFit, rows: Sequence[Measurement]) -> bool:
    """Whether the runs show that the board is right as it is, with software it was not fitted to.

    Right is what is off by no more than published networks left out are.
    """
    held = board.calibration
    news = not held or any(f"{row.runtime} {row.build}" not in held.software for row in rows)
    return news and is_as_published(fit.error_before, "latency")


def fit_is_worse(board: Board, fit: TimeFit) -> str:
    """Why a fit is not taken that networks left out speak against."""
    assert fit.error_after is not None
    return (
        f"{board.name} keeps its parameters: fitted to the other networks, each network left "
        f"out is wrong by {percent(fit.error_after)} in the mean, and by "
        f"{percent(fit.error_before)} without a fit"
    )


def refusal(board: Board, fit: TimeFit, lines: Sequence[CalibrationLine], prior: float) -> str:
    """Why a fit is not to be used; empty where it is.

    Args:
        board: as it was.
        fit: of the runs.
        lines: the runs.
        prior: half width of the logarithm's 90 % interval before any run.
    """
    if fit.is_worse:
        return fit_is_worse(board, fit)
    scale, low, high = _beside_core(board, lines, prior)
    if fit.error_after is not None and fit.error_after > prior:
        return (
            f"{board.name} keeps its parameters: fitted to the other networks, each network left "
            f"out is still wrong by {percent(fit.error_after)} in the mean, more than on a board "
            "that nobody measured; one of the runs has another runtime, build, clock or unit than "
            "its row says"
        )
    if fit.error_after is None and not low <= scale <= high:
        return (
            f"{board.name} keeps its parameters: one network takes {scale:.3g} times what is "
            f"predicted, outside {low:.3g} to {high:.3g}; measure another, as this cannot be told "
            "from a wrong runtime, build or clock"
        )
    return ""


def _beside_core(
    board: Board, lines: Sequence[CalibrationLine], prior: float
) -> tuple[float, float, float]:
    """Measured over predicted time, and the range of boards of its core that nobody measured."""
    ratios = [math.log(line.measurement.latency_s / line.before_s) for line in lines]
    bounds = board.core.uncalibrated
    low = min(bounds.measured_over_predicted_low, math.exp(-prior))
    high = max(bounds.measured_over_predicted_high, math.exp(prior))
    return math.exp(statistics.median(ratios)), low, high


def unusual(board: Board, lines: Sequence[CalibrationLine], prior: float) -> Iterator[str]:
    """Runs that agree on what no measured board of the core was like."""
    scale, low, high = _beside_core(board, lines, prior)
    if not low <= scale <= high:
        yield (
            f"the runs take {scale:.3g} times what is predicted, where boards of this core take "
            f"{low:.3g} to {high:.3g} times: check that clock, wait states, caches and build are "
            "what the rows and the board's file say"
        )


def outlier_note(file: str, line: CalibrationLine) -> str:
    """A run that no parameter explains."""
    run = line.measurement
    return (
        f"{run.place(file)}: no parameter explains {run.network} taking "
        f"{run.latency_s / line.after_s:.3g} times the fitted time; it is left out of the fit and "
        "kept in the interval: check its runtime, build, clock and unit"
    )


def contradictions(file: str, lines: Sequence[CalibrationLine]) -> Iterator[str]:
    """Pairs of rows that measured the same and differ by more than any repetition does."""
    first: dict[Hashable, Measurement] = {}
    for line in lines:
        run = line.measurement
        same = first.setdefault(
            (run.model, run.layer, line.software, line.clock_hz, run.weights), run
        )
        ratio = run.latency_s / same.latency_s
        if abs(math.log(ratio)) > _CONTRADICTORY:
            yield (
                f"{run.place(file)}: {run.network} takes {ratio:.3g} times what it takes in "
                f"{same.place(file)}, with the same software and clock: one of them was "
                "measured otherwise"
            )
