"""What executed firmware took, by function and by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcusim.emulator.counts import Counts
from mcusim.emulator.machine import Machine, Stop
from mcusim.emulator.names import plain_name
from mcusim.emulator.timing import ranges
from mcusim.estimates import PartEstimate

__all__ = ["SCHEMA", "Execution", "FunctionProfile", "function_parts", "profile"]

#: Name and version of what :meth:`Execution.to_dict` returns.
SCHEMA = "mcusim/execution/1"
#: Blocks that lie in no function with a name.
_UNNAMED = "?"


@dataclass(frozen=True)
class FunctionProfile:
    """A function's own blocks, without those of functions that it calls.

    Attributes:
        name: of the function; ``"?"`` where the image names none.
        address: where it begins.
        entered: how often its first block was executed.
        part: what its blocks took.
    """

    name: str
    address: int
    entered: int
    part: PartEstimate


@dataclass(frozen=True)
class Execution:
    """A run of firmware.

    Attributes:
        image: name of the file.
        board: name of the board.
        clock_hz: of the core.
        stop: how it ended.
        functions: what was executed, the most expensive first.
        sleep_s: time that the core waited for interrupts.
        sleep_j: energy meanwhile; None where the board does not say.
        latency_interval_s: low and high, 90 %, of the time that the core executed.
        energy_interval_j: the same of energy.
        warnings: what a user must know.
    """

    image: str
    board: str
    clock_hz: float
    stop: Stop
    functions: tuple[FunctionProfile, ...]
    sleep_s: float
    sleep_j: float | None
    latency_interval_s: tuple[float, float]
    energy_interval_j: tuple[float, float]
    warnings: tuple[str, ...] = ()

    @property
    def instructions(self) -> float:
        """Instructions executed."""
        return sum(f.part.instructions.total for f in self.functions)

    @property
    def cycles(self) -> float:
        """Cycles that the core executed or waited for memory."""
        return sum(f.part.cycles for f in self.functions)

    @property
    def latency_s(self) -> float:
        """Time of the same."""
        return self.cycles / self.clock_hz

    @property
    def energy_j(self) -> float:
        """Energy of the same."""
        return sum(f.part.energy_j for f in self.functions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "schema": SCHEMA,
            "image": self.image,
            "board": self.board,
            "clock_hz": self.clock_hz,
            "stop": {"reason": self.stop.reason.name.lower(), "detail": self.stop.detail},
            "instructions": self.instructions,
            "cycles": self.cycles,
            "latency_s": self.latency_s,
            "latency_interval_s": list(self.latency_interval_s),
            "energy_j": self.energy_j,
            "energy_interval_j": list(self.energy_interval_j),
            "sleep_s": self.sleep_s,
            "sleep_j": self.sleep_j,
            "functions": [_function_dict(function) for function in self.functions],
            "warnings": list(self.warnings),
        }


def profile(machine: Machine, stop: Stop, counts: Counts | None = None) -> Execution:
    """Price what a machine has executed.

    Args:
        machine: it.
        stop: how it ended.
        counts: only these blocks; all since reset when None.
    """
    board = machine.board
    found = function_parts(machine, machine.counts() if counts is None else counts)
    latency_s = sum(f.part.latency_s for f in found)
    energy_j = sum(f.part.energy_j for f in found)
    time, energy = ranges(board)
    sleep_s = machine.sleep_cycles / machine.clock_hz
    idle_w = board.power.idle_w(machine.clock_hz)
    return Execution(
        machine.image.name,
        board.name,
        machine.clock_hz,
        stop,
        found,
        sleep_s,
        None if idle_w is None else idle_w * sleep_s,
        (latency_s * time[0], latency_s * time[1]),
        (energy_j * energy[0], energy_j * energy[1]),
        tuple(_warnings(machine)),
    )


def function_parts(machine: Machine, counts: Counts) -> tuple[FunctionProfile, ...]:
    """Blocks by function, the most expensive first."""
    pricing = machine.pricing
    found = []
    for address, (name, numbers) in _by_function(machine, counts).items():
        chosen = counts.chosen(numbers)
        entered = sum(
            int(times)
            for block, times in zip(chosen.blocks, chosen.executed, strict=True)
            if block.address == address
        )
        found.append(FunctionProfile(name, address, entered, pricing.part(name, chosen)))
    return tuple(sorted(found, key=lambda f: (-f.part.cycles, f.address)))


def _by_function(machine: Machine, counts: Counts) -> Mapping[int, tuple[str, list[int]]]:
    groups: dict[int, tuple[str, list[int]]] = {}
    for number in np.flatnonzero(counts.executed):
        function = machine.image.function_at(counts.blocks[number].address)
        at, name = (function.address, plain_name(function.name)) if function else (-1, _UNNAMED)
        groups.setdefault(at, (name, []))[1].append(int(number))
    return groups


def _warnings(machine: Machine) -> Iterable[str]:
    board = machine.board
    if not board.calibrated:
        (low, high), _ = ranges(board)
        yield (
            f"uncalibrated board: no measured run of {board.name} has been fitted; measured time "
            f"may be {low:.2g} to {high:.2g} times the prediction (90 %)"
        )
    if not machine.image.functions:
        yield (
            f"{machine.image.name} has no symbols of functions, so that time is not told by "
            "function: it was stripped, or its format has none"
        )
    for name in machine.refused_files:
        yield f"the firmware asked for the file {name!r}, which it was not allowed: see --file"
    undecoded = sum(block.undecoded for block in machine.counter.blocks)
    if undecoded:
        yield f"{undecoded} instructions are unknown to the disassembler and priced as arithmetic"


def _function_dict(function: FunctionProfile) -> dict[str, Any]:
    part = function.part
    return {
        "name": function.name,
        "address": function.address,
        "entered": function.entered,
        "instructions": part.instructions.to_dict(),
        "cycles": part.cycles,
        "cycles_by_cause": vars(part.cycles_by_cause),
        "latency_s": part.latency_s,
        "energy_j": part.energy_j,
    }
