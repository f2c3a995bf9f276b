"""From a convolution's node to what runs it: constant filters are prepared only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, BoundKernel
from mcusim.kernels.reference.convolution import ConvolutionShape, OutputScaling, output_scaling

__all__ = ["ImageKernel", "Preparation", "bound_convolution", "convolution_binder"]

#: Computes ``[image][row][column][channel]`` outputs, in place, from inputs of that layout.
ImageKernel: TypeAlias = Callable[[Array, Array], None]

#: Makes an :data:`ImageKernel` from a filter and a bias, both as the file has them.
Preparation: TypeAlias = Callable[[Array, Array | None], ImageKernel]


def convolution_binder(
    node: Node,
    at_input: int,
    shape: ConvolutionShape,
    bind_float: Callable[[Node, ConvolutionShape], BoundKernel],
    bind_integer: Callable[[Node, ConvolutionShape, OutputScaling], BoundKernel],
) -> Binder:
    """Choose how a checked convolution is bound, and scale the outputs of an integer one.

    Args:
        node: the operator.
        at_input: which input is the input; the filter is input 1.
        shape: the node's shape, checked.
        bind_float: binds a float32 convolution.
        bind_integer: binds any other.

    Raises:
        UnsupportedOperatorError: the scales cannot be those of an integer convolution.
    """
    source = node.input(at_input)
    if source.dtype is DType.FLOAT32:
        return partial(bind_float, node, shape)
    scaling = output_scaling(node, source, node.input(1), shape.out_channels)
    return partial(bind_integer, node, shape, scaling)


def bound_convolution(
    node: Node, positions: tuple[int, int, int], prepare: Preparation
) -> BoundKernel:
    """Bind a convolution.

    Args:
        node: the operator.
        positions: which inputs are the input, the filter and the optional bias.
        prepare: what to do with filter and bias.

    Returns:
        The bound kernel; it prepares a filter that is computed for each inference.
    """
    at_input, at_filter, at_bias = positions
    source, weights = node.input(at_input), node.input(at_filter)
    bias = node.optional_input(at_bias)
    result = node.output()
    fixed = (
        prepare(weights.data, None if bias is None else bias.data)
        if weights.data is not None and (bias is None or bias.data is not None)
        else None
    )

    def run(arrays: Sequence[Array | None]) -> Sequence[Array]:
        given = list(zip(node.inputs, arrays, strict=True))
        batch = next(
            (a.shape[0] for t, a in given if t is not None and a is not None and t.data is None), 1
        )
        x = _present(arrays, at_input)
        out = np.empty((batch, *result.shape), result.dtype.numpy)
        if fixed is not None:
            every = np.broadcast_to(x, (batch, *source.shape)).reshape(-1, *source.shape[1:])
            fixed(_frozen(every), out.reshape(-1, *result.shape[1:]))
            return (out,)
        for i in range(batch):
            added = None if bias is None else _of(_present(arrays, at_bias), i)
            kernel = prepare(_of(_present(arrays, at_filter), i), added)
            kernel(_frozen(_of(x, i)), out[i])
        return (out,)

    return run


def _present(arrays: Sequence[Array | None], position: int) -> Array:
    array = arrays[position]
    assert array is not None
    return array


def _frozen(array: Array) -> Array:
    """The array as compiled loops want it: one layout, one kind of access, so one compilation."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _of(array: Array, inference: int) -> Array:
    """The array of one inference; a constant has only one."""
    found: Array = array[inference if len(array) > 1 else 0]
    return found
