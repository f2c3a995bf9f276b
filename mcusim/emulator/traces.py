"""When each function ran: files for Perfetto and speedscope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcusim.emulator.block_hook import TICKS
from mcusim.emulator.image_types import Symbol
from mcusim.emulator.layers import LayerWatch
from mcusim.emulator.machine import Machine
from mcusim.emulator.names import plain_name
from mcusim.emulator.profile import Execution

__all__ = ["Span", "Timeline", "perfetto", "record", "speedscope"]

#: Entries and returns of functions kept: what viewers still open with ease.
_MOST_EVENTS = 200_000
_DEEPEST = 256
_FUNCTIONS, _LAYERS, _SLEEP = 1, 2, 3


@dataclass(frozen=True)
class Span:
    """A function from its entry to its return.

    Attributes:
        name: of the function.
        start: core cycles since reset.
        end: the same.
        depth: how many functions it was called from, directly and not.
    """

    name: str
    start: float
    end: float
    depth: int


@dataclass(frozen=True)
class Timeline:
    """What a machine did, in time.

    Attributes:
        changes: time in core cycles, whether a function is entered, and its name, in order; they
            nest.
        is_whole: whether there was room for all of it.
    """

    changes: tuple[tuple[float, bool, str], ...]
    is_whole: bool

    @classmethod
    def of(cls, machine: Machine) -> Timeline:
        """What a machine has recorded."""
        return cls(tuple(_changes(machine)), not machine.counter.has_lost_events)

    def spans(self) -> Iterator[Span]:
        """Functions by the time they were left."""
        stack: list[tuple[float, str]] = []
        for time, enters, name in self.changes:
            if enters:
                stack.append((time, name))
            else:
                start, _ = stack.pop()
                yield Span(name, start, time, len(stack))


def record(machine: Machine) -> None:
    """Keep the times of functions from now on; execution is somewhat slower then."""
    machine.counter.record((f.address for f in machine.image.functions), _MOST_EVENTS)
    machine.sleeps = []


def perfetto(
    machine: Machine, timeline: Timeline, execution: Execution, watch: LayerWatch | None = None
) -> dict[str, Any]:
    """A trace in Chrome's JSON format, which Perfetto opens: layers, functions, waits, current."""
    scale = 1e6 / machine.clock_hz
    events: list[dict[str, Any]] = [
        _named("process_name", 0, machine.image.name),
        _named("thread_name", _FUNCTIONS, "functions"),
        _named("thread_name", _LAYERS, "layers"),
        _named("thread_name", _SLEEP, "sleep"),
    ]
    for time, enters, name in timeline.changes:
        phase = "B" if enters else "E"
        events.append(_event(phase, time * scale, _FUNCTIONS, name))
    for inference in watch.inferences if watch else ():
        for layer in inference.layers:
            name = f"{layer.index} {plain_name(layer.function.name)}"
            start, end = layer.start_cycles, layer.end_cycles
            duration = (end - start) * scale
            events.append(_event("X", start * scale, _LAYERS, name) | {"dur": duration})
    for start, end in machine.sleeps or ():
        duration = (end - start) * scale
        events.append(_event("X", start * scale, _SLEEP, "asleep") | {"dur": duration})
    events += _waits(timeline, execution, scale)
    events += _currents(machine, scale)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "board": machine.board.name,
            "clock_hz": machine.clock_hz,
            "is_whole": timeline.is_whole,
        },
    }


def speedscope(machine: Machine, timeline: Timeline) -> dict[str, Any]:
    """A profile that speedscope opens, in microseconds of board time."""
    scale = 1e6 / machine.clock_hz
    frames: dict[str, int] = {}
    events = [
        {
            "type": "O" if enters else "C",
            "frame": frames.setdefault(name, len(frames)),
            "at": time * scale,
        }
        for time, enters, name in timeline.changes
    ]
    times = [event["at"] for event in events]
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "mcusim",
        "name": machine.image.name,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": [
            {
                "type": "evented",
                "name": f"{machine.image.name} on {machine.board.name}",
                "unit": "microseconds",
                "startValue": times[0] if times else 0.0,
                "endValue": times[-1] if times else 0.0,
                "events": events,
            }
        ],
    }


def _changes(machine: Machine) -> Iterator[tuple[float, bool, str]]:
    """Entries and returns, told by where control goes.

    Control at the first instruction of a function is an entry, anywhere else it comes back to a
    function that is on the stack: what is above it has ended. A function on no stack, as after a
    switch of tasks, begins a new one.
    """
    stack: list[Symbol] = []
    time = 0.0
    for ticks, address in machine.counter.events():
        time = max(time, float(ticks) / TICKS)
        function = machine.image.function_at(int(address))
        if function is None or (stack and stack[-1] is function):
            continue  # in the same function: a loop that begins at its first instruction
        enters = int(address) == function.address and len(stack) < _DEEPEST
        if not enters:
            while stack and stack[-1] is not function:
                yield time, False, plain_name(stack.pop().name)
        if not stack or stack[-1] is not function:
            stack.append(function)
            yield time, True, plain_name(function.name)
    if not machine.counter.has_lost_events:
        time = max(time, machine.cycles)
    while stack:
        yield time, False, plain_name(stack.pop().name)


def _waits(timeline: Timeline, execution: Execution, scale: float) -> Iterator[dict[str, Any]]:
    """Share of the time that the running function waits for memory, by its average."""
    share: Mapping[str, float] = {
        f.name: 1 - f.part.cycles_by_cause.core / f.part.cycles
        for f in execution.functions
        if f.part.cycles
    }
    stack: list[str] = []
    said = -1.0
    for time, enters, name in timeline.changes:
        if enters:
            stack.append(name)
        else:
            stack.pop()
        percent = round(100 * share.get(stack[-1], 0.0), 1) if stack else 0.0
        if percent != said:
            said = percent
            yield _counter("waiting for memory (%)", time * scale, percent)


def _currents(machine: Machine, scale: float) -> Iterator[dict[str, Any]]:
    """Supply current: computing, or waiting for an interrupt."""
    power = machine.board.power
    active_ma = 1e3 * power.active_w(machine.clock_hz) / power.supply_v
    idle_w = power.idle_w(machine.clock_hz)
    idle_ma = active_ma if idle_w is None else 1e3 * idle_w / power.supply_v
    yield _counter("current (mA)", 0.0, active_ma)
    for start, end in machine.sleeps or ():
        yield _counter("current (mA)", start * scale, idle_ma)
        yield _counter("current (mA)", end * scale, active_ma)
    yield _counter("current (mA)", machine.cycles * scale, active_ma)


def _event(phase: str, time_us: float, track: int, name: str) -> dict[str, Any]:
    return {"ph": phase, "ts": time_us, "pid": 1, "tid": track, "name": name}


def _counter(name: str, time_us: float, value: float) -> dict[str, Any]:
    return {"ph": "C", "ts": time_us, "pid": 1, "name": name, "args": {"value": value}}


def _named(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": track, "name": kind, "args": {"name": name}}
