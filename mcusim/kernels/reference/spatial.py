"""Operators on the height and width of an image.

SPACE_TO_DEPTH, DEPTH_TO_SPACE, SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND, RESIZE_BILINEAR,
RESIZE_NEAREST_NEIGHBOR.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, BoundKernel, Kernel
from mcusim.kernels.reference.checks import (
    constant_int32,
    int32_vector,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import by_index_tensors
from mcusim.kernels.reference.picking_calls import batch_and_space_call, depth_and_space_call
from mcusim.kernels.reference.spatial_calls import resize_bilinear_call, resize_nearest_call

__all__ = ["KERNELS"]

_TWO_TYPES = (DType.FLOAT32, DType.INT8)


def _prepare_space_to_depth(node: Node) -> Binder:
    """Source: ``space_to_depth.cc``."""
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one input")
    x, output = node.input(0), node.output()
    require(len(x.shape) == 4, node, f"the input has {len(x.shape)} dimensions, not 4")
    supported(node, output, _TWO_TYPES, "output")
    require_same_type(node, x, output, "input and output")
    block = node.options.integer("block_size")
    n, height, width, depth = x.shape
    require(
        block > 0 and height % block == 0 and width % block == 0,
        node,
        f"blocks of {block} do not divide {height} x {width}",
    )
    shape = (n, height // block, width // block, depth * block * block)
    require(output.shape == shape, node, f"the output is {output.shape}, not {shape}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        size = len(inputs[0])
        tiles = inputs[0].reshape(size * n, shape[1], block, shape[2], block, depth)
        return (tiles.transpose(0, 1, 3, 2, 4, 5).reshape(size, *shape),)

    return by_index_tensors(node, (), run)


def _prepare_depth_to_space(node: Node) -> Binder:
    """Source: ``depth_to_space.cc``."""
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one input")
    x, output = node.input(0), node.output()
    require(len(x.shape) == 4, node, f"the input has {len(x.shape)} dimensions, not 4")
    supported(node, output, _TWO_TYPES, "output")
    require_same_type(node, x, output, "input and output")
    block = node.options.integer("block_size")
    n, height, width, depth = x.shape
    require(
        block > 0 and depth % (block * block) == 0,
        node,
        f"blocks of {block} do not divide {depth} channels",
    )
    shape = (n, height * block, width * block, depth // (block * block))
    require(output.shape == shape, node, f"the output is {output.shape}, not {shape}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        size = len(inputs[0])
        tiles = inputs[0].reshape(size * n, height, width, block, block, shape[3])
        return (tiles.transpose(0, 1, 3, 2, 4, 5).reshape(size, *shape),)

    return by_index_tensors(node, (), run)


def _check_batch_nd(node: Node) -> None:
    """Prepare of SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND."""
    require(len(node.inputs) == 3 and len(node.outputs) == 1, node, "it takes three inputs")
    x, output = node.input(0), node.output()
    for tensor in (x, output):
        require(len(tensor.shape) in (3, 4), node, f"a tensor has {len(tensor.shape)} dimensions")
    require(len(x.shape) == len(output.shape), node, "input and output differ in dimensions")
    require_same_type(node, x, output, "input and output")
    supported(node, x, _TWO_TYPES, "input")
    supported(node, node.input(1), (DType.INT32,), "block shape")
    supported(node, node.input(2), (DType.INT32,), "paddings tensor")
    require(x.shape[-1] == output.shape[-1], node, "input and output differ in channels")
    require(x.elements > 0, node, "the input is empty")
    block, edges = node.input(1).data, node.input(2).data
    if block is not None and edges is not None:
        _block_and_corner(node, block, edges)


def _four_dimensional(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Three dimensions are batch, height and channels."""
    return shape if len(shape) == 4 else (shape[0], shape[1], 1, shape[2])


