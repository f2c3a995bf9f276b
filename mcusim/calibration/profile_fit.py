"""Fits every kernel's profile, each on its own rows and on what it has in common with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.calibration.counted import CountedRow
from mcusim.calibration.level_fit import Floats, LevelFit, Sample, fit_sample, fit_together
from mcusim.errors import McusimError
from mcusim.kernels.contract import KernelCall

__all__ = ["FitResult", "fit_profiles"]

#: A profile with no more rows leans on the same kernel's profile of another type.
_FEW_ROWS = 6
#: Levels that begin so are turns of one library function, memcpy, whichever kernel calls it.
_SHARED_PREFIX = "copy."
#: Levels of code that kernels have in common: the level, the profile whose rows tell it best, and
#: the profiles that lean on it there.
_COMMON_LEVELS: tuple[tuple[str, str, tuple[str, ...]], ...] = tuple(
    (level, f"reference/{source}", tuple(f"reference/{name}" for name in names))
    for level, source, names in (
        ("dimension.short", "add_int8", ("add_int16", "sub_int8")),
        ("dimension.short", "add_int8", ("mul_int8", "mul_int16", "mul_float32")),
        ("dimension.short", "add_float32", ("sub_float32",)),
        ("broadcast.dimension", "mul_int8", ("add_int8", "add_int16", "add_float32")),
        ("broadcast.dimension", "mul_int8", ("sub_int8", "sub_float32")),
        ("broadcast.dimension", "mul_int8", ("mul_int16", "mul_float32")),
        ("row", "mul_int8", ("add_int8", "add_int16", "add_float32")),
        ("row", "mul_int8", ("sub_int8", "sub_float32", "mul_int16", "mul_float32")),
        ("broadcast.dimension", "mul_int8", ("maximum_int8",)),
        ("row", "mul_int8", ("maximum_int8",)),
        ("broadcast.dimension", "maximum_int8", ("minimum_int8",)),
        ("row", "maximum_int8", ("minimum_int8",)),
        ("row.element", "maximum_int8", ("minimum_int8",)),
        ("call", "maximum_int8", ("maximum_float32", "minimum_float32")),
        ("dimension", "maximum_int8", ("maximum_float32", "minimum_float32")),
        ("broadcast.dimension", "maximum_int8", ("maximum_float32", "minimum_float32")),
        ("broadcast.element", "maximum_int8", ("maximum_float32", "minimum_float32")),
        ("row", "maximum_int8", ("maximum_float32", "minimum_float32")),
        ("call", "relu_float32", ("leaky_relu_float32", "hard_swish_float32")),
        ("dimension", "relu_float32", ("leaky_relu_float32", "hard_swish_float32")),
        ("call", "quantize_int8", ("quantize_int16",)),
        ("dimension", "quantize_int8", ("quantize_int16",)),
    )
)
_TOLD_FIRST = ("reference/add_int8", "reference/mul_int8")


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
    """Fit all profiles of one build; beside each fit the profile it leans on."""
    few = {profile for profile, sample in samples.items() if len(sample.ids) <= _FEW_ROWS}
    sharing = {
        profile: sample
        for profile, sample in samples.items()
        if profile not in few and any(_is_shared(level) for level in sample.levels)
    }
    fits = {profile: (fit, "") for profile, fit in fit_together(sharing, _is_shared).items()}
    alone = [profile for profile in samples if profile not in few and profile not in sharing]
    for profile in sorted(alone, key=lambda profile: (profile not in _TOLD_FIRST, profile)):
        prior = _common_levels(profile, samples, fits)
        fits[profile] = fit_sample(samples[profile], prior), ""
    for profile in sorted(few, key=lambda profile: (-len(samples[profile].ids), profile)):
        prior = _common_levels(profile, samples, fits)
        leaning = _leaning(profile, samples, fits, few) if prior is None else None
        fits[profile] = leaning or (fit_sample(samples[profile], prior), "")
    return fits


def _is_shared(level: str) -> bool:
    return level.startswith(_SHARED_PREFIX)


def _leaning(
    profile: str,
    samples: Mapping[str, Sample],
    fits: Mapping[str, tuple[LevelFit, str]],
    few: set[str],
) -> tuple[LevelFit, str] | None:
    """Fit a profile of few rows towards the same kernel on another type, where there is one."""
    sample = samples[profile]
    stem = profile.rpartition("_")[0]
    for dtype in ("int8", "float32", "int16"):
        other = f"{stem}_{dtype}"
        if other not in few and other in samples:
            levels = samples[other].levels
            if set(levels) == set(sample.levels):
                order = [levels.index(level) for level in sample.levels]
                known = np.array([_is_shared(level) for level in sample.levels])
                return fit_sample(sample, fits[other][0].per_turn[order], known), other
    return None


def _common_levels(
    profile: str, samples: Mapping[str, Sample], fits: Mapping[str, tuple[LevelFit, str]]
) -> Floats | None:
    """What the levels in common with another profile execute there, NaN for the others."""
    sample = samples[profile]
    prior = np.full((len(sample.levels), sample.counts.shape[1]), np.nan)
    for level, source, names in _COMMON_LEVELS:
        if profile in names and source in fits and level in sample.levels:
            position = samples[source].levels.index(level)
            prior[sample.levels.index(level)] = fits[source][0].per_turn[position]
    return None if np.isnan(prior).all() else prior


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
