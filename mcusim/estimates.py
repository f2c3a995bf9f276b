"""What an estimate says: time, energy and memory of one inference, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mcusim.boards import Board, Calibration, Cycles
from mcusim.instruction_mix import InstructionMix
from mcusim.runtimes import FlashPart, MemoryPlan, RamPart

__all__ = [
    "FAMILIES",
    "SCHEMA",
    "Estimate",
    "LayerEstimate",
    "PartEstimate",
    "TensorSummary",
    "dominant_family",
    "operator_family",
]

#: Families of operators that kernels of one kind compute.
FAMILIES = ("convolution", "depthwise", "pointwise", "dense", "rest")

#: Name and version of what :meth:`Estimate.to_dict` returns.
SCHEMA = "mcusim/estimate/1"


@dataclass(frozen=True)
class TensorSummary:
    """Shape and element type of a tensor, as reports show it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class PartEstimate:
    """Something the device executes once.

    Attributes:
        kernel: function of the library.
        reason: why the runtime runs this one.
        instructions: what it executes.
        cycles_by_cause: executing, and waiting for memory.
        latency_s: time.
        energy_j: energy drawn from the supply meanwhile.
        priced_by: profile and build that price it, ``"<profile> <core>.<build>"``; empty when
            nothing does, and instructions, time and energy are missing from every total.
        is_exact: whether the kernel itself was counted in this build.
        error: relative error of the instructions, about one standard deviation.
        warnings: what a user must know.
    """

    kernel: str
    reason: str
    instructions: InstructionMix
    cycles_by_cause: Cycles
    latency_s: float
    energy_j: float
    priced_by: str
    is_exact: bool
    error: float
    warnings: tuple[str, ...] = ()

    @property
    def cycles(self) -> float:
        """Cycles of the core."""
        return self.cycles_by_cause.total

    @property
    def is_priced(self) -> bool:
        """Whether a profile prices it."""
        return bool(self.priced_by)


@dataclass(frozen=True, kw_only=True)
class LayerEstimate(PartEstimate):
    """One operator of the model.

    Attributes:
        index: position in the main subgraph.
        operator: the schema's name.
        inputs: tensors it computes from, constants included.
        outputs: tensors it writes.
        macs: multiply-accumulates, those on padding included.
        scratch_bytes: scratch buffers in the arena.
        misaligned_accesses: accesses that words at odd addresses take beyond their first.
        latency_interval_s: low and high, 90 %; wider than the network's, whose layers average out.
        energy_interval_j: the same of its energy.
    """

    index: int
    operator: str
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    macs: int
    scratch_bytes: int
    misaligned_accesses: float = 0.0
    latency_interval_s: tuple[float, float] = (0.0, 0.0)
    energy_interval_j: tuple[float, float] = (0.0, 0.0)

    @property
    def family(self) -> str:
        """Which of :data:`FAMILIES` it belongs to."""
        return operator_family(self.operator, [tensor.shape for tensor in self.inputs])


def operator_family(operator: str, shapes: Sequence[tuple[int, ...]]) -> str:
    """Which of :data:`FAMILIES` an operator belongs to.

    Args:
        operator: the schema's name.
        shapes: of its inputs; the second is the weights.
    """
    if operator == "CONV_2D":
        return "pointwise" if shapes[1][1:3] == (1, 1) else "convolution"
    return {"DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense"}.get(operator, "rest")


def dominant_family(layers: Sequence[LayerEstimate]) -> str:
    """The family that takes most of the time; ``"rest"`` without layers."""
    cycles = dict.fromkeys(FAMILIES, 0.0)
    for layer in layers:
        cycles[layer.family] += layer.cycles
    return max(FAMILIES, key=lambda name: cycles[name]) if layers else "rest"


