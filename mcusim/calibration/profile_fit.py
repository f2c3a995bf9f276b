"""Fits every kernel's profile, each on its own rows and on what it has in common with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcusim.calibration.counted import CountedRow
from mcusim.calibration.level_fit import Floats, LevelFit, Prior, Sample, fit_sample, fit_together
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
#: Operators that are one piece of code with another comparison in it, fitted on each other's rows.
_TWINS = (("maximum", "minimum"),)
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
    merged = {p: s for p, s in samples.items() if _first_twin(p, samples) == p}
    for profile, sample in samples.items():
        if profile not in merged:
            first = _first_twin(profile, samples)
            merged[first] = _joined(merged[first], sample)
    fits = _fit_merged(merged)
    results = {}
    for profile, sample in samples.items():
        fit, leans_on = fits[_first_twin(profile, samples)]
        position = {name: i for i, name in enumerate(merged[_first_twin(profile, samples)].ids)}
        own = [position[name] for name in sample.ids]
        results[profile] = (
            replace(fit, fit_errors=fit.fit_errors[own], held_out_errors=fit.held_out_errors[own]),
            leans_on,
        )
    return results


def _first_twin(profile: str, samples: Mapping[str, Sample]) -> str:
    """The profile with which this one shares its code, itself when there is none."""
    for first, second in _TWINS:
        other = profile.replace(f"/{second}_", f"/{first}_")
        if other in samples and samples[other].levels == samples[profile].levels:
            return other
    return profile


def _joined(first: Sample, second: Sample) -> Sample:
    def typical(sample: Sample) -> Floats:
        return sample.turns if sample.typical_turns is None else sample.typical_turns

    return Sample(
        first.ids + second.ids,
        first.levels,
        np.vstack([first.turns, second.turns]),
        np.vstack([first.counts, second.counts]),
        np.vstack([typical(first), typical(second)]),
    )


def _fit_merged(samples: Mapping[str, Sample]) -> dict[str, tuple[LevelFit, str]]:
    sharing = {p for p, s in samples.items() if any(_is_shared(level) for level in s.levels)}
    plenty = {p: s for p, s in samples.items() if len(s.ids) > _FEW_ROWS}
    first = _fit_all({p: s for p, s in plenty.items() if p in sharing}, plenty, {})
    priors = {
        profile: prior
        for profile in plenty
        if (prior := _prior(profile, samples, first, _UNSEEN_ONLY)) is not None
    }
    fits = _fit_all({p: s for p, s in plenty.items() if p in sharing}, plenty, priors)
    results = {profile: (fit, "") for profile, fit in fits.items()}
    for profile in sorted(set(samples) - set(plenty)):
        prior = _prior(profile, samples, fits, _CLOSELY)
        leans_on = "" if prior is None else _like(profile, samples, fits)
        results[profile] = fit_sample(samples[profile], prior), leans_on
    return results


def _fit_all(
    sharing: Mapping[str, Sample], samples: Mapping[str, Sample], priors: Mapping[str, Prior]
) -> dict[str, LevelFit]:
    known = {profile: priors[profile] for profile in sharing if profile in priors}
    alone = {p: fit_sample(s, priors.get(p)) for p, s in samples.items() if p not in sharing}
    return fit_together(sharing, _is_shared, known) | alone


def _is_shared(level: str) -> bool:
    return level.startswith(_SHARED_PREFIX)


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
    sources = [(level, _like(profile, samples, fits), spread) for level in sample.levels]
    sources += [
        (level, source, _CLOSELY) for level, source, names in _COMMON_LEVELS if profile in names
    ]
    for level, source, firmness in sources:
        if source in fits and level in sample.levels and level in samples[source].levels:
            theirs = samples[source].levels.index(level)
            if samples[source].turns[:, theirs].any():
                own = sample.levels.index(level)
                prior.per_turn[own] = fits[source].per_turn[theirs]
                prior.spread[own] = _EXACTLY if _is_shared(level) else firmness
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
