"""Kernel calls of the operators that pick or repeat parts: their loops as formulas of the shape.

Nobody has counted these kernels. Their levels are named as those of the counted kernels whose loops
are built alike, which price them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial

from mcusim.graph import Node
from mcusim.kernels.contract import KernelCall, Trips
from mcusim.kernels.memory_copy import Copy, copy_trips, repeated_copies
from mcusim.kernels.reference.checks import int32_vector
from mcusim.kernels.reference.movement_calls import around, shape_copy
from mcusim.kernels.reference.reduction_calls import REDUCTION_LEVELS

__all__ = [
    "batch_and_space_call",
    "broadcast_to_call",
    "depth_and_space_call",
    "gather_call",
    "mirror_pad_call",
    "slice_call",
]


def _named(node: Node, trips: Trips) -> KernelCall:
    function = "".join(word.capitalize() for word in node.name.split("_"))
    return KernelCall(
        f"reference_ops::{function}",
        f"reference/{node.name.lower()}_{node.output().dtype.value}",
        trips,
    )


def slice_call(node: Node) -> KernelCall:
    """Five loops deep, with a place to compute for each element.

    Source: ``reference_ops::Slice``.
    """
    x, output = node.input(0), node.output()
    five = (1,) * (5 - len(output.shape)) + output.shape
    trips = {
        "call": 1.0,
        "dimension": float(len(x.shape)),
        "row": float(sum(math.prod(five[:depth]) for depth in (1, 2, 3))),
        "column": float(math.prod(five[:4])),
        "column.copied": 0.0,
        "element": float(output.elements),
    }
    return _named(node, trips | copy_trips([shape_copy(x)] * 3))


def gather_call(node: Node) -> KernelCall:
    """GATHER and GATHER_ND: a memcpy for each position.

    Positions that are not constant are taken to follow one another.

    Source: ``Gather`` and ``GatherNd``.
    """
    x, positions, output = node.input(0), node.input(1), node.output()
    if node.name == "GATHER":
        axis = node.options.integer("axis") % max(1, len(x.shape))
        length = math.prod(x.shape[axis + 1 :]) * x.dtype.numpy.itemsize
    else:
        depth = positions.shape[-1] if positions.shape else 0
        length = math.prod(x.shape[depth:]) * x.dtype.numpy.itemsize
    count = output.bytes // max(1, length)
    copies = _one_after_another(count, length)
    if node.name == "GATHER" and positions.data is not None and positions.elements == count:
        picks = enumerate(int32_vector(positions.data))
        copies = Counter((length, pick * length % 4, i * length % 4) for i, pick in picks)
    trips = {
        "call": 1.0,
        **around(len(x.shape), len(positions.shape)),
        "input": 0.0,
        "input.dimension": 0.0,
        "outer": 0.0,
        "segment": float(count),
    }
    return _named(node, trips | copy_trips(copies))


def _one_after_another(count: int, length: int) -> Counter[Copy]:
    """So many copies, each from and to where the one before ended."""
    return repeated_copies(count, lambda turn: [(length, turn * length, turn * length)])


def broadcast_to_call(node: Node) -> KernelCall:
    """A memcpy for each repetition: first of what lies behind the last dimension that is repeated,
    then, outwards, of ever larger parts of the output.

    Source: ``reference_ops::BroadcastImpl``.
    """
    x, output = node.input(0), node.output()
    size = output.dtype.numpy.itemsize
    rank = len(output.shape)
    source = (1,) * (rank - len(x.shape)) + x.shape
    repeated = [axis for axis in range(rank) if source[axis] != output.shape[axis]]
    copies: Counter[Copy] = Counter()
    if not repeated:
        copies[output.bytes, 0, 0] += 1
    for axis in repeated:
        length = math.prod(output.shape[axis + 1 :]) * size
        times = output.shape[axis] - (axis != repeated[-1])
        parts = math.prod(source[:axis])
        for part in range(min(parts, 4)):
            start = part * output.shape[axis] * length
            alike = parts // 4 + (part < parts % 4)
            repeated_by = repeated_copies(times, partial(_repetition, length, start))
            copies.update({copy: alike * n for copy, n in repeated_by.items()})
    trips = {
        "call": 1.0,
        **around(rank, 0),
        "input": 1.0,
        "input.dimension": float(rank),
        "outer": float(sum(math.prod(source[: axis + 1]) for axis in range(rank))),
        "segment": float(copies.total()),
    }
    return _named(node, trips | copy_trips(copies))


def _repetition(length: int, start: int, turn: int) -> Iterator[Copy]:
    yield length, 0, start + turn * length


def depth_and_space_call(node: Node) -> KernelCall:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE: a place to compute for each element, with divisions.

    Source: ``reference_ops::SpaceToDepth`` and ``DepthToSpace``.
    """
    walked = node.input(0) if node.name == "SPACE_TO_DEPTH" else node.output()
    batches, height, width, _ = walked.shape
    trips = {
        "call": 1.0,
        "row": float(batches * height),
        "column": float(batches * height * width),
        "coordinate.half_pixel": 0.0,
        "element": float(walked.elements),
    }
    return _named(node, trips)


def batch_and_space_call(node: Node) -> KernelCall:
    """SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: a memcpy for each pixel.

    Source: ``reference_ops::SpaceToBatchND`` and ``BatchToSpaceND``.
    """
    walked = node.output() if node.name == "SPACE_TO_BATCH_ND" else node.input(0)
    length = walked.shape[-1] * walked.dtype.numpy.itemsize
    pixels = math.prod(walked.shape[:-1])
    rows = math.prod(walked.shape[:2])
    trips = {
        "call": 1.0,
        "dimension": float(len(walked.shape)),
        "row": float(rows),
        "column": float(pixels),
        "column.copied": float(pixels),
        "element": 0.0,
    }
    return _named(node, trips | copy_trips(_one_after_another(pixels, length)))


def mirror_pad_call(node: Node) -> KernelCall:
    """For each element of the output a division for each dimension, to find its source.

    Source: ``MirrorPad`` and ``GetFlatIndex``.
    """
    output = node.output()
    rank = len(output.shape)
    trips = dict.fromkeys(REDUCTION_LEVELS, 0.0) | {
        "call": 1.0,
        "dimension": float(rank),
        "element": float(output.elements),
        "element.dimension": float(output.elements * rank),
        "element.axis": float(output.elements * rank),
        "element.kept": float(output.elements * rank),
    }
    return _named(node, trips)
