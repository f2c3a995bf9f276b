"""The road end to end: a model under a runtime, priced on a board."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mcusim.boards import (
    PLACES,
    SUPPLY_V,
    Board,
    Bounds,
    Power,
    Regulator,
    half_width,
    widened,
    without_fpu,
)
from mcusim.boards.bounds import Range
from mcusim.closed_estimates import by_factor, nothing_known
from mcusim.errors import InputError, ModelError
from mcusim.estimates import (
    Estimate,
    LayerEstimate,
    PartEstimate,
    dominant_family,
)
from mcusim.graph import Graph
from mcusim.kernels.contract import KernelCall
from mcusim.pricing import Pricing, with_intervals
from mcusim.runtimes import (
    FlashPart,
    Plan,
    RamPart,
    flash,
    flash_half_width,
    legacy_q7,
    plan,
    static_ram,
)
from mcusim.runtimes.closed import BUILD as CLOSED_BUILD
from mcusim.runtimes.closed import ClosedRuntime, check_types, closed_runtime, constants_part

__all__ = ["BUILDS", "estimate", "rounds_once"]

#: Compilers and flags that kernels were counted with, or that have a counted one close by.
#: ``-asm`` is ``CMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY``, ``-sr`` rounds once; ``gcc`` is 12.2,
#: ``gcc9`` what mbed-os 5.15 and 6 ask for.
BUILDS = (
    "gcc-O3",
    "gcc-O3nc",
    "gcc-Os",
    "gcc-mk",
    "gcc-O2",
    "gcc-Ofast",
    "gcc-O1",
    "gcc-O3-asm",
    "gcc-O3-sr",
    "gcc9-Ofast",
    "gcc9-Os",
)

#: Standard normal quantile of a two-sided 90 % interval.
_Z90 = 1.645


def estimate(
    graph: Graph,
    board: Board,
    runtime: str = "tflm",
    build: str = "gcc-O3",
    *,
    clock_hz: float | None = None,
    fpu: bool | None = None,
    placement: Mapping[str, str] | None = None,
    supply_v: float | None = None,
    regulator: Regulator | None = None,
) -> Estimate:
    """Estimate time, energy and memory of one inference, in a loop of many.

    Args:
        graph: the model.
        board: where it runs.
        runtime: the software that runs it.
        build: compiler and flag, one of :data:`BUILDS`.
        clock_hz: clock of the core; the board's own when None.
        fpu: False for a build that does not use the FPU; the core's own when None.
        placement: memory in which ``"code"``, ``"weights"``, ``"arena"`` and ``"stack"`` lie, one
            of the board's :attr:`~mcusim.boards.Board.places`; code and weights lie in
            ``"flash"``, the others in ``"ram"``, unless said otherwise.
        supply_v: supply voltage; the board's own when None.
        regulator: ``"ldo"`` or ``"smps"``; the board's own when None.

    Returns:
        The estimate.

    Raises:
        InputError: a setting does not fit the board, or there is no such runtime or build.
        ModelError: the runtime cannot run the model.
    """
    board = _with_supply(_with_fpu(board, fpu), supply_v, regulator)
    rate_hz = _clock(board, clock_hz)
    places = _placement(board, placement or {})
    closed = closed_runtime(runtime, board.core.profile)
    if closed is not None:
        return _closed(graph, board, closed, build, rate_hz, places)
    builds = (*BUILDS, *legacy_q7.BUILDS) if runtime == legacy_q7.RUNTIME else BUILDS
    if build not in builds:
        raise InputError(f"there is no build {build!r}; {_suggestion(build, builds)}")
    planned = _planned(graph, runtime, board, build)
    software = f"{planned.runtime} {build}"
    active_w = _active_w(board, rate_hz, software)
    scale = board.core.software_scale.get(software, 1.0)
    pricing = Pricing(board, rate_hz, build, places, active_w, scale)
    of_invoke, *of_layers = pricing.repeated(planned)
    layers = tuple(map(pricing.layer, planned.layers, of_layers))
    invoke = pricing.part(_known(planned.invoke), found=of_invoke)
    latency_s = sum(part.latency_s for part in (*layers, invoke))
    energy_j = sum(part.energy_j for part in (*layers, invoke))
    bounds = Bounds.of(board, software, dominant_family(layers))
    time = _time_range(bounds, _profile_error((*layers, invoke)))
    energy = widened(time, bounds.power)
    program = flash(planned, board.core.profile, build)
    found = Estimate(
        graph.name,
        board,
        planned.runtime,
        build,
        rate_hz,
        places,
        with_intervals(layers, time, energy),
        invoke,
        pricing.part(_known(planned.construct)),
        pricing.part(_known(planned.allocate)),
        planned.memory,
        (
            *static_ram(planned, board.core.profile, build),
            *_copied_to_ram(program, board, places),
        ),
        program,
        (latency_s * time[0], latency_s * time[1]),
        (energy_j * energy[0], energy_j * energy[1]),
        _flash_interval(program, planned, board.core.profile, build),
        _warnings(board, software, layers),
    )
    beyond = (*_beyond_ram(found), *_beyond_regions(found))
    return replace(found, warnings=(*beyond, *found.warnings))


def _copied_to_ram(
    program: Sequence[FlashPart], board: Board, places: Mapping[str, str]
) -> Iterable[RamPart]:
    """What is placed in memory on the chip that is no flash: it is copied there at the start."""
    model = sum(part.size_bytes for part in program if part.name == "model")
    code = sum(part.size_bytes for part in program) - model
    for what, size in (("weights", model), ("code", code)):
        if places[what] != "flash" and places[what] not in board.memory:
            yield RamPart(what, size, f"placed in {places[what]}")


def _beyond_ram(found: Estimate) -> Iterable[str]:
    """Weights and code that lie in RAM must fit there beside what the network computes in."""
    held, used = found.board.ram.bytes, found.ram_bytes or 0
    copied = [part for part in found.static_ram if part.name in ("weights", "code")]
    if copied and used > held:
        listed = " and ".join(f"{part.name} ({part.size_bytes:,} bytes)" for part in copied)
        yield f"{listed} in RAM do not fit: {used:,} bytes in all, the board has {held:,}"


def _beyond_regions(found: Estimate) -> Iterable[str]:
    """What is placed in a memory by its name must fit that one."""
    model = sum(part.size_bytes for part in found.flash if part.name == "model")
    sizes = {"code": found.flash_bytes - model, "weights": model, "arena": found.arena_bytes or 0}
    for name in dict.fromkeys(found.placement.values()):
        if name in ("flash", "ram") or name not in found.board.regions:
            continue
        _, held = found.board.regions[name]
        inside = {w: n for w, n in sizes.items() if found.placement[w] == name}
        if sum(inside.values()) > held:
            listed = " and ".join(f"{what} ({size:,} bytes)" for what, size in inside.items())
            yield f"{listed} do not fit in {name}, which holds {held:,} bytes"


def _closed(
    graph: Graph,
    board: Board,
    closed: ClosedRuntime,
    build: str,
    rate_hz: float,
    places: Mapping[str, str],
) -> Estimate:
    """The estimate of a runtime that is known by its times alone."""
    if build not in (CLOSED_BUILD, BUILDS[0]):
        raise InputError(f"{closed.name} comes compiled: it takes no build, such as {build!r}")
    library, compared_build = closed.compared_with
    planned = _planned(graph, library, board, compared_build)
    check_types(planned, closed)
    active_w = _active_w(board, rate_hz, closed.name)
    pricing = Pricing(board, rate_hz, compared_build, places, active_w)
    _, *of_layers = pricing.repeated(planned)
    priced = list(map(pricing.layer, planned.layers, of_layers))
    factors, width = closed.on(board.name, graph.name, sum(layer.macs for layer in priced))
    layers = tuple(by_factor(layer, closed, factors) for layer in priced)
    latency_s = sum(layer.latency_s for layer in layers)
    energy_j = sum(layer.energy_j for layer in layers)
    time, elsewhere = _closed_range(board, closed, width, dominant_family(layers))
    energy = widened(time, Bounds.of(board, closed.name, dominant_family(layers)).power)
    return Estimate(
        graph.name,
        board,
        closed.name,
        CLOSED_BUILD,
        rate_hz,
        places,
        with_intervals(layers, time, energy),
        nothing_known(),
        nothing_known(),
        nothing_known(),
        None,
        (),
        (constants_part(planned),),
        (latency_s * time[0], latency_s * time[1]),
        (energy_j * energy[0], energy_j * energy[1]),
        None,
        (closed.warning, *elsewhere),
    )


def _closed_range(
    board: Board, closed: ClosedRuntime, width: float, family: str
) -> tuple[Range, tuple[str, ...]]:
    """Interval of a closed runtime's time, and what is said where it was not measured."""
    time = math.exp(-width), math.exp(width)
    if board.name in closed.boards:
        return time, ()
    fitted = board.calibration
    if fitted and closed.name in fitted.software:
        return Bounds.of(board, closed.name, family).time, ()
    # A factor over what is predicted is known no better than that.
    low, high = Bounds.of(board, " ".join(closed.compared_with), family).time
    said = f"{closed.name} was not measured on {board.name}: its factors are those of other boards"
    if not board.calibrated:
        said += ", and no measured run of this one has been fitted"
    return (min(time[0], low), max(time[1], high)), (said,)


