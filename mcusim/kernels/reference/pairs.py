"""Runs a function of two elements over batched, broadcast operands: all of them, or by a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import BoundKernel
from mcusim.kernels.reference.broadcasting import aligned, require_broadcast
from mcusim.kernels.reference.checks import require_counts, require_same_type

__all__ = ["PairFunction", "operands", "run_pairs"]

#: Computes an operator on arrays that broadcast; returns any dtype that holds the results.
PairFunction: TypeAlias = Callable[[Array, Array], Array]


def operands(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Both inputs and the output of an operator that broadcasts.

    Raises:
        UnsupportedOperatorError: the counts are wrong, the inputs' types differ, or their shapes do
            not broadcast to the output's.
    """
    require_counts(node, 2)
    first, second, output = node.input(0), node.input(1), node.output()
    require_same_type(node, first, second, "the inputs")
    require_broadcast(node, (first, second), output)
    return first, second, output


def run_pairs(node: Node, function: PairFunction) -> BoundKernel:
    """A kernel that computes ``function`` of two inputs, int8 ones by a table of all 65,536 pairs.

    Args:
        node: the operator; int8 inputs and an output of one byte go by the table.
        function: called with operands of the inputs' dtypes.
    """
    output = node.output()
    dtype, shape = output.dtype.numpy, output.shape
    rank = max(len(shape), len(node.input(0).shape), len(node.input(1).shape))
    if node.input(0).dtype is DType.INT8 and dtype.itemsize == 1:
        return _tabulated(function, dtype, shape, rank)

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        first, second = (aligned(array, rank) for array in inputs if array is not None)
        with np.errstate(all="ignore"):
            result = function(first, second).astype(dtype, copy=False)
        return [result.reshape(len(result), *shape)]

    return run


def _tabulated(
    function: PairFunction, dtype: np.dtype[np.generic], shape: tuple[int, ...], rank: int
) -> BoundKernel:
    from mcusim.kernels.compiled.elementwise import look_up_pairs

    values = np.arange(256, dtype=np.uint8).view(np.int8)
    with np.errstate(all="ignore"):
        results = function(values[:, np.newaxis], values[np.newaxis, :]).astype(dtype)
    table = np.ascontiguousarray(results).view(np.uint8).ravel()

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        first, second = (array.view(np.uint8) for array in inputs if array is not None)
        if first.shape == second.shape:
            out = np.empty(first.shape, np.uint8)
            look_up_pairs(table, first.ravel(), second.ravel(), out.ravel())
        else:
            rows = aligned(first, rank).astype(np.intp) << 8
            out = table.take(rows | aligned(second, rank))
        return [out.view(dtype).reshape(len(out), *shape)]

    return run
