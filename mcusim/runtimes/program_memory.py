"""How much program memory and static RAM a model takes with the runtime that runs it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from mcusim.errors import InputError
from mcusim.kernels.dnnruntime import NAME as DNNRUNTIME
from mcusim.kernels.tflm_ncs import NAME as TFLM_NCS
from mcusim.kernels.utensor import NAME as UTENSOR
from mcusim.resources import data_path
from mcusim.runtimes import dnnruntime, legacy_q7, tflm_ncs, utensor
from mcusim.runtimes.plan import FlashPart, Plan, RamPart

__all__ = ["SECTIONS", "FunctionSizes", "flash", "flash_half_width", "function_sizes", "static_ram"]

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
    "gcc9-Ofast": "gcc-O3",
    "gcc9-Os": "gcc-Os",
}

#: Flags whose functions may stand for those that were not measured on a core, best first.
_STAND_IN_FLAGS = ("gcc-Os", "gcc-O3")

#: Cores that stand for those that were not counted.
_NEAREST_CORE = {
    "m0": "m0plus",
    "m55": "m33",
    "m85": "m33",
    "m7-soft": "m4-soft",
    "m33-soft": "m4-soft",
    "m55-soft": "m4-soft",
    "m85-soft": "m4-soft",
}

#: Counted cores, and the core whose functions were measured that comes closest: what matters most
#: is whether arithmetic on floats is in the core or in the library.
_MEASURED = {"m0plus": "m0plus", "m3": "m3", "m4-soft": "m3", "m4": "m4", "m7": "m4", "m33": "m4"}

#: Core that the fit to counted firmware is for.
_FITTED = "m4"


@dataclass(frozen=True)
class FunctionSizes:
    """Functions and constants that a program needs when it registers any of some operators.

    Attributes:
        part: ``"TFLite Micro"``, ``"kernels"`` or ``"C library"``.
        operators: any of them makes the linker keep these; empty for what every program has.
        bytes: sizes by core and build, such as ``"m4.gcc-Os"``, in :data:`SECTIONS`.
    """

    part: str
    operators: frozenset[str]
    bytes: Mapping[str, tuple[int, int, int, int]]


@dataclass(frozen=True)
class _Build:
    """The measured functions that come closest to a build, and how far they are from it.

    ``difference`` is what another flag takes away from the functions and adds to them, as two
    builds of one core; twice the same where there is none.
    """

    runtime: str
    measured: str
    difference: tuple[str, str]
    fit: Mapping[str, Any]
    factors: Mapping[str, float]
    source: str


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
    if plan.runtime == legacy_q7.RUNTIME:
        return (_q7_weights(plan),)
    if plan.runtime == DNNRUNTIME:
        return dnnruntime.flash(plan, core, build)
    if plan.runtime == TFLM_NCS:
        return tflm_ncs.flash(plan)
    if plan.runtime == UTENSOR:
        return utensor.flash(plan, core, build)
    return _model_part(plan), *_program(plan.runtime, core, build, _operators(plan))


@lru_cache(maxsize=1024)
def _program(
    runtime: str, core: str, build: str, operators: frozenset[str]
) -> tuple[FlashPart, ...]:
    """All of flash but the model: many networks are of the same operators."""
    known = _build(runtime, core, build)
    names: dict[str, list[float]] = {"TFLite Micro": [0.0] * len(SECTIONS)}
    for name, sizes in _needed(known, operators):
        part = names.setdefault(name, [0.0] * len(SECTIONS))
        for position, size in enumerate(sizes):
            part[position] += size
    for position, section in enumerate(SECTIONS):
        names["TFLite Micro"][position] += _startup(known.fit, section, len(operators))
    text, rodata = known.factors["text"], known.factors["rodata"]
    data = round(sum(sizes[2] for sizes in names.values()))
    return (
        *(
            FlashPart(name, round(sizes[0] * text + sizes[1] * rodata), known.source)
            for name, sizes in names.items()
        ),
        FlashPart("initial values of variables", data, known.source),
    )


def _q7_weights(plan: Plan) -> FlashPart:
    held = [t for layer in plan.layers for t in layer.node.inputs]
    size = sum(t.elements for t in held if t is not None and t.is_constant)
    return FlashPart(
        "weights", size, "one byte for each weight and bias; the program itself was not measured"
    )


def static_ram(plan: Plan, core: str, build: str) -> tuple[RamPart, ...]:
    """Variables of the runtime and the C library, beside the arena and the stack.

    Args:
        plan: the model under a runtime.
        core: as for :func:`flash`.
        build: as for :func:`flash`.

    Raises:
        InputError: there is no such core or build.
    """
    if plan.runtime in (legacy_q7.RUNTIME, DNNRUNTIME, UTENSOR, TFLM_NCS):
        return ()
    return _variables(plan.runtime, core, build, _operators(plan))


@lru_cache(maxsize=1024)
def _variables(
    runtime: str, core: str, build: str, operators: frozenset[str]
) -> tuple[RamPart, ...]:
    known = _build(runtime, core, build)
    needed = [sizes for _, sizes in _needed(known, operators)]

    def total(section: str) -> int:
        position = SECTIONS.index(section)
        measured = sum(sizes[position] for sizes in needed)
        return round(measured + _startup(known.fit, section, len(operators)))

    return (
        RamPart("initialized variables", total("data"), known.source),
        RamPart("zeroed variables", total("bss"), known.source),
    )


@cache
def function_sizes(runtime: str) -> tuple[FunctionSizes, ...]:
    """The measured functions of a runtime, those that the same operators need together."""
    content = json.loads(data_path("calibration", "flash_functions.json").read_text())
    return tuple(
        FunctionSizes(
            row["part"],
            frozenset(row["operators"].split()),
            {build: (t, r, d, b) for build, (t, r, d, b) in row["bytes"].items()},
        )
        for row in content["kernel_sets"][runtime]
    )


def _operators(plan: Plan) -> frozenset[str]:
    return frozenset(o.name for subgraph in plan.graph.subgraphs for o in subgraph.operators)


def _needed(known: _Build, operators: frozenset[str]) -> Iterator[tuple[str, list[int]]]:
    """What the linker keeps, under the name of the part that it belongs to."""
    nothing = (0,) * len(SECTIONS)
    for row in function_sizes(known.runtime):
        users = row.operators.intersection(operators)
        if not users and row.operators:
            continue
        name = row.part
        if name == "kernels":
            name = f"kernel of {min(users)}" if len(users) == 1 else "shared by kernels"
        columns = (known.measured, *known.difference)
        own, minus, plus = (row.bytes.get(column, nothing) for column in columns)
        sizes = [o - m + p for o, m, p in zip(own, minus, plus, strict=True)]
        if any(sizes):
            yield name, sizes


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


def flash_half_width(plan: Plan, core: str, build: str) -> float | None:
    """Half the width of a 90 % interval of the logarithm of :func:`flash`; None if unknown.

    Of a build whose firmware was counted, its error on programs kept out of the fit; where the
    sizes are scaled to another core, as much again as that scales them.

    Args:
        plan: as for :func:`flash`.
        core: as for :func:`flash`.
        build: as for :func:`flash`.
    """
    if plan.runtime in (legacy_q7.RUNTIME, DNNRUNTIME, UTENSOR, TFLM_NCS):
        return None
    known = _build(plan.runtime, core, build)
    return math.hypot(known.fit["held_out_error"], math.log(known.factors["text"]))


@lru_cache(maxsize=1024)
def _build(runtime: str, core: str, build: str) -> _Build:
    if build not in _NEAREST:
        raise InputError(f"build {build!r} is not known; there are {', '.join(_NEAREST)}")
    near = _NEAREST_CORE.get(core, core)
    if near not in _MEASURED:
        cores = ", ".join((*_MEASURED, *_NEAREST_CORE))
        raise InputError(f"core {core!r} is not known; there are {cores}")
    base, _, generation = runtime.partition("@")
    flag, own = _NEAREST[build], _MEASURED[near]
    columns = {column for row in function_sizes(base) for column in row.bytes}
    used = next(f for f in (flag, *_STAND_IN_FLAGS) if f"{own}.{f}" in columns)
    difference = f"{_FITTED}.{used}", f"{_FITTED}.{flag}"
    fit = _fit()["kernel_sets"][base][difference[1]]
    said = [
        f"functions measured in programs linked for {own}.{used}, start-up fitted to firmware "
        f"counted on {_FITTED} (held-out error there {100 * fit['held_out_error']:.1f} %)"
    ]
    if used != flag:
        said.append(f"{flag} differs from {used} as it does on {_FITTED}")
    if build != flag:
        said.append(f"{build} taken as {flag}")
    if core != near:
        said.append(f"{core} taken as {near}")
    if generation:
        said.append(f"the program of {generation} was not measured, that of 2026 stands for it")
    factors = dict.fromkeys(("text", "rodata"), 1.0)
    if near != own:
        totals = _fit()["totals"][base]
        pairs = ((f"{own}.{f}", f"{near}.{f}") for f in (flag, *_STAND_IN_FLAGS))
        here, there = next((pair for pair in pairs if totals.keys() >= set(pair)), ("", ""))
        if here:
            factors = {s: totals[there][s] / totals[here][s] for s in factors}
            said.append(f"scaled from {here} to {there} as counted in a program of 35 operators")
        else:
            said.append(f"{near} taken as {own}")
    return _Build(base, f"{own}.{used}", difference, fit, factors, "; ".join(said))
