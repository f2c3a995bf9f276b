"""Divides what loop levels execute among the classes of instructions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear, nnls

from mcusim.calibration.level_fit import Floats
from mcusim.instruction_mix import CLASSES, FIELDS

__all__ = ["classes_of"]

#: Steps in which classes approach the counts.
_STEPS = 1000
#: A class with less than this share of a level is left out of it: steps leave crumbs.
_CRUMB = 0.003
#: Branches that a turn of a level may spare at most.
_FEWER_TAKEN = 2.0
#: Pull of taken branches towards none, relative to columns of unit norm.
_TAKEN_RIDGE = 1e-8
#: What is counted beside the classes, and the classes each of which is at least one of it.
_AT_LEAST = {
    "load_accesses": [n for n in CLASSES if n.startswith(("load_", "float_load"))],
    "store_accesses": [n for n in CLASSES if n.startswith(("store_", "float_store"))],
    "taken_unconditional": ["branch", "call", "branch_indirect", "branch_table"],
}


def classes_of(turns: Floats, counts: Floats, per_level: Floats) -> Floats:
    """Instructions by class of a turn of each level, which add up to the level's total.

    Args:
        turns: how often each level runs, shape ``(n, levels)``.
        counts: instructions by class, shape ``(n, len(FIELDS))``, or totals alone, ``(n, 1)``.
        per_level: instructions of a turn of each level, shape ``(levels,)``.

    Returns:
        Shape ``(levels, len(FIELDS))``, or ``(levels, 1)``.
    """
    if counts.shape[1] == 1:
        return per_level[:, np.newaxis]
    totals = counts[:, : len(CLASSES)].sum(axis=1)
    weighed = turns / totals[:, np.newaxis]
    norms = np.linalg.norm(weighed, axis=0)
    norms[norms == 0.0] = 1.0
    system, targets = weighed / norms, counts / totals[:, np.newaxis]
    found = np.zeros((turns.shape[1], len(FIELDS)))
    occurring = np.flatnonzero(counts[:, : len(CLASSES)].any(axis=0))
    found[:, occurring] = _divided(system, targets[:, occurring], per_level * norms)
    for position in range(len(CLASSES), len(FIELDS)):
        classes = [FIELDS.index(name) for name in _AT_LEAST.get(FIELDS[position], ())]
        least = found[:, classes].sum(axis=1)
        if FIELDS[position] == "taken_conditional":
            found[:, position] = _taken(system, targets[:, position], norms)
            continue
        beyond, _ = nnls(system, targets[:, position] - system @ least)
        found[:, position] = least + beyond
    per_turn: Floats = found / norms[:, np.newaxis]
    return per_turn


def _taken(system: Floats, targets: Floats, norms: Floats) -> Floats:
    """Conditional branches taken by a turn of each level, which may be fewer than without it.

    The last turn of a loop takes none, and where a condition holds a branch may be passed by that
    is taken otherwise.
    """
    weights = np.vstack([system, np.sqrt(_TAKEN_RIDGE) * np.eye(len(norms))])
    aims = np.concatenate([targets, np.zeros(len(norms))])
    found: Floats = lsq_linear(weights, aims, (-_FEWER_TAKEN * norms, np.inf)).x
    return found


def _divided(system: Floats, targets: Floats, sums: Floats) -> Floats:
    """Rows that are not negative, have given sums and come closest to the targets.

    Projected gradients with momentum (FISTA): each level's classes stay on their simplex.
    """
    step = 1.0 / max(float(np.linalg.norm(system, 2)) ** 2, 1e-12)
    gram, aims = system.T @ system, system.T @ targets
    found = np.outer(sums, targets.sum(axis=0) / targets.sum())
    ahead, momentum = found, 1.0
    for _ in range(_STEPS):
        following = _on_simplex(ahead - step * (gram @ ahead - aims), sums)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = following + (momentum - 1.0) / faster * (following - found)
        found, momentum = following, faster
    found[found < _CRUMB * sums[:, np.newaxis]] = 0.0
    kept = found.sum(axis=1)
    scale = np.divide(sums, kept, out=np.zeros_like(sums), where=kept > 0.0)
    whole: Floats = found * scale[:, np.newaxis]
    return whole


def _on_simplex(rows: Floats, sums: Floats) -> Floats:
    """The closest rows that are not negative and have given sums."""
    ordered = -np.sort(-rows, axis=1)
    excess = (np.cumsum(ordered, axis=1) - sums[:, np.newaxis]) / np.arange(1, rows.shape[1] + 1)
    last = np.count_nonzero(ordered > excess, axis=1) - 1
    shift = excess[np.arange(len(rows)), np.maximum(last, 0)]
    closest: Floats = np.maximum(rows - shift[:, np.newaxis], 0.0)
    return closest
