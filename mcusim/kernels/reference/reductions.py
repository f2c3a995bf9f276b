"""Reductions: MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN and CUMSUM.

Sources: ``reduce_common.cc``, ``reference/reduce.h``, ``reference/arg_min_max.h`` and
``reference/cumsum.h``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels import fixed_point
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.memory_copy import ALIGNED_LEVELS, FILL_LEVELS, copy_trips, fill_trips
from mcusim.kernels.reference.checks import (
    int32_vector,
    refuse,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import by_index_tensors
from mcusim.kernels.reference.movement_calls import simple_call

__all__ = ["KERNELS", "REDUCTION_LEVELS"]

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

_QUANTIZED = (DType.INT8, DType.INT16)
#: CUMSUM keeps its int8 accumulator with this many fractional bits.
_CUMSUM_SHIFT = 20


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


def _reduced_axes(node: Node, axes: Sequence[int]) -> list[int]:
    """Axes that are reduced, in ascending order.

    Raises:
        UnsupportedOperatorError: an axis is out of range, or what is left does not fill the output.
    """
    shape = node.input(0).shape
    reduced = sorted(resolved_axes(node, axes, len(shape)))
    outputs = math.prod(n for axis, n in enumerate(shape) if axis not in reduced)
    require(
        outputs == node.output().elements,
        node,
        f"{outputs} results do not fill an output of {node.output().elements} elements",
    )
    return reduced


def _reduced_first(node: Node, x: Array, axes: Sequence[int]) -> Array:
    """The input with the reduced elements, in memory order, on axis 1 and the others behind.

    Shape ``(inferences, reduced, outputs)``.
    """
    reduced = _reduced_axes(node, axes)
    kept = [axis for axis in range(x.ndim - 1) if axis not in reduced]
    count = math.prod(x.shape[axis + 1] for axis in reduced)
    moved = x.transpose(0, *(axis + 1 for axis in reduced), *(axis + 1 for axis in kept))
    return moved.reshape(len(x), count, node.output().elements)


def _check_reduction(node: Node, types: Sequence[DType]) -> None:
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes an input and axes")
    supported(node, node.input(1), (DType.INT32,), "axis tensor")
    supported(node, node.input(0), types, "input")
    require_same_type(node, node.input(0), node.output(), "input and output")
    require(node.input(0).elements > 0, node, "the input is empty")
    axes = node.input(1)
    if axes.data is not None or not axes.elements:
        _reduced_axes(node, [] if axes.data is None else int32_vector(axes.data))


def _prepare_mean_or_sum(node: Node, compute_sum: bool) -> Binder:
    """Prepare of MEAN and SUM.

    Source: ``PrepareMeanOrSumHelper``, ``EvalMeanHelper`` and ``EvalSumHelper``.
    """
    _check_reduction(node, (DType.FLOAT32, *_QUANTIZED))
    if node.input(0).dtype is DType.FLOAT32:
        return by_index_tensors(node, (1,), partial(_sum_float, node, compute_sum))
    multiplier, shift = _ratio(node)
    return by_index_tensors(
        node, (1,), partial(_sum_quantized, node, compute_sum, multiplier, shift)
    )


def _ratio(node: Node) -> tuple[int, int]:
    if node.output().scale == 0:
        refuse(node, "the output has no scale")
    return fixed_point.quantize_multiplier(node.input(0).scale / node.output().scale)


def _sum_float(node: Node, compute_sum: bool, inputs: Sequence[Array]) -> Sequence[Array]:
    """Sums one element after the other in memory order, from zero."""
    x = _reduced_first(node, inputs[0], int32_vector(inputs[1]))
    # A running sum is sequential, NumPy's sum pairwise; a sum that starts at zero is never -0.
    total = np.add.accumulate(x, axis=1)[:, -1] + np.float32(0)
    if not compute_sum:
        total = total / np.float32(x.shape[1])
    return (total.reshape(len(x), *node.output().shape),)


def _sum_quantized(
    node: Node, compute_sum: bool, multiplier: int, shift: int, inputs: Sequence[Array]
) -> Sequence[Array]:
    """Source: ``reference_ops::QuantizedMeanOrSum``."""
    x = _reduced_first(node, inputs[0], int32_vector(inputs[1]))
    count, output = x.shape[1], node.output()
    if not compute_sum:
        # The division is folded into the multiplier, as far as its bits allow.
        bits = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // count, shift - bits
    total = x.sum(axis=1, dtype=np.int32).astype(np.int64)
    shifted = (total - node.input(0).zero_point * count).astype(np.int32)
    scaled = fixed_point.multiply_by_quantized_multiplier(shifted, multiplier, shift)
    # int32, so that an overflow wraps.
    result = scaled + np.int32(output.zero_point)
    limits = np.iinfo(node.input(0).dtype.numpy)
    clamped = np.clip(result, limits.min, limits.max).astype(limits.dtype)
    return (clamped.reshape(len(x), *output.shape),)


def _prepare_extreme(node: Node, largest: bool) -> Binder:
    """Prepare of REDUCE_MAX and REDUCE_MIN.

    Source: ``PrepareMinMaxHelper`` and ``EvalMinMaxHelper``.
    """
    _check_reduction(node, (DType.FLOAT32, DType.INT8))
    x, output = node.input(0), node.output()
    if x.dtype is DType.INT8:
        require(
            (x.scale, x.zero_point) == (output.scale, output.zero_point),
            node,
            "input and output differ in scale or zero point",
        )
        return by_index_tensors(node, (1,), partial(_extreme_int8, node, largest))
    return by_index_tensors(node, (1,), partial(_extreme_float, node, largest))


def _extreme_int8(node: Node, largest: bool, inputs: Sequence[Array]) -> Sequence[Array]:
    x = _reduced_first(node, inputs[0], int32_vector(inputs[1]))
    found = x.max(axis=1) if largest else x.min(axis=1)
    return (found.reshape(len(x), *node.output().shape),)


def _extreme_float(node: Node, largest: bool, inputs: Sequence[Array]) -> Sequence[Array]:
    """Keeps what it has unless the next is beyond it, so NaN never enters."""
    x = _reduced_first(node, inputs[0], int32_vector(inputs[1]))
    limits = np.finfo(np.float32)
    found = np.full((len(x), x.shape[2]), limits.min if largest else limits.max, np.float32)
    beyond: Callable[[Array, Array], Array] = np.greater if largest else np.less
    for position in range(x.shape[1]):
        candidate = x[:, position]
        found = np.where(beyond(candidate, found), candidate, found)
    return (found.reshape(len(x), *node.output().shape),)


def _prepare_arg(node: Node, largest: bool) -> Binder:
    """Prepare of ARG_MAX and ARG_MIN; the first of equals wins.

    Source: ``arg_min_max.cc`` and ``reference_ops::ArgMinMax``.
    """
    supported(node, node.input(1), (DType.INT32,), "axis tensor")
    supported(node, node.output(), (DType.INT32,), "output")
    supported(node, node.input(0), (DType.FLOAT32, DType.INT8), "input")
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes an input and an axis")
    require(node.input(1).elements == 1, node, "the axis tensor has another number of elements")
    require(node.input(0).elements > 0, node, "the input is empty")
    given = node.input(1).data
    if given is not None:
        _arg_axis(node, given)
    return by_index_tensors(node, (1,), partial(_arg, node, largest))


def _single_axis(node: Node, given: Array) -> int:
    rank = len(node.input(0).shape)
    axis = int32_vector(given)[0]
    axis = axis + rank if axis < 0 else axis
    require(0 <= axis < rank, node, f"axis {axis} of an input of {rank} dimensions")
    return axis


def _arg_axis(node: Node, given: Array) -> int:
    axis = _single_axis(node, given)
    shape = node.input(0).shape
    results = math.prod((*shape[:axis], *shape[axis + 1 :]))
    require(
        results == node.output().elements,
        node,
        f"{results} results do not fill an output of {node.output().elements} elements",
    )
    return axis


def _arg(node: Node, largest: bool, inputs: Sequence[Array]) -> Sequence[Array]:
    x = inputs[0]
    axis = _arg_axis(node, inputs[1])
    if x.dtype == np.float32:
        # Comparisons with NaN fail: one is never taken, but the first element stays if it is one.
        lost = np.float32(-np.inf if largest else np.inf)
        first_is_nan = np.isnan(np.take(x, 0, axis + 1))
        x = np.where(np.isnan(x), lost, x)
    else:
        first_is_nan = np.False_
    found = np.argmax(x, axis=axis + 1) if largest else np.argmin(x, axis=axis + 1)
    result = np.where(first_is_nan, 0, found).astype(np.int32)
    return (result.reshape(len(x), *node.output().shape),)


def _prepare_cumsum(node: Node) -> Binder:
    """Prepare of CUMSUM.

    Source: ``cumsum.cc``, ``CalculateOpData``.
    """
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes an input and an axis")
    x, axis, output = node.input(0), node.input(1), node.output()
    supported(node, x, (DType.FLOAT32, DType.INT8), "input")
    supported(node, axis, (DType.INT32,), "axis tensor")
    require(axis.elements == 1, node, f"the axis tensor has {axis.elements} elements, not one")
    require(bool(x.shape), node, "the input is a scalar")
    require(x.dtype is output.dtype, node, "input and output have two types")
    require(x.shape == output.shape, node, "input and output have two shapes")
    if axis.data is not None:
        _single_axis(node, axis.data)
    if x.dtype is DType.FLOAT32:
        return by_index_tensors(node, (1,), partial(_cumsum, node, _running_float))
    require(x.scale > 0 and output.scale > 0, node, "a scale is zero")
    twice = 2 * x.scale
    scaling = fixed_point.quantize_multiplier_smaller_than_one(x.scale / twice)
    rescaling = fixed_point.quantize_multiplier_smaller_than_one(
        twice / ((1 << _CUMSUM_SHIFT) * output.scale)
    )
    return by_index_tensors(
        node, (1,), partial(_cumsum, node, partial(_running_int8, node, scaling, rescaling))
    )


def _cumsum(
    node: Node, running: Callable[[Array, bool], Array], inputs: Sequence[Array]
) -> Sequence[Array]:
    axis = _single_axis(node, inputs[1])
    reverse = node.options.flag("reverse")
    x = np.moveaxis(inputs[0], axis + 1, 0)
    result = running(x[::-1] if reverse else x, node.options.flag("exclusive"))
    restored = np.moveaxis(result[::-1] if reverse else result, 0, axis + 1)
    return (np.ascontiguousarray(restored),)


def _running_float(x: Array, exclusive: bool) -> Array:
    from_zero = np.concatenate([np.zeros((1, *x.shape[1:]), np.float32), x])
    sums: npt.NDArray[np.float32] = np.add.accumulate(from_zero, axis=0)
    return sums[:-1] if exclusive else sums[1:]


def _running_int8(
    node: Node, scaling: tuple[int, int], rescaling: tuple[int, int], x: Array, exclusive: bool
) -> Array:
    """The accumulator starts at the scaled input offset, not at zero, as the library has it."""
    offset, output = -node.input(0).zero_point, node.output()
    real = ((x.astype(np.int64) + offset) << _CUMSUM_SHIFT).astype(np.int32)
    terms = fixed_point.multiply_by_quantized_multiplier(real, *scaling)
    start = np.int64(offset << _CUMSUM_SHIFT).astype(np.int32)
    first = fixed_point.multiply_by_quantized_multiplier(start, *scaling)
    begun = np.concatenate([np.broadcast_to(first, (1, *x.shape[1:])), terms])
    sums = np.add.accumulate(begun, axis=0, dtype=np.int32)
    chosen = sums[:-1] if exclusive else sums[1:]
    raw = fixed_point.multiply_by_quantized_multiplier(chosen, *rescaling)
    clamped: Array = np.clip(raw + np.int32(output.zero_point), -128, 127).astype(np.int8)
    return clamped


def _reduce_call(node: Node) -> KernelCall:
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
    multiplier, shift = _ratio(node)
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


def _arg_call(node: Node) -> KernelCall:
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


KERNELS: tuple[Kernel, ...] = (
    Kernel("MEAN", partial(_prepare_mean_or_sum, compute_sum=False), _reduce_call),
    Kernel("SUM", partial(_prepare_mean_or_sum, compute_sum=True), _reduce_call),
    Kernel("REDUCE_MAX", partial(_prepare_extreme, largest=True), _reduce_call),
    Kernel("REDUCE_MIN", partial(_prepare_extreme, largest=False), _reduce_call),
    Kernel("ARG_MAX", partial(_prepare_arg, largest=True), _arg_call),
    Kernel("ARG_MIN", partial(_prepare_arg, largest=False), _arg_call),
    Kernel("CUMSUM", _prepare_cumsum, simple_call),
)