def rounds_once(runtime: str, build: str) -> bool:
    """Whether a build computes with CMSIS-NN's single rounding."""
    return build.endswith("-sr") and runtime.startswith("cmsis-nn")


def _planned(graph: Graph, runtime: str, board: Board, build: str) -> Plan:
    once = rounds_once(runtime, build)
    try:
        return plan(graph, runtime, core=board.core.profile, single_rounding=once)
    except ModelError as error:
        if str(error).startswith(graph.name):
            raise
        raise type(error)(f"{graph.name}: {error}") from None


def _active_w(board: Board, clock_hz: float, software: str) -> float:
    """Power while computing, with what this software was measured to add."""
    fitted = board.calibration
    scale = fitted.power_scale.get(software, 1.0) if fitted else 1.0
    return scale * board.power.active_w(clock_hz)


def _known(call: KernelCall | None) -> list[KernelCall]:
    """What a part runs; nothing in firmware without an interpreter."""
    return [] if call is None else [call]


def _with_fpu(board: Board, fpu: bool | None) -> Board:
    if fpu is None or (not fpu and not board.core.has_fpu):
        return board
    if fpu and not board.core.has_fpu:
        raise InputError(f"{board.name}: {board.core.name} has no floating-point unit")
    return board if fpu else without_fpu(board)


