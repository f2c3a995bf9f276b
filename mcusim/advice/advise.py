"""Tries changes of one setting at a time, and all good ones together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mcusim.advice.channels import channel_groups, resized
from mcusim.advice.replacement import as_convolution
from mcusim.boards import Board, board_names, load_board
from mcusim.errors import InputError, McusimError
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.graph import Graph
from mcusim.runtimes import FlashPart

__all__ = ["Advice", "Change", "Setting", "advise"]

#: A change that buys less than this share of time and of energy is not worth saying.
_LEAST_GAIN = 0.01
#: Channels that a kernel takes in one step, by what SIMD the core has.
_PERIODS = (4, 16)
#: Leaving out more than this share of a layer's channels makes another network altogether.
_MOST_TRIMMED = 0.25
#: Builds that a project can choose between without changing its code.
_BUILDS = ("gcc-O3", "gcc-mk", "gcc-Os")
_BUILD_NAMES = {"gcc-mk": "gcc-mk (kernels -O2, the rest -Os)"}
#: Boards that are there for comparison only.
_NO_MICROCONTROLLERS = ("raspberry-pi-4b",)
_RUNTIMES = ("tflm", "cmsis-nn")


@dataclass(frozen=True)
class Setting:
    """Everything that decides what an inference takes.

    Attributes:
        graph: the model.
        board: where it runs.
        runtime: the software that runs it.
        build: compiler and flag.
        clock_hz: clock of the core; the board's own when None.
        placement: where code, weights, arena and stack lie, where not as usual.
    """

    graph: Graph
    board: Board
    runtime: str = "tflm"
    build: str = "gcc-O3"
    clock_hz: float | None = None
    placement: Mapping[str, str] = field(default_factory=dict)

    def estimate(self) -> Estimate:
        """What it takes.

        Raises:
            InputError: the settings do not go together.
            ModelError: the runtime cannot run the model.
        """
        return estimate(
            self.graph,
            self.board,
            self.runtime,
            self.build,
            clock_hz=self.clock_hz,
            placement=self.placement,
        )


@dataclass(frozen=True)
class Change:
    """A change, and what the model takes with it.

    Attributes:
        kind: ``"runtime"``, ``"build"``, ``"flags"``, ``"placement"``, ``"cache"``, ``"clock"``,
            ``"board"``, ``"layer"``, ``"channels"`` or ``"together"``.
        what: what to do.
        cost: what it costs beside the figures; empty for nothing.
        keeps_bits: whether the outputs stay the same to the bit.
        setting: the changed setting.
        estimate: what it takes.
    """

    kind: str
    what: str
    cost: str
    keeps_bits: bool
    setting: Setting
    estimate: Estimate

    @property
    def is_other_model(self) -> bool:
        """Whether the model itself is another one, to be written out and tried."""
        return self.kind in ("layer", "channels", "together")


@dataclass(frozen=True)
class Advice:
    """What was tried and is worth saying.

    Attributes:
        before: what the model takes now.
        changes: those that buy something, by time saved.
        below_s: the deadline that the clock was chosen for; None without one.
    """

    before: Estimate
    changes: tuple[Change, ...]
    below_s: float | None

    def time_saved(self, change: Change) -> float:
        """Share of the time that a change saves; negative where it takes longer."""
        return 1 - change.estimate.latency_s / self.before.latency_s

    def energy_saved(self, change: Change) -> float:
        """Share of the energy that a change saves; negative where it takes more."""
        return 1 - change.estimate.energy_j / self.before.energy_j


def advise(setting: Setting, *, below_s: float | None = None) -> Advice:
    """Try changes and price them.

    Args:
        setting: as things are.
        below_s: a deadline, in seconds: the clock of least energy whose whole 90 % interval lies
            below it is looked for.

    Raises:
        InputError: the settings do not go together, or nothing prices the model as it is.
        ModelError: the runtime cannot run the model.
    """
    before = setting.estimate()
    if not before.latency_s or not all(layer.is_priced for layer in before.layers):
        raise InputError(f"{before.model}: nothing prices some layer, so that no change can be")
    tried = [change for step in _STEPS for change in step(setting, before)]
    clock = _clock(setting, before, below_s)
    worth = [c for c in tried if _gain(before, c.estimate) >= _LEAST_GAIN and _fits(c.estimate)]
    worth += [clock] if clock else []
    together = _together(setting, before, worth)
    worth += [together] if together else []
    ordered = sorted(worth, key=lambda change: change.estimate.latency_s)
    return Advice(before, tuple(ordered), below_s)


def _gain(before: Estimate, after: Estimate) -> float:
    time = 1 - after.latency_s / before.latency_s
    energy = 1 - after.energy_j / before.energy_j
    return max(time, energy)


def _fits(found: Estimate) -> bool:
    board = found.board
    return (found.ram_bytes or 0) <= board.ram.bytes and found.flash_bytes <= board.flash.bytes


def _try(
    kind: str, what: str, setting: Setting, cost: str = "", keeps: bool = True
) -> list[Change]:
    """The change priced; nothing where it cannot be made."""
    try:
        found = setting.estimate()
    except McusimError:
        return []
    if not found.latency_s or not all(layer.is_priced for layer in found.layers):
        return []
    return [Change(kind, what, cost, keeps, setting, found)]


def _runtimes(setting: Setting, before: Estimate) -> Iterator[Change]:
    for name in _RUNTIMES:
        if name != before.runtime:
            yield from _try("runtime", f"run it with {name}", replace(setting, runtime=name))


def _builds(setting: Setting, before: Estimate) -> Iterator[Change]:
    for name in _BUILDS:
        if name == before.build:
            continue
        what = f"build it with {_BUILD_NAMES.get(name, name)}"
        for change in _try("build", what, replace(setting, build=name)):
            yield change
            if (before.build, name) == ("gcc-Os", "gcc-O3"):
                yield _kernels_only(before, change)


def _kernels_only(before: Estimate, faster: Change) -> Change:
    """Kernels of a faster build in the program of the present one."""

    def is_kernel(part: FlashPart) -> bool:
        return "kernel" in part.name

    parts = [part for part in before.flash if not is_kernel(part)]
    kernels = [part for part in faster.estimate.flash if is_kernel(part)]
    mixed = replace(
        faster.estimate,
        build="gcc-Os, kernels gcc-O3",
        invoke=before.invoke,
        construct=before.construct,
        flash=(*parts, *kernels),
        flash_interval_bytes=None,
    )
    return replace(faster, kind="flags", what="build the kernels alone with gcc-O3", estimate=mixed)


def _placements(setting: Setting, before: Estimate) -> Iterator[Change]:
    sizes = _sizes(before)
    for what, size in sizes.items():
        seen: set[float] = set()
        for place in setting.board.places:
            room = _room(setting.board, place)
            if place == before.placement[what] or (room is not None and size > room):
                continue
            moved = replace(setting, placement={**setting.placement, what: place})
            cost = f"{size:,} bytes of {place}" if size else ""
            for change in _try("placement", f"move {what} to {place}", moved, cost):
                # Memories that are as fast as one before are no advice of their own.
                if change.estimate.latency_s not in seen:
                    seen.add(change.estimate.latency_s)
                    yield change


def _sizes(before: Estimate) -> dict[str, int]:
    parts = {part.name: part.size_bytes for part in before.flash}
    model = parts.pop("model", 0)
    code = sum(parts.values())
    return {"code": code, "weights": model, "arena": before.arena_bytes or 0, "stack": 0}


def _room(board: Board, place: str) -> int | None:
    """Bytes of a memory; None where the board does not say."""
    if place in board.regions:
        return board.regions[place][1]
    return {"flash": board.flash.bytes, "ram": board.ram.bytes}.get(place)


def _caches(setting: Setting, before: Estimate) -> Iterator[Change]:
    flash = setting.board.flash
    for key, name in (("icache_on", "instruction cache"), ("dcache_on", "data cache")):
        if getattr(flash, key) is False:
            board = setting.board.with_flash(**{key: True})
            yield from _try("cache", f"turn the {name} on", replace(setting, board=board))


def _boards(setting: Setting, before: Estimate) -> Iterator[Change]:
    for name in board_names():
        if name == setting.board.name or name in _NO_MICROCONTROLLERS:
            continue
        try:
            board = load_board(name)
        except McusimError:
            continue
        moved = Setting(setting.graph, board, setting.runtime, setting.build)
        cost = "" if board.calibrated else "an uncalibrated board: a wide interval"
        yield from _try("board", f"use {name}", moved, cost)


def _layers(setting: Setting, before: Estimate) -> Iterator[Change]:
    for node in setting.graph.main.nodes:
        graph = as_convolution(setting.graph, node)
        if graph is not None:
            what = f"make operator {node.index} (DEPTHWISE_CONV_2D) a CONV_2D"
            yield from _try("layer", what, replace(setting, graph=_named(graph, node.index)))


def _channels(setting: Setting, before: Estimate) -> Iterator[Change]:
    for group in channel_groups(setting.graph):
        count = group.channels
        listed = ", ".join(map(str, group.makers))
        of = f"channels of operator{'s' if len(group.makers) > 1 else ''} {listed}"
        wider = {-(-count // period) * period for period in _PERIODS} - {count}
        narrower = {count // period * period for period in _PERIODS} - {count, 0}
        for size in sorted(wider | narrower):
            if 1 - size / count > _MOST_TRIMMED or size > 2 * count:
                continue
            graph = resized(setting.graph, group, size)
            what = f"{'pad' if size > count else 'trim'} the {count} {of} to {size}"
            cost = "" if size > count else "another network: to be trained again"
            changed = replace(setting, graph=_named(graph, *group.makers, size))
            yield from _try("channels", what, changed, cost, keeps=size > count)


def _named(graph: Graph, *marks: int) -> Graph:
    return replace(graph, name="-".join([graph.name.removesuffix(".tflite"), *map(str, marks)]))


_STEPS = (_runtimes, _builds, _placements, _caches, _layers, _channels, _boards)


def _clock(setting: Setting, before: Estimate, below_s: float | None) -> Change | None:
    """The clock of least energy under the deadline; without one, of those that lose no time."""
    clock = setting.board.clock
    edges = [limit for limit, _ in setting.board.flash.wait_states]
    rates = {float(hz) for hz in (*edges, clock.default_hz, clock.max_hz)}
    rates = {hz for hz in rates if clock.min_hz <= hz <= clock.max_hz and hz != before.clock_hz}
    found: list[Change] = []
    for hz in sorted(rates):
        what = f"clock it at {hz / 1e6:g} MHz"
        found += _try("clock", what, replace(setting, clock_hz=hz))
    limit_s = before.latency_s if below_s is None else below_s
    holding = [
        c
        for c in found
        if (c.estimate.latency_s if below_s is None else c.estimate.latency_interval_s[1])
        <= limit_s
    ]
    best = min(holding, key=lambda c: c.estimate.energy_j, default=None)
    late = below_s is not None and before.latency_interval_s[1] > below_s
    if best is None or (not late and _gain(before, best.estimate) < _LEAST_GAIN):
        return None
    return best


def _together(setting: Setting, before: Estimate, worth: Sequence[Change]) -> Change | None:
    """Every kind's fastest change that keeps bits and board, one on top of the other."""
    chosen: list[Change] = []
    current, best = setting, before
    for kind in ("runtime", "build", "cache"):
        chosen, current, best = _added(kind, worth, chosen, current, best)
    for change in [c for c in worth if c.kind == "placement"]:
        moved = dict(change.setting.placement.items() - setting.placement.items())
        merged = replace(current, placement={**current.placement, **moved})
        found = _try("placement", change.what, merged, change.cost)
        if found and _better(found[0].estimate, best) and _room_for_all(found[0]):
            chosen, current, best = [*chosen, change], merged, found[0].estimate
    if len(chosen) < 2:
        return None
    what = "; ".join(change.what for change in chosen)
    cost = "; ".join(change.cost for change in chosen if change.cost)
    return Change("together", what, cost, all(c.keeps_bits for c in chosen), current, best)


def _added(
    kind: str, worth: Sequence[Change], chosen: list[Change], current: Setting, best: Estimate
) -> tuple[list[Change], Setting, Estimate]:
    of_kind = [c for c in worth if c.kind == kind and c.keeps_bits]
    for change in sorted(of_kind, key=lambda c: c.estimate.latency_s)[:1]:
        merged = replace(
            current,
            runtime=change.setting.runtime if kind == "runtime" else current.runtime,
            build=change.setting.build if kind == "build" else current.build,
            board=change.setting.board if kind == "cache" else current.board,
        )
        found = _try(kind, change.what, merged)
        if found and _better(found[0].estimate, best):
            return [*chosen, change], merged, found[0].estimate
    return chosen, current, best


def _better(after: Estimate, before: Estimate) -> bool:
    return after.latency_s < before.latency_s * (1 - _LEAST_GAIN) and _fits(after)


def _room_for_all(change: Change) -> bool:
    """Whether everything placed in one memory has room there together."""
    found, board = change.estimate, change.setting.board
    sizes = _sizes(found)
    used: dict[str, int] = {}
    for what, place in found.placement.items():
        used[place] = used.get(place, 0) + sizes[what]
    return all((room := _room(board, place)) is None or n <= room for place, n in used.items())
