"""Which few networks, at which settings, tell the parameters of a board best.

A run's cycles depend on each parameter in a way that the model of the board predicts. The runs are
chosen by D-optimality: the determinant of the information matrix, which is the inverse of the
volume of what the runs leave unknown, is made as large as exchanging one run at a time makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.boards import Board, load_board
from mcusim.calibration.bench_networks import MICRO_NETWORKS, micro_network
from mcusim.calibration.board_fit import (
    LEAST_SINGULAR_VALUE,
    PARAMETER_SETS,
    REPEATABILITY,
    Parameters,
    Run,
    jacobian,
)
from mcusim.errors import InputError, McusimError
from mcusim.estimates import Estimate
from mcusim.estimator import estimate

__all__ = ["BenchPlan", "PlannedRun", "plan_bench"]

_Floats = npt.NDArray[np.float64]

#: More runs than this are more than an afternoon's work.
_MOST_RUNS = 8
#: A further run must take this share of the worst standard error.
_WORTH = 0.15
#: Times that a timer of the chip measures well, and that nobody waits for.
_LEAST_S, _MOST_S = 5e-5, 5.0


@dataclass(frozen=True)
class PlannedRun:
    """A network to measure, and what measuring it tells.

    Attributes:
        network: one of :data:`~mcusim.calibration.bench_networks.MICRO_NETWORKS`.
        estimate: what is expected, with its clock and placement.
        sensitivities: relative change of its time for a change of each parameter from 0 to 1.
        without: factor on the standard error of each parameter when this run is left out.
    """

    network: str
    estimate: Estimate
    sensitivities: dict[str, float]
    without: dict[str, float]

    @property
    def tells(self) -> str:
        """Name of the parameter that suffers most when this run is left out."""
        return max(self.without, key=lambda name: self.without[name])


@dataclass(frozen=True)
class BenchPlan:
    """Runs that identify the parameters of a board.

    Attributes:
        board: as it is.
        runtime: that runs the networks.
        build: compiler and flag.
        runs: in the order of the table to fill in.
        standard_errors: expected of each parameter that the runs identify, when runs repeat
            within :data:`~mcusim.calibration.board_fit.REPEATABILITY`.
        unseen: parameters that none of the networks shows, so that no run can tell them.
    """

    board: Board
    runtime: str
    build: str
    runs: tuple[PlannedRun, ...]
    standard_errors: dict[str, float]
    unseen: tuple[str, ...]

    def lines(self) -> list[str]:
        """What each run is for, and how well the parameters will be known."""
        said = [
            f"{len(self.runs)} runs on {self.board.name} with {self.runtime}, {self.build} "
            f"identify {', '.join(self.standard_errors)}"
        ]
        for number, run in enumerate(self.runs, 1):
            found, tells = run.estimate, run.tells
            weights = "" if found.placement["weights"] == "flash" else ", weights in RAM"
            said.append(
                f"{number} {run.network}, {found.clock_hz / 1e6:g} MHz{weights}: "
                f"{found.latency_s * 1e3:.4g} ms expected; {_shares(run)}; without it "
                f"{tells} is known {_times(run.without[tells])}"
            )
        errors = [f"{name} {error:.2g}" for name, error in self.standard_errors.items()]
        said.append(
            f"expected standard errors, when runs repeat within {100 * REPEATABILITY:g} %: "
            f"{', '.join(errors)}; an energy in each row tells the active current to "
            f"{100 * REPEATABILITY / len(self.runs) ** 0.5:.2g} %"
        )
        said += [
            f"{name} is kept: none of the networks waits long enough here to tell it"
            for name in self.unseen
        ]
        return said


def plan_bench(
    board: str | Path, runtime: str = "tflm", build: str = "gcc-O3", clock_hz: float | None = None
) -> BenchPlan:
    """Choose the runs that identify the parameters which ``mcusim calibrate`` fits.

    Args:
        board: name of a board, or path of its file.
        runtime: that the firmware runs networks with.
        build: its compiler and flag.
        clock_hz: the one clock that the board can be set to; several are considered when None.

    Raises:
        BoardError: there is no such board, or its file is malformed.
        InputError: there is no such runtime or build, or nothing fits the board.
    """
    held = load_board(board)
    candidates = _candidates(held, runtime, build, clock_hz)
    runs = [_run(candidate.estimate, candidate.network) for candidate in candidates]
    groups = [candidate.network for candidate in candidates]
    # How cycles split is what counts; a board that was fitted before starts where that left it.
    start = _start(held)
    for names in sorted(PARAMETER_SETS, key=len, reverse=True):
        slopes = jacobian(runs, start, names)
        chosen = _smallest(slopes, groups)
        if chosen is not None:
            break
    else:
        raise InputError(f"{held.name}: too few networks fit it to plan any measurement")
    errors = _standard_errors(slopes[chosen])
    planned = []
    for index in chosen:
        rest = _standard_errors(slopes[[other for other in chosen if other != index]])
        without = dict(zip(names, (rest / errors).tolist(), strict=True))
        shares = dict(zip(names, slopes[index].tolist(), strict=True))
        candidate = candidates[index]
        planned.append(PlannedRun(candidate.network, candidate.estimate, shares, without))
    every = tuple(vars(start))
    return BenchPlan(
        held,
        candidates[0].estimate.runtime,
        build,
        tuple(sorted(planned, key=lambda run: list(MICRO_NETWORKS).index(run.network))),
        dict(zip(names, errors.tolist(), strict=True)),
        tuple(name for name in every if name not in names),
    )


@dataclass(frozen=True)
class _Candidate:
    """A network at a setting."""

    network: str
    estimate: Estimate


def _candidates(board: Board, runtime: str, build: str, clock_hz: float | None) -> list[_Candidate]:
    """Networks that fit the board and take a time that can be measured, at each setting."""
    plain = board.model_copy(update={"calibration": None})
    found: list[_Candidate] = []
    refused: McusimError | None = None
    for name in MICRO_NETWORKS:
        graph = micro_network(name)
        for rate_hz in _clocks(board) if clock_hz is None else (clock_hz,):
            for weights in ("flash", "ram"):
                try:
                    said = estimate(
                        graph,
                        plain,
                        runtime,
                        build,
                        clock_hz=rate_hz,
                        placement={"weights": weights},
                    )
                except McusimError as error:
                    refused = error
                    continue
                if _is_measurable(said, graph.model_bytes if weights == "ram" else 0):
                    found.append(_Candidate(name, said))
    if not found and refused is not None:
        raise refused
    return found


def _is_measurable(found: Estimate, ram_model_bytes: int) -> bool:
    board, needed = found.board, (found.ram_bytes or 0) + ram_model_bytes
    return (
        _LEAST_S <= found.latency_s <= _MOST_S
        and all(layer.is_priced for layer in found.layers)
        and needed <= board.ram.bytes
        and found.flash_bytes <= board.flash.bytes
    )


def _clocks(board: Board) -> tuple[float, ...]:
    """The usual clock, and the fastest one at which flash keeps up best, where it does better."""
    clock, usual = board.clock, float(board.clock.default_hz)
    fewest = min(limit for limit, _ in board.flash.wait_states)
    slow = float(min(max(fewest, clock.min_hz), clock.default_hz))
    waits = [board.path("flash", hz).wait_cycles for hz in (usual, slow)]
    return (usual, slow) if waits[1] < waits[0] else (usual,)


def _start(board: Board) -> Parameters:
    held = board.calibration
    if held is None:
        return Parameters(1.0, 1.0, 1.0)
    return Parameters(1.0, held.fetch_wait_scale, held.constant_wait_scale)


def _run(found: Estimate, group: str) -> Run:
    causes = [part.cycles_by_cause for part in (*found.layers, found.invoke)]
    return Run(
        group,
        found.cycles,
        sum(cause.core + cause.working for cause in causes),
        sum(cause.fetch for cause in causes),
        sum(cause.data for cause in causes),
    )


def _smallest(slopes: _Floats, groups: Sequence[str]) -> list[int] | None:
    """The smallest design that is worth it; None where the parameters cannot be told apart.

    The fit leaves each network out in turn, so that the others must tell every parameter too.
    """
    # A fit takes more networks than parameters, also while one network is left out.
    count, chosen = slopes.shape[1] + 2, None
    while count <= min(_MOST_RUNS, len(set(groups))):
        larger = _design(slopes, groups, count)
        if all(_tells(slopes[[i for i in larger if i != index]]) for index in larger):
            if chosen is not None:
                worst, before = (_standard_errors(slopes[d]).max() for d in (larger, chosen))
                if worst > (1 - _WORTH) * before:
                    return chosen
            chosen = larger
        count += 1
    return chosen


def _tells(rows: _Floats) -> bool:
    """Whether runs tell every parameter, by the measure of the fit."""
    return bool(np.linalg.svd(rows, compute_uv=False)[-1] >= LEAST_SINGULAR_VALUE)


def _design(slopes: _Floats, groups: Sequence[str], count: int) -> list[int]:
    """Rows, of one network each, that make the information's determinant large.

    Greedy choice, then exchanges of one row as long as one helps (Fedorov 1972).
    """
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(_best(slopes, groups, chosen))
    improved = True
    while improved:
        improved = False
        for place in range(count):
            rest = chosen[:place] + chosen[place + 1 :]
            other = _best(slopes, groups, rest)
            if _information(slopes, [*rest, other]) > _information(slopes, chosen) + 1e-9:
                chosen, improved = [*rest, other], True
    return chosen


def _best(slopes: _Floats, groups: Sequence[str], chosen: Sequence[int]) -> int:
    used = {groups[index] for index in chosen}
    free = [index for index in range(len(groups)) if groups[index] not in used]
    return max(free, key=lambda index: _information(slopes, [*chosen, index]))


def _information(slopes: _Floats, chosen: Sequence[int]) -> float:
    """Logarithm of the determinant; a small ridge ranks designs of too few rows."""
    rows = slopes[list(chosen)]
    ridge = 1e-6 * np.eye(slopes.shape[1])
    return float(np.linalg.slogdet(rows.T @ rows + ridge)[1])


def _standard_errors(rows: _Floats) -> _Floats:
    covariance = np.linalg.inv(rows.T @ rows + 1e-12 * np.eye(rows.shape[1]))
    errors: _Floats = REPEATABILITY * np.sqrt(np.diag(covariance))
    return errors


def _shares(run: PlannedRun) -> str:
    parts = [
        f"{100 * share:.2g} % of the time moves with {name}"
        for name, share in run.sensitivities.items()
        if name != "time_scale" and share >= 0.005
    ]
    return ", ".join(parts) or "moves with time_scale alone"


def _times(factor: float) -> str:
    return "not at all" if factor > 100 else f"{factor:.2g} times worse"
