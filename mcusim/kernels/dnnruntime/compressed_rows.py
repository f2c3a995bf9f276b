"""Weights as dnnruntime stores them: dense, or compressed by rows where that is smaller.

Source: Deutel et al. 2023, sections 4.1.1 and 5.3: values other than zero, their columns, and where
each row begins; indices of 16 or 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcusim.graph import Array, DType, Tensor

__all__ = ["WeightStorage", "storage", "stored_weights"]

_SHORT = 1 << 16


@dataclass(frozen=True)
class WeightStorage:
    """A weight matrix in flash.

    Attributes:
        rows: filters, or units.
        columns: elements of a window, or features.
        stored: elements that are kept.
        dense_bytes: size with every element.
        compressed_bytes: size in compressed row storage.
    """

    rows: int
    columns: int
    stored: int
    dense_bytes: int
    compressed_bytes: int

    @property
    def is_compressed(self) -> bool:
        """Whether compressed row storage is the smaller one."""
        return self.compressed_bytes < self.dense_bytes

    @property
    def bytes(self) -> int:
        """Size in flash."""
        return min(self.compressed_bytes, self.dense_bytes)


def stored_weights(weights: Tensor) -> WeightStorage:
    """How the weights of a convolution or a dense layer are stored.

    Args:
        weights: OHWI of a convolution or ``(units, features)``, constant. Quantized ones are zero
            where they are the zero point.
    """
    values: Array = np.zeros(weights.shape) if weights.data is None else weights.data
    rows = weights.shape[0]
    columns = weights.elements // rows
    zero = 0 if weights.dtype is DType.FLOAT32 else weights.zero_point
    stored = int(np.count_nonzero(values.reshape(rows, columns) != zero))
    return storage(rows, columns, stored, 4 if weights.dtype is DType.FLOAT32 else 1)


def storage(rows: int, columns: int, stored: int, size: int) -> WeightStorage:
    """How a matrix of which only some elements are kept is stored.

    Args:
        rows: filters, or units.
        columns: elements of a window, or features.
        stored: elements other than zero.
        size: of an element, in bytes.
    """
    column_bytes = 2 if columns <= _SHORT else 4
    start_bytes = 2 if stored < _SHORT else 4
    compressed = stored * (size + column_bytes) + (rows + 1) * start_bytes
    return WeightStorage(rows, columns, stored, rows * columns * size, compressed)
