"""Compiled loops of elementwise kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["look_up_pairs"]

Bytes = npt.NDArray[Any]


@njit(cache=True)
def look_up_pairs(table: Bytes, first: Bytes, second: Bytes, out: Bytes) -> None:
    """Replace each pair of bytes by its entry of a table.

    Args:
        table: uint8, shape ``(65536,)``, by ``256 * first + second``.
        first: uint8, one dimension.
        second: uint8, of the same length.
        out: uint8, of the same length, written.
    """
    for i in range(out.size):
        out[i] = table[(np.intp(first[i]) << 8) | np.intp(second[i])]
