"""Fits every kernel's profile, each on its own rows and on what it has in common with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.calibration.common_levels import SHARED_PREFIX, TWINS, Lean, leans
from mcusim.calibration.counted import CountedRow
from mcusim.calibration.level_fit import LevelFit, Prior, Sample, fit_sample, fit_together
from mcusim.errors import McusimError
from mcusim.kernels.contract import KernelCall

__all__ = ["FitResult", "fit_profiles"]

#: A profile with no more rows leans on the same kernel's profile of another type.
_FEW_ROWS = 6
#: How far a level may be from what it costs elsewhere, relative: in the very same code; in a like
#: kernel, for rows too few to tell; and in a like kernel, for levels that plenty of rows never run.
_EXACTLY = 0.001
_CLOSELY = 0.3
_UNSEEN_ONLY = np.inf


@dataclass(frozen=True, eq=False)
class FitResult:
    """One profile in one build, fitted.

    Attributes:
        profile: name of the profile.
        operator: the schema's name.
        build: ``"<core>.<build>"``.
        sample: the counted rows.
        fit: the fit of them.
        spread: relative spread over data, one standard deviation.
        leans_on: profile of the same kernel on another type that tells what these rows are too few
            to tell; empty where they are enough.
    """

    profile: str
    operator: str
    build: str
    sample: Sample
    fit: LevelFit
    spread: float
    leans_on: str = ""


def fit_profiles(
    rows: Iterable[CountedRow],
    calls: Mapping[str, KernelCall],
    spreads: Mapping[tuple[str, str], float],
    builds: Sequence[str] = (),
    on_data: Mapping[str, KernelCall] | None = None,
) -> list[FitResult]:
    """Fit each profile in each build on the rows that call it.

    Args:
        rows: counted rows.
        calls: kernel call of each row's id; rows without one are left out.
        spreads: relative spread over data by profile and build.
        builds: builds to fit; all when empty.
        on_data: kernel calls that the rows' own data make, where they differ; fitted on, while
            rows kept out are predicted from ``calls``.

    Raises:
        McusimError: rows of one profile do not name the same loop levels.
    """
    groups: dict[str, dict[str, list[CountedRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.id in calls and (not builds or row.build in builds):
            groups[row.build][calls[row.id].profile].append(row)
    results = []
    for build, members in sorted(groups.items()):
        samples = {
            profile: _sample(profile, found, calls, on_data or {})
            for profile, found in members.items()
        }
        for profile, (fit, leans_on) in _fit_build(samples).items():
            operator = members[profile][0].operator
            spread = spreads.get((profile, build), 0.0)
            results.append(
                FitResult(profile, operator, build, samples[profile], fit, spread, leans_on)
            )
    return sorted(results, key=lambda result: (result.profile, result.build))


def _fit_build(samples: Mapping[str, Sample]) -> dict[str, tuple[LevelFit, str]]:
    """Fit all profiles of one build; beside each fit the profile it leans on, of few rows."""
    groups = _groups(samples)
    plenty = [group for group in groups if _rows(group, samples) > _FEW_ROWS]
    first = _fit_groups(plenty, samples, {}, keep_out=False)
    fits = _fit_groups(plenty, samples, _priors(first, samples, first, _UNSEEN_ONLY))
    few = [group for group in groups if group not in plenty]
    names = [name for group in few for name in group.names]
    late = _fit_groups(few, samples, _priors(names, samples, fits, _CLOSELY))
    results = {profile: (fit, "") for profile, fit in fits.items()}
    return results | {p: (fit, _like(p, samples, fits)) for p, fit in late.items()}


@dataclass(frozen=True)
class _Group:
    """Profiles fitted at once, and which of their levels are the same code."""

    names: tuple[str, ...]
    is_shared: Callable[[str], bool]


def _groups(samples: Mapping[str, Sample]) -> list[_Group]:
    """All profiles: those that call memcpy together, twins in pairs, the others alone.

    Profiles of few rows that call memcpy stay alone, and take its levels from the others.
    """
    left = dict.fromkeys(samples)
    sharing = [
        p
        for p, sample in samples.items()
        if len(sample.ids) > _FEW_ROWS and any(map(_is_shared, sample.levels))
    ]
    groups = [_Group(tuple(sharing), _is_shared)] if sharing else []
    for first, second in TWINS:
        for profile in samples:
            other = profile.replace(f"/{first}_", f"/{second}_")
            if other != profile and other in samples:
                groups.append(_Group((profile, other), _is_shared_by_twins))
    for group in groups:
        for name in group.names:
            left.pop(name)
    return [*groups, *(_Group((name,), _is_shared) for name in left)]


def _rows(group: _Group, samples: Mapping[str, Sample]) -> int:
    return sum(len(samples[name].ids) for name in group.names)


def _fit_groups(
    groups: Iterable[_Group],
    samples: Mapping[str, Sample],
    priors: Mapping[str, Prior],
    keep_out: bool = True,
) -> dict[str, LevelFit]:
    fits: dict[str, LevelFit] = {}
    for group in groups:
        if len(group.names) == 1:
            name = group.names[0]
            fits[name] = fit_sample(samples[name], priors.get(name), keep_out)
        else:
            members = {name: samples[name] for name in group.names}
            known = {name: priors[name] for name in group.names if name in priors}
            fits |= fit_together(members, group.is_shared, known, keep_out)
    return fits


def _priors(
    names: Iterable[str],
    samples: Mapping[str, Sample],
    fits: Mapping[str, LevelFit],
    spread: float,
) -> dict[str, Prior]:
    found = {name: _prior(name, samples, fits, spread) for name in names}
    return {name: prior for name, prior in found.items() if prior is not None}


def _is_shared(level: str) -> bool:
    return level.startswith(SHARED_PREFIX)


def _is_shared_by_twins(level: str) -> bool:
    """Whether the operation itself has no part in a level."""
    return level != "element"


def _like(profile: str, samples: Mapping[str, Sample], fits: Mapping[str, LevelFit]) -> str:
    """The same kernel on another type, of those fitted the one with most levels in common."""
    stem = profile.rpartition("_")[0]
    others = [
        f"{stem}_{dtype}"
        for dtype in ("int8", "float32", "int16")
        if f"{stem}_{dtype}" != profile and f"{stem}_{dtype}" in fits
    ]
    own = set(samples[profile].levels)
    return max(others, key=lambda other: len(own & set(samples[other].levels)), default="")


def _prior(
    profile: str, samples: Mapping[str, Sample], fits: Mapping[str, LevelFit], spread: float
) -> Prior | None:
    """What the same levels cost on another type, or in another kernel that has them in common."""
    sample = samples[profile]
    prior = Prior.none(len(sample.levels), sample.counts.shape[1])
    prior.spread[:] = spread
    like = _like(profile, samples, fits)
    known = [(Lean(level, like, level), spread) for level in sample.levels if like]
    known += [(lean, _CLOSELY) for lean in leans(profile) if lean.level in sample.levels]
    for lean, firmness in known:
        own = sample.levels.index(lean.level)
        if not lean.source:
            prior.per_turn[own] = np.nan
        elif lean.source in fits and lean.source_level in samples[lean.source].levels:
            theirs = samples[lean.source].levels.index(lean.source_level)
            if samples[lean.source].turns[:, theirs].any():
                prior.per_turn[own] = fits[lean.source].per_turn[theirs]
                prior.spread[own] = firmness
    for source, fit in fits.items():
        for theirs, level in enumerate(samples[source].levels):
            if _is_shared(level) and level in sample.levels and fit.per_turn[theirs].any():
                prior.per_turn[sample.levels.index(level)] = fit.per_turn[theirs]
                prior.spread[sample.levels.index(level)] = _EXACTLY
    return None if np.isnan(prior.per_turn).all() else prior


def _sample(
    profile: str,
    rows: Sequence[CountedRow],
    calls: Mapping[str, KernelCall],
    on_data: Mapping[str, KernelCall],
) -> Sample:
    rows = sorted(rows, key=lambda row: row.id)
    levels = tuple(calls[rows[0].id].trips)
    for row in rows:
        if set(calls[row.id].trips) != set(levels):
            raise McusimError(
                f"{profile}: {rows[0].id} has levels {sorted(levels)}, "
                f"{row.id} has {sorted(calls[row.id].trips)}; a profile has one set of levels"
            )
    typical, turns = (
        np.array([[float(source[row.id].trips[level]) for level in levels] for row in rows])
        for source in (calls, {**calls, **on_data})
    )
    return Sample(
        tuple(row.id for row in rows),
        levels,
        turns,
        np.array([row.vector for row in rows]),
        typical,
    )
