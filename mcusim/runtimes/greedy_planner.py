"""Where buffers that live for a while can share memory: TFLite Micro's greedy planner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BufferRequirement", "place"]


@dataclass(frozen=True)
class BufferRequirement:
    """A buffer to place.

    Attributes:
        size_bytes: its size, alignment included.
        first: when it is first needed.
        last: when it is last needed, inclusive.
        fixed_offset: where the model says that it must lie; None when the planner may choose.
    """

    size_bytes: int
    first: int
    last: int
    fixed_offset: int | None = None


def place(buffers: Sequence[BufferRequirement]) -> list[int]:
    """Offset of each buffer from the start of the head, in bytes.

    Buffers with a fixed offset go first, then the others from the largest down, each into the
    lowest gap among those that live at the same time. Among equals the last one added goes first,
    since the library fills its list from the end and its sort is stable.

    Source: ``GreedyMemoryPlanner::CalculateOffsetsIfNeeded``.
    """
    fixed = [i for i, b in enumerate(buffers) if b.fixed_offset is not None]
    free = [i for i, b in reversed(list(enumerate(buffers))) if b.fixed_offset is None]
    free.sort(key=lambda i: -buffers[i].size_bytes)
    offsets = [0] * len(buffers)
    by_offset: list[int] = []
    for index in fixed + free:
        buffer = buffers[index]
        offset = buffer.fixed_offset
        if offset is None:
            offset = _lowest_gap(buffer, by_offset, buffers, offsets)
        offsets[index] = offset
        by_offset.insert(_position(offset, by_offset, offsets), index)
    return offsets


def _lowest_gap(
    wanted: BufferRequirement,
    by_offset: Sequence[int],
    buffers: Sequence[BufferRequirement],
    offsets: Sequence[int],
) -> int:
    end = 0
    for index in by_offset:
        placed = buffers[index]
        if placed.first > wanted.last or wanted.first > placed.last:
            continue
        if offsets[index] - end >= wanted.size_bytes:
            break
        end = max(end, offsets[index] + placed.size_bytes)
    return end


def _position(offset: int, by_offset: Sequence[int], offsets: Sequence[int]) -> int:
    low, high = 0, len(by_offset)
    while low < high:
        middle = (low + high) // 2
        if offsets[by_offset[middle]] > offset:
            high = middle
        else:
            low = middle + 1
    return low
