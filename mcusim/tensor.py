"""Tensors: element types, quantization, shape and, for a constant, the value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.errors import ModelError

__all__ = ["Array", "DType", "Quantization", "Tensor"]

Array: TypeAlias = npt.NDArray[Any]


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself when nobody can write to it, otherwise a copy that nobody can."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


class DType(Enum):
    """Element type of a tensor, by the schema's name in lower case."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"
    RESOURCE = "resource"
    VARIANT = "variant"

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type that holds one element: int8 for packed int4, int32 for a resource handle.

        Raises:
            ModelError: the type has no array form (string, variant).
        """
        held = {"int4": "int8", "resource": "int32"}.get(self.value, self.value)
        if held in ("string", "variant"):
            raise ModelError(f"tensors of type {self.value} have no array form")
        return np.dtype(held)

    @cached_property
    def bits(self) -> int:
        """Size of one element in a buffer, in bits."""
        return 4 if self is DType.INT4 else 8 * self.numpy.itemsize

    def bytes_of(self, elements: int) -> int:
        """Size of ``elements`` packed elements, in bytes."""
        return (elements * self.bits + 7) // 8


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real value = scale * (stored value - zero point).

    Attributes:
        scales: float32, one for the tensor or one for each slice along ``axis``.
        zero_points: int64, as many as ``scales``, or one for all.
        axis: dimension that per-channel scales run along.
        minimum: float32 range recorded by the converter, often empty; runtimes ignore it.
        maximum: float32, likewise.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int = 0
    minimum: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    maximum: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        for name in ("scales", "zero_points", "minimum", "maximum"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    @property
    def is_per_channel(self) -> bool:
        """Whether each slice along ``axis`` has a scale of its own."""
        return self.scales.size > 1

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantization (the first of a per-channel one)."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantization (the first of a per-channel one)."""
        return int(self.zero_points[0]) if self.zero_points.size else 0

    @cached_property
    def scale_range(self) -> tuple[float, float] | None:
        """The least and the largest scale; None without scales."""
        return (float(self.scales.min()), float(self.scales.max())) if self.scales.size else None

    @cached_property
    def zero_point_range(self) -> tuple[int, int] | None:
        """The least and the largest zero point; None without any."""
        points = self.zero_points
        return (int(points.min()), int(points.max())) if points.size else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantization) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        # By bytes: a NaN in a recorded range must equal itself.
        arrays = (self.scales, self.zero_points, self.minimum, self.maximum)
        return (self.axis, *(array.tobytes() for array in arrays))

    def __repr__(self) -> str:
        if not self.scales.size:
            return "Quantization(no scales)"
        if not self.is_per_channel:
            return f"Quantization(scale={self.scale:.9g}, zero_point={self.zero_point})"
        low, high = self.scales.min(), self.scales.max()
        return f"Quantization({self.scales.size} scales {low:.3g}…{high:.3g}, axis={self.axis})"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a subgraph.

    Attributes:
        index: position in the subgraph's tensors.
        name: name in the file, for people.
        shape: dimensions; ``()`` for a scalar.
        dtype: element type.
        quantization: None for a tensor without scales.
        data: constant value, read-only, of ``shape`` (int4 unpacked to int8); None when computed.
        is_variable: keeps its value between calls.
        buffer: index of the file's buffer that holds ``data``; tensors may share one.
        shape_signature: shape with -1 for free dimensions, when the file has one.
        has_rank: the schema's flag that tells a scalar from an unknown rank.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    quantization: Quantization | None = None
    data: Array | None = None
    is_variable: bool = False
    buffer: int = 0
    shape_signature: tuple[int, ...] | None = None
    has_rank: bool = False

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", _frozen(self.data))

    @cached_property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @cached_property
    def bytes(self) -> int:
        """Size in memory, in bytes."""
        return self.dtype.bytes_of(self.elements)

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the value."""
        return self.data is not None

    @property
    def scale(self) -> float:
        """Per-tensor scale; 0 where TFLM sees none, which is also where zero points are missing."""
        quantization = self.quantization
        if quantization is None or not (quantization.scales.size and quantization.zero_points.size):
            return 0.0
        return quantization.scale

    @property
    def zero_point(self) -> int:
        """Per-tensor zero point; 0 where there is none."""
        return self.quantization.zero_point if self.quantization else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        if (self.data is None) != (other.data is None):
            return False
        return (
            self._identity() == other._identity()
            and self.quantization == other.quantization
            and (
                self.data is None
                or other.data is None
                or self.data.tobytes() == other.data.tobytes()
            )
        )

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return (
            self.index,
            self.name,
            self.shape,
            self.dtype,
            self.is_variable,
            self.buffer,
            self.shape_signature,
            self.has_rank,
        )

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        kind = "constant " if self.is_constant else "variable " if self.is_variable else ""
        scale = f" {self.quantization}" if self.quantization else ""
        name = self.name if len(self.name) <= 40 else "…" + self.name[-39:]
        return f"<{kind}tensor {self.index} {name!r} {self.dtype.value} {shape}{scale}>"
