"""Loops of SOFTMAX and LOG_SOFTMAX; exp and log are the C library's of this machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.fixed_point import (
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

__all__ = ["log_softmax", "softmax", "stored_softmax"]

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.int64]

_LOWEST = np.float32(np.finfo(np.float32).min)


@njit(cache=True)
def softmax(x: Floats, beta: np.float32, out: Floats) -> None:
    """SOFTMAX of each row.

    Args:
        x: float32, shape ``(rows, depth)``.
        beta: factor of the inputs.
        out: float32, of the same shape, written.
    """
    depth = x.shape[1]
    for row in range(x.shape[0]):
        largest = _LOWEST
        for i in range(depth):
            if largest < x[row, i]:
                largest = x[row, i]
        total = np.float32(0)
        for i in range(depth):
            power = math.exp((x[row, i] - largest) * beta)
            out[row, i] = power
            total += power
        for i in range(depth):
            out[row, i] = out[row, i] / total


@njit(cache=True)
def log_softmax(x: Floats, out: Floats) -> None:
    """LOG_SOFTMAX of each row.

    Args:
        x: float32, shape ``(rows, depth)``.
        out: float32, of the same shape, written.
    """
    depth = x.shape[1]
    for row in range(x.shape[0]):
        largest = _LOWEST
        for i in range(depth):
            if largest < x[row, i]:
                largest = x[row, i]
        total = np.float32(0)
        for i in range(depth):
            total += math.exp(x[row, i] - largest)
        log_of_total = math.log(total)
        for i in range(depth):
            out[row, i] = x[row, i] - largest - log_of_total


@njit(cache=True)
def _one_over_one_plus_x(x: int) -> int:
    """1 / (1 + x) of a Q0.31 value in [0, 1): one of ``gemmlowp_functions``, on a scalar."""
    half = (x + 0x7FFFFFFF + 1) >> 1
    y = 1515870810 + saturating_rounding_doubling_high_mul(half, -1010580540)
    for _ in range(3):
        rest = (1 << 29) - saturating_rounding_doubling_high_mul(half, y)
        y += 4 * saturating_rounding_doubling_high_mul(y, rest)
    return min(2 * y, 0x7FFFFFFF)


@njit(cache=True)
def stored_softmax(x: Any, powers: Wide, addends: Wide, bits: int, out: Any) -> bool:
    """SOFTMAX of each row of stored values.

    Args:
        x: int8, shape ``(rows, depth)``.
        powers: exponentials in Q0.31, by how far an input lies below the largest; what lies
            further below counts as zero.
        addends: the same in Q12.19.
        bits: of the output's type.
        out: int8 or int16, shape of ``x``, written.

    Returns:
        Whether the shares of every row fit the output's type.
    """
    depth = x.shape[1]
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    for row in range(x.shape[0]):
        largest = -128
        for i in range(depth):
            largest = max(largest, int(x[row, i]))
        total = 0
        for i in range(depth):
            below = largest - int(x[row, i])
            if below < powers.size:
                total += addends[below]
        # The sum is scaled into [1, 2); an int32 of the library wraps beyond 2**12 whole shares.
        headroom = 0
        total &= 0xFFFFFFFF
        while headroom < 32 and total << headroom < 1 << 31:
            headroom += 1
        scale = _one_over_one_plus_x((total << headroom) - (1 << 31))
        exponent = 12 - headroom + 31 - bits
        if exponent < 0 or exponent > 31:
            return False
        for i in range(depth):
            below = largest - int(x[row, i])
            value = low
            if below < powers.size:
                product = saturating_rounding_doubling_high_mul(scale, powers[below])
                value = min(rounding_divide_by_pot(product, exponent) + low, high)
            out[row, i] = value
    return True