def _clock(board: Board, clock_hz: float | None) -> float:
    clock, supply_v = board.clock, board.power.supply_v
    rate_hz = float(clock.default_hz if clock_hz is None else clock_hz)
    max_hz = min(clock.max_hz, board.flash.max_hz_at(supply_v))
    if not clock.min_hz <= rate_hz <= max_hz:
        at = f" at {supply_v:g} V" if max_hz < clock.max_hz else ""
        raise InputError(
            f"{board.name} runs at {clock.min_hz / 1e6:g} to {max_hz / 1e6:g} MHz{at}, "
            f"not at {rate_hz / 1e6:g} MHz"
        )
    return rate_hz


def _with_supply(board: Board, supply_v: float | None, regulator: Regulator | None) -> Board:
    if supply_v is None and regulator is None:
        return board
    if regulator not in (None, "ldo", "smps"):
        raise InputError(f"a regulator is 'ldo' or 'smps', not {regulator!r}")
    if supply_v is not None and not SUPPLY_V[0] <= supply_v <= SUPPLY_V[1]:
        raise InputError(f"{supply_v:g} V supplies no board; is it meant in another unit?")
    if supply_v is not None and (others := board.power.other_supplies(supply_v)):
        raise InputError(f"{board.name} runs at {others}, not at {supply_v:g} V")
    try:
        power: Power = board.power.with_supply(supply_v, regulator)
    except ValueError:
        raise InputError(
            f"{board.name}: the current through its {regulator} is not known; give `power.core_v`"
        ) from None
    return board.model_copy(update={"power": power})


