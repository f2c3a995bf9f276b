"""1 / sqrt(x) of integers in fixed point, as RSQRT and L2_NORMALIZATION compute it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcusim.kernels.fixed_point import (
    Int32Array,
    rounding_divide_by_pot,
    saturating_left_shift,
    saturating_rounding_doubling_high_mul,
)
from mcusim.kernels.gemmlowp_functions import count_leading_zeros

__all__ = ["inverse_square_root"]


def inverse_square_root(x: npt.ArrayLike) -> tuple[Int32Array, npt.NDArray[np.int64]]:
    """1 / sqrt(x) of integers that are not negative; 1 for 0.

    Args:
        x: int32 values, any shape.

    Returns:
        Q31 multipliers and shifts to the right: the root is ``multiplier * 2**(-31 - shift)``.

    Source: ``GetInvSqrtQuantizedMultiplierExp``.
    """
    product = saturating_rounding_doubling_high_mul
    given = np.asarray(x, np.int64)
    value = np.maximum(given, 2)
    shift = np.full(value.shape, 11, np.int64)
    for _ in range(2):
        large = value >= 1 << 29
        value = np.where(large, value >> 2, value)
        shift += large
    pairs = (count_leading_zeros(value) - 1) // 2 - 1
    shift -= pairs
    # Three integer bits from here on.
    scaled = (value << (2 * pairs)) >> 1
    half = rounding_divide_by_pot(scaled, 1)
    one, half_three = np.int32(1 << 28), np.int32((1 << 28) + (1 << 27))
    root = np.full(value.shape, one, np.int32)
    for _ in range(5):
        cube = saturating_left_shift(product(product(root, root), root), 6)
        # Both products have six integer bits.
        root = saturating_left_shift(product(half_three, root) - product(half, cube), 3)
    inverse = product(root, 1518500250)
    inverse = np.where(shift < 0, inverse << np.maximum(-shift, 0), inverse)
    trivial = given <= 1
    return (
        np.where(trivial, np.int32((1 << 31) - 1), inverse).astype(np.int32),
        np.where(trivial, 0, np.maximum(shift, 0)),
    )
