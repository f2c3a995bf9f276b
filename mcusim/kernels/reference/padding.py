"""PAD, PADV2 and MIRROR_PAD.

Sources: ``pad_common.cc``, ``reference/pad.h`` and ``mirror_pad.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.reference.checks import (
    constant_int32,
    int32_vector,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import by_index_tensors
from mcusim.kernels.reference.picking_calls import mirror_pad_call
from mcusim.kernels.reference.spatial_calls import pad_call

__all__ = ["KERNELS"]


def _prepare_pad(node: Node) -> Binder:
    """Prepare of PAD and PADV2.

    Source: ``PadPrepare``.
    """
    require(len(node.inputs) in (2, 3) and len(node.outputs) == 1, node, "it takes 2 or 3 inputs")
    x, output = node.input(0), node.output()
    require_same_type(node, x, output, "input and output")
    rank = len(x.shape)
    require(rank <= 5, node, f"the input has {rank} dimensions, more than 5")
    value = node.optional_input(2)
    if value is not None:
        require_same_type(node, x, value, "input and padding value")
        require(value.elements == 1, node, f"the padding value has {value.elements} elements")
    paddings = int32_vector(constant_int32(node, 1, "paddings tensor"))
    require(
        len(paddings) == 2 * len(output.shape) == 2 * rank,
        node,
        f"{len(paddings)} paddings for {len(output.shape)} dimensions",
    )
    before, after = paddings[::2], paddings[1::2]
    padded = tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True))
    require(output.shape == padded, node, f"the output is {output.shape}, not {padded}")
    supported(node, x, (DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32), "input")
    fill = 0
    if x.dtype is DType.INT8 and value is None:
        fill = output.zero_point
        require(-128 <= fill <= 127, node, f"the output's zero point {fill} is no int8")
    elif x.dtype is DType.INT8 and value is not None:
        require(
            (value.scale, value.zero_point) == (output.scale, output.zero_point),
            node,
            "padding value and output differ in scale or zero point",
        )
    # Where a padding is negative, the loops do not crop: they go on reading in memory order.
    box = tuple(
        slice(max(b, 0), extent - max(a, 0))
        for b, extent, a in zip(before, output.shape, after, strict=True)
    )
    extents = tuple(max(0, s.stop - s.start) for s in box)
    inside = math.prod(extents)

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        array = inputs[0]
        count = max(len(array), len(inputs[2]) if value is not None else 1)
        result = np.empty((count, *output.shape), array.dtype)
        result[...] = (
            inputs[2].reshape(-1, *(1,) * rank) if value is not None else array.dtype.type(fill)
        )
        flat = array.reshape(len(array), -1)[:, :inside]
        result[(slice(None), *box)] = flat.reshape(len(array), *extents)
        return (result,)

    return by_index_tensors(node, (1,), run)


def _prepare_mirror_pad(node: Node) -> Binder:
    """Source: ``mirror_pad.cc``; the sizes are those of the file, not of the paddings."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes input and paddings")
    x, paddings, output = node.input(0), node.input(1), node.output()
    rank = len(x.shape)
    require(
        len(paddings.shape) == 2 and paddings.shape[0] == rank and paddings.elements >= 2 * rank,
        node,
        f"the paddings have shape {paddings.shape} for {rank} dimensions",
    )
    supported(node, paddings, (DType.INT32, DType.INT64), "paddings tensor")
    supported(node, output, (DType.FLOAT32, DType.INT8), "output")
    require_same_type(node, x, output, "input and output")
    require(len(output.shape) == rank, node, "input and output differ in dimensions")
    offset = 1 if node.options.text("mode", "REFLECT") == "REFLECT" else 0
    if paddings.data is not None:
        _mirrored_axes(node, offset, paddings.data)
    return by_index_tensors(node, (1,), partial(_mirror_pad, node, offset))


def _mirror_pad(node: Node, offset: int, inputs: Sequence[Array]) -> Sequence[Array]:
    array = inputs[0]
    flat: npt.NDArray[np.int64] = np.zeros((), np.int64)
    for places in _mirrored_axes(node, offset, inputs[1]):
        flat = flat[..., np.newaxis] + places
    return (array.reshape(len(array), -1)[:, flat],)


def _mirrored_axes(node: Node, offset: int, given: Array) -> list[npt.NDArray[np.int64]]:
    """Where each output coordinate comes from, in elements of the input, by dimension.

    Raises:
        UnsupportedOperatorError: paddings reach beyond the input.
    """
    x, output = node.input(0), node.output()
    rank = len(output.shape)
    paddings = given.reshape(-1)[: 2 * rank].reshape(rank, 2).tolist()
    axes = []
    for axis, (before, _) in enumerate(paddings):
        positions = _mirrored(np.arange(output.shape[axis]), before, x.shape[axis], offset)
        axes.append(positions * math.prod(x.shape[axis + 1 :]))
    if output.elements:
        least, most = (sum(int(extreme(p)) for p in axes) for extreme in (np.min, np.max))
        require(
            0 <= least <= most < x.elements,
            node,
            f"paddings {paddings} reach beyond an input of shape {x.shape}",
        )
    return axes


def _mirrored(
    position: npt.NDArray[np.int64], before: int, extent: int, offset: int
) -> npt.NDArray[np.int64]:
    """Source: ``GetInputDimension``."""
    first = before + offset - 1
    left = first - np.minimum(position, first - offset)
    inner = position - before
    last = extent - (1 + offset)
    right = last - np.minimum(inner - extent, last)
    return np.where(position < before, left, np.where(inner >= extent, right, inner))


KERNELS: tuple[Kernel, ...] = (
    Kernel("PAD", _prepare_pad, pad_call),
    Kernel("PADV2", _prepare_pad, pad_call),
    Kernel("MIRROR_PAD", _prepare_mirror_pad, mirror_pad_call),
)
