"""Two levels of current, where a recording has them: a stand-in for a pin that nobody wired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.calibration.importers.samples import Floats, Samples

__all__ = ["Level", "level_of"]

#: Edges of the histogram of currents, in amperes.
_EDGES = np.logspace(-9, 1, 501)
#: The upper level must be this many times the lower one.
_LEAST_CONTRAST = 2.0
#: Share of the samples that may lie in the middle third between the two levels.
_MOST_BETWEEN = 0.02
#: Each level holds at least this share of the samples.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Level:
    """Currents between which neither level is told, so that noise makes no edge.

    Attributes:
        low_a: below this the network does not run.
        high_a: above this it runs.
    """

    low_a: float
    high_a: float

    def applied(self, pieces: Iterator[Samples]) -> Iterator[Samples]:
        """The same samples with one pin, ``current``: high where the network runs."""
        state = False
        for piece in pieces:
            levels = self._levels(piece.current_a, state)
            if levels.size:
                state = bool(levels[-1])
            yield Samples(piece.time_s, piece.current_a, piece.voltage_v, {"current": levels})

    def _levels(self, current_a: Floats, before: bool) -> npt.NDArray[np.bool_]:
        told = np.where(current_a > self.high_a, 1, np.where(current_a < self.low_a, 0, -1))
        # Each sample takes the last one that told its level.
        last = np.maximum.accumulate(np.where(told >= 0, np.arange(told.size), -1))
        levels: npt.NDArray[np.bool_] = np.where(last >= 0, told[last], int(before)) == 1
        return levels


def level_of(pieces: Iterator[Samples]) -> Level | None:
    """The two levels of current; None unless they are clearly apart.

    Otsu's threshold on the histogram of the logarithm of current. The levels are apart when the
    upper is twice the lower, each holds a hundredth of the samples, and hardly any lies between.
    """
    counts = np.zeros(_EDGES.size - 1)
    for piece in pieces:
        known = piece.current_a[np.isfinite(piece.current_a)]
        counts += np.histogram(np.clip(known, _EDGES[0], _EDGES[-1]), _EDGES)[0]
    total = counts.sum()
    if not total:
        return None
    middles = (np.log(_EDGES[1:]) + np.log(_EDGES[:-1])) / 2
    below, weighted = np.cumsum(counts), np.cumsum(counts * middles)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = weighted / below, (weighted[-1] - weighted) / above
        apart = np.nan_to_num(below * above * (high - low) ** 2)
    best = int(np.argmax(apart))
    if not apart[best] or min(below[best], above[best]) < _LEAST_SHARE * total:
        return None
    third = (high[best] - low[best]) / 3
    between = counts[(middles > low[best] + third) & (middles < high[best] - third)].sum()
    if 3 * third < np.log(_LEAST_CONTRAST) or between > _MOST_BETWEEN * total:
        return None
    return Level(float(np.exp(low[best] + third)), float(np.exp(high[best] - third)))
