"""Closed runtimes as factors over CMSIS-NN: of families of operators, of networks and of boards.

Their kernels are not published. What is measured of them is what they take of networks that
CMSIS-NN of :data:`~mcusim.calibration.own_scales.COMPARED_WITH` runs, too. The logarithm of the
ratio is a sum of effects (:data:`EFFECTS`), each around zero with a spread of its own: what one
version gains, what families of operators gain, what a network takes beside its families, and what
a board makes of a version's code, which lies in another cache, comes from another compiler or,
as HALE's, is generated for that board.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mcusim.calibration.held_out import half_width
from mcusim.calibration.joint_fit import JointFit, fit_jointly
from mcusim.calibration.own_scales import COMPARED_WITH, known_runs
from mcusim.calibration.priced_runs import PricedRun, price_run
from mcusim.calibration.published import published_runs
from mcusim.estimates import FAMILIES
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE

__all__ = [
    "EFFECTS",
    "ClosedFit",
    "ClosedHeldOut",
    "Effect",
    "Version",
    "closed_left_out",
    "closed_widths",
    "every_closed_run",
    "fit_closed",
    "version_of",
    "without_closed",
]

_Floats = npt.NDArray[np.float64]

#: Runtime with its version, and the kind of SIMD instructions of the core.
Version = tuple[str, str]


def _generation(version: Version) -> Version:
    """Versions with one leading number: 7.1 and 7.3 differ less than 7.3 and 8.0."""
    return version[0].partition(".")[0], version[1]


@dataclass(frozen=True)
class Effect:
    """A part of the logarithm of closed over CMSIS-NN's time.

    Attributes:
        name: what it is.
        spread: its standard deviation before any run is seen.
        key: of version, board and network: what it is the same for; None where it is nothing.
        by_family: whether each family of operators has its own.
    """

    name: str
    spread: float
    key: Callable[[Version, str, str], Hashable | None]
    by_family: bool = False


#: Spreads that make all runs together likeliest, rounded. No closed run was singled out; what
#: versions gain by family beside this is none, once each network may differ: its spread is zero.
EFFECTS = (
    Effect("family", 0.3, lambda version, board, network: "every", by_family=True),
    Effect("version", 0.2, lambda version, board, network: version),
    Effect("network", 0.12, lambda version, board, network: network or None),
    Effect(
        "network with a version",
        0.12,
        lambda version, board, network: (version, network) if network else None,
    ),
    Effect("board", 0.05, lambda version, board, network: board or None, by_family=True),
    Effect(
        "board with a generation",
        0.06,
        lambda version, board, network: (board, _generation(version)) if board else None,
        by_family=True,
    ),
    Effect(
        "board with a version",
        0.03,
        lambda version, board, network: (board, version) if board else None,
    ),
)
#: Standard deviation of the logarithm of one run beside all this.
_NOISE = 0.03
#: What runtimes gain over CMSIS-NN before any is measured, and how well that is known.
_USUAL, _USUAL_SPREAD = math.log(0.7), 1.0
_STEPS, _CONVERGED = 60, 1e-8


@dataclass(frozen=True)
class ClosedFit:
    """Effects as the runs show them.

    Attributes:
        effects: that were fitted.
        usual: logarithm of the factor of what was never measured.
        values: of each effect by its place in ``effects`` and its key: one for each of
            :data:`~mcusim.estimates.FAMILIES`, or one for all.
        log_evidence: logarithm of how likely the runs are with these spreads (Laplace's
            approximation, but for a constant).
    """

    effects: tuple[Effect, ...]
    usual: float
    values: Mapping[tuple[int, Hashable], tuple[float, ...]]
    log_evidence: float

    def factors(self, version: Version, board: str = "", network: str = "") -> dict[str, float]:
        """Time over that of CMSIS-NN, by family.

        Args:
            version: that was measured, on any board.
            board: where it is another than those measured, or none, as on these in the mean.
            network: likewise.
        """
        logs = np.full(len(FAMILIES), self.usual)
        for index, effect in enumerate(self.effects):
            logs += np.array(self.values.get((index, effect.key(version, board, network)), 0.0))
        return dict(zip(FAMILIES, np.exp(logs).tolist(), strict=True))

    def network_factor(self, version: Version, network: str) -> float:
        """What a network takes more or less than its families, whatever the board."""
        family = FAMILIES[0]
        return self.factors(version, "", network)[family] / self.factors(version)[family]

    def cycles(self, run: PricedRun, scales: JointFit) -> float:
        """Predicted cycles of a run on its board.

        Args:
            run: priced as CMSIS-NN.
            scales: of boards and cores, by the library that closed runtimes are compared with.
        """
        factors = self.factors(version_of(run), run.run.board, run.run.model).values()
        scale = scales.of(run.run.board, run.core).time_scale
        return scale * sum(f * c for f, c in zip(factors, run.by_family, strict=True))


@dataclass(frozen=True)
class ClosedHeldOut:
    """A run of a closed runtime, predicted without it.

    Attributes:
        run: priced as CMSIS-NN.
        distance: ``"network"`` where its network was left out, ``"board"`` where its board was.
        residual: logarithm of measured over predicted time.
    """

    run: PricedRun
    distance: str
    residual: float


@cache
def every_closed_run() -> tuple[PricedRun, ...]:
    """Runs of closed runtimes on every core, priced as CMSIS-NN."""
    return tuple(price_run(run, *COMPARED_WITH) for run in published_runs("closed"))


@cache
def without_closed() -> JointFit:
    """Scales of boards and cores by what closed runtimes are compared with."""
    return fit_jointly(_of_library())


def _of_library() -> list[PricedRun]:
    """Known runs of that library alone: other software, closed or not, is another matter."""
    return [p for p in known_runs() if p.run.runtime.partition("@")[0] == COMPARED_WITH[0]]


def fit_closed(
    runs: Sequence[PricedRun], scales: JointFit, effects: Sequence[Effect] = EFFECTS
) -> ClosedFit:
    """Fit all effects at once, by least squares on logarithms, each held to its spread.

    Args:
        runs: of closed runtimes, priced as CMSIS-NN.
        scales: of boards and cores, by the library that closed runtimes are compared with.
        effects: to fit.
    """
    places: dict[tuple[int, Hashable], slice] = {}
    size, spreads = 1, [_USUAL_SPREAD]
    members = np.zeros((len(runs), len(FAMILIES), 1))
    for index, effect in enumerate(effects):
        width = len(FAMILIES) if effect.by_family else 1
        for row, p in enumerate(runs):
            key = effect.key(version_of(p), p.run.board, p.run.model)
            place = places.get((index, key))
            if place is None:
                place = places[index, key] = slice(size, size + width)
                size += width
                spreads += [effect.spread] * width
                members = np.pad(members, ((0, 0), (0, 0), (0, width)))
            members[row, :, place] = np.eye(width) if effect.by_family else 1.0
    members[:, :, 0] = 1.0
    of_board = np.array([scales.of(p.run.board, p.core).time_scale for p in runs])
    cycles = np.array([p.by_family for p in runs]) * of_board[:, None]
    measured = np.log([p.measured for p in runs])
    held = np.array(spreads)
    start = np.zeros(size)
    start[0] = _USUAL
    x = start
    for _ in range(_STEPS):
        residuals, slopes = _residuals(x, members, cycles, measured)
        left = np.concatenate([slopes, np.diag(1 / held)])
        right = np.concatenate([residuals, (start - x) / held])
        step = np.linalg.solve(left.T @ left, left.T @ right)
        x = x + step
        if np.abs(step).max() < _CONVERGED:
            break
    residuals, slopes = _residuals(x, members, cycles, measured)
    precision = slopes.T @ slopes + np.diag(held**-2)
    misfit = residuals @ residuals + (((x - start) / held) ** 2).sum()
    evidence = -0.5 * (misfit + np.linalg.slogdet(precision)[1]) - float(np.log(held).sum())
    values = {key: tuple(x[place].tolist()) for key, place in places.items()}
    return ClosedFit(tuple(effects), float(x[0]), values, float(evidence))


def _residuals(
    x: _Floats, members: _Floats, cycles: _Floats, measured: _Floats
) -> tuple[_Floats, _Floats]:
    """Residuals of the runs in standard deviations, and the slopes of what is predicted."""
    predicted = np.exp(members @ x) * cycles
    total = predicted.sum(axis=1)
    slopes = np.einsum("rf,rfn->rn", predicted / total[:, None], members)
    return (measured - np.log(total)) / _NOISE, slopes / _NOISE


def version_of(run: PricedRun) -> Version:
    """What factors are the same for: a runtime has other kernels for other SIMD instructions."""
    return run.run.runtime, SIMD_OF_CORE[run.profile.removesuffix("-soft")]


@cache
def closed_left_out() -> tuple[ClosedHeldOut, ...]:
    """Every closed run, its network left out, and its board left out, of known runs as well."""
    return (
        *_left_out("network", lambda p: p.run.model),
        *_left_out("board", lambda p: p.run.board),
    )


def _left_out(distance: str, group_of: Callable[[PricedRun], str]) -> list[ClosedHeldOut]:
    found = []
    runs = every_closed_run()
    for group in dict.fromkeys(map(group_of, runs)):
        scales = fit_jointly([p for p in _of_library() if group_of(p) != group])
        seen = [p for p in runs if group_of(p) != group]
        fit, versions = fit_closed(seen, scales), set(map(version_of, seen))
        found += [
            ClosedHeldOut(p, distance, math.log(p.measured / fit.cycles(p, scales)))
            for p in runs
            if group_of(p) == group and version_of(p) in versions
        ]
    return found


def closed_widths() -> dict[str, dict[str, float]]:
    """Half widths of 90 % intervals of the logarithm by distance, and of how many runs."""
    found = {}
    for distance in ("network", "board"):
        rows = [h for h in closed_left_out() if h.distance == distance]
        residuals = [h.residual for h in rows]
        width = half_width(
            residuals, [h.run.run.model for h in rows], [h.run.run.board for h in rows]
        )
        found[distance] = {
            "half_width": round(width, 4),
            "runs": len(residuals),
            "mean_error": round(math.expm1(statistics.fmean(map(abs, residuals))), 4),
        }
    return found
