"""Scales of time for every core and board at once, from all published runs together.

A run's cycles are ``time_scale * (core + fetch_wait_scale * fetch + constant_wait_scale * data)``.
The logarithm of a board's time scale lies around its core's, a core's around that of all cores:
what few runs of a board leave open is taken from other boards. Runs of closed runtimes take part
with an unknown factor for each pair of runtime and network, so that they tell only what one board
takes of another's time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mcusim.calibration.priced_runs import PricedRun

__all__ = ["BoardScales", "JointFit", "fit_jointly"]

_T = TypeVar("_T")
_Floats = npt.NDArray[np.float64]

#: Standard deviations of logarithms, before any run is seen. What the model of a core lacks (a
#: share of its instructions' cycles), what boards of one core differ by (buses, linking, compiler),
#: and what the waits of one memory system may be off by.
_ALL_CORES = 0.2
_CORE = 0.1
_BOARD = 0.02
_FETCH = 0.15
_CONSTANTS = 0.15
#: What one compiler's code of one library is off by on a core; what a closed one gains.
_SOFTWARE = 0.05
_FACTOR = 1.0
#: Of a board that is to have no scales of its own, as a share of the above.
_FIXED = 1e-6
#: Of one run: another compiler's code of the same sources; other kernels of closed software.
_KNOWN_NOISE = 0.05
_CLOSED_NOISE = 0.08
#: Residuals of runs up to this many standard deviations count in full.
_ROBUST = 2.0
_STEPS, _CONVERGED = 50, 1e-7


@dataclass(frozen=True)
class BoardScales:
    """Factors on what a board's files predict.

    Attributes:
        time_scale: on every cycle.
        fetch_wait_scale: on cycles that wait for instructions.
        constant_wait_scale: on cycles that wait for data.
    """

    time_scale: float = 1.0
    fetch_wait_scale: float = 1.0
    constant_wait_scale: float = 1.0

    def cycles(self, run: PricedRun) -> float:
        """Cycles of a run with these scales."""
        return self.time_scale * (
            run.core_cycles
            + self.fetch_wait_scale * run.fetch_cycles
            + self.constant_wait_scale * run.data_cycles
        )


@dataclass(frozen=True)
class JointFit:
    """Scales of cores and of boards.

    Attributes:
        cores: time scale by core; only those with a run.
        boards: scales by board; only those with a run.
        any_core: time scale of a core without a run.
        software: factor on the time of a software on a core, by both.
    """

    cores: dict[str, float] = field(default_factory=dict)
    boards: dict[str, BoardScales] = field(default_factory=dict)
    any_core: float = 1.0
    software: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, board: str, core: str, software: str = "") -> BoardScales:
        """Scales of a board; its core's where it has no run, or those of any core.

        Args:
            board: its name.
            core: name of its core.
            software: runtime and build, whose factor is in the time scale where it is known.
        """
        found = self.boards.get(board) or BoardScales(self.cores.get(core, self.any_core))
        scale = found.time_scale * self.software.get((core, software), 1.0)
        return replace(found, time_scale=scale)


def fit_jointly(
    known: Sequence[PricedRun],
    closed: Sequence[PricedRun] = (),
    alike: Collection[str] = (),
) -> JointFit:
    """Fit all scales by least squares on logarithms, large residuals counting less.

    Args:
        known: runs of software that was counted.
        closed: runs of closed software, priced as software that was counted.
        alike: boards that have no scales of their own, but their core's.
    """
    if not known:
        return JointFit()
    problem = _Problem(tuple(known), tuple(closed), alike)
    x = np.zeros(problem.size)
    for _ in range(_STEPS):
        residuals, slopes = problem.residuals(x), problem.jacobian(x)
        # Weights of the soft L1 loss: what is several standard deviations off counts less.
        weights = (1 + (residuals / problem.robust) ** 2) ** -0.25
        weighted = slopes * weights[:, None]
        step = np.linalg.solve(weighted.T @ weighted, -weighted.T @ (residuals * weights))
        x = x + step
        if np.abs(step).max() < _CONVERGED:
            break
    return problem.fit(x)


class _Problem:
    """Residuals of the runs and of what is known beforehand, in standard deviations."""

    def __init__(
        self,
        known: tuple[PricedRun, ...],
        closed: tuple[PricedRun, ...],
        alike: Collection[str],
    ) -> None:
        runs = (*known, *closed)
        self._cores = _unique(run.core for run in runs)
        self._boards = _unique(run.run.board for run in runs)
        software = [(run.core, run.run.software) for run in known]
        factors = software + [(run.run.runtime, run.run.model) for run in closed]
        self._factors = _unique(factors)
        self._software = len(set(software))
        core_of = {run.run.board: self._cores.index(run.core) for run in runs}
        self._core_of = np.array([core_of[board] for board in self._boards], dtype=np.intp)
        self._board = np.array([self._boards.index(run.run.board) for run in runs], dtype=np.intp)
        self._factor = np.array([self._factors.index(name) for name in factors], dtype=np.intp)
        self._measured = np.log([run.measured for run in runs])
        self._core_cycles = np.array([run.core_cycles for run in runs])
        self._fetch_cycles = np.array([run.fetch_cycles for run in runs])
        self._data_cycles = np.array([run.data_cycles for run in runs])
        self._noise = np.array([_KNOWN_NOISE] * len(known) + [_CLOSED_NOISE] * len(closed))
        #: Standard deviations up to which a residual counts in full. Boards of one core are alike,
        #: but for the one that has something which no file tells.
        self.robust = np.concatenate(
            [
                np.full(len(runs), _ROBUST),
                np.full(1 + len(self._cores), np.inf),
                [np.inf if board in alike else 1.0 for board in self._boards],
                np.full(2 * len(self._boards), np.inf),
                np.full(len(self._factors), np.inf),
            ]
        )
        closed_factors = len(self._factors) - self._software
        own = np.array([_FIXED if board in alike else 1.0 for board in self._boards])
        self._priors = np.concatenate(
            [
                [_ALL_CORES],
                np.full(len(self._cores), _CORE),
                _BOARD * own,
                _FETCH * own,
                _CONSTANTS * own,
                np.full(self._software, _SOFTWARE),
                np.full(closed_factors, _FACTOR),
            ]
        )

    @property
    def runs(self) -> int:
        """Runs, whose residuals come first."""
        return len(self._measured)

    @property
    def size(self) -> int:
        """Parameters."""
        return 1 + len(self._cores) + 3 * len(self._boards) + len(self._factors)

    def _split(self, x: _Floats) -> tuple[float, _Floats, _Floats, _Floats, _Floats, _Floats]:
        cores, boards = len(self._cores), len(self._boards)
        ends = np.cumsum([1, cores, boards, boards, boards])
        every, *rest = np.split(x, ends)
        return float(every[0]), rest[0], rest[1], rest[2], rest[3], rest[4]

    def residuals(self, x: _Floats) -> _Floats:
        """Float64, shape ``(runs + parameters,)``."""
        every, cores, boards, fetch, data, factors = self._split(x)
        scale = every + cores[self._core_of] + boards
        of_runs = self._measured - np.log(self._inner(fetch, data)) - scale[self._board]
        of_runs -= factors[self._factor]
        return np.concatenate([of_runs / self._noise, x / self._priors])

    def jacobian(self, x: _Floats) -> _Floats:
        """Float64, shape ``(runs + parameters, parameters)``."""
        _, _, _, fetch, data, _ = self._split(x)
        runs, at = np.arange(len(self._measured)), self._board
        inner = self._inner(fetch, data)
        cores, boards = len(self._cores), len(self._boards)
        slopes = np.zeros((len(runs), self.size))
        slopes[:, 0] = 1
        slopes[runs, 1 + self._core_of[at]] = 1
        first = 1 + cores
        slopes[runs, first + at] = 1
        slopes[runs, first + boards + at] = np.exp(fetch[at]) * self._fetch_cycles / inner
        slopes[runs, first + 2 * boards + at] = np.exp(data[at]) * self._data_cycles / inner
        slopes[runs, first + 3 * boards + self._factor] = 1
        return np.concatenate([-slopes / self._noise[:, None], np.diag(1 / self._priors)])

    def _inner(self, fetch: _Floats, data: _Floats) -> _Floats:
        waits = np.exp(fetch[self._board]) * self._fetch_cycles
        cycles: _Floats = self._core_cycles + waits + np.exp(data[self._board]) * self._data_cycles
        return cycles

    def fit(self, x: _Floats) -> JointFit:
        every, cores, boards, fetch, data, factors = self._split(x)
        of_software = zip(self._factors[: self._software], np.exp(factors).tolist(), strict=False)
        of_core = {name: math.exp(every + cores[i]) for i, name in enumerate(self._cores)}
        of_board = {
            name: BoardScales(
                math.exp(every + cores[self._core_of[i]] + boards[i]),
                math.exp(fetch[i]),
                math.exp(data[i]),
            )
            for i, name in enumerate(self._boards)
        }
        return JointFit(of_core, of_board, math.exp(every), dict(of_software))


def _unique(values: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(values))
