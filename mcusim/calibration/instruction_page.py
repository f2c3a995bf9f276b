"""The page that says how accurate predicted instruction counts are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mcusim.calibration.kept_out import (
    MEDIAN_TARGET,
    P95_TARGET,
    WELL_KNOWN,
    Errors,
    KeptOut,
    by,
    errors_of,
)
from mcusim.calibration.networks import NetworkLine
from mcusim.calibration.profile_file import FittedProfile

__all__ = ["NETWORK_TARGET", "instruction_page"]

#: What a network's total should stay within.
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
for each kernel, or operator, and build, and {100 * NETWORK_TARGET:g} % for each whole network.

There are two sets of models. Those of the *shared grid* are like layers of networks. *Ours* were
drawn at random to tell the loops apart, and are harder: many are tensors of a few elements, of odd
extents, of every rank and way of broadcasting.

What a kernel executes may depend on its data: on signs, on what saturates, in soft float on nearly
everything. A prediction is for typical data, that is for inputs spread evenly over their type. So
*typical data* is the error against the mean over eight to a hundred such inputs, where the count
depends on them; models whose mean these do not tell within {100 * WELL_KNOWN:g} % are left out.
*One draw* is the error against a single count, of whatever inputs were drawn for it, which
for a tensor of a few elements is a draw of a few numbers: no prediction from shapes can be closer
than the *spread*, the standard deviation over inputs. *Data known* is the error of that count when
the loop turns that depend on data are those of its inputs: what the loops and the fit leave,
without what the data do. Kernels without such turns are fitted on the means.
"""

#: Names of the errors that are counted against the targets.
_MEASURES = (
    ("kept out, typical data", "typical"),
    ("kept out, one draw", "drawn"),
    ("kept out, data known", "on_data"),
    ("in the fit, data known", "fitted"),
)
_SETS = (("the shared grid", True), ("ours", False))
_USUAL = "m4.gcc-O3"
_ONCE = ("construct", "allocate_tensors")


def instruction_page(
    profiles: Sequence[FittedProfile],
    lines: Sequence[NetworkLine],
    other_data: Mapping[str, Sequence[float]],
    rows: Sequence[KeptOut],
) -> str:
    """The page as Markdown.

    Args:
        profiles: every fitted profile; of kernels their spread is told.
        lines: whole networks, counted and predicted.
        other_data: by build, relative errors of the same models with inputs that no fit has seen.
        rows: errors of every counted model.
    """
    spreads = {
        (_stem(profile), key): build.spread
        for profile in profiles
        for key, build in profile.builds.items()
    }
    framework = sorted((p for p in profiles if p.name.startswith("framework/")), key=_name)
    return "\n".join(
        [
            _HEAD,
            *_summary(rows),
            *_operators(rows),
            *(line for _, shared in _SETS for line in _kernels(rows, shared, spreads)),
            *_misses(rows, spreads),
            *_other_data(other_data),
            *_networks(lines),
            *_framework(framework),
            *_every_build(rows),
            "",
        ]
    )


def _name(profile: FittedProfile) -> str:
    return profile.name


def _kernel_and_build(row: KeptOut) -> tuple[str, str]:
    return row.kernel, row.build


def _operator_and_build(row: KeptOut) -> tuple[str, str]:
    return row.operator, row.build


def _of(rows: Iterable[KeptOut], shared: bool) -> list[KeptOut]:
    return [row for row in rows if row.is_shared == shared]


def _summary(rows: Sequence[KeptOut]) -> list[str]:
    text = [
        "## How many meet both targets",
        "",
        "| error | " + " | ".join(f"{name}: kernels | operators" for name, _ in _SETS) + " |",
        "|---|" + "--:|--:|" * len(_SETS),
    ]
    for name, measure in _MEASURES:
        counts = [
            _met(by(_of(rows, shared), key).values(), measure)
            for _, shared in _SETS
            for key in (_kernel_and_build, _operator_and_build)
        ]
        text.append(f"| {name} | " + " | ".join(counts) + " |")
    return [
        *text,
        "",
        "Counted are pairs of a kernel, which is an operator on one type, and a build, and pairs",
        "of an operator and a build. The last line is no prediction: it says what the loops can",
        "tell, and the lines before it what they tell of a model from others.",
    ]


def _met(groups: Iterable[Sequence[KeptOut]], measure: str) -> str:
    errors = [errors_of(group, measure) for group in groups]
    met = [found.meet for found in errors if found.models]
    return f"{sum(met)} of {len(met)}"


