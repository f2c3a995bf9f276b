"""Runs a function of two elements over batched, broadcast operands: all of them, or by a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel
from mcusim.kernels.reference.broadcasting import aligned, require_broadcast
from mcusim.kernels.reference.checks import require_counts, require_same_type

__all__ = ["PairFunction", "operands", "run_flat_pairs", "run_pairs"]

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


def run_pairs(node: Node, function: PairFunction) -> Binder:
    """A kernel, yet to be bound, that computes ``function`` of two inputs.

    It computes int8 ones by a table of all 65,536 pairs.

    Args:
        node: the operator; int8 inputs and an output of one byte go by the table.
        function: called with operands of the inputs' dtypes.
    """
    output = node.output()
    dtype, shape = output.dtype.numpy, output.shape
    rank = max(len(shape), len(node.input(0).shape), len(node.input(1).shape))
    if node.input(0).dtype is DType.INT8 and dtype.itemsize == 1:
        return partial(_tabulated, node, function)

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        first, second = (aligned(array, rank) for array in inputs if array is not None)
        with np.errstate(all="ignore"):
            result = function(first, second).astype(dtype, copy=False)
        return [result.reshape(len(result), *shape)]

    return lambda: run


def run_flat_pairs(node: Node, compute: Callable[[Array, Array, Array], None]) -> BoundKernel:
    """A kernel that computes two inputs of one length into an output of that length.

    Args:
        node: the operator.
        compute: called with the operands and the output, one dimension each.
    """
    dtype, shape = node.output().dtype.numpy, node.output().shape

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        first, second = _repeated(inputs, len(shape))
        out = np.empty(first.size, dtype)
        compute(first.ravel(), second.ravel(), out)
        return [out.reshape(len(first), *shape)]

    return run


def _tabulated(node: Node, function: PairFunction) -> BoundKernel:
    from mcusim.kernels.compiled.elementwise import look_up_pairs

    dtype = node.output().dtype.numpy
    values = np.arange(256, dtype=np.uint8).view(np.int8)
    with np.errstate(all="ignore"):
        results = function(values[:, np.newaxis], values[np.newaxis, :]).astype(dtype)
    table = np.ascontiguousarray(results).view(np.uint8).ravel()

    def compute(first: Array, second: Array, out: Array) -> None:
        look_up_pairs(table, first.view(np.uint8), second.view(np.uint8), out.view(np.uint8))

    return run_flat_pairs(node, compute)


def _repeated(inputs: Sequence[Array | None], rank: int) -> Iterator[Array]:
    """Operands in the shape that they broadcast to, contiguous; views where they have it."""
    arrays = [array for array in inputs if array is not None]
    ranks = max(rank, *(array.ndim - 1 for array in arrays))
    for array in np.broadcast_arrays(*(aligned(array, ranks) for array in arrays)):
        yield np.ascontiguousarray(array)
