"""Clamps, and conversions from float32 to integers, as C++ writes them and x86 executes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array

__all__ = ["clamped", "clipped", "round_floats", "truncate_to_int32"]

Floats = npt.NDArray[np.floating[Any]]


def clipped(values: Array, low: int, high: int) -> Array:
    """``min(max(value, low), high)`` of integers; ``high`` where the bounds are crossed."""
    result: Array = np.clip(values, low, high)
    return result


def clamped(values: Array, low: float, high: float) -> Array:
    """``min(max(value, low), high)`` of floats as C++ computes it: NaN and -0 stay what they are.

    Args:
        values: a new array, which is written where it is contiguous.
        low: least value.
        high: largest value.

    Source: ``ActivationFunctionWithMinMax``.
    """
    from mcusim.kernels.compiled.elementwise import clamp

    contiguous = np.ascontiguousarray(values)
    clamp(contiguous.reshape(-1), values.dtype.type(low), values.dtype.type(high))
    return contiguous


def round_floats(x: Floats) -> npt.NDArray[np.float32]:
    """Nearest integers, ties away from zero, as float32.

    Source: ``TfLiteRound``.
    """
    magnitude = np.floor(np.abs(x).astype(np.float64) + 0.5)
    return np.copysign(magnitude, x).astype(np.float32)


def truncate_to_int32(x: Floats) -> npt.NDArray[np.int32]:
    """Values without their fraction, as int32.

    What int32 cannot hold, NaN too, becomes -2**31, as the interpreter's host computes it; a
    Cortex-M saturates instead and makes NaN 0. The language leaves it open.
    """
    fits = (x > -2147483649.0) & (x < 2147483648.0)
    return np.where(fits, x, -2147483648.0).astype(np.int64).astype(np.int32)