def _placement(board: Board, given: Mapping[str, str]) -> dict[str, str]:
    for what, where in given.items():
        if what not in PLACES:
            raise InputError(f"{what!r} cannot be placed; {_suggestion(what, PLACES)}")
        fixed = ("flash", "ram") if PLACES[what] == "flash" else ("ram",)
        named = [name for name in board.places if name not in fixed]
        if PLACES[what] == "ram":
            named = [name for name in named if "flash" not in name]
        if where not in (*fixed, *named):
            also = f"; {board.name} also has {', '.join(named)}" if named else ""
            raise InputError(f"{what} lies in {' or '.join(fixed)}, not in {where!r}{also}")
    return PLACES | dict(given)


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _flash_interval(
    program: Iterable[FlashPart], planned: Plan, core: str, build: str
) -> tuple[int, int] | None:
    width = flash_half_width(planned, core, build)
    if width is None:
        return None
    total = sum(part.size_bytes for part in program)
    return math.floor(total * math.exp(-width)), math.ceil(total * math.exp(width))


def _time_range(bounds: Bounds, profiles: float) -> Range:
    """Interval of time with what kernel profiles leave open."""
    if bounds.distance not in ("network", "kind"):
        return widened(bounds.time, profiles)
    # Runs of this software on this board were wrong by its profiles as well.
    width = math.hypot(half_width("latency", "kind"), profiles)
    if bounds.distance == "network":
        width = 0.0
    low, high = bounds.time
    return min(low, math.exp(-width)), max(high, math.exp(width))


def _profile_error(parts: Sequence[PartEstimate]) -> float:
    """Half the width of what the kernel profiles leave open, as a logarithm.

    Errors of layers are taken to go together, as one compiler and one fit made them all.
    """
    total = sum(part.cycles for part in parts)
    error = sum(part.cycles * part.error for part in parts) / total if total else 0.0
    return _Z90 * math.log1p(error)


def _warnings(board: Board, software: str, layers: Sequence[LayerEstimate]) -> tuple[str, ...]:
    """Those of the board and of layers; what several layers share is said once."""
    by_text: dict[str, list[LayerEstimate]] = {}
    for layer in layers:
        for text in layer.warnings:
            by_text.setdefault(text, []).append(layer)
    said = [f"{_where(found)}: {text}" for text, found in by_text.items()]
    if not board.calibrated:
        found = board.core.uncalibrated
        said.insert(
            0,
            f"uncalibrated board: no measured run of {board.name} has been fitted; measured time "
            f"may be {found.measured_over_predicted_low:.3g} to "
            f"{found.measured_over_predicted_high:.3g} times the prediction (90 %)"
            f"{'' if found.runs else f', as boards with other cores than {board.core.name} were'}",
        )
    elif board.calibration and software not in board.calibration.software:
        said.insert(
            0,
            f"{board.name} was calibrated with {', '.join(board.calibration.software)}, not with "
            f"{software}: the interval is that of software which was not measured",
        )
    return tuple(said)


def _where(layers: Sequence[LayerEstimate]) -> str:
    first = layers[0]
    if len(layers) == 1:
        return f"operator {first.index} ({first.operator})"
    return f"{len(layers)} operators from {first.index} ({first.operator})"
