"""How much program memory and static RAM a model takes with the runtime that runs it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mcusim.errors import InputError
from mcusim.resources import data_path
from mcusim.runtimes.plan import FlashPart, Plan, RamPart

__all__ = ["SECTIONS", "FunctionSizes", "flash", "function_sizes", "static_ram"]

#: Sections of a program, in the order of the size tables.
SECTIONS = ("text", "rodata", "data", "bss")

#: Counted builds that stand for those that were not, by flag.
_NEAREST = {
    "gcc-O3": "gcc-O3",
    "gcc-O3nc": "gcc-O3",
    "gcc-O3-asm": "gcc-O3",
    "gcc-O3-sr": "gcc-O3",
    "gcc-Ofast": "gcc-O3",
    "gcc-O2": "gcc-mk",
    "gcc-mk": "gcc-mk",
    "gcc-Os": "gcc-Os",
    "gcc-O1": "gcc-Os",
}

#: Core whose functions were measured, and cores that stand for those that were not counted.
_MEASURED = "m4"
_NEAREST_CORE = {
    "m0": "m0plus",
    "m55": "m33",
    "m85": "m33",
    "m7-soft": "m4-soft",
    "m33-soft": "m4-soft",
    "m55-soft": "m4-soft",
    "m85-soft": "m4-soft",
}


@dataclass(frozen=True)
class FunctionSizes:
    """Functions and constants that a program needs when it registers any of some operators.

    Attributes:
        part: ``"TFLite Micro"``, ``"kernels"`` or ``"C library"``.
        operators: any of them makes the linker keep these; empty for what every program has.
        bytes: sizes by build flag, each for the four :data:`SECTIONS`.
    """

    part: str
    operators: frozenset[str]
    bytes: Mapping[str, tuple[int, int, int, int]]


@dataclass(frozen=True)
class _Scale:
    """From functions measured on one core with one flag to another build."""

    flag: str
    factors: Mapping[str, float]
    reason: str


def flash(plan: Plan, core: str, build: str) -> tuple[FlashPart, ...]:
    """Program memory of a model, its runtime and the kernels that it needs, by part.

    Only the operators of the model are registered, and the linker drops what none of them needs.

    Args:
        plan: the model under a runtime.
        core: ``"m0plus"``, ``"m3"``, ``"m4"``, ``"m4-soft"``, ``"m7"``, ``"m33"`` or one that has
            a counted one close by.
        build: compiler and flag, such as ``"gcc-Os"``.

    Returns:
        The model, the runtime, each operator's kernel, what several kernels share, the C library
        and the initial values of variables; each says where its size is from.

    Raises:
        InputError: there is no such core or build.
    """
    operators = _operators(plan)
    runtime, _, generation = plan.runtime.partition("@")
    scale = _scale(runtime, core, build)
    fit = _fit()["kernel_sets"][runtime][scale.flag]
    names: dict[str, list[float]] = {}
    for name, sizes in _needed(runtime, operators, scale.flag):
        part = names.setdefault(name, [0.0] * len(SECTIONS))
        for position, size in enumerate(sizes):
            part[position] += size
    names.setdefault("TFLite Micro", [0.0] * len(SECTIONS))
    for position, section in enumerate(SECTIONS):
        names["TFLite Micro"][position] += _startup(fit, section, len(operators))
    source = (
        f"functions measured in programs linked for Cortex-M4, {scale.flag}, fitted to counted "
        f"firmware (held-out error {100 * fit['held_out_error']:.1f} %){scale.reason}"
    )
    if generation:
        source += f"; the program of {generation} was not measured, that of 2026 stands for it"
    text, rodata = scale.factors["text"], scale.factors["rodata"]
    parts = [_model_part(plan)]
    parts += [
        FlashPart(name, round(sizes[0] * text + sizes[1] * rodata), source)
        for name, sizes in names.items()
    ]
    data = round(sum(sizes[2] for sizes in names.values()))
    return (*parts, FlashPart("initial values of variables", data, source))


def static_ram(plan: Plan, core: str, build: str) -> tuple[RamPart, ...]:
    """Variables of the runtime and the C library, beside the arena and the stack.

    Args:
        plan: the model under a runtime.
        core: as for :func:`flash`.
        build: as for :func:`flash`.

    Raises:
        InputError: there is no such core or build.
    """
    operators = _operators(plan)
    runtime, _, generation = plan.runtime.partition("@")
    scale = _scale(runtime, core, build)
    fit = _fit()["kernel_sets"][runtime][scale.flag]
    needed = [sizes for _, sizes in _needed(runtime, operators, scale.flag)]
    source = f"counted in firmware for Cortex-M4, {scale.flag}"
    if generation:
        source += f"; that of 2026 stands for {generation}"

    def total(section: str) -> int:
        position = SECTIONS.index(section)
        measured = sum(sizes[position] for sizes in needed)
        return round(measured + _startup(fit, section, len(operators)))

    return (
        RamPart("initialized variables", total("data"), source),
        RamPart("zeroed variables", total("bss"), source),
    )


@cache
def function_sizes(runtime: str) -> tuple[FunctionSizes, ...]:
    """The measured functions of a runtime, those that the same operators need together."""
    content = json.loads(data_path("calibration", "flash_functions.json").read_text())
    return tuple(
        FunctionSizes(
            row["part"],
            frozenset(row["operators"].split()),
            {flag: (t, r, d, b) for flag, (t, r, d, b) in row["bytes"].items()},
        )
        for row in content["kernel_sets"][runtime]
    )


def _operators(plan: Plan) -> frozenset[str]:
    return frozenset(o.name for subgraph in plan.graph.subgraphs for o in subgraph.operators)


def _needed(
    runtime: str, operators: Collection[str], flag: str
) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """What the linker keeps, under the name of the part that it belongs to."""
    for row in function_sizes(runtime):
        users = row.operators.intersection(operators)
        if flag in row.bytes and (users or not row.operators):
            name = row.part
            if name == "kernels":
                name = f"kernel of {min(users)}" if len(users) == 1 else "shared by kernels"
            yield name, row.bytes[flag]


def _startup(fit: Mapping[str, Any], section: str, operators: int) -> float:
    """Start-up code and what registering operators takes, by the fit to counted firmware."""
    registered = min(operators, fit["registered_up_to"].get(section, operators))
    return float(fit["startup"][section] + fit["per_operator"][section] * registered)


def _model_part(plan: Plan) -> FlashPart:
    graph = plan.graph
    if graph.model_bytes:
        return FlashPart("model", graph.model_bytes, "size of the file")
    constants = {
        (t.buffer, t.data.tobytes()): t.bytes
        for subgraph in graph.subgraphs
        for t in subgraph.tensors
        if t.data is not None
    }
    return FlashPart("model", sum(constants.values()), "constants of a model not written yet")


@cache
def _fit() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(data_path("calibration", "flash_tflm.json").read_text())
    return content


def _scale(runtime: str, core: str, build: str) -> _Scale:
    if build not in _NEAREST:
        raise InputError(f"build {build!r} is not known; there are {', '.join(_NEAREST)}")
    flag = _NEAREST[build]
    totals = _fit()["totals"][runtime]
    counted_cores = {key.partition(".")[0] for key in totals}
    near = _NEAREST_CORE.get(core, core)
    # Without a count of the soft-float build, the same core with its FPU is closest.
    known = near if near in counted_cores else near.removesuffix("-soft")
    if known not in counted_cores:
        cores = sorted(counted_cores | set(_NEAREST_CORE))
        raise InputError(f"core {core!r} is not known; there are {', '.join(cores)}")
    reasons = [] if flag == build else [f"{build} taken as {flag}"]
    if known == _MEASURED:
        return _Scale(flag, {"text": 1.0, "rodata": 1.0}, "".join(f"; {r}" for r in reasons))
    counted = flag if f"{known}.{flag}" in totals else "gcc-O3"
    there, here = totals[f"{known}.{counted}"], totals[f"{_MEASURED}.{counted}"]
    factors = {section: there[section] / here[section] for section in ("text", "rodata")}
    of = f" ({known} stands for {core})" if known != core else ""
    reasons.append(
        f"scaled by {factors['text']:.3f} to {known}{of} as counted in a program of 35 operators "
        f"at {counted}"
    )
    return _Scale(flag, factors, "".join(f"; {r}" for r in reasons))
