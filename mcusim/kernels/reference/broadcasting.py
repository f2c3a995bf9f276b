"""Broadcasting of elementwise operators: shapes, batched arrays, and the library's loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mcusim.graph import Array, Node, Tensor
from mcusim.kernels.reference.checks import refuse, require

__all__ = [
    "BroadcastLoop",
    "aligned",
    "broadcast_loop",
    "differ_when_extended",
    "require_broadcast",
]

Shape = tuple[int, ...]

#: ``kMaxRank`` of ``BroadcastBinaryOpSimple`` and ``BroadcastSelectSimple``.
_MAX_RANK = 8


@dataclass(frozen=True)
class BroadcastLoop:
    """The nest of loops over two broadcast operands, neighbouring dimensions fused.

    Attributes:
        extents: turns of each loop, innermost first; empty for scalars, which need no loop.
        strides: for each operand, elements it advances per turn of each loop; 0 where it repeats.
    """

    extents: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def elements(self) -> int:
        """Turns of the innermost loop in all."""
        return math.prod(self.extents)

    @property
    def rows(self) -> int:
        """How often the innermost loop is entered."""
        return math.prod(self.extents[1:])

    @property
    def recursions(self) -> int:
        """How often a loop is entered from the one around it."""
        return sum(math.prod(self.extents[level:]) for level in range(1, len(self.extents)))


def broadcast_loop(inputs: Sequence[Shape], output: Shape) -> BroadcastLoop:
    """The loops that run an operator over broadcast operands.

    Args:
        inputs: shapes of the operands, each broadcastable to ``output``.
        output: shape of the result.

    Source: ``BroadcastBinaryOpSimple`` and ``BroadcastSelectSimple``, with their ``CanFuseLoops``.
    """
    rank = max(len(output), *(len(shape) for shape in inputs))
    operands = [_extended(shape, rank) for shape in inputs]
    result = _extended(output, rank)
    extents: list[int] = []
    strides: list[list[int]] = [[] for _ in operands]
    dense = [1] * len(operands)
    for axis in reversed(range(rank)):
        extent = result[axis]
        steps = [
            0 if shape[axis] == 1 and extent != 1 else step
            for shape, step in zip(operands, dense, strict=True)
        ]
        fits = extent == 1 or all(
            step == 0 if inner[-1:] == [0] else step == whole
            for step, whole, inner in zip(steps, dense, strides, strict=True)
        )
        if extents and fits:
            extents[-1] *= extent
        else:
            extents.append(extent)
            for inner, step in zip(strides, steps, strict=True):
                inner.append(step)
        dense = [step * shape[axis] for step, shape in zip(dense, operands, strict=True)]
    return BroadcastLoop(tuple(extents), tuple(tuple(inner) for inner in strides))


def require_broadcast(node: Node, inputs: Sequence[Tensor], output: Tensor) -> None:
    """Refuse operands that do not broadcast to the output.

    Most kernels of the library do not look, and read or write past their tensors.

    Raises:
        UnsupportedOperatorError: the output's shape is not what the inputs broadcast to, or has
            more dimensions than the library's loops take.
    """
    rank = max(len(tensor.shape) for tensor in (*inputs, output))
    require(rank <= _MAX_RANK, node, f"has {rank} dimensions, more than {_MAX_RANK}")
    shapes = [_extended(tensor.shape, rank) for tensor in inputs]
    wanted = []
    for extents in zip(*shapes, strict=True):
        others = {extent for extent in extents if extent != 1}
        if len(others) > 1:
            break
        wanted.append(others.pop() if others else 1)
    if tuple(wanted) != _extended(output.shape, rank):
        given = " and ".join(str(tensor.shape) for tensor in inputs)
        refuse(node, f"shapes {given} do not broadcast to the output's {output.shape}")


def differ_when_extended(first: Shape, second: Shape) -> bool:
    """Whether shapes differ once the shorter has ones in front.

    Source: ``ProcessBroadcastShapes``, which decides for the quantized kernels and for MUL and DIV;
    the others compare the shapes as they stand.
    """
    rank = max(len(first), len(second))
    return _extended(first, rank) != _extended(second, rank)


def aligned(array: Array, rank: int) -> Array:
    """Give a batched array ones behind its batch axis, so that it broadcasts by its last axes.

    Args:
        array: shape ``(B, *shape)``.
        rank: dimensions of the result beside the batch.

    Returns:
        A view of shape ``(B, 1, …, *shape)``.
    """
    return array.reshape(array.shape[0], *_extended(array.shape[1:], rank))


def _extended(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + tuple(shape)
