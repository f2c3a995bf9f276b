"""Fits the kernel profiles of CMSIS-NN from counted runs.

``python -m mcusim.calibration.library_profiles`` prints how well each kind of call is predicted
when kept out of the fit; ``--write`` writes the profiles.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.held_out_calls import merge_held_out, of_fits
from mcusim.calibration.legacy_rows import legacy_observations
from mcusim.calibration.level_fit import Floats
from mcusim.calibration.library_fit import (
    LibraryFit,
    Observation,
    ProfileFit,
    components,
    fit_library,
)
from mcusim.calibration.library_observations import (
    LIBRARY_FLAG_OF_TFLM,
    library_observations,
    network_observations,
    tflm_observations,
)
from mcusim.calibration.library_rows import LibrarySet
from mcusim.calibration.own_calls import (
    GCC9_CALLS,
    OWN_CALLS,
    OWN_OLD_CALLS,
    gcc9_sha256,
    own_calls_sha256,
)
from mcusim.calibration.own_counts import OWN_SOURCE, own_sha256
from mcusim.calibration.profile_file import FittedBuild, FittedProfile, profile_text
from mcusim.instruction_mix import CLASSES, FIELDS
from mcusim.resources import data_path

__all__ = ["fit_all", "main"]

_SOURCE = (
    "fitted on instructions counted in executed binaries, arm-none-eabi-gcc 12.2.1: calls of "
    "CMSIS-NN alone, and of TFLM with it; and "
)
#: Folders of the profiles of libraries before the newest.
_OLD = "cmsis_nn@20"
_FILES = (
    "cmsis_nn_kernels.csv",
    "cmsis_nn_kernels_m55.csv",
    "cmsis_nn_kernels_old.csv",
    "tflm_grid.csv",
    "tflm_operators.csv",
    "q7_grid.csv",
    "q7_networks.csv",
)
#: What groups of classes the table of ``--classes`` shows.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "macs": ("multiply", "multiply_long", "multiply_half", "simd_mac"),
    "loads": ("load_accesses",),
    "stores": ("store_accesses",),
    "taken": ("taken_conditional", "taken_unconditional"),
}
#: Builds without calls of the library alone, or with few, lean on another one.
_LEANS_ON: Mapping[str, str] = {
    "m4.gcc9-Ofast": "m4.gcc-Ofast",
    "m4.gcc9-Os": "m4.gcc-Os",
    "m7.gcc9-Ofast": "m7.gcc-Ofast",
    "m0plus.gcc-Os": "m0plus.gcc-O3",
    "m4.gcc-O2": "m4.gcc-mk",
    "m4.gcc-O3-asm": "m4.gcc-O3",
    "m4.gcc-O3-sr": "m4.gcc-O3",
}
#: Of a build of which only totals were counted: the build whose mix of classes stands in.
_MIX_OF: Mapping[str, str] = {"m55.gcc-O3": "m33.gcc-O3"}

_Key = tuple[str, str]


def observed(counted: CountedSet) -> dict[_Key, list[Observation]]:
    """Counted runs by generation and build, library calls in the builds of TFLM, too."""
    alone: dict[_Key, list[Observation]] = defaultdict(list)
    for generation, observation in library_observations(LibrarySet(counted.folder)):
        alone[generation, observation.build].append(observation)
    found: dict[_Key, list[Observation]] = {key: list(rows) for key, rows in alone.items()}
    for generation, observation in tflm_observations(counted):
        key = (generation, observation.build)
        if key not in found:
            core, flag = observation.build.split(".")
            library = (generation, f"{core}.{LIBRARY_FLAG_OF_TFLM.get(flag, flag)}")
            found[key] = [replace(o, build=observation.build) for o in alone.get(library, ())]
        found[key].append(observation)
    for legacy, observation in legacy_observations(counted):
        found.setdefault((legacy, observation.build), []).append(observation)
    return found


def fit_all(
    observations: Mapping[_Key, Sequence[Observation]], builds: Sequence[str] = ()
) -> list[tuple[str, LibraryFit]]:
    """Fit every generation and build, or some builds; the generation stands beside each fit."""
    known: dict[_Key, dict[str, ProfileFit]] = {}
    results = []
    for key in sorted(observations, key=lambda key: (key[1] in _LEANS_ON, key[0] != "2026", key)):
        generation, build = key
        if builds and build not in builds and build not in {_LEANS_ON.get(b) for b in builds}:
            continue
        prior = known.get((generation, _LEANS_ON.get(build, "")))
        if generation != "2026" and prior is None:
            prior = _c_library(known.get(("2026", f"{build.split('.')[0]}.gcc-O3"), {}), generation)
        fits = fit_library(observations[key], prior)
        known[key] = {name: fit for found in fits for name, fit in found.profiles.items()}
        if not builds or build in builds:
            results += [(generation, found) for found in fits]
    return results


def _c_library(fits: Mapping[str, ProfileFit], generation: str) -> dict[str, ProfileFit]:
    """What is known of functions of the C library, which are the same in every year."""
    names = {name: f"cmsis_nn@{generation}/{name.rpartition('/')[2]}" for name in fits}
    return {names[n]: fit for n, fit in fits.items() if n.endswith(("/memcpy", "/memset"))}


def table(results: Sequence[tuple[str, LibraryFit]], worst: int = 3) -> str:
    """Errors of each kind of call, kept out of the fit, in percent, as text."""
    lines = [
        f"{'kind':28} {'gen':8} {'build':16} {'rows':>4}  {'med':>7} {'p95':>6} {'max':>6}  "
        "worst kept out, signed"
    ]
    for generation, fit in results:
        kinds = np.array([o.kind for o in fit.observations])
        for kind in sorted(set(kinds)):
            own = np.flatnonzero(kinds == kind)
            errors = fit.errors[own]
            order = own[np.argsort(-np.nan_to_num(np.abs(errors)))[:worst]]
            named = " ".join(f"{fit.observations[i].id}:{100 * fit.errors[i]:+.2f}" for i in order)
            lines.append(
                f"{kind:28} {generation:8} {fit.build:16} {len(own):4d}  "
                f"{_figures(np.abs(errors))}  {named}"
            )
    return "\n".join(lines)


def class_table(results: Sequence[tuple[str, LibraryFit]]) -> str:
    """Median relative errors of groups of classes as fitted, in percent, as text."""
    lines = [f"{'kind':28} {'gen':8} {'build':16} " + " ".join(f"{n:>7}" for n in _GROUPS)]
    for generation, fit in results:
        counts = np.array([o.vector for o in fit.observations])
        if counts.shape[1] == 1:
            continue
        kinds = np.array([o.kind for o in fit.observations])
        for kind in sorted(set(kinds)):
            own = kinds == kind
            figures = []
            for names in _GROUPS.values():
                columns = [FIELDS.index(name) for name in names]
                real = counts[own][:, columns].sum(axis=1)
                guess = fit.predicted[own][:, columns].sum(axis=1)
                errors = np.abs(guess - real) / np.maximum(real, 1.0)
                figures.append(f"{100 * float(np.median(errors)):7.3f}")
            lines.append(f"{kind:28} {generation:8} {fit.build:16} " + " ".join(figures))
    return "\n".join(lines)


def detail(results: Sequence[tuple[str, LibraryFit]], worst: int = 6) -> str:
    """What one turn of each level executes, and the worst rows."""
    lines: list[str] = []
    for generation, fit in results:
        lines.append(f"{generation} {fit.build}")
        for name, profile in fit.profiles.items():
            lines.append(f"  {name}")
            totals = profile.per_turn[:, : len(CLASSES)].sum(axis=1)
            lines += [
                f"    {level:32} {total:12.3f}{'  unseen' if level in profile.unseen else ''}"
                for level, total in zip(profile.levels, totals, strict=True)
            ]
        for i in np.argsort(-np.nan_to_num(np.abs(fit.errors)))[:worst]:
            row = fit.observations[i]
            total = row.vector[: len(CLASSES)].sum()
            lines.append(f"  {row.id} {100 * fit.errors[i]:+.2f} % of {total:.0f}")
            for call in row.calls:
                shown = " ".join(f"{level}={turn:g}" for level, turn in call.trips.items() if turn)
                lines.append(f"      {call.profile}: {shown}")
            lines.append(f"      {row.top_functions}")
    return "\n".join(lines)


def network_table(
    counted: CountedSet, results: Sequence[tuple[str, LibraryFit]], only: Sequence[str]
) -> str:
    """Errors of whole networks' layers as predicted from the fits, in percent, as text."""
    profiles = {
        (generation, fit.build, name): profile
        for generation, fit in results
        for name, profile in fit.profiles.items()
    }
    sums: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    lines = []
    for year, row in network_observations(counted):
        if only and row.kind.removeprefix("network ") not in only:
            continue
        keys = [(year, row.build, call.profile) for call in row.calls]
        if not all(key in profiles for key in keys):
            continue
        guess = 0.0
        for key, call in zip(keys, row.calls, strict=True):
            profile = profiles[key]
            turns = np.array([call.trips[level] for level in profile.levels])
            guess += float((turns @ profile.per_turn[:, : len(CLASSES)]).sum())
        real = float(row.vector[: len(CLASSES)].sum())
        whole = sums[row.id.split("/")[0], year, row.build]
        whole[0] += real
        whole[1] += guess
        if abs(guess / real - 1.0) > 0.01:
            error = 100 * (guess / real - 1.0)
            lines.append(f"  {row.id} {row.kind} {row.build} {error:+.2f} % of {real:.0f}")
    for (name, generation, build), (real, guess) in sorted(sums.items()):
        lines.append(
            f"{name:36} {generation:8} {build:14} {real:12.0f} {100 * (guess / real - 1.0):+.3f}"
        )
    return "\n".join(lines)


