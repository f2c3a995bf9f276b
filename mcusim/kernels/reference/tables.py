"""Runs a function of one element over batched tensors: on all of them, or by a table of 256."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import BoundKernel

__all__ = ["run_elements"]

_BYTES = (DType.INT8, DType.UINT8)


def run_elements(node: Node, function: Callable[[Array], Array]) -> BoundKernel:
    """A kernel that computes ``function`` of its first input, of one byte by a table.

    Args:
        node: the operator.
        function: called with an array of the input's dtype; returns any dtype that holds the
            results, same shape.
    """
    output = node.output()
    dtype, shape = output.dtype.numpy, output.shape
    source = node.input(0).dtype
    if source in _BYTES:
        values = np.arange(256, dtype=np.uint8).view(source.numpy)
        with np.errstate(all="ignore"):
            table = function(values).astype(dtype)

        def look_up(inputs: Sequence[Array | None]) -> list[Array]:
            array = _first(inputs)
            return [table.take(array.view(np.uint8)).reshape(len(array), *shape)]

        return look_up

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        array = _first(inputs)
        with np.errstate(all="ignore"):
            result = function(array).astype(dtype, copy=False)
        return [result.reshape(len(array), *shape)]

    return run


def _first(inputs: Sequence[Array | None]) -> Array:
    array = inputs[0]
    assert array is not None
    return array
