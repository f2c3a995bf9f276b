"""Closed runtimes as factors over CMSIS-NN, one for each family of operators.

Their kernels are not published. What is measured of them is what they take of networks that
CMSIS-NN of :data:`~mcusim.calibration.own_scales.COMPARED_WITH` runs, too: the ratio, split by
family. Factors lie around those of the engine's other versions, where networks leave them open.
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
from mcusim.calibration.own_scales import (
    COMPARED_WITH,
    alike,
    closed_runs,
    joint_fit,
    known_runs,
)
from mcusim.calibration.priced_runs import PricedRun, price_run
from mcusim.calibration.published import published_runs
from mcusim.estimates import FAMILIES
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE

__all__ = [
    "ClosedHeldOut",
    "closed_factors",
    "closed_left_out",
    "closed_widths",
    "every_closed_run",
]

_Floats = npt.NDArray[np.float64]

#: Standard deviations of logarithms: of an engine's factor for a family around that of all engines,
#: of a version's around its engine's, and of one run.
_ENGINE, _VERSION, _NOISE = 0.3, 0.3, 0.12
#: What engines gain over CMSIS-NN before any is measured.
_USUAL = math.log(0.7)
_ROBUST = 2.0
_STEPS, _CONVERGED = 60, 1e-8

#: Runtime with its version, and the kind of SIMD instructions of the core.
Version = tuple[str, str]
Factors = Mapping[Version, Mapping[str, float]]


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


def closed_factors(runs: Sequence[PricedRun], scales: JointFit) -> Factors:
    """Factor of each family by runtime, by robust least squares on logarithms.

    Args:
        runs: of closed runtimes, priced as CMSIS-NN.
        scales: of their boards.
    """
    versions = list(dict.fromkeys(version_of(p) for p in runs))
    engines = list(dict.fromkeys(_engine(name) for name in versions))
    families = len(FAMILIES)
    of_engine = np.array([engines.index(_engine(name)) for name in versions], dtype=np.intp)
    at = np.array([versions.index(version_of(p)) for p in runs], dtype=np.intp)
    cycles = np.array(
        [np.array(p.by_family) * scales.of(p.run.board, p.core).time_scale for p in runs]
    )
    measured = np.log([p.measured for p in runs])
    size = 1 + families * (len(engines) + len(versions))
    x = np.zeros(size)
    x[0] = _USUAL
    priors = np.concatenate(
        [
            [1.0],
            np.full(families * len(engines), _ENGINE),
            np.full(families * len(versions), _VERSION),
        ]
    )
    for _ in range(_STEPS):
        logs = _logs(x, of_engine, len(engines))
        shares = np.exp(logs[at]) * cycles
        total = shares.sum(axis=1)
        shares /= total[:, None]
        slopes = np.zeros((len(runs), size))
        slopes[:, 0] = 1
        for row, version in enumerate(at):
            engine = 1 + families * of_engine[version]
            own = 1 + families * (len(engines) + version)
            slopes[row, engine : engine + families] = shares[row]
            slopes[row, own : own + families] = shares[row]
        residuals = (measured - np.log(total)) / _NOISE
        weights = (1 + (residuals / _ROBUST) ** 2) ** -0.25
        left = np.concatenate([slopes * (weights / _NOISE)[:, None], np.diag(1 / priors)])
        offset = x.copy()
        offset[0] -= _USUAL
        right = np.concatenate([residuals * weights, -offset / priors])
        step = np.linalg.solve(left.T @ left, left.T @ right)
        x = x + step
        if np.abs(step).max() < _CONVERGED:
            break
    logs = _logs(x, of_engine, len(engines))
    return {
        name: dict(zip(FAMILIES, np.exp(logs[i]).tolist(), strict=True))
        for i, name in enumerate(versions)
    }


def _logs(x: _Floats, of_engine: npt.NDArray[np.intp], engines: int) -> _Floats:
    """Logarithms of the factors, shape ``(versions, families)``."""
    families = len(FAMILIES)
    by_engine = x[1 : 1 + families * engines].reshape(engines, families)
    by_version = x[1 + families * engines :].reshape(-1, families)
    found: _Floats = x[0] + by_engine[of_engine] + by_version
    return found


def version_of(run: PricedRun) -> Version:
    """What factors are the same for: a runtime has other kernels for other SIMD instructions."""
    return run.run.runtime, SIMD_OF_CORE[run.profile.removesuffix("-soft")]


def _engine(version: Version) -> Version:
    return version[0].partition("@")[0], version[1]


def predicted(run: PricedRun, factors: Factors, scales: JointFit) -> float:
    """Cycles of a closed run."""
    scale = scales.of(run.run.board, run.core).time_scale
    own = factors[version_of(run)]
    return scale * sum(own[f] * c for f, c in zip(FAMILIES, run.by_family, strict=True))


@cache
def closed_left_out() -> tuple[ClosedHeldOut, ...]:
    """Every closed run, its network left out, and its board left out."""
    return (
        *_left_out("network", lambda p: p.run.model),
        *_left_out("board", lambda p: p.run.board),
    )


def _left_out(distance: str, group_of: Callable[[PricedRun], Hashable]) -> list[ClosedHeldOut]:
    found = []
    runs = every_closed_run()
    for group in dict.fromkeys(map(group_of, runs)):
        scales = joint_fit()
        if distance == "board":
            scales = fit_jointly(
                [p for p in known_runs() if p.run.board != group],
                [p for p in closed_runs() if p.run.board != group],
                alike(),
            )
        factors = closed_factors([p for p in runs if group_of(p) != group], scales)
        found += [
            ClosedHeldOut(p, distance, math.log(p.measured / predicted(p, factors, scales)))
            for p in runs
            if group_of(p) == group and version_of(p) in factors
        ]
    return found


def closed_widths() -> dict[str, dict[str, float]]:
    """Half widths of 90 % intervals of the logarithm by distance, and of how many runs."""
    found = {}
    for distance in ("network", "board"):
        residuals = [h.residual for h in closed_left_out() if h.distance == distance]
        found[distance] = {
            "half_width": round(half_width(residuals), 4),
            "runs": len(residuals),
            "mean_error": round(math.expm1(statistics.fmean(map(abs, residuals))), 4),
        }
    return found
