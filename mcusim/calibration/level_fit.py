"""What one turn of each loop level executes, fitted from counts, and how well it predicts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from mcusim.instruction_mix import CLASSES

__all__ = [
    "Floats",
    "LevelFit",
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
#: What a turn of a level executes is taken to differ by this much, relative, from the same level of
#: the kernel that the fit leans on (or from the very same code there), and a row's count by this
#: much from its levels' sum.
_PRIOR_SPREAD = 0.3
_KNOWN_SPREAD = 0.001
_ROW_SPREAD = 0.003
#: Rows whose data happened to be untypical pull less: beyond this many typical errors, as the
#: inverse of the error (Huber). Typical errors below the floor are rounding, not data.
_HUBER = 1.5
_HUBER_FLOOR = 0.0005
_HUBER_ROUNDS = 3


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
class LevelFit:
    """A fit, with its errors where it was fitted and where it was not.

    Attributes:
        per_turn: shape ``(len(levels), len(FIELDS))``.
        fit_errors: relative error of each row's total with the row in the fit, signed.
        held_out_errors: the same with the row kept out of the fit.
        rank: independent columns among the levels; below their number, some levels cannot be told
            apart in these rows.
    """

    per_turn: Floats
    fit_errors: Floats
    held_out_errors: Floats
    rank: int


def fit_levels(
    turns: Floats,
    counts: Floats,
    prior: Floats | None = None,
    known: npt.NDArray[np.bool_] | None = None,
) -> Floats:
    """Non-negative least squares of relative errors, class by class, robust to odd rows.

    Args:
        turns: how often each level runs, shape ``(n, levels)``.
        counts: instructions by class, shape ``(n, classes)``; the first ``len(CLASSES)`` columns
            sum to the row's total, whose inverse weighs the row.
        prior: what a turn of each level executes in a kernel much like this one, for rows too few
            to tell the levels apart; shape ``(levels, classes)``, NaN for levels of its own.
        known: levels that are the very same code there, shape ``(levels,)``.

    Returns:
        What one turn executes, shape ``(levels, classes)``.
    """
    totals = _total(counts)
    if prior is not None:
        spread = np.full(turns.shape[1], _PRIOR_SPREAD)
        if known is not None:
            spread[known] = _KNOWN_SPREAD
        return _weighted(turns, counts, 1.0 / totals, prior, spread)
    trust = np.ones(len(totals))
    for _ in range(_HUBER_ROUNDS):
        errors = np.abs(_total(turns @ _weighted(turns, counts, trust / totals)) / totals - 1.0)
        typical = max(float(np.median(errors)) / 0.6745, _HUBER_FLOOR)
        trust = np.sqrt(np.minimum(1.0, _HUBER * typical / np.maximum(errors, 1e-12)))
    return _weighted(turns, counts, trust / totals)


def _weighted(
    turns: Floats,
    counts: Floats,
    weights: Floats,
    prior: Floats | None = None,
    spread: Floats | None = None,
) -> Floats:
    columns = turns * weights[:, np.newaxis]
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    pull = np.full(turns.shape[1], np.sqrt(_RIDGE))
    towards = np.zeros((turns.shape[1], counts.shape[1]))
    if prior is not None and spread is not None:
        leaned_on = np.nan_to_num(prior)
        firm = _ROW_SPREAD / (spread * np.maximum(_total(leaned_on), 1.0)) / norms
        pull = np.where(np.isfinite(prior.sum(axis=1)), firm, pull)
        towards = leaned_on * (pull * norms)[:, np.newaxis]
    system = np.vstack([columns / norms, np.diag(pull)])
    targets = np.vstack([counts * weights[:, np.newaxis], towards])
    per_turn = np.zeros((turns.shape[1], counts.shape[1]))
    for position in np.flatnonzero(targets.any(axis=0)):
        solution, _ = nnls(system, targets[:, position])
        per_turn[:, position] = solution / norms
    return per_turn


def _total(counts: Floats) -> Floats:
    totals: Floats = counts[..., : len(CLASSES)].sum(axis=-1)
    return totals


def fit_sample(
    sample: Sample, prior: Floats | None = None, known: npt.NDArray[np.bool_] | None = None
) -> LevelFit:
    """Fit all rows, and predict each row from a fit that has not seen it.

    Args:
        sample: the rows.
        prior: as in :func:`fit_levels`.
        known: as in :func:`fit_levels`.
    """
    per_turn = fit_levels(sample.turns, sample.counts, prior, known)
    held_out = np.full(len(sample.ids), np.nan)
    expected = sample.turns if sample.typical_turns is None else sample.typical_turns
    for fold in folds(sample.ids):
        rest = np.setdiff1d(np.arange(len(sample.ids)), fold)
        if rest.size or prior is not None:
            seen = fit_levels(sample.turns[rest], sample.counts[rest], prior, known)
            held_out[fold] = _errors(seen, sample, expected)[fold]
    return LevelFit(per_turn, _errors(per_turn, sample, sample.turns), held_out, _rank(sample))


def fit_together(
    samples: Mapping[str, Sample], is_shared: Callable[[str], bool]
) -> dict[str, LevelFit]:
    """Fit several kernels at once, whose shared levels cost the same in each.

    Args:
        samples: rows of each kernel, of one build.
        is_shared: whether a level is code that all of them call.

    Returns:
        Each kernel's fit; a row kept out is kept out of the shared levels' cost, too.
    """
    if not samples:
        return {}
    columns = list(
        dict.fromkeys(
            ("" if is_shared(level) else name, level)
            for name, sample in samples.items()
            for level in sample.levels
        )
    )
    own = {
        name: [columns.index(("" if is_shared(n) else name, n)) for n in sample.levels]
        for name, sample in samples.items()
    }

    def spread_out(name: str, turns: Floats) -> Floats:
        wide = np.zeros((len(turns), len(columns)))
        wide[:, own[name]] = turns
        return wide

    fit = fit_sample(
        Sample(
            tuple(i for sample in samples.values() for i in sample.ids),
            tuple(level for _, level in columns),
            np.vstack([spread_out(name, sample.turns) for name, sample in samples.items()]),
            np.vstack([sample.counts for sample in samples.values()]),
        )
    )
    fits = {}
    start = 0
    for name, sample in samples.items():
        stop = start + len(sample.ids)
        fits[name] = LevelFit(
            fit.per_turn[own[name]],
            fit.fit_errors[start:stop],
            fit.held_out_errors[start:stop],
            _rank(sample),
        )
        start = stop
    return fits


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
