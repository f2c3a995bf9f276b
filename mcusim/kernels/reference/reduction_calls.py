"""Kernel calls of the reductions: their loops as formulas of the shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcusim.graph import DType, Node
from mcusim.kernels import fixed_point
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.memory_copy import ALIGNED_LEVELS, FILL_LEVELS, copy_trips, fill_trips
from mcusim.kernels.reference.checks import int32_vector, refuse, require

__all__ = ["REDUCTION_LEVELS", "arg_call", "reduce_call", "resolved_axes", "scale_ratio"]

_DIVISION_LEVELS = (
    "division",
    "division.wide",
    "division.bit",
    "division.set_bit",
    "output.lifted",
)
#: Levels of ``reference_ops::Reduce`` and what MEAN does around it.
REDUCTION_LEVELS = (
    "call",
    "dimension",
    "output.dimension",
    "axis",
    "axis.compared",
    "output",
    "element",
    "element.dimension",
    "element.axis",
    "element.kept",
    "element.wrap",
    "element.last_reduced",
    *_DIVISION_LEVELS,
    *FILL_LEVELS,
)


def resolved_axes(node: Node, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes without repetition, negative ones counted from the end, in the order given.

    Raises:
        UnsupportedOperatorError: an axis is out of range, which fails TFLM's Eval.

    Source: ``reference_ops::ResolveAxis``.
    """
    if rank == 0:
        return ()
    found: list[int] = []
    for axis in axes:
        current = axis + rank if axis < 0 else axis
        require(0 <= current < rank, node, f"axis {axis} of an input of {rank} dimensions")
        if current not in found:
            found.append(current)
    return tuple(found)


def scale_ratio(node: Node) -> tuple[int, int]:
    """Multiplier and shift that bring an input's scale to the output's."""
    if node.output().scale == 0:
        refuse(node, "the output has no scale")
    return fixed_point.quantize_multiplier(node.input(0).scale / node.output().scale)


def reduce_call(node: Node) -> KernelCall:
    """One turn for each element of the input, with loops over its dimensions inside.

    The place of each element's sum is found anew: a turn for each dimension, in it one for each
    axis until it is found; then the index is counted up, with a turn for each dimension that wraps.

    Source: ``reference_ops::Reduce``, ``ReducedOutputOffset`` and ``NextIndex``.
    """
    x, output = node.input(0), node.output()
    rank, elements = len(x.shape), x.elements
    given = node.input(1).data
    axes = () if given is None else resolved_axes(node, int32_vector(given), rank)
    checks = sum(axes.index(d) + 1 if d in axes else len(axes) for d in range(rank))
    wraps = sum(math.prod(x.shape[: d + 1]) for d in range(rank - 1))
    if (
        node.name == "MEAN"
        and x.dtype is DType.FLOAT32
        and node.options.flag("keep_dims")
        and rank == 4
        and sorted(axes) == [1, 2]
    ):
        return _image_mean_call(node)
    is_float = x.dtype is DType.FLOAT32
    # The sums start at zero, by memset; those of integers are kept beside the output, in words.
    fills = [(4 * output.elements, 1)]
    fills += [] if is_float else [(output.bytes, 1)]
    trips = {
        "call": 1.0,
        "dimension": float(rank),
        "output.dimension": float(len(output.shape)),
        "axis": float(len(axes)),
        "axis.compared": float(len(axes) * (len(axes) - 1) // 2),
        "output": float(output.elements),
        "element": float(elements),
        "element.dimension": float(elements * rank),
        "element.axis": float(elements * checks),
        "element.kept": float(elements * (rank - len(axes))),
        "element.wrap": float(wraps),
        "element.last_reduced": float(elements * (rank - 1 in axes)),
        **_division_trips(node),
        **fill_trips(fills),
    }
    return KernelCall(
        "reference_ops::Reduce", f"reference/{node.name.lower()}_{x.dtype.value}", trips
    )


def _division_trips(node: Node) -> dict[str, float]:
    """Divisions of MEAN by how many elements a sum has, where software divides.

    Of floats there is one for each output, done at once when the divisor is a power of two. Of
    integers there is one a call, of the multiplier, 64 bits wide: in ARMv6-M a turn for each bit
    of the quotient, elsewhere at once when the dividend fits 32 bits. What is scaled by more than
    one (``output.lifted``) takes other steps.
    """
    x, output = node.input(0), node.output()
    turns = dict.fromkeys(_DIVISION_LEVELS, 0.0)
    count = x.elements // max(1, output.elements)
    if node.name != "MEAN" or count < 1:
        return turns
    if x.dtype is DType.FLOAT32:
        return turns | {"division": float(output.elements * (count & (count - 1) > 0))}
    if not output.scale:
        return turns
    multiplier, shift = scale_ratio(node)
    bits = max(0, min(count.bit_length() - 1, 32, 31 + shift))
    dividend = multiplier << bits
    quotient = dividend // count
    return turns | {
        "division.wide": float(dividend >> 32 > 0),
        "division.bit": float(max(0, dividend.bit_length() - count.bit_length() + 1)),
        "division.set_bit": float(quotient.bit_count()),
        "output.lifted": float(output.elements * (shift - bits > 0)),
    }


def _image_mean_call(node: Node) -> KernelCall:
    """MEAN of float images over height and width, which has loops of its own, like a pooling's.

    Source: ``reference_ops::Mean`` on four dimensions.
    """
    batches, height, width, _ = node.input(0).shape
    outputs, taps = node.output().elements, height * width
    trips = {
        "call": 1.0,
        "batch": float(batches),
        "output": float(outputs),
        "tap_row": float(outputs * height),
        "tap": float(outputs * taps),
        "late_tap": float(outputs * max(0, taps - 4)),
        "division": float(outputs * (taps & (taps - 1) > 0)),
    }
    return KernelCall("reference_ops::Mean", "reference/mean_image_float32", trips)


def arg_call(node: Node) -> KernelCall:
    """Source: ``reference_ops::ArgMinMax``; data decide how often the extreme moves."""
    x, outputs = node.input(0), node.output().elements
    given = node.input(1).data
    rank = len(x.shape)
    axis = (0 if given is None else int32_vector(given)[0]) % max(1, rank)
    length = x.shape[axis] if x.shape else 1
    if x.data is None:
        # Of values in random order, the i-th is the largest so far once in i times.
        moves = outputs * sum(1 / i for i in range(2, length + 1))
    else:
        values = np.moveaxis(np.atleast_1d(x.data), axis, 0)
        extreme = np.maximum if node.name == "ARG_MAX" else np.minimum
        so_far = extreme.accumulate(values, axis=0)
        moves = float(np.count_nonzero(so_far[1:] != so_far[:-1]))
    dense = math.prod(x.shape[axis + 1 :]) == 1
    trips = {
        "call": 1.0,
        "before": float(axis),
        "after": float(max(0, rank - 1 - axis)),
        "outer": float(math.prod(x.shape[:axis])),
        "output": float(outputs),
        "output.of_one": float(outputs * (length == 1)),
        # The compiler makes a loop for elements that lie side by side and one for others.
        "element": float((x.elements - outputs) * dense),
        "element.moves": moves * dense,
        "element.strided": float((x.elements - outputs) * (not dense)),
        "element.strided_moves": moves * (not dense),
    }
    shapes = copy_trips([(4 * rank, 0, 0), (4 * len(node.output().shape), 0, 0)], ALIGNED_LEVELS)
    name = f"reference/{node.name.lower()}_{x.dtype.value}"
    return KernelCall("reference_ops::ArgMinMax", name, trips | shapes)
