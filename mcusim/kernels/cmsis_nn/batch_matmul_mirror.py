"""CMSIS-NN's product of matrices, loop by loop as the library runs it, with every turn counted."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.vector_matrix_mirror import vec_mat_mult_t_s8, vec_mat_mult_t_s16
from mcusim.kernels.reference.dense import Rescaling

__all__ = ["batch_matmul"]


def batch_matmul(
    lhs: Array, rhs: Array, rescaling: Rescaling, simd: Simd
) -> tuple[Array, Counter[str], Counter[str]]:
    """``arm_batch_matmul_s8`` and, of int16, ``arm_batch_matmul_s16``.

    Args:
        lhs: stored, ``[n][h][rows][depth]``.
        rhs: stored, ``[n][h][columns][depth]``: already transposed; an outer extent of one serves
            all of the other's.
        rescaling: of the sums.
        simd: of the core.

    Returns:
        The output, turns of the function and of the product that it calls.
    """
    turns: Counter[str] = Counter({"call": 1})
    inner: Counter[str] = Counter()
    left, right = lhs.reshape(-1, *lhs.shape[2:]), rhs.reshape(-1, *rhs.shape[2:])
    # Matrices to go back, and on, after each product and after each of the outer loop.
    inner_left = 0 if lhs.shape[1] >= rhs.shape[1] else 1
    inner_right = 1 if rhs.shape[1] >= lhs.shape[1] else 0
    outer_left = inner_left if lhs.shape[0] >= rhs.shape[0] else -(1 - inner_left) * lhs.shape[1]
    outer_right = 1 - inner_right if rhs.shape[0] >= lhs.shape[0] else -inner_right * rhs.shape[1]
    outer = max(lhs.shape[0], rhs.shape[0]), max(lhs.shape[1], rhs.shape[1])
    out = np.empty((*outer, lhs.shape[2], rhs.shape[2]), rescaling.dtype.numpy)
    of_left = of_right = 0
    for n in range(outer[0]):
        turns["batch"] += 1
        for h in range(outer[1]):
            turns["matrix"] += 1
            for i, row in enumerate(left[of_left].tolist()):
                turns["row"] += 1
                product = vec_mat_mult_t_s16 if rescaling.wide else vec_mat_mult_t_s8
                out[n, h, i], counted = product(
                    row, right[of_right].tolist(), None, rescaling, simd
                )
                inner += counted
            of_left += 1 - inner_left
            of_right += inner_right
        of_left += outer_left
        of_right += outer_right
    return out, turns, inner