def profiles_of(
    results: Sequence[tuple[str, LibraryFit]], counted: CountedSet
) -> list[FittedProfile]:
    """The profile files that the fits make."""
    dataset = {name: counted.sha256(name) for name in _FILES} | own_sha256("cmsis")
    mixes = {
        (name, fit.build): np.sum([o.vector for o in fit.observations if _calls(o, name)], axis=0)
        for _, fit in results
        if fit.build in _MIX_OF.values()
        for name in fit.profiles
    }
    everything = np.sum(list(mixes.values()), axis=0)
    builds: dict[str, dict[str, FittedBuild]] = defaultdict(dict)
    for _, fit in results:
        for name, profile in fit.profiles.items():
            shares: Floats | None = None
            if fit.build in _MIX_OF:
                mix = mixes.get((name, _MIX_OF[fit.build]), everything)
                shares = mix / mix[: len(CLASSES)].sum()
            held = np.abs(profile.errors)
            unknown = bool(np.isnan(held).all())
            builds[name][fit.build] = FittedBuild(
                levels=profile.levels,
                per_turn=profile.per_turn,
                unseen=profile.unseen,
                rows=profile.rows,
                held_out_median=1.0 if unknown else float(np.nanmedian(held)),
                held_out_p95=1.0 if unknown else float(np.nanquantile(held, 0.95)),
                spread=0.0,
                shares=shares,
            )
    return [
        FittedProfile(
            name,
            f"{_SOURCE}{OWN_OLD_CALLS if old else OWN_CALLS} and {OWN_SOURCE}"
            + (f"; {GCC9_CALLS}" if has_gcc9 else ""),
            dataset | own_calls_sha256(old) | (gcc9_sha256() if has_gcc9 else {}),
            found,
        )
        for name, found in builds.items()
        for old in [name.startswith(_OLD)]
        for has_gcc9 in [any(".gcc9-" in key for key in found)]
    ]


