"""Operators that reshape, permute, repeat or fill: they move elements and compute nothing.

RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SHAPE, BROADCAST_TO, BROADCAST_ARGS, FILL, ZEROS_LIKE.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.reference.checks import (
    constant_int32,
    int32_vector,
    refuse,
    require,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.inferences import by_index_tensors
from mcusim.kernels.reference.movement_calls import (
    reshape_call,
    simple_call,
    single_run_call,
    transpose_call,
)
from mcusim.kernels.reference.picking_calls import broadcast_to_call

__all__ = ["KERNELS"]

_NO_SIZE = (DType.STRING, DType.RESOURCE, DType.VARIANT)


def _keep_elements(node: Node, inputs: Sequence[Array]) -> Sequence[Array]:
    return (inputs[0].reshape(len(inputs[0]), *node.output().shape),)


def _prepare_reshape(node: Node) -> Binder:
    """Source: ``reshape_common.cc``, ``PrepareReshapeReference``."""
    require(len(node.inputs) in (1, 2) and len(node.outputs) == 1, node, "it takes 1 or 2 inputs")
    x, output = node.input(0), node.output()
    require_same_type(node, x, output, "input and output")
    require(x.dtype not in _NO_SIZE, node, f"the input is {x.dtype.value}")
    # A legacy file writes a scalar as the shape [0].
    elements = 1 if len(node.inputs) == 1 and output.shape == (0,) else output.elements
    require(
        x.elements == elements,
        node,
        f"{x.elements} elements do not fit the shape {output.shape}",
    )
    shape = () if output.shape == (0,) and elements == 1 else output.shape

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        array = inputs[0]
        if array is None:
            refuse(node, "it has no input")
        return (array.reshape(len(array), *shape),)

    return lambda: run


def _prepare_squeeze(node: Node) -> Binder:
    """Source: ``squeeze.cc``."""
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one input")
    x, output = node.input(0), node.output()
    rank = len(x.shape)
    require(rank <= 8, node, f"the input has {rank} dimensions, more than 8")
    squeezed = set()
    for axis in node.options.integers("squeeze_dims"):
        current = axis + rank if axis < 0 else axis
        require(
            0 <= current < rank and x.shape[current] == 1,
            node,
            f"it squeezes dimension {axis} of {x.shape}",
        )
        squeezed.add(current)
    if not node.options.integers("squeeze_dims"):
        squeezed = {axis for axis, extent in enumerate(x.shape) if extent == 1}
    kept = tuple(extent for axis, extent in enumerate(x.shape) if axis not in squeezed)
    fits = len(output.shape) >= len(kept) and all(
        given >= needed for given, needed in zip(output.shape, kept, strict=False)
    )
    require(fits and x.elements == output.elements, node, f"{x.shape} does not fit {output.shape}")
    require_same_type(node, x, output, "input and output")
    require(x.dtype not in _NO_SIZE, node, f"the input is {x.dtype.value}")
    return by_index_tensors(node, (), partial(_keep_elements, node))


def _prepare_expand_dims(node: Node) -> Binder:
    """Source: ``expand_dims.cc``."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes an input and an axis")
    x, output = node.input(0), node.output()
    axis_data = constant_int32(node, 1, "axis tensor")
    require(
        axis_data.ndim <= 1 and axis_data.size == 1,
        node,
        f"the axis tensor has shape {axis_data.shape}, it must be one number",
    )
    axis = int(axis_data.reshape(-1)[0])
    axis = len(x.shape) + 1 + axis if axis < 0 else axis
    require(0 <= axis <= len(x.shape), node, f"axis {axis} of {len(x.shape)} dimensions")
    require_same_type(node, x, output, "input and output")
    expanded = (*x.shape[:axis], 1, *x.shape[axis:])
    require(output.shape == expanded, node, f"the output is {output.shape}, not {expanded}")
    supported(node, x, (DType.INT8, DType.INT16, DType.FLOAT32), "input")
    return by_index_tensors(node, (), partial(_keep_elements, node))


def _prepare_transpose(node: Node) -> Binder:
    """Source: ``transpose_common.cc`` and ``reference/transpose.h``."""
    require(len(node.inputs) == 2, node, "it takes an input and a permutation")
    x, output = node.input(0), node.output()
    rank = len(x.shape)
    require(rank <= 5, node, f"the input has {rank} dimensions, more than 5")
    require_same_type(node, x, output, "input and output")
    permutation = constant_int32(node, 1, "permutation")
    require(permutation.shape == (rank,), node, f"the permutation has shape {permutation.shape}")
    order = int32_vector(permutation)
    require(sorted(order) == list(range(rank)), node, f"{order} is no permutation")
    supported(node, x, (DType.FLOAT32, DType.INT8, DType.INT16), "input")
    permuted = tuple(x.shape[axis] for axis in order)
    require(output.shape == permuted, node, f"the output is {output.shape}, not {permuted}")
    axes = (0, *(axis + 1 for axis in order))

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return (np.ascontiguousarray(inputs[0].transpose(axes)),)

    return by_index_tensors(node, (), run)


