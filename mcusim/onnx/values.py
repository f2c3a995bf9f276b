"""Values of an ONNX graph on their way into a Graph, and the list that the Graph is built in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mcusim.graph import (
    Array,
    DType,
    Graph,
    Operator,
    Options,
    OptionValue,
    Quantization,
    Subgraph,
    Tensor,
)

__all__ = ["Building", "Scale", "Value", "Weights"]


@dataclass(frozen=True, eq=False)
class Scale:
    """What QuantizeLinear and DequantizeLinear hold.

    Attributes:
        scales: float32, one or one a slice along ``axis``.
        zero_points: as many.
        dtype: type of the stored values.
        axis: along which scales run.
    """

    scales: Array
    zero_points: Array
    dtype: DType
    axis: int = 0

    @property
    def quantization(self) -> Quantization:
        """As a Graph's tensor has it."""
        points = np.broadcast_to(self.zero_points.ravel(), self.scales.ravel().shape)
        return Quantization(
            self.scales.ravel().astype(np.float32), points.astype(np.int64), self.axis
        )


@dataclass(frozen=True)
class Value:
    """A computed value.

    Attributes:
        tensor: index of the tensor that holds it.
        shape: as ONNX has it: images are channels first. The tensor's are channels last.
        is_view: it is what DequantizeLinear makes of the tensor, not yet computed.
        image: height, width and channels of the image that was flattened to this vector, whose
            elements lie in another order than ONNX has them; None where the orders agree.
    """

    tensor: int
    shape: tuple[int, ...]
    is_view: bool = False
    image: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Weights:
    """A constant: real values, or stored ones with what they are quantized by."""

    data: Array
    scale: Scale | None

    @property
    def real(self) -> Array:
        """Real values, float32."""
        if self.scale is None:
            return self.data.astype(np.float32)
        quantization = self.scale.quantization
        shape = [1] * self.data.ndim
        if quantization.is_per_channel:
            shape[self.scale.axis] = quantization.scales.size
        points = quantization.zero_points.reshape(shape if quantization.is_per_channel else [1])
        scales = quantization.scales.reshape(shape if quantization.is_per_channel else [1])
        found: Array = (self.data.astype(np.int64) - points).astype(np.float32) * scales
        return found


def _stored(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor that holds a value of that shape."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape


@dataclass
class Building:
    """Tensors and operators so far."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def activation(self, name: str, shape: tuple[int, ...], scale: Scale | None) -> Value:
        """A tensor for a computed value; float32 without a scale."""
        index = len(self.tensors)
        dtype = scale.dtype if scale else DType.FLOAT32
        quantization = scale.quantization if scale else None
        self.tensors.append(Tensor(index, name, _stored(shape), dtype, quantization))
        return Value(index, shape)

    def constant(self, name: str, data: Array, quantization: Quantization | None = None) -> int:
        """A tensor with a value."""
        index = len(self.tensors)
        array = np.ascontiguousarray(data)
        self.tensors.append(
            Tensor(index, name, array.shape, DType(array.dtype.name), quantization, array)
        )
        return index

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        output: Value,
        options: dict[str, OptionValue] | None = None,
        options_type: str = "NONE",
    ) -> None:
        """Append an operator."""
        self.operators.append(
            Operator(name, tuple(inputs), (output.tensor,), Options(options or {}), options_type)
        )

    def scale(self, value: Value) -> float:
        """Scale of the tensor behind a value."""
        return self.tensors[value.tensor].scale

    def as_float(self, value: Value) -> Value:
        """The value as float32: a view is dequantized now."""
        if not value.is_view:
            return value
        source = self.tensors[value.tensor]
        found = self.activation(f"{source.name} dequantized", value.shape, None)
        self.operator("DEQUANTIZE", [value.tensor], found)
        return replace(found, image=value.image)

    def full_scale(self, value: Value) -> Scale | None:
        """Scales and zero points of the tensor behind a value; None for float32."""
        tensor = self.tensors[value.tensor]
        if tensor.quantization is None:
            return None
        return Scale(tensor.quantization.scales, tensor.quantization.zero_points, tensor.dtype)

    def quantized(self, value: Value, scale: Scale) -> Value:
        """The value quantized."""
        name = self.tensors[value.tensor].name
        found = self.activation(f"{name} quantized", value.shape, scale)
        self.operator("QUANTIZE", [value.tensor], found)
        return replace(found, image=value.image)

    def graph(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        """The whole model."""
        main = Subgraph(
            "main",
            tuple(self.tensors),
            tuple(inputs),
            tuple(outputs),
            tuple(self.operators),
        )
        return Graph((main,), name=name, description="read from ONNX")
