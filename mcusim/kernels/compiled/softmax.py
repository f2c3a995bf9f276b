"""Float32 SOFTMAX and LOG_SOFTMAX; exp and log are the C library's of this machine."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["log_softmax", "softmax"]

Floats = npt.NDArray[np.float32]

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
