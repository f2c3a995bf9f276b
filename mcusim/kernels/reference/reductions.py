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
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.reference.checks import (
    int32_vector,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import by_index_tensors
from mcusim.kernels.reference.movement_calls import simple_call
from mcusim.kernels.reference.reduction_calls import (
    arg_call,
    reduce_call,
    resolved_axes,
    scale_ratio,
)

__all__ = ["KERNELS"]

_QUANTIZED = (DType.INT8, DType.INT16)
#: CUMSUM keeps its int8 accumulator with this many fractional bits.
_CUMSUM_SHIFT = 20


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
    multiplier, shift = scale_ratio(node)
    return by_index_tensors(
        node, (1,), partial(_sum_quantized, node, compute_sum, multiplier, shift)
    )


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


KERNELS: tuple[Kernel, ...] = (
    Kernel("MEAN", partial(_prepare_mean_or_sum, compute_sum=False), reduce_call),
    Kernel("SUM", partial(_prepare_mean_or_sum, compute_sum=True), reduce_call),
    Kernel("REDUCE_MAX", partial(_prepare_extreme, largest=True), reduce_call),
    Kernel("REDUCE_MIN", partial(_prepare_extreme, largest=False), reduce_call),
    Kernel("ARG_MAX", partial(_prepare_arg, largest=True), arg_call),
    Kernel("ARG_MIN", partial(_prepare_arg, largest=False), arg_call),
    Kernel("CUMSUM", _prepare_cumsum, simple_call),
)
