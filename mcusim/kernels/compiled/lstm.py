"""Functions of float32 LSTM gates; exp and tanh are the C library's of this machine."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mcusim.kernels.compiled.compiler import njit

__all__ = ["sigmoid", "tanh"]

Floats = npt.NDArray[np.float32]

_ONE = np.float32(1)
#: Beyond these the library takes 1, and exp(x).
_HIGHEST, _LOWEST = np.float32(16.619047164916992188), np.float32(-9)


@njit(cache=True)
def sigmoid(x: Floats) -> Floats:
    """Logistic function of each element.

    Args:
        x: float32, shape ``(rows, units)``.

    Source: ``reference_ops::Logistic``.
    """
    out = np.empty_like(x)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            value = x[row, i]
            if value > _HIGHEST:
                out[row, i] = _ONE
            elif value < _LOWEST:
                out[row, i] = math.exp(value)
            else:
                out[row, i] = _ONE / (_ONE + math.exp(-value))
    return out


@njit(cache=True)
def tanh(x: Floats) -> Floats:
    """Hyperbolic tangent of each element.

    Args:
        x: float32, shape ``(rows, units)``.
    """
    out = np.empty_like(x)
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[row, i] = math.tanh(x[row, i])
    return out
