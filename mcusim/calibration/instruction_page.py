"""The page that says how accurate predicted instruction counts are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mcusim.calibration.networks import NetworkLine
from mcusim.calibration.profile_file import FittedBuild, FittedProfile

__all__ = ["MEDIAN_TARGET", "NETWORK_TARGET", "P95_TARGET", "instruction_page"]

#: What a profile's error on rows kept out of its fit should stay within, and a network's total.
MEDIAN_TARGET = 0.005
P95_TARGET = 0.03
NETWORK_TARGET = 0.01

_HEAD = f"""# How accurate the instruction counts are

*Written by `python -m mcusim.calibration.kernel_profiles --write --page PAGE`; do not edit.*

Every kernel of TFLite Micro has a profile: what one turn of each of its loops executes, by class
of instruction, for one core and one set of compiler flags. Profiles are fitted on executed
binaries of single-operator models (tflite-micro of 2026-08-20, GCC 12.2.1). The errors below are
of the total, on models that the fit had **not** seen: each model is predicted by a fit without it
(ten folds, or one model at a time where there are few). The profiles that ship are fitted on all
models.

Wanted are {100 * MEDIAN_TARGET:g} % at the median and {100 * P95_TARGET:g} % at the 95th percentile
for each kernel and build, and {100 * NETWORK_TARGET:g} % for each whole network. *Spread* is the
standard deviation over random inputs of one model: no count of a typical input can be better.
*Data known* is the error when the loop turns that depend on data are those of the inputs that were
counted, not those of typical inputs: what the loops and the fit leave, without what the data do.
"""

#: Rows that hardly tell an error, let alone a percentile.
_FEW = 6
#: Names of the errors that are counted against the targets.
_MEASURES = (
    ("models kept out", "held_out_median", "held_out_p95"),
    ("models kept out, data known", "on_data_median", "on_data_p95"),
    ("models in the fit, data known", "fit_median", "fit_p95"),
)
_ONCE = ("construct", "allocate_tensors")


def instruction_page(
    profiles: Sequence[FittedProfile],
    lines: Sequence[NetworkLine],
    other_data: Mapping[str, Sequence[float]],
) -> str:
    """The page as Markdown.

    Args:
        profiles: every fitted profile.
        lines: whole networks, counted and predicted.
        other_data: by build, relative errors of the same models with inputs that no fit has seen.
    """
    kernels = sorted((p for p in profiles if p.name.startswith("reference/")), key=_name)
    framework = sorted((p for p in profiles if p.name.startswith("framework/")), key=_name)
    return "\n".join(
        [
            _HEAD,
            *_summary(kernels),
            *_misses(kernels),
            *_other_data(other_data),
            *_networks(lines),
            *_framework(framework),
            *_every_build(kernels),
            "",
        ]
    )


def _name(profile: FittedProfile) -> str:
    return profile.name


def _summary(kernels: Sequence[FittedProfile]) -> list[str]:
    builds = [build for kernel in kernels for build in kernel.builds.values()]
    counted = [build for build in builds if build.rows > _FEW]
    text = [
        "## By kernel",
        "",
        "Kernels and builds that meet both targets:",
        "",
        f"| | all | with more than {_FEW} models |",
        "|---|--:|--:|",
        *(
            f"| {what} | {_met(builds, median, p95)} of {len(builds)} "
            f"| {_met(counted, median, p95)} of {len(counted)} |"
            for what, median, p95 in _MEASURES
        ),
        "",
        "The last line is no prediction. It says what the loops can tell, and the lines before it",
        "what they tell of a model from others: a loop that one model alone runs is told by none.",
        "",
        "| kernel | models | M4, O3: median | 95 % | data known | 95 % "
        "| worst build | median | 95 % | data known | 95 % | spread |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    for kernel in kernels:
        key, worst = max(kernel.builds.items(), key=lambda item: item[1].held_out_p95)
        usual = kernel.builds.get("m4.gcc-O3", worst)
        text.append(
            f"| {_stem(kernel)} | {usual.rows} | {_percent(usual.held_out_median)} "
            f"| {_percent(usual.held_out_p95)} | {_percent(usual.on_data_median)} "
            f"| {_percent(usual.on_data_p95)} | {key} | {_percent(worst.held_out_median)} "
            f"| {_percent(worst.held_out_p95)} | {_percent(worst.on_data_median)} "
            f"| {_percent(worst.on_data_p95)} | {_percent(worst.spread)} |"
        )
    return text


def _misses(kernels: Sequence[FittedProfile]) -> list[str]:
    text = ["", "## What misses the target", ""]
    for kernel in kernels:
        missed = {key: build for key, build in kernel.builds.items() if not _meets(build)}
        if missed:
            key, worst = max(missed.items(), key=lambda item: item[1].held_out_p95)
            rows = worst.rows
            text.append(
                f"- **{_stem(kernel)}** in {len(missed)} of {len(kernel.builds)} builds: at worst "
                f"{_percent(worst.held_out_median)} % and {_percent(worst.held_out_p95)} % "
                f"({key}), "
                f"from {rows} model{'s' if rows > 1 else ''}"
                + (
                    f"; the spread over data is {_percent(worst.spread)} %."
                    if worst.spread > MEDIAN_TARGET
                    else "."
                )
            )
    return text if len(text) > 3 else [*text, "Nothing."]


def _other_data(errors: Mapping[str, Sequence[float]]) -> list[str]:
    text = [
        "",
        "## Other data",
        "",
        "The profiles as they ship, on the same models with two other random inputs:",
        "",
        "| build | runs | median | 95 % | mean, signed |",
        "|---|--:|--:|--:|--:|",
    ]
    for build, found in sorted(errors.items()):
        median, p95 = (float(q) for q in np.quantile(np.abs(found), [0.5, 0.95]))
        text.append(
            f"| {build} | {len(found)} | {_percent(median)} | {_percent(p95)} "
            f"| {_signed(float(np.mean(found)))} |"
        )
    return text


def _networks(lines: Iterable[NetworkLine]) -> list[str]:
    text = [
        "",
        "## Whole networks",
        "",
        "Counted on a Cortex-M4 with FPU. No network is in the fit of a kernel; the framework's",
        "own lines (construction, AllocateTensors, the loop of Invoke) are fitted on them too.",
        "",
        "| network | build | Invoke, counted | predicted | error | worst operator "
        "| construction | AllocateTensors |",
        "|---|---|--:|--:|--:|---|--:|--:|",
    ]
    groups: dict[tuple[str, str], list[NetworkLine]] = defaultdict(list)
    for line in lines:
        groups[line.network, line.build].append(line)
    for (network, build), found in sorted(groups.items()):
        invoke = [line for line in found if line.index not in _ONCE]
        counted = sum(line.counted for line in invoke)
        predicted = sum(line.predicted or 0.0 for line in invoke)
        once = {line.index: line.error for line in found if line.index in _ONCE}
        worst = max(invoke, key=lambda line: abs((line.predicted or 0.0) - line.counted))
        error = predicted / counted - 1.0
        missed = " (misses)" if abs(error) > NETWORK_TARGET else ""
        text.append(
            f"| {network} | {build} | {counted:.0f} | {predicted:.0f} "
            f"| {_signed(error)}{missed} | {worst.index} {worst.operator} {_signed(worst.error)} "
            f"| {_signed(once['construct'])} | {_signed(once['allocate_tensors'])} |"
        )
    return text


def _framework(profiles: Sequence[FittedProfile]) -> list[str]:
    text = [
        "",
        "## The framework's own lines",
        "",
        "Errors of rows kept out of the fit. Where a build was counted with one operator only, the",
        "split between the call and its operators is the M4's, scaled, and carries a spread.",
        "",
        "| line | build | rows | median | 95 % | spread |",
        "|---|---|--:|--:|--:|--:|",
    ]
    return text + [
        f"| {_stem(profile)} | {key} | {build.rows} | {_percent(build.held_out_median)} "
        f"| {_percent(build.held_out_p95)} | {_percent(build.spread)} |"
        for profile in profiles
        for key, build in sorted(profile.builds.items())
    ]


def _every_build(kernels: Sequence[FittedProfile]) -> list[str]:
    keys = sorted({key for kernel in kernels for key in kernel.builds})
    text = [
        "",
        "## Every kernel and build",
        "",
        "Median / 95th percentile of the error on models kept out, in percent.",
        "",
        "| kernel | " + " | ".join(keys) + " |",
        "|---|" + "--:|" * len(keys),
    ]
    return text + [
        f"| {_stem(kernel)} | " + " | ".join(_pair(kernel.builds, key) for key in keys) + " |"
        for kernel in kernels
    ]


def _met(builds: Sequence[FittedBuild], median: str, p95: str) -> int:
    return sum(
        getattr(build, median) <= MEDIAN_TARGET and getattr(build, p95) <= P95_TARGET
        for build in builds
    )


def _meets(build: FittedBuild) -> bool:
    return build.held_out_median <= MEDIAN_TARGET and build.held_out_p95 <= P95_TARGET


def _stem(profile: FittedProfile) -> str:
    return profile.name.partition("/")[2]


def _pair(builds: Mapping[str, FittedBuild], key: str) -> str:
    build = builds.get(key)
    if build is None:
        return "–"
    return f"{_percent(build.held_out_median)} / {_percent(build.held_out_p95)}"


def _percent(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if value >= 0.0995 else f"{100 * value:.2f}"


def _signed(value: float | None) -> str:
    return "not priced" if value is None else f"{100 * value:+.2f} %"
