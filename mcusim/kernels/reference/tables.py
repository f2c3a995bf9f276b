"""Runs a function of one element over batched tensors: on all of them, or by a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, BoundKernel

__all__ = ["run_elements"]

#: Types of few enough values for a table of all, and the type that counts them from zero.
_TABULATED: dict[DType, type[np.unsignedinteger[Any]]] = {
    DType.INT8: np.uint8,
    DType.UINT8: np.uint8,
    DType.INT16: np.uint16,
}


def run_elements(node: Node, function: Callable[[Array], Array]) -> Binder:
    """A kernel, yet to be bound, that computes ``function`` of its first input.

    It computes types of up to 16 bits by a table of all values.

    Args:
        node: the operator.
        function: called with an array of the input's dtype; returns any dtype that holds the
            results, same shape.
    """
    output = node.output()
    dtype, shape = output.dtype.numpy, output.shape
    source = node.input(0).dtype
    if source in _TABULATED:
        return partial(_tabulated, node, function, _TABULATED[source])

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        array = _first(inputs)
        with np.errstate(all="ignore"):
            result = function(array).astype(dtype, copy=False)
        return [result.reshape(len(array), *shape)]

    return lambda: run


def _tabulated(
    node: Node, function: Callable[[Array], Array], index: type[np.unsignedinteger[Any]]
) -> BoundKernel:
    from mcusim.kernels.compiled.elementwise import look_up

    output = node.output()
    dtype, shape = output.dtype.numpy, output.shape
    values = np.arange(np.iinfo(index).max + 1).astype(index).view(node.input(0).dtype.numpy)
    with np.errstate(all="ignore"):
        table = function(values).astype(dtype)

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        array = _first(inputs)
        out = np.empty(array.size, dtype)
        look_up(table, array.view(index).ravel(), out)
        return [out.reshape(len(array), *shape)]

    return run


def _first(inputs: Sequence[Array | None]) -> Array:
    array = inputs[0]
    assert array is not None
    return np.ascontiguousarray(array)
