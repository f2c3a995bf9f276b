"""The tensor arena of TFLite Micro: what AllocateTensors puts where, to the byte.

The tail of the arena grows down with what persists: the allocator, tables of tensors and of
operators, options, kernel data, variables. The head holds activations and scratch buffers, planned
so that they share memory over time. ``arena_used_bytes()`` is their sum; what lies in the head only
while the model is prepared does not count, since the library does not keep the highest mark.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Node, Tensor
from mcusim.kernels.reference.control_flow import Resources, called_subgraphs
from mcusim.runtimes.abi import Struct, align_up
from mcusim.runtimes.greedy_planner import BufferRequirement, place
from mcusim.runtimes.kernel_memory import op_data, requests
from mcusim.runtimes.kernel_requests import Request, Target
from mcusim.runtimes.plan import BufferPlacement, MemoryPlan, PersistentPart
from mcusim.runtimes.tflm_structs import (
    AFFINE_QUANTIZATION,
    BUILTIN_DATA_ALLOCATOR,
    EVAL_TENSOR,
    GREEDY_MEMORY_PLANNER,
    MICRO_ALLOCATOR,
    MICRO_RESOURCE_VARIABLE,
    MICRO_RESOURCE_VARIABLES,
    NODE_AND_REGISTRATION,
    OPTIONS,
    SCRATCH_BUFFER_HANDLE,
    SINGLE_ARENA_BUFFER_ALLOCATOR,
    SUBGRAPH_ALLOCATIONS,
    TENSOR,
)

__all__ = ["ArenaPlan", "offline_offsets", "plan_arena"]

_Key = TypeVar("_Key")

#: ``MicroArenaBufferAlignment``.
_ALIGNMENT = 16
#: More steps than any device walks; a file that asks for more was made to stall its reader.
_MOST_STEPS = 100_000
_MOST_NESTED = 32


@dataclass(frozen=True)
class ArenaPlan:
    """A memory plan and what each operator asked for.

    Attributes:
        memory: the plan.
        scratch_bytes: scratch requested, in bytes, by (subgraph, operator).
    """

    memory: MemoryPlan
    scratch_bytes: dict[tuple[int, int], int]


@dataclass(frozen=True)
class _Scratch:
    subgraph: int
    operator: int
    purpose: str
    bytes: int


class _Tail:
    """The part of the arena that grows down from an aligned end."""

    def __init__(self, target: Target) -> None:
        self._abi = target.abi
        self._parts: dict[str, int] = {}
        self.used = 0

    def bytes(self, name: str, size: int, alignment: int = _ALIGNMENT) -> None:
        """Put ``size`` bytes at a multiple of ``alignment``, gaps counted to the part."""
        grown = align_up(self.used + size, alignment)
        self._parts[name] = self._parts.get(name, 0) + grown - self.used
        self.used = grown

    def structs(self, name: str, layout: Struct, count: int = 1) -> None:
        """Put an array of structures at their own alignment."""
        self.bytes(name, layout.bytes(self._abi) * count, layout.alignment(self._abi))

    @property
    def parts(self) -> tuple[PersistentPart, ...]:
        return tuple(PersistentPart(name, size) for name, size in self._parts.items())


def plan_arena(graph: Graph, target: Target) -> ArenaPlan:
    """Plan the arena as ``MicroInterpreter`` and ``AllocateTensors`` do.

    A model with resource variables gets a table for just as many as it names, which on a device is
    the program's choice.

    Raises:
        UnsupportedOperatorError: an operator has intermediate tensors that are not empty.
        ModelError: TFLM could not plan the model: element types without a size, subgraphs that call
            each other in a circle or are not there, an offline plan of another size.
    """
    tail = _Tail(target)
    tail.structs("arena allocator", SINGLE_ARENA_BUFFER_ALLOCATOR)
    tail.structs("memory planner", GREEDY_MEMORY_PLANNER)
    tail.structs("model allocator", MICRO_ALLOCATOR)
    resources = _resources(graph)
    if resources.names:
        tail.bytes("resource variables", MICRO_RESOURCE_VARIABLES.bytes(target.abi))
        entry = MICRO_RESOURCE_VARIABLE.bytes(target.abi)
        tail.bytes("resource variables", entry * len(resources.names))
    _start(graph, tail)
    scratch = _prepare(graph, target, tail, resources)
    if scratch:
        tail.structs("scratch buffer handles", SCRATCH_BUFFER_HANDLE, len(scratch))
    offline = offline_offsets(graph)
    _allocate_variables(graph, offline, tail)
    head, placements = _plan_head(graph, scratch, offline, resources)
    _finish(graph, target, tail)
    by_operator: dict[tuple[int, int], int] = {}
    for request in scratch:
        key = (request.subgraph, request.operator)
        by_operator[key] = by_operator.get(key, 0) + request.bytes
    return ArenaPlan(
        MemoryPlan(head + tail.used, head, placements, tail.parts),
        by_operator,
    )


def _start(graph: Graph, tail: _Tail) -> None:
    """``MicroAllocator::StartModelAllocation`` and the parsing of options."""
    tail.structs("option allocator", BUILTIN_DATA_ALLOCATOR)
    tail.structs("subgraph table", SUBGRAPH_ALLOCATIONS, len(graph.subgraphs))
    for subgraph in graph.subgraphs:
        tail.structs("tensor table", EVAL_TENSOR, len(subgraph.tensors))
    for subgraph in graph.subgraphs:
        tail.structs("operator table", NODE_AND_REGISTRATION, len(subgraph.operators))
    for subgraph in graph.subgraphs:
        for operator in subgraph.operators:
            if operator.name in OPTIONS:
                tail.structs("operator options", OPTIONS[operator.name])


def _prepare(graph: Graph, target: Target, tail: _Tail, resources: Resources) -> list[_Scratch]:
    """``InitSubgraphs`` and ``PrepareSubgraphs``."""
    nodes = [(s, node) for s, subgraph in enumerate(graph.subgraphs) for node in subgraph.nodes]
    for _, node in nodes:
        if any(_bytes(tensor) for tensor in node.intermediates):
            raise UnsupportedOperatorError(
                f"{graph.name}: operator {node.index} ({node.name}) has an intermediate tensor "
                "that is not empty: TFLite Micro plans none"
            )
        layout = op_data(node.name, target)
        if layout is not None:
            tail.bytes(f"{node.name}: parameters", layout.bytes(target.abi))
    scratch: list[_Scratch] = []
    assigned: set[int] = set()
    for s, node in nodes:
        wanted = (
            _assigned_variable(node, resources.handles.get((s, node.input(0).index)), assigned)
            if node.name == "ASSIGN_VARIABLE"
            else requests(node, target)
        )
        try:
            for request in wanted:
                if request.is_scratch:
                    scratch.append(_Scratch(s, node.index, request.purpose, request.bytes))
                else:
                    tail.bytes(f"{node.name}: {request.purpose}", request.bytes)
        except (IndexError, ValueError, ZeroDivisionError) as error:
            raise ModelError(
                f"{graph.name}: operator {node.index} ({node.name}): "
                "a tensor has another number of dimensions than the kernel takes, or a stride is 0"
            ) from error
    return scratch


def _assigned_variable(node: Node, variable: int | None, assigned: set[int]) -> Iterator[Request]:
    """The first assignment to a variable whose handle is made in the same subgraph allocates it."""
    if variable is not None and variable not in assigned:
        assigned.add(variable)
        yield Request("value of the variable", _bytes(node.input(1)))


def _resources(graph: Graph) -> Resources:
    resources = Resources()
    for s, subgraph in enumerate(graph.subgraphs):
        for node in subgraph.nodes:
            if node.name == "VAR_HANDLE":
                options = node.options
                container = options.text("container") if "container" in options else None
                variable = resources.identifier(container, options.text("shared_name"))
                resources.handles[s, node.output().index] = variable
    return resources


def _finish(graph: Graph, target: Target, tail: _Tail) -> None:
    """Inputs and outputs of the model, which callers get as full tensors."""
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        tail.bytes(f"model {kind}s", target.abi.pointer_bytes * len(tensors))
        for tensor in tensors:
            tail.structs(f"model {kind}s", TENSOR)
            quantization = tensor.quantization
            if quantization and quantization.scales.size and quantization.zero_points.size:
                tail.structs(f"model {kind}s", AFFINE_QUANTIZATION)
                tail.bytes(f"model {kind}s", 4 + 4 * quantization.scales.size, alignment=4)


def _allocate_variables(graph: Graph, offline: list[int] | None, tail: _Tail) -> None:
    for subgraph in graph.subgraphs:
        for tensor in subgraph.tensors:
            # The library looks up every subgraph's variables from the start of the offline plan.
            if tensor.is_variable and (offline is None or offline[tensor.index] == -1):
                tail.bytes("variable tensors", _bytes(tensor))


def offline_offsets(graph: Graph) -> list[int] | None:
    """The model's own plan: an offset for each tensor of all subgraphs, -1 where there is none.

    Raises:
        ModelError: it plans another number of tensors than the model has.
    """
    content = graph.metadata.get("OfflineMemoryAllocation")
    if content is None:
        return None
    wanted = sum(len(subgraph.tensors) for subgraph in graph.subgraphs)
    given = struct.unpack_from("<I", content, 8)[0] if len(content) >= 12 else 0
    if given != wanted or len(content) < 12 + 4 * wanted:
        raise ModelError(
            f"metadata OfflineMemoryAllocation plans {given} tensors, the model has {wanted}"
        )
    return list(struct.unpack_from(f"<{wanted}i", content, 12))


def _bytes(tensor: Tensor) -> int:
    """Size that TFLM plans for a tensor: an int4 element takes a byte."""
    if tensor.dtype in (DType.STRING, DType.VARIANT):
        raise ModelError(
            f"tensor {tensor.index} ({tensor.name!r}) is of type {tensor.dtype.value}, "
            "for which TFLite Micro has no size"
        )
    return tensor.elements * tensor.dtype.numpy.itemsize


class _Lifetimes:
    """When each tensor and scratch buffer is first and last needed: ``AllocationInfoBuilder``."""

    def __init__(self, graph: Graph, scratch: list[_Scratch]) -> None:
        self._graph = graph
        self._scratch: dict[tuple[int, int], list[int]] = {}
        for position, request in enumerate(scratch):
            key = (request.subgraph, request.operator)
            self._scratch.setdefault(key, []).append(position)
        self.tensors: dict[tuple[int, int], list[int]] = {}
        self.scratch: dict[int, list[int]] = {}
        self._now = 0
        self._mark(0, 0)

    def _mark(self, index: int, nested: int) -> None:
        if not 0 <= index < len(self._graph.subgraphs):
            raise ModelError(
                f"{self._graph.name}: an operator calls subgraph {index}, "
                f"the model has {len(self._graph.subgraphs)}"
            )
        if nested > _MOST_NESTED or self._now > _MOST_STEPS:
            raise ModelError(
                f"{self._graph.name}: the subgraphs call each other without end, or too deep"
            )
        subgraph = self._graph.subgraphs[index]
        for tensor in subgraph.inputs:
            self._touch(self.tensors, (index, tensor), self._now)
        for node in subgraph.nodes:
            operator = node.operator
            self._now += 1
            start = self._now
            for tensor in operator.outputs:
                self._touch(self.tensors, (index, tensor), start)
            for called in called_subgraphs(node):
                self._now += 1
                self._mark(called, nested + 1)
            for tensor in operator.inputs + operator.outputs:
                if tensor >= 0:
                    self._touch(self.tensors, (index, tensor), self._now, only_last=True)
            for request in self._scratch.get((index, node.index), ()):
                self._touch(self.scratch, request, start)
                self._touch(self.scratch, request, self._now)
        for tensor in subgraph.outputs:
            self._touch(self.tensors, (index, tensor), self._now)

    @staticmethod
    def _touch(spans: dict[_Key, list[int]], key: _Key, now: int, only_last: bool = False) -> None:
        span = spans.setdefault(key, [-1, -1])
        if span[0] == -1 and not only_last:
            span[0] = now
        span[1] = now


def _plan_head(
    graph: Graph, scratch: list[_Scratch], offline: list[int] | None, resources: Resources
) -> tuple[int, tuple[BufferPlacement, ...]]:
    """``MicroAllocator::CommitStaticMemoryPlan``: size of the head and what lies in it."""
    lifetimes = _Lifetimes(graph, scratch)
    named: list[tuple[str, int, int | None]] = []
    wanted: list[BufferRequirement] = []
    position = 0
    for s, subgraph in enumerate(graph.subgraphs):
        for tensor in subgraph.tensors:
            fixed = offline[position] if offline is not None else -1
            position += 1
            size = _bytes(tensor)
            if tensor.is_variable:
                planned = fixed != -1
            else:
                # A handle lies in the data of the operator that makes it.
                held = tensor.is_constant or (s, tensor.index) in resources.handles
                planned = size != 0 and not held
            if planned:
                first, last = lifetimes.tensors.get((s, tensor.index), (-1, -1))
                named.append((tensor.name, s, tensor.index))
                wanted.append(
                    BufferRequirement(
                        align_up(size, _ALIGNMENT), first, last, None if fixed == -1 else fixed
                    )
                )
    for number, request in enumerate(scratch):
        first, last = lifetimes.scratch.get(number, (-1, -1))
        name = graph.subgraphs[request.subgraph].operators[request.operator].name
        named.append((f"{name} {request.operator}: {request.purpose}", request.subgraph, None))
        wanted.append(BufferRequirement(align_up(request.bytes, _ALIGNMENT), first, last))
    offsets = place(wanted)
    placements = tuple(
        BufferPlacement(
            name,
            "scratch" if tensor_index is None else "tensor",
            s,
            tensor_index,
            offset,
            buffer.size_bytes,
            buffer.first - 1,
            buffer.last - 1,
        )
        for (name, s, tensor_index), buffer, offset in zip(named, wanted, offsets, strict=True)
    )
    return max((p.offset_bytes + p.size_bytes for p in placements), default=0), placements
