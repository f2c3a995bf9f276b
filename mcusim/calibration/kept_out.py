"""How far predictions of counted models are off, each by a fit that had not seen the model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mcusim.calibration.own_counts import MeanCount
from mcusim.calibration.profile_fit import FitResult

__all__ = [
    "MEDIAN_TARGET",
    "P95_TARGET",
    "WELL_KNOWN",
    "Errors",
    "KeptOut",
    "by",
    "errors_of",
    "kept_out",
]

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

#: What the errors of a kernel or an operator in a build should stay within.
MEDIAN_TARGET = 0.005
P95_TARGET = 0.03
#: Standard error, relative, above which a mean over random inputs tells nothing.
WELL_KNOWN = 0.003


@dataclass(frozen=True)
class KeptOut:
    """A model in a build, predicted by a fit without it. Errors are relative and signed.

    Attributes:
        kernel: name of the profile without its library.
        operator: the schema's name.
        build: such as ``"m4.gcc-O3"``.
        is_shared: whether others counted it; ours vary more.
        drawn: error of the one count, of the data that happened to be drawn, against the prediction
            for typical data.
        typical: error of the mean over random inputs; of the one count where it does not depend on
            data, or was made once only. NaN where too few inputs tell the mean.
        on_data: error of the one count when its data is known.
        fitted: the same by a fit that had seen the model.
    """

    kernel: str
    operator: str
    build: str
    is_shared: bool
    drawn: float
    typical: float
    on_data: float
    fitted: float


@dataclass(frozen=True)
class Errors:
    """Errors of several models.

    Attributes:
        models: how many; those whose error is not known are left out.
        median: of the magnitudes.
        p95: their 95th percentile.
    """

    models: int
    median: float
    p95: float

    @property
    def meet(self) -> bool:
        """Whether both targets are met."""
        return self.median <= MEDIAN_TARGET and self.p95 <= P95_TARGET


def kept_out(
    results: Iterable[FitResult],
    shared: Collection[str],
    means: Mapping[tuple[str, str], MeanCount],
    single: Mapping[tuple[str, str], float],
) -> list[KeptOut]:
    """Errors of every model in every build.

    Args:
        results: the fits.
        shared: ids of the models that others counted.
        means: what models execute on the mean over random inputs, by id and build.
        single: what they executed once; fits may have been given means.
    """
    found = []
    for result in results:
        sample, fit = result.sample, result.fit
        for i, (name, total) in enumerate(zip(sample.ids, sample.totals, strict=True)):
            fitted_to, key = float(total), (name, result.build)
            once, mean = single.get(key, fitted_to), means.get(key)
            drawn, on_data, fitted = (
                (1 + float(errors[i])) * fitted_to / once - 1
                for errors in (fit.held_out_errors, fit.held_out_on_data, fit.fit_errors)
            )
            typical = (1 + drawn) * once / mean.total - 1 if mean else drawn
            if mean and mean.deviation / math.sqrt(mean.runs) > WELL_KNOWN * mean.total:
                typical = math.nan
            found.append(
                KeptOut(
                    result.profile.partition("/")[2],
                    result.operator,
                    result.build,
                    name in shared,
                    drawn,
                    typical,
                    on_data,
                    fitted,
                )
            )
    return found


def errors_of(rows: Sequence[KeptOut], measure: str) -> Errors:
    """Median and 95th percentile of one of the errors of :class:`KeptOut`."""
    values = np.abs([getattr(row, measure) for row in rows])
    values = values[~np.isnan(values)]
    if not values.size:
        return Errors(0, math.nan, math.nan)
    median, p95 = (float(q) for q in np.quantile(values, [0.5, 0.95]))
    return Errors(values.size, median, p95)


def by(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Rows by a key, in the order of the keys' first rows."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