def _operators(rows: Sequence[KeptOut]) -> list[str]:
    text = [
        "",
        "## By operator, models of the shared grid",
        "",
        "Typical data; models by type together.",
        "",
        "| operator | models | M4, O3: median | 95 % | builds that meet both "
        "| worst build | median | 95 % |",
        "|---|--:|--:|--:|--:|---|--:|--:|",
    ]
    for operator, members in sorted(by(_of(rows, True), lambda row: row.operator).items()):
        builds = _by_build(members, "typical")
        if not builds:
            continue
        usual, key, worst = _usual_and_worst(builds)
        met = sum(errors.meet for errors in builds.values())
        text.append(
            f"| {operator} | {usual.models} | {_pair(usual)} | {met} of {len(builds)} "
            f"| {key} | {_pair(worst)} |"
        )
    return text


def _by_build(rows: Iterable[KeptOut], measure: str) -> dict[str, Errors]:
    errors = {build: errors_of(own, measure) for build, own in by(rows, lambda r: r.build).items()}
    return {build: found for build, found in errors.items() if found.models}


def _usual_and_worst(builds: Mapping[str, Errors]) -> tuple[Errors, str, Errors]:
    key, worst = max(builds.items(), key=lambda item: item[1].p95)
    return builds.get(_USUAL, worst), key, worst


def _kernels(
    rows: Sequence[KeptOut], shared: bool, spreads: Mapping[tuple[str, str], float]
) -> list[str]:
    name = next(name for name, of_shared in _SETS if of_shared == shared)
    text = [
        "",
        f"## By kernel, models of {name}",
        "",
        "Typical data, and in the last four columns data known.",
        "",
        "| kernel | models | M4, O3: median | 95 % | worst build | median | 95 % | spread "
        "| data known, M4, O3: median | 95 % | in the worst build | 95 % |",
        "|---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kernel, members in sorted(by(_of(rows, shared), lambda row: row.kernel).items()):
        builds = _by_build(members, "typical")
        if not builds:
            continue
        usual, key, worst = _usual_and_worst(builds)
        known = _by_build(members, "on_data")
        text.append(
            f"| {kernel} | {usual.models} | {_pair(usual)} | {key} | {_pair(worst)} "
            f"| {_percent(spreads.get((kernel, key), 0.0))} "
            f"| {_pair(known.get(_USUAL, known[key]))} | {_pair(known[key])} |"
        )
    return text


def _misses(rows: Sequence[KeptOut], spreads: Mapping[tuple[str, str], float]) -> list[str]:
    text = ["", "## What misses the targets, typical data"]
    for name, shared in _SETS:
        text += ["", f"Models of {name}:", ""]
        found = []
        for kernel, members in sorted(by(_of(rows, shared), lambda row: row.kernel).items()):
            builds = _by_build(members, "typical")
            missed = {key: errors for key, errors in builds.items() if not errors.meet}
            if missed:
                key, worst = max(missed.items(), key=lambda item: item[1].p95)
                spread = spreads.get((kernel, key), 0.0)
                found.append(
                    f"- **{kernel}** in {len(missed)} of {len(builds)} builds: at worst "
                    f"{_percent(worst.median)} % and {_percent(worst.p95)} % ({key}), from "
                    f"{worst.models} model{'s' if worst.models > 1 else ''}"
                    + (
                        f"; the spread over data is {_percent(spread)} %."
                        if spread > MEDIAN_TARGET
                        else "."
                    )
                )
        text += found or ["Nothing."]
    return text


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


def _every_build(rows: Sequence[KeptOut]) -> list[str]:
    keys = sorted({row.build for row in rows})
    text = [
        "",
        "## Every kernel and build",
        "",
        "Models of the shared grid, typical data: median / 95th percentile, in percent.",
        "",
        "| kernel | " + " | ".join(keys) + " |",
        "|---|" + "--:|" * len(keys),
    ]
    for kernel, members in sorted(by(_of(rows, True), lambda row: row.kernel).items()):
        builds = _by_build(members, "typical")
        cells = [
            f"{_percent(builds[key].median)} / {_percent(builds[key].p95)}"
            if key in builds
            else "–"
            for key in keys
        ]
        text.append(f"| {kernel} | " + " | ".join(cells) + " |")
    return text


def _stem(profile: FittedProfile) -> str:
    return profile.name.partition("/")[2]


def _pair(errors: Errors) -> str:
    return f"{_percent(errors.median)} | {_percent(errors.p95)}"


def _percent(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if value >= 0.0995 else f"{100 * value:.2f}"


def _signed(value: float | None) -> str:
    return "not priced" if value is None else f"{100 * value:+.2f} %"