def _calls(observation: Observation, profile: str) -> bool:
    return any(call.profile == profile for call in observation.calls)


def _figures(errors: Floats) -> str:
    median, p95, most = 100 * np.nanquantile(errors, [0.5, 0.95, 1.0])
    return f"{median:7.3f} {p95:6.2f} {most:6.2f}"


def _related(
    observations: Mapping[_Key, Sequence[Observation]], only: Iterable[str]
) -> dict[_Key, list[Observation]]:
    """Rows of some kinds, and all that are fitted together with them."""
    wanted = set(only)
    found: dict[_Key, list[Observation]] = {}
    for key, rows in observations.items():
        related = [
            row
            for members in components(rows)
            if any(wanted & set(member.kind.split()) for member in members)
            for row in members
        ]
        if related:
            found[key] = related
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="library_profiles", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KIND", help="such as conv_s8 or CONV_2D"
    )
    parser.add_argument("--builds", nargs="+", default=[], metavar="BUILD")
    parser.add_argument("--generations", nargs="+", default=[], metavar="YEAR")
    parser.add_argument("--detail", action="store_true", help="show levels and the worst rows")
    parser.add_argument("--classes", action="store_true", help="show errors by class")
    parser.add_argument("--networks", action="store_true", help="predict whole networks")
    parser.add_argument("--write", action="store_true", help="write the profile files")
    options = parser.parse_args(arguments)
    if options.write and (options.builds or options.generations):
        parser.error("--write takes all builds: a profile file holds every one")
    counted = CountedSet(options.counted)
    observations = {
        key: rows
        for key, rows in observed(counted).items()
        if not options.generations or key[0] in options.generations
    }
    if options.only:
        observations = dict(_related(observations, options.only))
    results = fit_all(observations, options.builds)
    sys.stdout.write(table(results) + "\n")
    if options.classes:
        sys.stdout.write(class_table(results) + "\n")
    if options.detail:
        sys.stdout.write(detail(results) + "\n")
    if options.networks:
        sys.stdout.write(network_table(counted, results, options.only) + "\n")
    if options.write:
        merge_held_out(of_fits(results))
        for profile in profiles_of(results, counted):
            path = data_path("kernels", *profile.name.split("/")).with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(profile_text(profile))
            sys.stdout.write(f"written: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
