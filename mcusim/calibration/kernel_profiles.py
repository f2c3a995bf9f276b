"""Fits the kernel profiles of the reference kernels from counted runs.

``python -m mcusim.calibration.kernel_profiles`` prints how well each profile predicts rows kept out
of its fit; ``--write`` writes the profiles.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from mcusim.calibration.common_levels import SHARED_PREFIX
from mcusim.calibration.counted import CountedRow, CountedSet, build_of_name
from mcusim.calibration.framework_profiles import framework_profiles
from mcusim.calibration.instruction_page import instruction_page
from mcusim.calibration.kept_out import kept_out
from mcusim.calibration.networks import network_lines, network_table
from mcusim.calibration.own_counts import (
    OWN_SOURCE,
    mean_counts,
    on_the_mean,
    own_models,
    own_models_with_data,
    own_rows,
    own_sha256,
)
from mcusim.calibration.profile_file import FittedBuild, FittedProfile, profile_text
from mcusim.calibration.profile_fit import FitResult, fit_profiles
from mcusim.errors import McusimError
from mcusim.graph import Graph
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.elementwise_call import DATA_DEPENDENT
from mcusim.resources import data_path

__all__ = [
    "calls_on_data",
    "data_spreads",
    "detail",
    "main",
    "other_data_errors",
    "profiles_of",
    "single_operator_calls",
    "table",
]

_SOURCE = (
    "fitted on instructions counted in executed binaries: tflite-micro 90b983c (2026-08-20), "
    f"arm-none-eabi-gcc 12.2.1, single-operator models; and {OWN_SOURCE}"
)


def single_operator_calls(
    models: Iterable[tuple[str, Graph]],
) -> tuple[dict[str, KernelCall], list[str]]:
    """Kernel calls of single-operator models by id, and what kept the others from one."""
    calls: dict[str, KernelCall] = {}
    problems: list[str] = []
    for name, graph in models:
        node = graph.main.node(0)
        kernel = KERNELS.get(node.name)
        if kernel is None:
            problems.append(f"{name}: no kernel for {node.name}")
            continue
        try:
            calls[name] = kernel.call(node)
        except (McusimError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{name}: {type(error).__name__}: {error}")
    return calls, problems


def calls_on_data(
    models: Iterable[tuple[str, Graph]], calls: Mapping[str, KernelCall]
) -> dict[str, KernelCall]:
    """Of kernels whose loops depend on data, the calls that the counted runs' inputs make.

    Args:
        models: by id, their inputs holding the data.
        calls: kernel calls of the single-operator models by id.
    """
    return {
        name: KERNELS[graph.main.operators[0].name].call(graph.main.node(0))
        for name, graph in models
        if name in calls
    }


def data_spreads(
    counted: CountedSet, calls: Mapping[str, KernelCall], builds: Iterable[str]
) -> dict[tuple[str, str], float]:
    """Relative standard deviation over data by profile and build.

    Runs with three random inputs exist for an M4 with FPU and an M0+; builds of other cores take
    the M4's for integers and the one that shares their way of floating point for floats.
    """
    variances: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in counted.rows("tflm_data_dependence.csv"):
        if row["id"] in calls:
            totals = np.array([float(row[column]) for column in ("base", "rand1", "rand2")])
            variance = float(totals.var(ddof=1) / totals.mean() ** 2)
            core = "m0plus" if row["build"].startswith("m0p") else "m4"
            variances[calls[row["id"]].profile, core].append(variance)
    found: dict[tuple[str, str], float] = {}
    for profile, _ in variances:
        for build in builds:
            core = build.split(".")[0]
            soft = core == "m0plus" or (core in ("m3", "m4-soft") and "float32" in profile)
            values = variances[profile, "m0plus" if soft else "m4"]
            found[profile, build] = float(np.sqrt(np.mean(values)))
    return found


def other_data_errors(
    counted: CountedSet, calls: Mapping[str, KernelCall], results: Sequence[FitResult]
) -> dict[str, list[float]]:
    """Relative errors by build for the same models with two other inputs, which no fit has seen."""
    per_turn = {(result.profile, result.build): result for result in results}
    errors: dict[str, list[float]] = defaultdict(list)
    for row in counted.rows("tflm_data_dependence.csv"):
        build = build_of_name(row["build"])
        call = calls.get(row["id"])
        result = per_turn.get((call.profile, build)) if call else None
        if call and result:
            turns = np.array([call.trips[level] for level in result.sample.levels])
            predicted = float((turns @ result.fit.per_turn)[: len(CLASSES)].sum())
            errors[build] += [predicted / float(row[k]) - 1.0 for k in ("rand1", "rand2")]
    return dict(errors)


def table(results: Sequence[FitResult]) -> str:
    """Errors of each profile and build as text, worst rows with their ids."""
    lines = [
        f"{'profile':42} {'build':13} {'rows':>4} {'lev':>3} {'rank':>4}   "
        f"{'fit med':>7} {'p95':>6} {'max':>6}   {'out med':>7} {'p95':>6} {'max':>6}  "
        f"spread  worst kept out, signed",
    ]
    for result in results:
        fit, held = np.abs(result.fit.fit_errors), result.fit.held_out_errors
        worst = np.argsort(-np.nan_to_num(np.abs(held)))[:3]
        names = " ".join(f"{result.sample.ids[i]}:{100 * held[i]:+.2f}" for i in worst)
        lines.append(
            f"{result.profile:42} {result.build:13} {len(result.sample.ids):4d} "
            f"{len(result.sample.levels):3d} {result.fit.rank:4d}   "
            f"{_figures(fit)}   {_figures(np.abs(held))}  {100 * result.spread:6.2f}  {names}"
        )
    return "\n".join(lines)


def detail(results: Sequence[FitResult], rows: Iterable[CountedRow]) -> str:
    """What one turn of each level executes, and where the worst rows spend their time."""
    functions = {(row.id, row.build): row for row in rows}
    lines: list[str] = []
    for result in results:
        held = np.nan_to_num(result.fit.held_out_errors)
        turns = result.fit.per_turn[:, : len(CLASSES)].sum(axis=1)
        lines.append(f"{result.profile} {result.build}")
        lines += [
            f"    {level:32} {turn:12.3f}"
            for level, turn in zip(result.sample.levels, turns, strict=True)
        ]
        for i in np.argsort(-np.abs(held))[:4]:
            row = functions[result.sample.ids[i], result.build]
            trips = dict(zip(result.sample.levels, result.sample.turns[i], strict=True))
            shown = " ".join(f"{level}={turn:g}" for level, turn in trips.items() if turn)
            lines.append(f"  {row.id} {100 * held[i]:+.2f} % of {row.total:.0f}: {shown}")
            lines.append(f"      {row.top_functions}")
    return "\n".join(lines)


def _figures(errors: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if np.isnan(errors).all():
        return f"{'-':>7} {'-':>6} {'-':>6}"
    median, p95, most = 100 * np.nanquantile(errors, [0.5, 0.95, 1.0])
    return f"{median:7.3f} {p95:6.2f} {most:6.2f}"


def profiles_of(results: Sequence[FitResult], counted: CountedSet) -> list[FittedProfile]:
    """The profile files that the fits make."""
    dataset = {"tflm_grid.csv": counted.sha256("tflm_grid.csv")} | own_sha256()
    builds: dict[str, dict[str, FittedBuild]] = defaultdict(dict)
    for result in results:
        sample, held = result.sample, np.abs(result.fit.held_out_errors)
        known, fitted = np.abs(result.fit.held_out_on_data), np.abs(result.fit.fit_errors)
        unknown = np.isnan(held).all()
        never_run = {
            level: result.fit.per_turn[position]
            for position, level in enumerate(sample.levels)
            if not sample.turns[:, position].any()
        }
        builds[result.profile][result.build] = FittedBuild(
            levels=sample.levels,
            per_turn=result.fit.per_turn,
            unseen=tuple(level for level, cost in never_run.items() if not cost.any()),
            borrowed=tuple(
                level
                for level, cost in never_run.items()
                if cost.any() and not level.startswith(SHARED_PREFIX)
            ),
            rows=len(sample.ids),
            held_out_median=1.0 if unknown else float(np.nanmedian(held)),
            held_out_p95=1.0 if unknown else float(np.nanquantile(held, 0.95)),
            spread=result.spread,
            on_data_median=float(np.median(known)),
            on_data_p95=float(np.quantile(known, 0.95)),
            fit_median=float(np.median(fitted)),
            fit_p95=float(np.quantile(fitted, 0.95)),
        )
    return [FittedProfile(name, _SOURCE, dataset, found) for name, found in builds.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="kernel_profiles", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument("--only", nargs="+", default=[], metavar="OP", help="operators to show")
    parser.add_argument(
        "--builds", nargs="+", default=[], metavar="BUILD", help="such as m4.gcc-O3"
    )
    parser.add_argument("--detail", action="store_true", help="show levels and the worst rows")
    parser.add_argument(
        "--networks", action="store_true", help="predict whole networks with the written profiles"
    )
    parser.add_argument("--write", action="store_true", help="write the profile files")
    parser.add_argument("--page", type=Path, help="with --write: write the accuracy page there")
    options = parser.parse_args(arguments)
    if options.write and options.builds:
        parser.error("--write takes all builds: a profile file holds every one")
    if options.page and options.only:
        parser.error("--page takes all operators")
    counted = CountedSet(options.counted)
    only = [name.upper() for name in options.only]
    calls, problems = single_operator_calls(chain(counted.models(), own_models()))
    shared_rows = counted.single_operators()
    once, means = [*shared_rows, *own_rows()], mean_counts()
    rows = list(on_the_mean(once, means))
    spreads = data_spreads(counted, calls, {row.build for row in rows})
    with_data = chain(
        counted.models_with_data(DATA_DEPENDENT), own_models_with_data(DATA_DEPENDENT)
    )
    on_data = calls_on_data(with_data, calls)
    # All are fitted, as they lean on each other; what was asked for is shown and written.
    results = [
        result
        for result in fit_profiles(rows, calls, spreads, options.builds, on_data)
        if not only or result.operator in only
    ]
    sys.stdout.write(table(results) + "\n")
    if options.detail:
        sys.stdout.write(detail(results, rows) + "\n")
    sys.stdout.writelines(f"not fitted: {problem}\n" for problem in problems)
    profiles = profiles_of(results, counted)
    if options.write:
        profiles += [] if only else framework_profiles(counted, shared_rows)
        for profile in profiles:
            path = data_path("kernels", *profile.name.split("/")).with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(profile_text(profile))
            sys.stdout.write(f"written: {path}\n")
    if options.networks or (options.write and options.page):
        lines = network_lines(counted, options.builds)
        sys.stdout.write(network_table(lines) + "\n")
        if options.write and options.page:
            others = other_data_errors(counted, calls, results)
            single = {(row.id, row.build): row.total for row in once}
            errors = kept_out(results, {row.id for row in shared_rows}, means, single)
            options.page.write_text(instruction_page(profiles, lines, others, errors))
            sys.stdout.write(f"written: {options.page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
