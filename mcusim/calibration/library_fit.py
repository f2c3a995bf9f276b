"""Fits the profiles of a library's functions, which call one another, on whole calls at once.

A counted row is the sum of several profiles: a convolution, the matrix product it calls, the glue
around both. Rows that share a profile are fitted together, so that one profile serves them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.calibration.level_fit import Floats, Prior, Sample, fit_sample
from mcusim.errors import McusimError
from mcusim.kernels.contract import KernelCall

__all__ = ["LibraryFit", "Observation", "ProfileFit", "fit_library"]

#: How far a level may be from what it costs in another build, relative, where rows cannot tell.
_ANOTHER_BUILD = 0.3


@dataclass(frozen=True, eq=False)
class Observation:
    """One counted run, and the kernels that it ran.

    Attributes:
        id: its name, one of a kind in its build.
        kind: what it is, for the table of errors, such as ``"conv_s8"``.
        build: ``"<core>.<build>"``.
        calls: the kernels it ran, with the turns that its own data made.
        expected: the same for data that is not known.
        vector: instructions by class, or the total alone.
        top_functions: where they were spent.
    """

    id: str
    kind: str
    build: str
    calls: tuple[KernelCall, ...]
    expected: tuple[KernelCall, ...]
    vector: npt.NDArray[np.float64]
    top_functions: str = ""


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """One profile in one build.

    Attributes:
        levels: names of its loop levels.
        per_turn: what one turn executes, shape ``(levels, classes)``.
        rows: counted runs that call it.
        errors: of those, relative errors of the total when kept out of the fit, signed.
        unseen: levels that none of them ran.
    """

    levels: tuple[str, ...]
    per_turn: Floats
    rows: int
    errors: Floats
    unseen: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LibraryFit:
    """Everything fitted in one build on rows that hang together.

    Attributes:
        build: ``"<core>.<build>"``.
        observations: the counted runs.
        fit_errors: their relative errors in the fit, signed.
        errors: the same for each run when kept out of the fit.
        predicted: instructions by class as fitted, shape ``(runs, classes)``.
        profiles: by name.
    """

    build: str
    observations: tuple[Observation, ...]
    fit_errors: Floats
    errors: Floats
    predicted: Floats
    profiles: Mapping[str, ProfileFit]


def fit_library(
    observations: Iterable[Observation], known: Mapping[str, ProfileFit] | None = None
) -> list[LibraryFit]:
    """Fit the profiles of one build.

    Args:
        observations: counted runs of one build.
        known: the same profiles in another build, on which to lean where these rows are few.

    Raises:
        McusimError: two calls of one profile do not name the same loop levels.
    """
    return [_fit(members, known or {}) for members in _components(list(observations))]


def _components(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Rows by what hangs together through common profiles."""
    home: dict[str, str] = {}

    def root(name: str) -> str:
        while home.setdefault(name, name) != name:
            name = home[name]
        return name

    for observation in observations:
        first, *others = [call.profile for call in observation.calls]
        for other in others:
            home[root(other)] = root(first)
    groups: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        groups[root(observation.calls[0].profile)].append(observation)
    return [sorted(members, key=lambda o: o.id) for _, members in sorted(groups.items())]


def _fit(observations: Sequence[Observation], known: Mapping[str, ProfileFit]) -> LibraryFit:
    levels: dict[str, tuple[str, ...]] = {}
    for observation in observations:
        for call in (*observation.calls, *observation.expected):
            named = levels.setdefault(call.profile, tuple(call.trips))
            if set(named) != set(call.trips):
                raise McusimError(
                    f"{call.profile}: {observation.id} has levels {sorted(call.trips)}, another "
                    f"row has {sorted(named)}; a profile has one set of levels"
                )
    columns = {
        key: position
        for position, key in enumerate((p, n) for p, names in levels.items() for n in names)
    }

    def turns_of(calls: Sequence[KernelCall]) -> Floats:
        row = np.zeros(len(columns))
        for call in calls:
            for level, turns in call.trips.items():
                row[columns[call.profile, level]] += turns
        return row

    sample = Sample(
        tuple(observation.id for observation in observations),
        tuple(f"{profile} {level}" for profile, level in columns),
        np.array([turns_of(o.calls) for o in observations]),
        np.array([o.vector for o in observations]),
        np.array([turns_of(o.expected) for o in observations]),
    )
    fit = fit_sample(sample, _prior(columns, known, sample.counts.shape[1]))
    profiles = {}
    for profile, names in levels.items():
        own = [columns[profile, name] for name in names]
        calling = np.flatnonzero([profile in {c.profile for c in o.calls} for o in observations])
        ran = [bool(sample.turns[:, column].any()) for column in own]
        profiles[profile] = ProfileFit(
            names,
            fit.per_turn[own],
            len(calling),
            fit.held_out_errors[calling],
            tuple(name for name, seen in zip(names, ran, strict=True) if not seen),
        )
    return LibraryFit(
        observations[0].build,
        tuple(observations),
        fit.fit_errors,
        fit.held_out_errors,
        sample.turns @ fit.per_turn,
        profiles,
    )


def _prior(
    columns: Mapping[tuple[str, str], int], known: Mapping[str, ProfileFit], classes: int
) -> Prior | None:
    prior = Prior.none(len(columns), classes)
    prior.spread[:] = _ANOTHER_BUILD
    for (profile, level), position in columns.items():
        other = known.get(profile)
        if other is not None and level in other.levels:
            prior.per_turn[position] = other.per_turn[other.levels.index(level)]
    return None if np.isnan(prior.per_turn).all() else prior