@dataclass(frozen=True)
class Estimate:
    """What a model takes on a board. Times and energies are those of one inference.

    Attributes:
        model: name of the model.
        board: the board, with the overrides of this estimate.
        runtime: the software that runs the model.
        build: compiler and flag.
        clock_hz: clock of the core.
        placement: where code, weights, arena and stack lie.
        layers: one a layer, in order.
        invoke: what the interpreter's loop takes beside the layers.
        construct: building the interpreter, once; not part of an inference.
        allocate: AllocateTensors, once; not part of an inference.
        memory: the tensor arena; None for an older generation, which does not tell what it uses.
        static_ram: variables of the program, beside the arena and the stack.
        flash: what lies in flash, by part.
        latency_interval_s: low and high, 90 %.
        energy_interval_j: low and high, 90 %.
        flash_interval_bytes: low and high, 90 %; None where no program was counted.
        warnings: what a user must know, those of layers included.
    """

    model: str
    board: Board
    runtime: str
    build: str
    clock_hz: float
    placement: Mapping[str, str]
    layers: tuple[LayerEstimate, ...]
    invoke: PartEstimate
    construct: PartEstimate
    allocate: PartEstimate
    memory: MemoryPlan | None
    static_ram: tuple[RamPart, ...]
    flash: tuple[FlashPart, ...]
    latency_interval_s: tuple[float, float]
    energy_interval_j: tuple[float, float]
    flash_interval_bytes: tuple[int, int] | None
    warnings: tuple[str, ...] = ()

    @property
    def cycles(self) -> float:
        """Cycles of one inference."""
        return self.invoke.cycles + sum(layer.cycles for layer in self.layers)

    @property
    def latency_s(self) -> float:
        """Time of one inference, in seconds."""
        return self.cycles / self.clock_hz

    @property
    def energy_j(self) -> float:
        """Energy of one inference, in joules."""
        return self.invoke.energy_j + sum(layer.energy_j for layer in self.layers)

    @property
    def energy_above_idle_j(self) -> float | None:
        """Energy beyond that of a core that waits as long, in joules; None if that is unknown."""
        idle_w = self.board.power.idle_w(self.clock_hz)
        return None if idle_w is None else self.energy_j - idle_w * self.latency_s

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, those on padding included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def instructions(self) -> InstructionMix:
        """Instructions of one inference."""
        mix = self.invoke.instructions
        for layer in self.layers:
            mix = mix + layer.instructions
        return mix

    @property
    def arena_bytes(self) -> int | None:
        """Tensor arena, as ``arena_used_bytes()`` reports it on the device; None if unknown."""
        return None if self.memory is None else self.memory.arena_bytes

    @property
    def arena_interval_bytes(self) -> tuple[int, int] | None:
        """The arena twice: it is exact, to the byte, on every counted program; None if unknown."""
        arena = self.arena_bytes
        return None if arena is None else (arena, arena)

    @property
    def ram_bytes(self) -> int | None:
        """Tensor arena and variables; the stack comes on top. None if the arena is unknown."""
        arena = self.arena_bytes
        return None if arena is None else arena + sum(part.size_bytes for part in self.static_ram)

    @property
    def flash_bytes(self) -> int:
        """Model, runtime and kernels in flash."""
        return sum(part.size_bytes for part in self.flash)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        # By name: renderers stand above what they render, and only a notebook needs this one.
        fragment: str = import_module("mcusim.report.page").html_fragment(self)
        return fragment

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, after the schema in ``mcusim/report/estimate.schema.json``."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "board": {
                "name": self.board.name,
                "core": self.board.core.name,
                "calibrated": self.board.calibrated,
                "ram_bytes": self.board.ram.bytes,
                "flash_bytes": self.board.flash.bytes,
                "supply_v": self.board.power.supply_v,
                "regulator": self.board.power.regulator,
                "calibration": _calibration_dict(self.board.calibration),
            },
            "runtime": self.runtime,
            "build": self.build,
            "clock_hz": self.clock_hz,
            "placement": dict(self.placement),
            "latency_s": self.latency_s,
            "latency_interval_s": list(self.latency_interval_s),
            "energy_j": self.energy_j,
            "energy_interval_j": list(self.energy_interval_j),
            "energy_above_idle_j": self.energy_above_idle_j,
            "cycles": self.cycles,
            "macs": self.macs,
            "instructions": self.instructions.to_dict(),
            "arena_bytes": self.arena_bytes,
            "arena_interval_bytes": _listed(self.arena_interval_bytes),
            "memory": self.memory
            and {
                "head_bytes": self.memory.head_bytes,
                "placements": [vars(buffer) for buffer in self.memory.placements],
                "persistent": [vars(part) for part in self.memory.persistent],
            },
            "ram_bytes": self.ram_bytes,
            "static_ram": [vars(part) for part in self.static_ram],
            "flash_bytes": self.flash_bytes,
            "flash_interval_bytes": _listed(self.flash_interval_bytes),
            "flash": [vars(part) for part in self.flash],
            "layers": [_layer_dict(layer) for layer in self.layers],
            "invoke": _part_dict(self.invoke),
            "construct": _part_dict(self.construct),
            "allocate": _part_dict(self.allocate),
            "warnings": list(self.warnings),
        }


def _listed(bounds: tuple[int, int] | None) -> list[int] | None:
    return None if bounds is None else list(bounds)


def _calibration_dict(fitted: Calibration | None) -> dict[str, Any] | None:
    """What the board was calibrated on, and the factors that were fitted."""
    if fitted is None:
        return None
    return {
        "measured_on": fitted.measured_on,
        "runs": fitted.runs,
        "software": list(fitted.software),
        "time_scale": fitted.time_scale,
        "fetch_wait_scale": fitted.fetch_wait_scale,
        "constant_wait_scale": fitted.constant_wait_scale,
    }


def _part_dict(part: PartEstimate) -> dict[str, Any]:
    return {
        "kernel": part.kernel,
        "reason": part.reason,
        "instructions": part.instructions.to_dict(),
        "cycles": part.cycles,
        "cycles_by_cause": vars(part.cycles_by_cause),
        "latency_s": part.latency_s,
        "energy_j": part.energy_j,
        "priced_by": part.priced_by,
        "is_exact": part.is_exact,
        "error": part.error,
        "warnings": list(part.warnings),
    }


def _layer_dict(layer: LayerEstimate) -> dict[str, Any]:
    return {
        "index": layer.index,
        "operator": layer.operator,
        "inputs": [{"shape": list(t.shape), "dtype": t.dtype} for t in layer.inputs],
        "outputs": [{"shape": list(t.shape), "dtype": t.dtype} for t in layer.outputs],
        "macs": layer.macs,
        "scratch_bytes": layer.scratch_bytes,
        "misaligned_accesses": layer.misaligned_accesses,
        "latency_interval_s": list(layer.latency_interval_s),
        "energy_interval_j": list(layer.energy_interval_j),
        **_part_dict(layer),
    }
