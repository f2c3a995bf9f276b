"""Operators that join, cut and pick: they move elements and compute nothing.

CONCATENATION, SPLIT, SPLIT_V, PACK, UNPACK, SLICE, STRIDED_SLICE, GATHER, GATHER_ND.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, Kernel, KernelCall
from mcusim.kernels.reference.checks import (
    constant_int32,
    int32_vector,
    refuse,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import aligned, by_index_tensors
from mcusim.kernels.reference.movement_calls import (
    concatenation_call,
    pack_call,
    split_call,
    strided_slice_call,
)
from mcusim.kernels.reference.picking_calls import gather_call, slice_call

__all__ = ["KERNELS"]

_FOUR_TYPES = (DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32)
_MOST_INPUTS = 10
_MOST_DIMENSIONS = 6


def _axis(node: Node, axis: int, rank: int) -> int:
    current = axis + rank if axis < 0 else axis
    require(0 <= current < rank, node, f"axis {axis} of {rank} dimensions")
    return current


def _prepare_concatenation(node: Node) -> Binder:
    """Source: ``concatenation.cc``."""
    output = node.output()
    tensors = [node.input(i) for i in range(len(node.inputs))]
    activation = node.options.text("fused_activation_function", "NONE")
    require(activation == "NONE", node, f"it has a fused activation {activation}")
    dtype = supported(
        node, node.input(0), (*_FOUR_TYPES[:2], DType.INT16, DType.INT32, DType.INT64, DType.BOOL),
        "input",
    )  # fmt: skip
    require_same_type(node, output, node.input(0), "output and input")
    require(len(tensors) <= _MOST_INPUTS, node, f"it joins {len(tensors)} inputs, more than 10")
    axis = _axis(node, node.options.integer("axis"), len(output.shape))
    for tensor in tensors:
        require_same_type(node, tensor, node.input(0), "inputs")
        require(
            len(tensor.shape) <= _MOST_DIMENSIONS,
            node,
            f"an input has {len(tensor.shape)} dimensions, more than 6",
        )
        if dtype is DType.INT8:
            require(
                (tensor.scale, tensor.zero_point) == (output.scale, output.zero_point),
                node,
                "an input differs from the output in scale or zero point",
            )
        elif dtype is DType.INT16:
            require(tensor.zero_point == 0, node, "an int16 input has a zero point")
    require(dtype is not DType.INT16 or output.zero_point == 0, node, "the output has a zero point")
    joined = sum(t.shape[axis] if axis < len(t.shape) else 0 for t in tensors)
    fits = all((*t.shape[:axis], joined, *t.shape[axis + 1 :]) == output.shape for t in tensors)
    require(fits, node, f"inputs joined on axis {axis} do not make {output.shape}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return (np.concatenate(aligned(inputs), axis=axis + 1),)

    return by_index_tensors(node, (), run)


def _prepare_split(node: Node, data: int, axis_position: int) -> Binder:
    """Prepare of SPLIT and SPLIT_V.

    Source: ``split.cc`` and ``split_v.cc``.
    """
    x = node.input(data)
    values = constant_int32(node, axis_position, "axis tensor")
    require(values.size == 1, node, f"the axis tensor has {values.size} elements, not one")
    axis = _axis(node, int(values.reshape(-1)[0]), len(x.shape))
    supported(node, x, _FOUR_TYPES, "input")
    cuts = []
    start = 0
    for output in node.outputs:
        require_same_type(node, x, output, "input and output")
        require(len(output.shape) == len(x.shape), node, "input and output differ in dimensions")
        length = output.shape[axis]
        require(
            output.shape == (*x.shape[:axis], length, *x.shape[axis + 1 :]),
            node,
            f"{x.shape} cut on axis {axis} does not make {output.shape}",
        )
        cuts.append((slice(None),) * (axis + 1) + (slice(start, start + length),))
        start += length
    require(start == x.shape[axis], node, f"outputs take {start} of {x.shape[axis]}")
    if node.name == "SPLIT":
        require(len({t.shape for t in node.outputs}) == 1, node, "outputs differ in shape")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return [np.ascontiguousarray(inputs[data][cut]) for cut in cuts]

    return by_index_tensors(node, (), run)


def _prepare_split_v(node: Node) -> Binder:
    require(len(node.inputs) == 3, node, "it takes an input, sizes and an axis")
    return _prepare_split(node, 0, 2)


def _prepare_pack(node: Node) -> Binder:
    """Source: ``pack.cc``."""
    output = node.output()
    supported(node, output, (*_FOUR_TYPES, DType.INT64), "output")
    tensors = [node.input(i) for i in range(len(node.inputs))]
    axis = _axis(node, node.options.integer("axis"), len(output.shape))
    count = node.options.integer("values_count", len(tensors))
    require(count == len(tensors), node, f"it has {len(tensors)} inputs and packs {count}")
    for tensor in tensors:
        require_same_type(node, tensor, output, "input and output")
        made = (*tensor.shape[:axis], len(tensors), *tensor.shape[axis:])
        require(made == output.shape, node, f"inputs packed make {made}, not {output.shape}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return (np.stack(aligned(inputs), axis=axis + 1),)

    return by_index_tensors(node, (), run)


def _prepare_unpack(node: Node) -> Binder:
    """Source: ``unpack.cc``."""
    x = node.input(0)
    supported(node, x, _FOUR_TYPES, "input")
    axis = _axis(node, node.options.integer("axis"), len(x.shape))
    count = node.options.integer("num", len(node.outputs))
    require(count == len(node.outputs) == x.shape[axis], node, f"it unpacks {count} outputs")
    for output in node.outputs:
        require_same_type(node, x, output, "input and output")
        left = (*x.shape[:axis], *x.shape[axis + 1 :])
        require(output.shape == left, node, f"the output is {output.shape}, not {left}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        parts = np.moveaxis(inputs[0], axis + 1, 0)
        return [np.ascontiguousarray(part) for part in parts]

    return by_index_tensors(node, (), run)


def _prepare_slice(node: Node) -> Binder:
    """Source: ``slice.cc``."""
    require(len(node.inputs) == 3 and len(node.outputs) == 1, node, "it takes begin and size")
    x, begin, size, output = node.input(0), node.input(1), node.input(2), node.output()
    supported(node, x, (*_FOUR_TYPES, DType.BOOL), "input")
    require_same_type(node, x, output, "input and output")
    supported(node, begin, (DType.INT32, DType.INT64), "begin tensor")
    require_same_type(node, begin, size, "begin and size")
    rank = len(x.shape)
    require(rank <= 5, node, f"the input has {rank} dimensions, more than 5")
    require(begin.elements >= rank and size.elements >= rank, node, "begin or size are too short")
    if begin.data is not None and size.data is not None:
        _cut(node, begin.data, size.data)

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        result = inputs[0][(slice(None), *_cut(node, inputs[1], inputs[2]))]
        return (np.ascontiguousarray(result).reshape(len(result), *output.shape),)

    return by_index_tensors(node, (1, 2), run)


def _cut(node: Node, begin: Array, size: Array) -> list[slice]:
    """What a SLICE takes of each dimension.

    Raises:
        UnsupportedOperatorError: it lies outside the input or does not fill the output.
    """
    shape, output = node.input(0).shape, node.output()
    cut = []
    for extent, start, length in zip(shape, int32_vector(begin), int32_vector(size), strict=False):
        stop = extent if length == -1 else start + length
        require(0 <= start <= stop <= extent, node, f"elements {start} to {stop} of {extent}")
        cut.append(slice(start, stop))
    made = tuple(s.stop - s.start for s in cut)
    require(
        math.prod(made) == output.elements,
        node,
        f"a slice of shape {made} does not fill {output.shape}",
    )
    return cut


def strided_ranges(node: Node) -> list[tuple[int, int, int]]:
    """Start, stop and stride of each dimension of the input of a STRIDED_SLICE.

    TFLM ignores ``offset``, ``ellipsis_mask`` and ``new_axis_mask``: a model that needs them
    fails its check of the output's shape.

    Raises:
        UnsupportedOperatorError: TFLM refuses the operator.

    Source: ``strided_slice_common.cc`` and ``strided_slice_logic.h``.
    """
    require(len(node.inputs) == 4 and len(node.outputs) == 1, node, "it takes 4 inputs")
    x, output = node.input(0), node.output()
    rank = len(x.shape)
    require(rank <= 4, node, f"the input has {rank} dimensions, more than 4")
    begin, end, strides = (
        int32_vector(constant_int32(node, i, what))
        for i, what in ((1, "begin tensor"), (2, "end tensor"), (3, "strides tensor"))
    )
    require(
        min(len(begin), len(end), len(strides)) >= rank,
        node,
        f"begin, end and strides are shorter than the {rank} dimensions",
    )
    begin_mask = node.options.integer("begin_mask")
    end_mask = node.options.integer("end_mask")
    shrink_mask = node.options.integer("shrink_axis_mask")
    ranges, shape = [], []
    for axis, (extent, stride) in enumerate(zip(x.shape, strides, strict=False)):
        require(stride != 0, node, "a stride is zero")
        low, high = (0, extent) if stride > 0 else (-1, extent - 1)
        start = begin[axis] + (extent if begin[axis] < 0 else 0)
        start = min(max(start, low), high)
        if begin_mask >> axis & 1:
            start = 0 if stride > 0 else extent - 1
        if shrink_mask >> axis & 1:
            # Shrinking takes one element and leaves the dimension out.
            require(start < extent and stride > 0, node, f"it shrinks axis {axis} to nothing")
            ranges.append((start, start + 1, 1))
            continue
        stop = end[axis] + (extent if end[axis] < 0 else 0)
        stop = min(max(stop, low), high)
        if end_mask >> axis & 1:
            stop = extent if stride > 0 else -1
        ranges.append((start, stop, stride))
        shape.append(len(range(start, stop, stride)))
    require(output.shape == tuple(shape), node, f"the output is {output.shape}, not {shape}")
    return ranges


def _prepare_strided_slice(node: Node) -> Binder:
    ranges = strided_ranges(node)
    x, output = node.input(0), node.output()
    supported(node, output, (*_FOUR_TYPES, DType.BOOL), "output")
    require_same_type(node, x, output, "input and output")
    cut = (
        slice(None),
        *(slice(a, None if b < 0 else b, stride) for a, b, stride in ranges),
    )

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        array = inputs[0]
        return (np.ascontiguousarray(array[cut]).reshape(len(array), *output.shape),)

    return by_index_tensors(node, (), run)


def _prepare_gather(node: Node) -> Binder:
    """Source: ``gather.cc``."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes input and positions")
    x, positions, output = node.input(0), node.input(1), node.output()
    supported(node, positions, (DType.INT32,), "positions tensor")
    supported(node, x, (DType.FLOAT32, DType.INT8), "input")
    require_same_type(node, x, output, "input and output")
    axis = _axis(node, node.options.integer("axis"), len(x.shape))
    batch = node.options.integer("batch_dims")
    batch = batch + len(positions.shape) if batch < 0 else batch
    require(
        0 <= batch <= min(axis, len(positions.shape)),
        node,
        f"batch_dims {batch} for axis {axis} and positions of {len(positions.shape)} dimensions",
    )
    require(x.shape[:batch] == positions.shape[:batch], node, "batch dimensions differ")
    shape = (*x.shape[:axis], *positions.shape[batch:], *x.shape[axis + 1 :])
    require(output.shape == shape, node, f"the output is {output.shape}, not {shape}")
    batches, outer = math.prod(x.shape[:batch]), math.prod(x.shape[batch:axis])
    extent, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    count = math.prod(positions.shape[batch:])

    def check(picks: Array) -> None:
        if picks.size and not 0 <= picks.min() <= picks.max() < extent:
            refuse(node, f"a position is not among the {extent} of the input")

    if positions.data is not None:
        check(positions.data)

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        check(inputs[1])
        picks = inputs[1].reshape(-1, batches, 1, count)
        elements = inputs[0].reshape(-1, batches, outer, extent, inner)
        size = max(len(elements), len(picks))
        inference = np.arange(len(elements)).reshape(-1, 1, 1, 1)
        along = np.arange(batches).reshape(1, -1, 1, 1)
        across = np.arange(outer).reshape(1, 1, -1, 1)
        return (elements[inference, along, across, picks].reshape(size, *shape),)

    return by_index_tensors(node, (), run)


