"""Batches of inferences for kernels whose index tensors may differ from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from mcusim.errors import ModelError
from mcusim.graph import Array, Node
from mcusim.kernels.contract import Binder

__all__ = ["ArrayKernel", "aligned", "by_index_tensors"]

#: Computes outputs from inputs that are all present.
ArrayKernel: TypeAlias = Callable[[Sequence[Array]], Sequence[Array]]


def by_index_tensors(node: Node, positions: Sequence[int], compute: ArrayKernel) -> Binder:
    """A kernel, yet to be bound, whose index tensors (axes, sizes, paddings) must be one for all.

    Constant index tensors have a leading axis of 1 and all inferences run together; computed ones
    may differ, and each inference runs alone.

    Args:
        node: the operator.
        positions: inputs that are index tensors.
        compute: the kernel; index tensors come with a leading axis of 1.
    """

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        arrays = [_present(node, a, i) for i, a in enumerate(inputs)]
        if all(len(arrays[i]) == 1 for i in positions):
            return compute(arrays)
        count = max(len(a) for a in arrays)
        parts = [
            compute([a if len(a) == 1 else a[b : b + 1] for a in arrays]) for b in range(count)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return lambda: run


def aligned(arrays: Sequence[Array]) -> list[Array]:
    """Arrays with one leading axis, constants repeated (as views) for each inference."""
    count = max(len(a) for a in arrays)
    return [a if len(a) == count else np.broadcast_to(a, (count, *a.shape[1:])) for a in arrays]


def _present(node: Node, array: Array | None, position: int) -> Array:
    if array is None:
        raise ModelError(f"operator {node.index} ({node.name}): input {position} is missing")
    return array
