"""What a runtime does with a model: the kernels it runs, and where every byte of RAM lies."""

from __future__ import annotations

from dataclasses import dataclass, field

from mcusim.graph import Graph, Node
from mcusim.kernels.cmsis_nn.alignment import Misaligned
from mcusim.kernels.contract import KernelCall

__all__ = [
    "BufferPlacement",
    "FlashPart",
    "LayerPlan",
    "MemoryPlan",
    "PersistentPart",
    "Plan",
    "RamPart",
]


@dataclass(frozen=True)
class BufferPlacement:
    """A buffer in the planned head of the tensor arena, and how long it lives.

    Attributes:
        name: the tensor's name, or what a scratch buffer is for.
        kind: ``"tensor"`` or ``"scratch"``.
        subgraph: index of the subgraph it belongs to.
        tensor: index of the tensor in its subgraph; None for a scratch buffer.
        offset_bytes: from the start of the head.
        size_bytes: as reserved, alignment included.
        first_operator: position in execution order where it is first needed; -1 for what must be
            there before the first operator, such as an input, -2 for what nothing uses. In a model
            with control flow an operator that calls subgraphs takes a position for each of them
            and for each of their operators.
        last_operator: where it is last needed, inclusive.
    """

    name: str
    kind: str
    subgraph: int
    tensor: int | None
    offset_bytes: int
    size_bytes: int
    first_operator: int
    last_operator: int


@dataclass(frozen=True)
class PersistentPart:
    """A part of the arena's tail that lives as long as the interpreter.

    Attributes:
        name: what it holds, all operators of a kind together.
        size_bytes: its size, gaps that alignment leaves included.
    """

    name: str
    size_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """The tensor arena of a 32-bit build, to the byte.

    Attributes:
        arena_bytes: what ``arena_used_bytes()`` returns on the device.
        head_bytes: the planned part, in which buffers share memory over time.
        placements: what lies in the head.
        persistent: what lies in the tail, by part.
    """

    arena_bytes: int
    head_bytes: int
    placements: tuple[BufferPlacement, ...]
    persistent: tuple[PersistentPart, ...]


@dataclass(frozen=True)
class LayerPlan:
    """What a runtime executes for one operator of the main subgraph.

    Attributes:
        node: the operator with its tensors.
        calls: the kernels it runs; operators of subgraphs it calls are counted in.
        scratch_bytes: what its kernels request as scratch buffers in the arena.
        misaligned: words that they load from where no word begins, where that is known.
    """

    node: Node
    calls: tuple[KernelCall, ...]
    scratch_bytes: int = 0
    misaligned: Misaligned = field(default_factory=Misaligned)


@dataclass(frozen=True)
class FlashPart:
    """A part of the program memory and where its size is from."""

    name: str
    size_bytes: int
    source: str


@dataclass(frozen=True)
class RamPart:
    """A part of the RAM that the program takes beside the arena, and where its size is from."""

    name: str
    size_bytes: int
    source: str


@dataclass(frozen=True)
class Plan:
    """A model under a runtime, before any core or board is known.

    Attributes:
        graph: the model.
        runtime: canonical name, such as ``"tflm"``, ``"cmsis-nn"`` or ``"cmsis-nn@2020"``.
        layers: one a main-subgraph operator, in order; firmware without an interpreter leaves out
            what only reshapes.
        construct: what building the interpreter runs, priced like a kernel; None, as the next two,
            for firmware without an interpreter.
        allocate: what AllocateTensors runs.
        invoke: what Invoke runs beside the operators.
        memory: the tensor arena; None for an older generation, which does not tell what it uses.
    """

    graph: Graph
    runtime: str
    layers: tuple[LayerPlan, ...]
    construct: KernelCall | None
    allocate: KernelCall | None
    invoke: KernelCall | None
    memory: MemoryPlan | None
