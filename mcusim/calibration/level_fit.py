"""What one turn of each loop level executes, fitted from counts, and how well it predicts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.optimize import nnls
from scipy.sparse import csr_matrix

from mcusim.instruction_mix import CLASSES

__all__ = [
    "Floats",
    "LevelFit",
    "Prior",
    "Sample",
    "fit_levels",
    "fit_sample",
    "fit_together",
    "folds",
]

Floats = npt.NDArray[np.float64]

#: Rows beyond which folds replace leaving out one row at a time.
_LEAVE_ONE_OUT_ROWS = 12
_FOLDS = 10
#: Pull towards zero, relative to columns of unit norm; it decides only what the counts leave open.
_RIDGE = 1e-9
#: A row's count is taken to differ by this much, relative, from its levels' sum; beside a prior's
#: spread it says which of the two to believe.
_ROW_SPREAD = 0.003
#: Rows whose data happened to be untypical pull less: beyond this many typical errors, as the
#: inverse of the error (Huber). Typical errors below the floor are rounding, not data.
_HUBER = 1.5
_HUBER_FLOOR = 0.002
_HUBER_ROUNDS = 3
_TOO_FEW_TO_DOUBT = 6


@dataclass(frozen=True, eq=False)
class Sample:
    """Counted rows of one profile in one build.

    Attributes:
        ids: names of the rows, shape ``(n,)``.
        levels: names of the loop levels.
        turns: how often each level runs, shape ``(n, len(levels))``.
        counts: instructions by class, shape ``(n, len(FIELDS))``.
        typical_turns: the same as ``turns`` for data that is not known, which is what predicts a
            row kept out; None where turns do not depend on data.
    """

    ids: tuple[str, ...]
    levels: tuple[str, ...]
    turns: Floats
    counts: Floats
    typical_turns: Floats | None = None

    @property
    def totals(self) -> Floats:
        """Instructions of each row."""
        return _total(self.counts)


@dataclass(frozen=True, eq=False)
class Prior:
    """What levels cost in code much like a kernel's.

    Attributes:
        per_turn: shape ``(levels, classes)``; NaN for a level of which nothing is known.
        spread: how far the kernel's own levels may be from that, relative, one standard deviation,
            shape ``(levels,)``; infinite to ask it of levels only that no row runs.
    """

    per_turn: Floats
    spread: Floats

    @classmethod
    def none(cls, levels: int, classes: int) -> Prior:
        """A prior that knows nothing, to be filled in."""
        return cls(np.full((levels, classes), np.nan), np.ones(levels))


@dataclass(frozen=True, eq=False)
class LevelFit:
    """A fit, with its errors where it was fitted and where it was not.

    Attributes:
        per_turn: shape ``(len(levels), len(FIELDS))``.
        fit_errors: relative error of each row's total with the row in the fit, signed.
        held_out_errors: the same with the row kept out of the fit, and its data not known.
        held_out_on_data: the same with its data known.
        rank: independent columns among the levels; below their number, some levels cannot be told
            apart in these rows.
    """

    per_turn: Floats
    fit_errors: Floats
    held_out_errors: Floats
    held_out_on_data: Floats
    rank: int


def fit_levels(turns: Floats, counts: Floats, prior: Prior | None = None) -> Floats:
    """Non-negative least squares of relative errors, class by class, robust to odd rows.

    Without the bound at zero, rows kept out of the fit are predicted worse in nearly every kernel.

    Args:
        turns: how often each level runs, shape ``(n, levels)``.
        counts: instructions by class, shape ``(n, classes)``; the first ``len(CLASSES)`` columns
            sum to the row's total, whose inverse weighs the row.
        prior: what levels cost in code much like this, for what the rows do not tell.

    Returns:
        What one turn executes, shape ``(levels, classes)``.
    """
    totals = _total(counts)
    trust = np.ones(len(totals))
    for _ in range(_HUBER_ROUNDS if len(totals) > _TOO_FEW_TO_DOUBT else 0):
        found = _weighted(turns, counts, trust / totals, prior)
        errors = np.abs(_total(turns @ found) / totals - 1.0)
        typical = max(float(np.median(errors)) / 0.6745, _HUBER_FLOOR)
        trust = np.sqrt(np.minimum(1.0, _HUBER * typical / np.maximum(errors, 1e-12)))
    return _weighted(turns, counts, trust / totals, prior)


def _weighted(turns: Floats, counts: Floats, weights: Floats, prior: Prior | None) -> Floats:
    columns = turns * weights[:, np.newaxis]
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    pull = np.full(turns.shape[1], np.sqrt(_RIDGE))
    towards = np.zeros((turns.shape[1], counts.shape[1]))
    if prior is not None:
        leaned_on = np.nan_to_num(prior.per_turn)
        # An infinite spread leaves a level to the rows, as long as there is one that runs it.
        spread = np.where(np.isinf(prior.spread) & ~turns.any(axis=0), 1.0, prior.spread)
        firm = _ROW_SPREAD / (spread * np.maximum(_total(leaned_on), 1.0)) / norms
        pull = np.where(np.isfinite(prior.per_turn.sum(axis=1)) & (firm > 0.0), firm, pull)
        towards = (
            np.where(firm[:, np.newaxis] > 0.0, leaned_on, 0.0) * (pull * norms)[:, np.newaxis]
        )
    triangle, targets = _as_triangle(
        columns / norms, counts * weights[:, np.newaxis], pull, towards
    )
    per_turn = np.zeros((turns.shape[1], counts.shape[1]))
    for position in np.flatnonzero(targets.any(axis=0)):
        solution, _ = nnls(triangle, targets[:, position])
        per_turn[:, position] = solution / norms
    return per_turn


def _as_triangle(
    columns: Floats, counts: Floats, pull: Floats, towards: Floats
) -> tuple[Floats, Floats]:
    """As many equations as there are levels, which have the same least squares as all of them.

    Rows run few of the levels, so that the squares of their columns are soon added up.

    Args:
        columns: of the rows, of unit norm, shape ``(n, levels)``.
        counts: that they add up to, shape ``(n, classes)``.
        pull: weight of what each level is drawn to.
        towards: that, times its weight.
    """
    system = csr_matrix(columns)
    squares = (system.T @ system).toarray() + np.diag(pull**2)
    aims = system.T @ counts + pull[:, np.newaxis] * towards
    try:
        triangle: Floats = np.asarray(np.linalg.cholesky(squares), np.float64).T
    except np.linalg.LinAlgError:
        turned, upper = np.linalg.qr(np.vstack([columns, np.diag(pull)]))
        return np.asarray(upper, np.float64), turned.T @ np.vstack([counts, towards])
    targets: Floats = solve_triangular(triangle, aims, trans="T")
    return triangle, targets


def _total(counts: Floats) -> Floats:
    totals: Floats = counts[..., : len(CLASSES)].sum(axis=-1)
    return totals


def fit_sample(sample: Sample, prior: Prior | None = None, keep_out: bool = True) -> LevelFit:
    """Fit all rows, and predict each row from a fit that has not seen it.

    Args:
        sample: the rows.
        prior: what levels cost in code much like this.
        keep_out: False to leave the predictions out, as NaN.
    """
    per_turn = fit_levels(sample.turns, sample.counts, prior)
    held_out, on_data = np.full((2, len(sample.ids)), np.nan)
    expected = sample.turns if sample.typical_turns is None else sample.typical_turns
    for fold in folds(sample.ids) if keep_out else ():
        rest = np.setdiff1d(np.arange(len(sample.ids)), fold)
        if rest.size or prior is not None:
            seen = fit_levels(sample.turns[rest], sample.counts[rest], prior)
            held_out[fold] = _errors(seen, sample, expected)[fold]
            on_data[fold] = _errors(seen, sample, sample.turns)[fold]
    fitted = _errors(per_turn, sample, sample.turns)
    return LevelFit(per_turn, fitted, held_out, on_data, _rank(sample))


def fit_together(
    samples: Mapping[str, Sample],
    is_shared: Callable[[str], bool],
    priors: Mapping[str, Prior] | None = None,
    keep_out: bool = True,
) -> dict[str, LevelFit]:
    """Fit several kernels at once, whose shared levels cost the same in each.

    Args:
        samples: rows of each kernel, of one build.
        is_shared: whether a level is code that all of them call.
        priors: for some kernels, what their own levels cost in code much like them.
        keep_out: as in :func:`fit_sample`.

    Returns:
        Each kernel's fit; a row kept out is kept out of the shared levels' cost, too.
    """
    if not samples:
        return {}
    columns = {
        column: position
        for position, column in enumerate(
            dict.fromkeys(
                ("" if is_shared(level) else name, level)
                for name, sample in samples.items()
                for level in sample.levels
            )
        )
    }
    places = {
        name: [columns["" if is_shared(n) else name, n] for n in sample.levels]
        for name, sample in samples.items()
    }
    together = _side_by_side(samples, places, list(columns))
    prior = Prior.none(len(columns), together.counts.shape[1])
    for name, own in (priors or {}).items():
        for position, level in enumerate(samples[name].levels):
            place = places[name][position]
            if np.isnan(prior.per_turn[place]).any():
                prior.per_turn[place] = own.per_turn[position]
                prior.spread[place] = np.inf if is_shared(level) else own.spread[position]
    fit = fit_sample(together, prior, keep_out)
    ends = np.cumsum([len(sample.ids) for sample in samples.values()])
    return {
        name: LevelFit(
            fit.per_turn[places[name]],
            fit.fit_errors[end - len(sample.ids) : end],
            fit.held_out_errors[end - len(sample.ids) : end],
            fit.held_out_on_data[end - len(sample.ids) : end],
            _rank(sample),
        )
        for end, (name, sample) in zip(ends, samples.items(), strict=True)
    }


def _side_by_side(
    samples: Mapping[str, Sample],
    places: Mapping[str, Sequence[int]],
    columns: Sequence[tuple[str, str]],
) -> Sample:
    """All rows as one sample, each kernel's turns in its own and the shared columns."""

    def spread_out(name: str, turns: Floats) -> Floats:
        wide = np.zeros((len(turns), len(columns)))
        wide[:, places[name]] = turns
        return wide

    return Sample(
        tuple(i for sample in samples.values() for i in sample.ids),
        tuple(level for _, level in columns),
        np.vstack([spread_out(name, sample.turns) for name, sample in samples.items()]),
        np.vstack([sample.counts for sample in samples.values()]),
        np.vstack(
            [
                spread_out(
                    name, sample.turns if sample.typical_turns is None else sample.typical_turns
                )
                for name, sample in samples.items()
            ]
        ),
    )


def _rank(sample: Sample) -> int:
    weighed = sample.turns / sample.totals[:, np.newaxis]
    norms = np.linalg.norm(weighed, axis=0)
    return int(np.linalg.matrix_rank(weighed / np.where(norms == 0.0, 1.0, norms), tol=1e-6))


def folds(ids: Sequence[str]) -> list[npt.NDArray[np.intp]]:
    """Positions of the rows that are kept out together, the same on every run.

    Rows are dealt in the order of a hash of their names: ten folds, or one row each when few.
    """
    order = np.array(sorted(range(len(ids)), key=lambda i: (zlib.crc32(ids[i].encode()), ids[i])))
    count = len(ids) if len(ids) <= _LEAVE_ONE_OUT_ROWS else _FOLDS
    return [order[start::count] for start in range(count)]


def _errors(per_turn: Floats, sample: Sample, turns: Floats) -> Floats:
    return _total(turns @ per_turn) / sample.totals - 1.0
