"""A memory plan by first fit, as dnnruntime's converter makes its balloon and uTensor its arena."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcusim.graph import Graph
from mcusim.runtimes.plan import BufferPlacement, MemoryPlan

__all__ = ["Buffer", "computed_buffers", "first_fit"]

#: Buffers begin at words, so that a float or a word of bytes is not read across two.
ALIGNMENT = 4


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed from one operator to another.

    Attributes:
        name: the tensor's, or what a scratch buffer is for.
        tensor: index of the tensor; None for a scratch buffer.
        size_bytes: without what alignment adds.
        first: operator that needs it first; -1 for an input of the model.
        last: operator that needs it last.
    """

    name: str
    tensor: int | None
    size_bytes: int
    first: int
    last: int


def computed_buffers(
    graph: Graph, aliases: Mapping[int, int], scratch: Mapping[int, int], what: str
) -> list[Buffer]:
    """Buffers of a model's computed tensors, in the order in which they are allocated.

    Args:
        graph: the model.
        aliases: tensors that lie in another tensor's memory, such as that of a reshape.
        scratch: bytes of a scratch buffer by operator.
        what: what a scratch buffer is for.
    """
    main = graph.main
    root = {i: i for i in range(len(main.tensors))}
    for tensor, other in aliases.items():
        root[tensor] = root[other]
    last = {root[i]: len(main.operators) - 1 for i in main.outputs}
    for node in main.nodes:
        for source in (root[t.index] for t in node.inputs if t is not None):
            last[source] = max(last.get(source, -1), node.index)
    buffers = [_of(graph, i, -1, last.get(i, -1)) for i in main.inputs]
    for node in main.nodes:
        buffers += [
            _of(graph, t.index, node.index, max(node.index, last.get(t.index, node.index)))
            for t in node.outputs
            if root[t.index] == t.index
        ]
        if scratch.get(node.index):
            buffers.append(Buffer(what, None, scratch[node.index], node.index, node.index))
    return buffers


def _of(graph: Graph, index: int, first: int, last: int) -> Buffer:
    tensor = graph.main.tensors[index]
    return Buffer(tensor.name, index, tensor.bytes, first, last)


def first_fit(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Place each buffer, in the given order, at the lowest place that is free while it is needed.

    What earlier operators needed last is free before an operator's buffers are placed. In order of
    the operators this is the plan of dnnruntime.

    Source: Deutel et al. 2023, section 4.1.2.
    """
    placed: list[BufferPlacement] = []
    for buffer in buffers:
        size = -(-buffer.size_bytes // ALIGNMENT) * ALIGNMENT
        alive = (
            p for p in placed if p.last_operator >= buffer.first and p.first_operator <= buffer.last
        )
        offset = _lowest(size, alive)
        placed.append(
            BufferPlacement(
                buffer.name,
                "scratch" if buffer.tensor is None else "tensor",
                0,
                buffer.tensor,
                offset,
                size,
                buffer.first,
                buffer.last,
            )
        )
    total = max((p.offset_bytes + p.size_bytes for p in placed), default=0)
    return MemoryPlan(total, total, tuple(placed), ())


def _lowest(size: int, alive: Iterable[BufferPlacement]) -> int:
    offset = 0
    for other in sorted(alive, key=lambda p: p.offset_bytes):
        if offset + size <= other.offset_bytes:
            break
        offset = max(offset, other.offset_bytes + other.size_bytes)
    return offset