def _prepare_shape(node: Node) -> Binder:
    """Source: ``shape.cc``."""
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one input")
    supported(node, node.output(), (DType.INT32,), "output")
    shape = node.input(0).shape
    require(node.output().elements == len(shape), node, "the output does not hold the shape")
    value = np.array(shape, np.int32).reshape((1, *node.output().shape))

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return (value,)

    return by_index_tensors(node, (), run)


def _prepare_broadcast_to(node: Node) -> Binder:
    """Source: ``broadcast_to.cc``."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes input and shape")
    x, shape, output = node.input(0), node.input(1), node.output()
    rank = len(output.shape)
    require(len(x.shape) <= 5 and rank <= 5, node, "a tensor has more than 5 dimensions")
    supported(node, shape, (DType.INT32, DType.INT64), "shape tensor")
    require_same_type(node, x, output, "input and output")
    require(x.dtype not in _NO_SIZE, node, f"the input is {x.dtype.value}")
    if shape.data is None:
        refuse(node, "the shape tensor is not a constant")
    require(len(shape.shape) == 1, node, "the shape tensor is not a vector")
    target = tuple(int32_vector(shape.data))
    require(len(target) == rank >= len(x.shape), node, f"{x.shape} does not spread to {target}")
    ends = target[rank - len(x.shape) :]
    require(
        all(extent in (1, end) for extent, end in zip(x.shape, ends, strict=True)),
        node,
        f"{x.shape} does not spread to {target}",
    )
    require(output.shape == target, node, f"the output is {output.shape}, not {target}")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        array = inputs[0]
        extended = array.reshape(len(array), *(1,) * (rank - len(x.shape)), *x.shape)
        return (np.broadcast_to(extended, (len(array), *target)).copy(),)

    return by_index_tensors(node, (), run)


def _prepare_broadcast_args(node: Node) -> Binder:
    """Source: ``broadcast_args.cc``."""
    require(len(node.inputs) == 2 and len(node.outputs) == 1, node, "it takes two shapes")
    one, other, output = node.input(0), node.input(1), node.output()
    supported(node, one, (DType.INT32, DType.INT64), "first shape")
    require_same_type(node, one, other, "the two shapes")
    require_same_type(node, one, output, "shapes and output")
    require(
        len(one.shape) == len(other.shape) == len(output.shape) == 1,
        node,
        "shapes and output are vectors",
    )
    if one.data is not None and other.data is not None:
        _broadcast_shapes(node, (one.data, other.data))
    return by_index_tensors(node, (0, 1), partial(_broadcast_shapes, node))


def _broadcast_shapes(node: Node, inputs: Sequence[Array]) -> Sequence[Array]:
    output = node.output()
    rank = output.elements
    padded = []
    for array in inputs:
        values = int32_vector(array)[-rank:] if rank else []
        padded.append([1] * (rank - len(values)) + values)
    extents = []
    for first, second in zip(*padded, strict=True):
        if first != 1 and second not in (1, first):
            refuse(node, f"shapes {padded[0]} and {padded[1]} do not broadcast")
        extents.append(second if first == 1 else first)
    return (np.array([extents], output.dtype.numpy),)


def _prepare_fill(node: Node) -> Binder:
    """Source: ``fill.cc``."""
    extents, value, output = node.input(0), node.input(1), node.output()
    require(not value.shape, node, f"the value has shape {value.shape}, it must be a scalar")
    require_same_type(node, value, output, "value and output")
    if extents.data is None:
        refuse(node, "the shape tensor is not a constant")
    integers = (DType.INT8, DType.INT16, DType.INT32, DType.INT64)
    supported(node, extents, integers, "shape tensor")
    require(
        len(extents.shape) == 1 and tuple(int32_vector(extents.data)) == output.shape,
        node,
        f"the shape tensor does not say the output's shape {output.shape}",
    )
    supported(node, value, (DType.FLOAT32, DType.INT32, DType.INT8), "value")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        scalar = inputs[1].reshape(len(inputs[1]), *(1,) * len(output.shape))
        return (np.broadcast_to(scalar, (len(scalar), *output.shape)).copy(),)

    return by_index_tensors(node, (), run)


def _prepare_zeros_like(node: Node) -> Binder:
    """Source: ``zeros_like.cc``."""
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one input")
    x, output = node.input(0), node.output()
    supported(node, x, (DType.INT64, DType.INT32, DType.INT8, DType.FLOAT32), "input")
    require_same_type(node, x, output, "input and output")
    require(x.shape == output.shape, node, "input and output have two shapes")

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return (np.zeros((1, *output.shape), output.dtype.numpy),)

    return by_index_tensors(node, (), run)


KERNELS: tuple[Kernel, ...] = (
    Kernel("RESHAPE", _prepare_reshape, reshape_call),
    Kernel("SQUEEZE", _prepare_squeeze, reshape_call),
    Kernel("EXPAND_DIMS", _prepare_expand_dims, single_run_call),
    Kernel("TRANSPOSE", _prepare_transpose, transpose_call),
    Kernel("SHAPE", _prepare_shape, simple_call),
    Kernel("BROADCAST_TO", _prepare_broadcast_to, broadcast_to_call),
    Kernel("BROADCAST_ARGS", _prepare_broadcast_args, simple_call),
    Kernel("FILL", _prepare_fill, single_run_call),
    Kernel("ZEROS_LIKE", _prepare_zeros_like, single_run_call),
)
