"""Writes kernel profiles, a line for each loop level, so that a person can read and compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.instruction_mix import FIELDS

__all__ = ["FittedBuild", "FittedProfile", "profile_text"]

_DIGITS = 6
#: Counts a turn below this are rounding of the solver, not instructions.
_SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class FittedBuild:
    """One build of a profile as it is written.

    Attributes:
        levels: names of the loop levels.
        per_turn: shape ``(len(levels), len(FIELDS))``.
        unseen: levels that no counted row runs, whose cost is therefore unknown.
        rows: counted rows in the fit.
        held_out_median: median relative error of the total on rows kept out of the fit.
        held_out_p95: 95th percentile of the same.
        spread: relative spread of the total over data, one standard deviation.
        borrowed: levels that no counted row runs either, with the cost that they have elsewhere.
        on_data_median: as ``held_out_median`` with each row's data known; not written.
        on_data_p95: as ``held_out_p95``, likewise.
        fit_median: as ``on_data_median`` of rows in the fit; not written.
        fit_p95: as ``on_data_p95``, likewise.
        shares: share of each class in every level, shape ``(len(FIELDS),)``, where only totals were
            counted; ``per_turn`` then has one column, the total.
    """

    levels: tuple[str, ...]
    per_turn: npt.NDArray[np.float64]
    unseen: tuple[str, ...]
    rows: int
    held_out_median: float
    held_out_p95: float
    spread: float
    borrowed: tuple[str, ...] = ()
    on_data_median: float = np.nan
    on_data_p95: float = np.nan
    fit_median: float = np.nan
    fit_p95: float = np.nan
    shares: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class FittedProfile:
    """A profile file to be.

    Attributes:
        name: ``"<library>/<stem>"``.
        source: where the counts are from, in words.
        dataset: file names of the counted runs to their SHA-256.
        builds: by ``"<core>.<build>"``.
    """

    name: str
    source: str
    dataset: Mapping[str, str]
    builds: Mapping[str, FittedBuild]


def profile_text(profile: FittedProfile) -> str:
    """The profile as JSON that :func:`mcusim.kernels.profile.load_profile` reads."""
    lines = [
        "{",
        f'  "profile": {json.dumps(profile.name)},',
        f'  "source": {json.dumps(profile.source)},',
        f'  "dataset_sha256": {json.dumps(dict(profile.dataset))},',
        '  "builds": {',
    ]
    last = len(profile.builds) - 1
    for position, (key, build) in enumerate(sorted(profile.builds.items())):
        lines += _build_lines(key, build)
        lines[-1] += "" if position == last else ","
    return "\n".join([*lines, "  }", "}", ""])


def _build_lines(key: str, build: FittedBuild) -> list[str]:
    head = {
        "rows": build.rows,
        "held_out_median": _rounded(build.held_out_median, 3),
        "held_out_p95": _rounded(build.held_out_p95, 3),
        "spread": _rounded(build.spread, 3),
        "unseen": list(build.unseen),
        "borrowed": list(build.borrowed),
    }
    lines = [f"    {json.dumps(key)}: {{"]
    lines += [f"      {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    if build.shares is not None:
        lines.append(f'      "shares": {json.dumps(_counts(build.shares))},')
    lines.append('      "levels": {')
    for position, level in enumerate(build.levels):
        comma = "" if position == len(build.levels) - 1 else ","
        row = build.per_turn[position]
        counts = json.dumps(_rounded(float(row[0])) if build.shares is not None else _counts(row))
        lines.append(f"        {json.dumps(level)}: {counts}{comma}")
    return [*lines, "      }", "    }"]


def _counts(row: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        name: _rounded(float(count))
        for name, count in zip(FIELDS, row, strict=True)
        if abs(count) > _SMALLEST
    }


def _rounded(value: float, digits: int = _DIGITS) -> float | int | None:
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded == int(rounded) else rounded
