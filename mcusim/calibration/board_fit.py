"""Few parameters of a board from few measured runs: which, how well, and whether to trust them.

Measured and predicted times are compared as logarithms of their ratio. A run's predicted cycles are
``time_scale * (core + fetch_wait_scale * fetch + constant_wait_scale * constants)``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mcusim.boards import half_width
from mcusim.errors import InputError

__all__ = [
    "LEAST_SINGULAR_VALUE",
    "PARAMETER_SETS",
    "REPEATABILITY",
    "Parameters",
    "Run",
    "TimeFit",
    "between_networks",
    "conformal_half_width",
    "firm_share",
    "fit_time",
    "is_as_published",
    "jacobian",
    "keep_time",
    "percent",
    "unexplained",
]

_Floats = npt.NDArray[np.float64]

#: What a parameter may be, and a change of it that matters, for comparing singular values.
_LIMITS = {
    "time_scale": (0.25, 4.0, 1.0),
    "fetch_wait_scale": (0.0, 4.0, 1.0),
    "constant_wait_scale": (0.0, 4.0, 1.0),
}
#: Sets of parameters to try, the fewest first.
PARAMETER_SETS = (
    ("time_scale",),
    ("time_scale", "fetch_wait_scale"),
    ("time_scale", "constant_wait_scale"),
    ("time_scale", "fetch_wait_scale", "constant_wait_scale"),
)
#: Half the width of a 90 % interval of normal errors over their standard deviation, and over the
#: mean of their sizes.
_HALF_WIDTH_OVER_DEVIATION = 1.645
_MEAN_OVER_HALF_WIDTH = 0.485
#: How well runs repeat, as a logarithm.
REPEATABILITY = 0.02
#: A parameter must then be known to half of a change that matters.
LEAST_SINGULAR_VALUE = REPEATABILITY / 0.5
#: A further parameter must take this share of the error on networks left out.
_WORTH = 0.2
#: Residuals up to this, as a logarithm, count in full; larger ones less and less.
_ROBUST = 0.05
#: What no fit explains: beyond four standard deviations of the other runs, and beyond 15 %.
_OUTLIER_DEVIATIONS, _OUTLIER_LEAST = 4.0, 0.15
#: With fewer runs it cannot be told which of them is wrong.
_LEAST_RUNS_FOR_OUTLIERS = 4
_COVERAGE = 0.9
#: Parts that groups are left out in while parameters are chosen.
_FOLDS = 8


@dataclass(frozen=True)
class Parameters:
    """What a fit may change.

    Attributes:
        time_scale: factor on every cycle.
        fetch_wait_scale: factor on cycles that wait for instructions.
        constant_wait_scale: factor on cycles that wait for constants.
    """

    time_scale: float
    fetch_wait_scale: float
    constant_wait_scale: float


@dataclass(frozen=True)
class Run:
    """A measured run, and what the board's model says of it.

    Attributes:
        group: runs of one group are left out together.
        measured: cycles measured.
        core: cycles with memory that never waits.
        fetch: cycles waiting for instructions.
        constants: cycles waiting for constants.
    """

    group: Hashable
    measured: float
    core: float
    fetch: float
    constants: float


@dataclass(frozen=True)
class TimeFit:
    """Parameters fitted, and what runs left out say of them.

    Attributes:
        parameters: all of them, those that were kept included.
        fitted: names of the fitted ones.
        outliers: indices of the runs that no parameter explains; left out of the fit.
        residuals: logarithm of measured over fitted time, one a run.
        left_out: the same where the run's group was left out of the fit; None with one group.
        error_before: mean size of the logarithm of measured over predicted time before the fit.
        error_after: mean size of ``left_out``; None with one group. Both without the outliers.
        half_width: of the 90 % interval of the logarithm.
    """

    parameters: Parameters
    fitted: tuple[str, ...]
    outliers: tuple[int, ...]
    residuals: tuple[float, ...]
    left_out: tuple[float, ...] | None
    error_before: float
    error_after: float | None
    half_width: float

    @property
    def is_worse(self) -> bool:
        """Whether runs left out are predicted worse than without a fit."""
        return self.error_after is not None and self.error_after > self.error_before + 1e-9


def fit_time(runs: Sequence[Run], start: Parameters, prior_half_width: float) -> TimeFit:
    """Fit the parameters that the runs can identify; the rest stays as it is.

    A set of parameters is tried where the Jacobian of the logarithms has no small singular value
    and more groups than parameters were measured; one group fits the time scale alone. Of these
    sets the one with the smallest error on groups left out is taken, a larger one only where it
    takes a fifth of the error. ``left_out`` has each group left out of that choice as well.

    What the runs say together moves the parameters, and what each says for itself does not: the
    change is shrunk by the share of it that the scatter of the networks alone would make, as
    :func:`firm_share` says.

    Args:
        runs: at least one.
        start: parameters as they are.
        prior_half_width: of the logarithm's 90 % interval while nothing is fitted.

    Raises:
        InputError: SciPy is not installed.
    """
    names = _identifiable(runs, start)
    strangers = [unexplained(_residuals(runs, _least_squares(runs, start, n))) for n in names]
    outliers = set.intersection(*strangers)
    kept = [run for index, run in enumerate(runs) if index not in outliers]
    chosen = _choice(kept, start)
    parameters = _solve(kept, start, chosen)
    residuals = _residuals(runs, parameters)
    alone = len({run.group for run in kept}) < 2
    # Outliers are left out of every fit, but not of the interval.
    left_out = None if alone else _left_out(runs, kept, start)
    half_width = prior_half_width
    if left_out is not None:
        half_width = conformal_half_width(_by_group(runs, left_out), prior_half_width)
    return TimeFit(
        parameters,
        chosen if parameters != start else (),
        tuple(sorted(outliers)),
        tuple(residuals.tolist()),
        None if left_out is None else tuple(left_out.tolist()),
        _mean_size(_residuals(kept, start)),
        None if left_out is None else _mean_size(np.delete(left_out, sorted(outliers))),
        half_width,
    )


def keep_time(runs: Sequence[Run], start: Parameters, prior_half_width: float) -> TimeFit:
    """Keep the parameters as they are, and tell how wrong they are: none of the runs was fitted.

    Args:
        runs: of two groups at least.
        start: parameters as they are.
        prior_half_width: of the logarithm's 90 % interval before the runs.
    """
    residuals = _residuals(runs, start)
    outliers = tuple(sorted(unexplained(residuals)))
    error = _mean_size(np.delete(residuals, outliers))
    half_width = conformal_half_width(_by_group(runs, residuals), prior_half_width)
    sizes = tuple(residuals.tolist())
    return TimeFit(start, (), outliers, sizes, sizes, error, error, half_width)


def conformal_half_width(sizes: Sequence[float], prior: float) -> float:
    """Half the width of a 90 % interval from the sizes of residuals on what was left out.

    With n residuals the ``ceil(0.9 (n + 1))``-th smallest covers 90 %. Below n = 9 there is none:
    the largest covers ``n / (n + 1)``, and what is missing to 90 % is taken from ``prior``: squares
    are averaged, as variances are. The interval is never narrower than the largest residual.

    Args:
        sizes: absolute residuals, at least one.
        prior: half width while nothing was measured.
    """
    count = len(sizes)
    rank = math.ceil(_COVERAGE * (count + 1))
    if rank <= count:
        return sorted(sizes)[rank - 1]
    largest = max(sizes)
    share = count / (count + 1) / _COVERAGE
    return max(largest, math.sqrt(share * largest**2 + (1 - share) * prior**2))


def between_networks(quantity: str) -> float:
    """What networks differ by from one another on a board: published ones, left out.

    Args:
        quantity: ``"latency"`` or ``"power"``.

    Returns:
        A standard deviation of the logarithm.
    """
    return half_width(quantity, "network") / _HALF_WIDTH_OVER_DEVIATION


def is_as_published(mean_error: float, quantity: str) -> bool:
    """Whether networks are off by no more, in the mean, than published ones left out are."""
    return mean_error <= _MEAN_OVER_HALF_WIDTH * half_width(quantity, "network")


def percent(log_error: float) -> str:
    """A logarithm of measured over predicted as a share."""
    return f"{100 * math.expm1(log_error):.1f} %"


def _by_group(runs: Sequence[Run], residuals: _Floats) -> list[float]:
    """Size of the largest residual of each group."""
    sizes: dict[Hashable, float] = {}
    for run, residual in zip(runs, residuals.tolist(), strict=True):
        sizes[run.group] = max(sizes.get(run.group, 0.0), abs(residual))
    return list(sizes.values())


def _cycles(runs: Sequence[Run], p: Parameters) -> _Floats:
    return np.array(
        [
            p.time_scale
            * (run.core + p.fetch_wait_scale * run.fetch + p.constant_wait_scale * run.constants)
            for run in runs
        ]
    )


def _residuals(runs: Sequence[Run], parameters: Parameters) -> _Floats:
    measured = np.array([run.measured for run in runs])
    return np.log(measured / _cycles(runs, parameters))


def jacobian(runs: Sequence[Run], p: Parameters, names: Sequence[str]) -> _Floats:
    """Change of the logarithm of cycles for a change of each parameter that matters.

    Args:
        runs: n of them; what was measured is not looked at.
        p: where.
        names: of the parameters.

    Returns:
        float64 (n, parameters).
    """
    inner = _cycles(runs, p) / p.time_scale
    columns = {
        "time_scale": np.full(len(runs), 1 / p.time_scale),
        "fetch_wait_scale": np.array([run.fetch for run in runs]) / inner,
        "constant_wait_scale": np.array([run.constants for run in runs]) / inner,
    }
    return np.stack([columns[name] * _LIMITS[name][2] for name in names], axis=1)


def _identified(runs: Sequence[Run], start: Parameters, names: Sequence[str]) -> bool:
    if len(names) == 1:
        return True
    if len({run.group for run in runs}) <= len(names):
        return False
    values = np.linalg.svd(jacobian(runs, start, names), compute_uv=False)
    return bool(values[-1] >= LEAST_SINGULAR_VALUE)


def _solve(runs: Sequence[Run], start: Parameters, names: Sequence[str]) -> Parameters:
    return _shrunk(runs, start, _least_squares(runs, start, names), len(names))


def _shrunk(runs: Sequence[Run], start: Parameters, found: Parameters, free: int) -> Parameters:
    """Parameters between those of before and fitted ones, by how sure the runs are of a change."""
    change = float(np.mean(np.log(_cycles(runs, found) / _cycles(runs, start)) ** 2))
    residuals: dict[Hashable, list[float]] = {run.group: [] for run in runs}
    for run, residual in zip(runs, _residuals(runs, found).tolist(), strict=True):
        residuals[run.group].append(residual)
    scatter = [float(np.mean(each)) for each in residuals.values()]
    share = firm_share(math.sqrt(change), scatter, between_networks("latency"), free)
    moved = {
        name: before + share * (getattr(found, name) - before)
        for name, before in vars(start).items()
    }
    return Parameters(**moved)


def firm_share(change: float, scatter: Sequence[float], between: float, free: int = 1) -> float:
    """Share of a fitted change that is made: all of one that chance would not make.

    Networks that scatter by ``s`` move a fit by ``s sqrt(free / n)`` where there is nothing to
    find. Of a change up to that nothing is left, of one twice as large all of it, and in between
    a share that rises: firm shrinkage (Gao and Bruce, 1997). Few networks tell little of how they
    scatter: what published ones do counts as one more.

    Args:
        change: of what was measured, as a logarithm.
        scatter: residual of each network under the fit.
        between: what networks differ by from one another, as a standard deviation.
        free: parameters that were fitted.

    Returns:
        0 to 1.
    """
    count = len(scatter)
    noise = (between**2 + sum(residual**2 for residual in scatter)) / (1 + count)
    return min(1.0, max(0.0, abs(change) / math.sqrt(noise * free / count) - 1.0))


def _least_squares(runs: Sequence[Run], start: Parameters, names: Sequence[str]) -> Parameters:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError("calibrating needs SciPy: pip install 'mcusim[calibrate]'") from None
    limits: _Floats = np.array([_LIMITS[name] for name in names])
    low, high, unit = limits[:, 0], limits[:, 1], limits[:, 2]

    def parameters(x: _Floats) -> Parameters:
        return replace(start, **dict(zip(names, x.tolist(), strict=True)))

    def residuals(x: _Floats) -> _Floats:
        return _residuals(runs, parameters(x))

    def slopes_at(x: _Floats) -> _Floats:
        slopes: _Floats = -jacobian(runs, parameters(x), names) / unit
        return slopes

    found = least_squares(
        residuals,
        np.clip([getattr(start, name) for name in names], low, high),
        slopes_at,
        bounds=(low, high),
        x_scale=unit,
        loss="soft_l1",
        f_scale=_ROBUST,
        xtol=1e-12,
        ftol=1e-12,
    )
    return parameters(found.x)


def unexplained(residuals: _Floats) -> set[int]:
    """Runs that no fit explains: far from all others; none where these are few.

    Args:
        residuals: float64, shape ``(runs,)``: logarithms of measured over fitted.
    """
    if residuals.size < _LEAST_RUNS_FOR_OUTLIERS:
        return set()
    distances = np.abs(residuals - np.median(residuals))
    deviation = 1.4826 * float(np.median(distances))
    limit = max(_OUTLIER_DEVIATIONS * deviation, _OUTLIER_LEAST)
    return set(np.flatnonzero(distances > limit).tolist())


def _identifiable(runs: Sequence[Run], start: Parameters) -> list[tuple[str, ...]]:
    return [names for names in PARAMETER_SETS if _identified(runs, start, names)]


def _choice(runs: Sequence[Run], start: Parameters) -> tuple[str, ...]:
    """The set of parameters that predicts groups left out best, the smaller one in doubt."""
    first, *others = _identifiable(runs, start)
    if not others:
        return first
    chosen, best = first, _mean_size(_left_out(runs, runs, start, first))
    for names in others:
        error = _mean_size(_left_out(runs, runs, start, names))
        if error < best * (1 - _WORTH):
            chosen, best = names, error
    return chosen


def _left_out(
    runs: Sequence[Run],
    kept: Sequence[Run],
    start: Parameters,
    names: tuple[str, ...] | None = None,
) -> _Floats:
    """Residual of each run under the fit of the kept runs of other groups, at least one.

    Without names of parameters, the other groups choose them too.
    """
    groups = list(dict.fromkeys(run.group for run in runs))
    # While choosing parameters, folds do: leaving out every group of every rest takes too long.
    folds = {group: i % _FOLDS if names else i for i, group in enumerate(groups)}
    fits = {}
    for fold in set(folds.values()):
        others = [run for run in kept if folds[run.group] != fold]
        fits[fold] = _solve(others, start, names or _choice(others, start))
    return np.array([_residuals([run], fits[folds[run.group]])[0] for run in runs])


def _mean_size(residuals: _Floats) -> float:
    return float(np.mean(np.abs(residuals)))