def _prepare_gather_nd(node: Node) -> Binder:
    """Source: ``gather_nd.cc``."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes input and indices")
    x, indices, output = node.input(0), node.input(1), node.output()
    supported(node, x, (DType.FLOAT32, DType.INT8), "input")
    supported(node, indices, (DType.INT32,), "index tensor")
    require_same_type(node, x, output, "input and output")
    require(bool(x.shape) and bool(indices.shape), node, "a tensor is a scalar")
    depth = indices.shape[-1]
    require(
        depth <= min(len(x.shape), 5), node, f"indices of {depth} for {len(x.shape)} dimensions"
    )
    shape = (*indices.shape[:-1], *x.shape[depth:])
    require(output.shape == shape, node, f"the output is {output.shape}, not {shape}")
    picked = math.prod(x.shape[depth:])
    strides = np.array([math.prod(x.shape[axis + 1 :]) for axis in range(depth)], np.int64)

    def offsets_of(given: Array) -> Array:
        offsets: Array = given.astype(np.int64) @ strides.reshape(depth)
        # Only the sum is checked: an index beyond its dimension reads on in memory.
        if offsets.size and not 0 <= offsets.min() <= offsets.max() <= x.elements - picked:
            refuse(node, "an index is out of bounds")
        return offsets

    if indices.data is not None:
        offsets_of(indices.data)

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        offsets = offsets_of(inputs[1])
        places: npt.NDArray[np.int64] = offsets.reshape(len(offsets), -1, 1) + np.arange(picked)
        elements = inputs[0].reshape(len(inputs[0]), -1)
        size = max(len(elements), len(places))
        inference = np.arange(len(elements)).reshape(-1, 1, 1)
        return (elements[inference, places].reshape(size, *shape),)

    return by_index_tensors(node, (), run)


def _strided_slice_call(node: Node) -> KernelCall:
    return strided_slice_call(node, strided_ranges(node))


KERNELS: tuple[Kernel, ...] = (
    Kernel("CONCATENATION", _prepare_concatenation, concatenation_call),
    Kernel("SPLIT", partial(_prepare_split, data=1, axis_position=0), split_call),
    Kernel("SPLIT_V", _prepare_split_v, split_call),
    Kernel("PACK", _prepare_pack, pack_call),
    Kernel("UNPACK", _prepare_unpack, pack_call),
    Kernel("SLICE", _prepare_slice, slice_call),
    Kernel("STRIDED_SLICE", _prepare_strided_slice, _strided_slice_call),
    Kernel("GATHER", _prepare_gather, gather_call),
    Kernel("GATHER_ND", _prepare_gather_nd, gather_call),
)
