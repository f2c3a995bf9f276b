"""The rows that no other beats in everything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcusim.sweep.store import Row

__all__ = ["pareto"]


def pareto(rows: Sequence[Row], *, large: bool = False) -> list[bool]:
    """Whether a row lies on the Pareto front of time, energy, RAM and flash.

    Args:
        rows: priced rows; a RAM that is unknown is beaten by every other.
        large: whether more multiply-accumulates are better, in the place of an accuracy that is
            not known: otherwise the smallest network beats all others.

    Returns:
        One a row; of equal rows all or none.
    """
    figures = np.array(
        [
            [
                _known(row.latency_s),
                _known(row.energy_j),
                _known(row.ram_bytes),
                _known(row.flash_bytes),
                -float(row.macs or 0) if large else 0.0,
            ]
            for row in rows
        ]
    ).reshape(-1, 5)
    # Whoever beats a row comes before it in this order.
    order = np.lexsort(figures.T[::-1])
    front = np.empty((0, 5))
    on_front = [False] * len(rows)
    for index in order:
        own = figures[index]
        as_good = (front <= own).all(axis=1)
        if not (as_good & (front < own).any(axis=1)).any():
            on_front[index] = True
            front = np.vstack([front, own])
    return on_front


def _known(figure: float | None) -> float:
    return math.inf if figure is None else figure
