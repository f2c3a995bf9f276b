"""The closest counted profile for a kernel, core and build, and how far from it that is."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from mcusim.instruction_mix import InstructionMix
from mcusim.kernels.contract import Trips
from mcusim.kernels.profile import ProfileBuild, load_profile
from mcusim.resources import data_path

__all__ = ["PricedBuild", "closest_profile"]


@dataclass(frozen=True, eq=False)
class PricedBuild:
    """What prices a kernel: its own counted build, or the closest one.

    Attributes:
        kernel: name of the profile that was asked for.
        profile: name of the profile that prices.
        key: its build, ``"<core>.<build>"``.
        build: what its loop levels execute.
        distance: relative standard deviation that pricing by another kernel or build adds; zero
            for the kernel's own.
        reason: why another one prices, in words; empty for the kernel's own.
        levels: loop level of the pricing profile to the kernel's level that it stands for, and to
            how often it runs for one turn of that; not there where the name is the same.
    """

    kernel: str
    profile: str
    key: str
    build: ProfileBuild
    distance: float = 0.0
    reason: str = ""
    levels: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Whether the kernel itself was counted in this build."""
        return not self.reason

    @property
    def error(self) -> float:
        """Relative error of the total, about one standard deviation."""
        return math.hypot(self.build.error, self.distance)

    def has_loops_of(self, trips: Trips) -> bool:
        """Whether what prices has the kernel's loops.

        Another core's build of a function of CMSIS-NN may have others: those without SIMD, with
        DSP instructions and with MVE differ.
        """
        own = self.profile == self.kernel and not self.is_exact
        return not own or trips.keys() == set(self.build.levels)

    def mix(self, trips: Trips) -> InstructionMix:
        """Instructions executed when each loop level of the kernel runs as often as ``trips`` says.

        Another kernel's levels are run as often as this kernel's levels of the same names, or of
        those in :attr:`levels`; what this kernel does not have is not run.

        Raises:
            McusimError: the kernel's own profile has other levels.
        """
        if self.profile == self.kernel:
            return self.build.mix(trips)
        turns = np.zeros(len(self.build.levels))
        for position, level in enumerate(self.build.levels):
            own, times = self.levels.get(level, (level, 1.0))
            turns[position] = times * trips.get(own, 0.0)
        return InstructionMix(turns @ self.build.per_turn)


@dataclass(frozen=True)
class _Candidate:
    profile: str
    distance: float = 0.0
    reason: str = ""
    levels: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@cache
def closest_profile(name: str, core: str, build: str) -> PricedBuild | None:
    """Find what prices a kernel on a core in a build.

    The order is: the kernel's own profile, in this build or the closest one; a kernel named as its
    stand-in; the same operator on another element type; the same kernel of another generation.

    Args:
        name: profile of the kernel, such as ``"reference/conv_2d_int8"``.
        core: such as ``"m4"`` or ``"m4-soft"``.
        build: such as ``"gcc-O3"``.

    Returns:
        The closest one; None where nothing counted comes near.

    Raises:
        McusimError: a profile file is damaged.
    """
    for candidate in _candidates(name):
        profile = load_profile(candidate.profile)
        library = candidate.profile.partition("/")[0].partition("@")[0]
        found = _closest_build(profile.builds, core, build, library) if profile else None
        if profile and found:
            key, build_distance, build_reason = found
            return PricedBuild(
                name,
                candidate.profile,
                key,
                profile.builds[key],
                math.hypot(candidate.distance, build_distance),
                "; ".join(part for part in (candidate.reason, build_reason) if part),
                candidate.levels,
            )
    return None


def _candidates(name: str) -> Iterator[_Candidate]:
    """What may price a kernel, the best first."""
    stem, _, dtype = name.rpartition("_")
    own = {dtype: 0.0, **_tables()["type"].get(dtype, {})}
    yield _Candidate(name)
    yield from _stand_in(name, name, "")
    yield from _stand_in(name, stem, dtype)
    for other, distance in own.items():
        if other != dtype:
            yield _Candidate(f"{stem}_{other}", distance, f"priced as {stem}_{other}, not counted")
    for other, distance in own.items():
        if other != dtype:
            for found in _stand_in(name, stem, other):
                yield replace(found, distance=math.hypot(found.distance, distance))
    library, _, function = name.partition("/")
    for other, distance in _tables()["generation"].get(library, {}).items():
        if load_profile(f"{other}/{function}"):
            reason = f"priced as {other}/{function}: {library} was not counted"
            yield _Candidate(f"{other}/{function}", distance, reason)
        elif other == "reference":
            for found in _candidates(f"{other}/{function}"):
                reason = found.reason or f"priced as {found.profile}: {library} was not counted"
                yield replace(found, distance=math.hypot(found.distance, distance), reason=reason)


def _stand_in(name: str, key: str, dtype: str) -> Iterator[_Candidate]:
    entry = _stand_ins().get(key)
    if entry:
        profile = f"{entry['profile']}_{dtype}" if dtype else entry["profile"]
        levels = {
            level: (own, 1.0) if isinstance(own, str) else (str(own[0]), float(own[1]))
            for level, own in entry.get("levels", {}).items()
        }
        reason = f"priced as {profile}, not counted: {entry['reason']}"
        yield _Candidate(profile, float(entry["distance"]), reason, levels)


def _closest_build(
    builds: Mapping[str, ProfileBuild], core: str, build: str, library: str
) -> tuple[str, float, str] | None:
    same = _tables()["same_code"].get(library, {})
    if same.get("without_fpu") and f"{core}.{build}" not in builds:
        core = core.removesuffix("-soft")
    for flag in (build, *same.get(build, ())):
        if f"{core}.{flag}" in builds:
            return f"{core}.{flag}", 0.0, ""
    cores = {core: 0.0, **_tables()["core"].get(core, {})}
    own = _tables()["flag_of"].get(library, {})
    flags = {build: 0.0, **_tables()["flag"].get(build, {}), **own.get(build, {})}
    near = sorted(
        (math.hypot(core_distance, flag_distance), f"{near_core}.{near_flag}")
        for near_core, core_distance in cores.items()
        for near_flag, flag_distance in flags.items()
        if f"{near_core}.{near_flag}" in builds
    )
    if not near:
        return None
    distance, key = near[0]
    return key, distance, f"counted as {key}, not as {core}.{build}"


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(data_path("kernels", "closest.toml").read_text())


@cache
def _stand_ins() -> dict[str, Any]:
    return tomllib.loads(data_path("kernels", "stand_ins.toml").read_text())