def _block_and_corner(node: Node, blocks: Array, edges: Array) -> tuple[int, int, int, int]:
    """Height and width of a block, rows and columns of padding or cropping before the image.

    Raises:
        UnsupportedOperatorError: blocks and edges do not make the output of the input.
    """
    dimensions = len(node.input(0).shape) - 2
    block, edge = int32_vector(blocks), int32_vector(edges)
    require(
        len(block) == dimensions and len(edge) == 2 * dimensions,
        node,
        f"{len(block)} blocks and {len(edge)} edges for {dimensions} dimensions of space",
    )
    require(
        min(block) > 0 and min(edge) >= 0, node, f"blocks are {block}, paddings or crops {edge}"
    )
    height, width = (*block, 1)[:2]
    top, bottom, left, right = (*edge, 0, 0)[:4]
    wide, packed = node.input(0), node.output()
    if node.name == "BATCH_TO_SPACE_ND":
        wide, packed = packed, wide
    batches, rows, columns, _ = _four_dimensional(wide.shape)
    # What BATCH_TO_SPACE_ND crops comes back as the padding of its inverse.
    padded = rows + top + bottom, columns + left + right
    made = (batches * height * width, padded[0] // height, padded[1] // width)
    require(
        padded[0] % height == 0
        and padded[1] % width == 0
        and made == _four_dimensional(packed.shape)[:3],
        node,
        f"blocks {block} and edges {edge} do not make {node.output().shape} of "
        f"{node.input(0).shape}",
    )
    return height, width, top, left


def _space_to_batch(node: Node, inputs: Sequence[Array]) -> Sequence[Array]:
    """Padding is zero bytes, whatever the zero point: TFLM never sets its padding value.

    Source: ``reference_ops::SpaceToBatchND``.
    """
    block_h, block_w, top, left = _block_and_corner(node, inputs[1], inputs[2])
    batches, height, width, depth = _four_dimensional(node.input(0).shape)
    out_batches, out_h, out_w, _ = _four_dimensional(node.output().shape)
    x = inputs[0].reshape(len(inputs[0]), batches, height, width, depth)
    result = np.zeros((len(x), out_batches, out_h, out_w, depth), x.dtype)
    for out_batch in range(out_batches):
        shift_h, shift_w = divmod(out_batch // batches, block_w)
        rows = np.arange(out_h) * block_h + shift_h - top
        columns = np.arange(out_w) * block_w + shift_w - left
        in_rows = np.flatnonzero((rows >= 0) & (rows < height))
        in_columns = np.flatnonzero((columns >= 0) & (columns < width))
        source = x[:, out_batch % batches][:, rows[in_rows]][:, :, columns[in_columns]]
        result[:, out_batch, in_rows[:, np.newaxis], in_columns] = source
    return (result.reshape(len(x), *node.output().shape),)


def _batch_to_space(node: Node, inputs: Sequence[Array]) -> Sequence[Array]:
    """Source: ``reference_ops::BatchToSpaceND``."""
    block_h, block_w, top, left = _block_and_corner(node, inputs[1], inputs[2])
    batches, height, width, depth = _four_dimensional(node.input(0).shape)
    out_batches, out_h, out_w, _ = _four_dimensional(node.output().shape)
    x = inputs[0].reshape(len(inputs[0]), batches, height, width, depth)
    result = np.zeros((len(x), out_batches, out_h, out_w, depth), x.dtype)
    for batch in range(batches):
        offset_h, offset_w = divmod(batch // out_batches, block_w)
        rows = np.arange(height) * block_h + offset_h - top
        columns = np.arange(width) * block_w + offset_w - left
        in_rows = np.flatnonzero((rows >= 0) & (rows < out_h))
        in_columns = np.flatnonzero((columns >= 0) & (columns < out_w))
        source = x[:, batch][:, in_rows][:, :, in_columns]
        place = (slice(None), batch % out_batches, rows[in_rows, np.newaxis], columns[in_columns])
        result[place] = source
    return (result.reshape(len(x), *node.output().shape),)


def _prepare_space_to_batch(node: Node) -> Binder:
    _check_batch_nd(node)
    return by_index_tensors(node, (1, 2), partial(_space_to_batch, node))


def _prepare_batch_to_space(node: Node) -> Binder:
    _check_batch_nd(node)
    return by_index_tensors(node, (1, 2), partial(_batch_to_space, node))


def _check_resize(node: Node, types: Sequence[DType]) -> None:
    """Prepare of the two resizing operators."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes an input and a size")
    x, output = node.input(0), node.output()
    require(len(x.shape) == 4, node, f"the input has {len(x.shape)} dimensions, not 4")
    size = constant_int32(node, 1, "size tensor")
    require(size.shape == (2,), node, f"the size tensor has shape {size.shape}, not (2,)")
    supported(node, output, types, "output")
    require_same_type(node, x, output, "input and output")
    shape = (x.shape[0], *int32_vector(size), x.shape[3])
    require(output.shape == shape, node, f"the output is {output.shape}, not {shape}")
    require(x.elements > 0 and output.elements > 0, node, "input or output is empty")


def _prepare_resize_bilinear(node: Node) -> Binder:
    """Source: ``resize_bilinear.cc``."""
    _check_resize(node, _TWO_TYPES)
    align, half = node.options.flag("align_corners"), node.options.flag("half_pixel_centers")
    require(not (align and half), node, "align_corners and half_pixel_centers exclude each other")
    integer = node.input(0).dtype is DType.INT8
    table = _integer_table if integer else _float_table

    def along(axis: int, first: int) -> _Table:
        extents = node.input(0).shape[axis], node.output().shape[axis]
        return table(*extents, align, half, np.arange(first, extents[1]))

    for axis in (1, 2):
        lower, _, _ = along(axis, node.output().shape[axis] - 1)
        # The rounded scale of a strong enlargement overshoots, and TFLM reads what lies behind.
        require(
            int(lower[-1]) < node.input(0).shape[axis],
            node,
            f"rounding makes it read beyond the {node.input(0).shape[axis]} of dimension {axis}",
        )
    compute = _bilinear_integer if integer else _bilinear_float
    return lambda: by_index_tensors(node, (), partial(compute, along(1, 0), along(2, 0)))()


#: Of each output coordinate along one axis: lower and upper input coordinate, weight of the upper.
_Table = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]


def _float_table(
    extent: int, out_extent: int, align: bool, half: bool, outputs: npt.NDArray[np.int64]
) -> _Table:
    """Source: ``ComputeInterpolationValues``, in float32."""
    scale = np.float32(extent) / np.float32(out_extent)
    if align and out_extent > 1:
        scale = np.float32(extent - 1) / np.float32(out_extent - 1)
    position = outputs.astype(np.float32)
    offset = np.float32(0.5 if half else 0)
    scaled = (position + offset) * scale - offset
    lower = np.maximum(np.floor(scaled).astype(np.int64), 0)
    upper = np.minimum(np.ceil(scaled).astype(np.int64), extent - 1)
    return lower, upper, scaled - lower.astype(np.float32)


def _bilinear_float(rows: _Table, columns: _Table, inputs: Sequence[Array]) -> Sequence[Array]:
    """Source: ``reference_ops::ResizeBilinear``, product by product, from left to right."""
    x, one = inputs[0], np.float32(1)
    y0, y1, y = rows[0], rows[1], rows[2][:, np.newaxis, np.newaxis]
    x0, x1, across = columns[0], columns[1], columns[2][:, np.newaxis]
    low, high = x[:, :, y0], x[:, :, y1]
    total = low[:, :, :, x0] * (one - y) * (one - across)
    total = total + high[:, :, :, x0] * y * (one - across)
    total = total + low[:, :, :, x1] * (one - y) * across
    total = total + high[:, :, :, x1] * y * across
    return (total + np.float32(0),)


def _integer_table(
    extent: int, out_extent: int, align: bool, half: bool, outputs: npt.NDArray[np.int64]
) -> _Table:
    """Source: ``ComputeInterpolationValuesInteger``, with ten fractional bits."""
    scale = ((extent << 10) + out_extent // 2) // out_extent
    if align and out_extent > 1:
        scale = (((extent - 1) << 10) + (out_extent - 1) // 2) // (out_extent - 1)
    scaled = outputs * scale
    if half:
        scaled += scale // 2 - (1 << 9)
    lower = np.maximum(scaled >> 10, 0)
    upper = np.minimum((scaled + 1023) >> 10, extent - 1)
    return lower, upper, scaled - (lower << 10)


def _bilinear_integer(rows: _Table, columns: _Table, inputs: Sequence[Array]) -> Sequence[Array]:
    """Source: ``reference_ops::ResizeBilinearInteger`` without ``TFLITE_SINGLE_ROUNDING``."""
    # A weighted sum of int8 under 20 fractional bits fits int32.
    x = inputs[0].astype(np.int32)
    y0, y1, y = rows[0], rows[1], rows[2].astype(np.int32)[:, np.newaxis, np.newaxis]
    x0, x1, across = columns[0], columns[1], columns[2].astype(np.int32)[:, np.newaxis]
    along = x[:, :, y0] * (1024 - y) + x[:, :, y1] * y
    total = along[:, :, :, x0] * (1024 - across) + along[:, :, :, x1] * across
    magnitude = (np.abs(total) + (1 << 19)) >> 20
    return (np.where(total > 0, magnitude, -magnitude).astype(np.int8),)


def _prepare_resize_nearest(node: Node) -> Binder:
    """Source: ``resize_nearest_neighbor.cc``."""
    _check_resize(node, (*_TWO_TYPES, DType.INT16))
    align, half = node.options.flag("align_corners"), node.options.flag("half_pixel_centers")
    x, output = node.input(0), node.output()

    def run(
        rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], inputs: Sequence[Array]
    ) -> Sequence[Array]:
        return (inputs[0][:, :, rows[:, np.newaxis], columns],)

    def bind() -> BoundKernel:
        rows, columns = (
            _nearest(x.shape[axis], output.shape[axis], align, half) for axis in (1, 2)
        )
        return by_index_tensors(node, (), partial(run, rows, columns))()

    return bind


def _nearest(extent: int, out_extent: int, align: bool, half: bool) -> npt.NDArray[np.int64]:
    """Source: ``GetNearestNeighbor``, in float32."""
    scale = np.float32(extent) / np.float32(out_extent)
    if align and out_extent > 1:
        scale = np.float32(extent - 1) / np.float32(out_extent - 1)
    position = np.arange(out_extent, dtype=np.float32)
    scaled = ((position + np.float32(0.5 if half else 0)) * scale).astype(np.float64)
    # Nothing is below zero here, so rounding ties away from zero is a floor.
    whole = np.floor(scaled + 0.5) if align else np.floor(scaled)
    return np.clip(whole.astype(np.int64), 0, extent - 1)


KERNELS: tuple[Kernel, ...] = (
    Kernel("SPACE_TO_DEPTH", _prepare_space_to_depth, depth_and_space_call),
    Kernel("DEPTH_TO_SPACE", _prepare_depth_to_space, depth_and_space_call),
    Kernel("SPACE_TO_BATCH_ND", _prepare_space_to_batch, batch_and_space_call),
    Kernel("BATCH_TO_SPACE_ND", _prepare_batch_to_space, batch_and_space_call),
    Kernel("RESIZE_BILINEAR", _prepare_resize_bilinear, resize_bilinear_call),
    Kernel("RESIZE_NEAREST_NEIGHBOR", _prepare_resize_nearest, resize_nearest_call),
)
