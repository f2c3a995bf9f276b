"""Draws tensors and models of one operator, always the same ones for the same seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

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

__all__ = ["Draw", "Windows", "one_operator", "quantized", "tensor"]

_Of = TypeVar("_Of")


def quantized(scale: float, zero_point: int = 0) -> Quantization:
    """One scale for a whole tensor."""
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def tensor(
    shape: Sequence[int],
    dtype: DType,
    quantization: Quantization | None = None,
    data: Array | None = None,
    *,
    is_variable: bool = False,
) -> Tensor:
    """A tensor that :func:`one_operator` gives its place."""
    return Tensor(-1, "", tuple(shape), dtype, quantization, data, is_variable)


def one_operator(
    name: str,
    inputs: Sequence[Tensor | None],
    output: Tensor,
    options: Mapping[str, OptionValue],
    options_type: str,
) -> Graph:
    """A model of one operator; what is neither constant nor variable is fed."""
    tensors: list[Tensor] = []

    def placed(given: Tensor | None) -> int:
        if given is None:
            return -1
        index = len(tensors)
        tensors.append(replace(given, index=index, name=f"tensor{index}", buffer=index + 1))
        return index

    of_inputs = tuple(placed(given) for given in inputs)
    of_output = (placed(output),)
    fed = tuple(
        index
        for index, given in zip(of_inputs, inputs, strict=True)
        if given is not None and given.data is None and not given.is_variable
    )
    operator = Operator(name, of_inputs, of_output, Options(options), options_type)
    return Graph(
        (Subgraph("main", tuple(tensors), fed, of_output, (operator,)),), name=name.lower()
    )


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution or a pooling lie.

    Attributes:
        inputs: rows and columns of the input.
        outputs: of the output.
        kernel: of the window.
        options: of the operator.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    kernel: tuple[int, int]
    options: dict[str, OptionValue]


class Draw:
    """Random numbers as models have them."""

    def __init__(self, *seed: int) -> None:
        """Begin at a seed."""
        self.random = np.random.default_rng(seed)

    def between(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, small ones more often."""
        return round(math.exp(self.random.uniform(math.log(low), math.log(high))))

    def one_of(self, *choices: _Of) -> _Of:
        """One of these."""
        return choices[int(self.random.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return bool(self.random.random() < share)

    def values(self, shape: Sequence[int], dtype: DType) -> Array:
        """Stored values; one time in eight nothing but the extremes, where sums overflow."""
        kind = dtype.numpy
        low, high = (-8, 7) if dtype is DType.INT4 else (np.iinfo(kind).min, np.iinfo(kind).max)
        if self.chance(1 / 8):
            return np.asarray(self.random.choice(np.array([low, high], kind), tuple(shape)))
        drawn = self.random.integers(low, high, tuple(shape), endpoint=True)
        return np.asarray(drawn.astype(kind))

    def quantization(self, dtype: DType, scale: float = 0.0) -> Quantization:
        """A scale, and a zero point where the type may have one."""
        if dtype is DType.INT8:
            return quantized(scale or float(2.0 ** self.random.uniform(-7, 0)), self.zero_point())
        return quantized(scale or float(2.0 ** self.random.uniform(-14, -10)))

    def zero_point(self) -> int:
        """A zero point of int8."""
        return int(self.random.integers(-128, 128))

    def activation(self) -> str:
        """A fused activation."""
        return self.one_of("NONE", "NONE", "NONE", "RELU", "RELU6")

    def fed(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """An input or output with a scale of its own."""
        return tensor(shape, dtype, self.quantization(dtype))

    def weights(self, shape: Sequence[int], dtype: DType, axis: int | None) -> Tensor:
        """Constant weights without zero point; a scale each along ``axis``, one for None."""
        count = 1 if axis is None else shape[axis]
        scales = (2.0 ** self.random.uniform(-9, -6, count)).astype(np.float32)
        points = np.zeros(count, np.int64)
        quantization = Quantization(scales, points, axis or 0)
        return tensor(shape, dtype, quantization, self.values(shape, dtype))

    def bias(self, source: Tensor, weights: Tensor, dtype: DType, count: int) -> Tensor:
        """A constant bias, at the scale of the products."""
        of_weights = weights.quantization
        assert of_weights is not None
        scales = (of_weights.scales * np.float32(source.scale)).astype(np.float32)
        reach = 1 << (13 if source.dtype is DType.INT8 else 20)
        values = self.random.integers(-reach, reach, count).astype(dtype.numpy)
        quantization = Quantization(scales, np.zeros(scales.size, np.int64))
        return tensor((count,), dtype, quantization, values)

    def result(self, shape: Sequence[int], source: Tensor, weights: Tensor, taps: int) -> Tensor:
        """An output that sums of ``taps`` products about fill."""
        of_weights = weights.quantization
        assert of_weights is not None
        narrow = source.dtype is DType.INT8
        of_one = 4 if weights.dtype is DType.INT4 else 74
        reach = (74 if narrow else 19000) * of_one * math.sqrt(taps) / (48 if narrow else 12000)
        scale = source.scale * float(of_weights.scales.mean()) * reach
        scale *= float(2.0 ** self.random.uniform(-1, 1))
        return tensor(shape, source.dtype, self.quantization(source.dtype, scale))

    def windows(self, kernel: tuple[int, int], *, dilated: bool = False) -> Windows:
        """Extents of an input and an output, and the options between them."""
        same = self.chance(0.5)
        stride = self.one_of((1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 2))
        dilation = self.one_of((2, 2), (1, 2), (3, 1)) if dilated else (1, 1)
        if dilated:
            stride = (1, 1)
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        inputs = [int(self.random.integers(1 if same else span, span + 7)) for span in spans]
        outputs = [
            -(-(extent if same else extent - span + 1) // step)
            for extent, span, step in zip(inputs, spans, stride, strict=True)
        ]
        options: dict[str, Any] = {
            "padding": "SAME" if same else "VALID",
            "stride_h": stride[0],
            "stride_w": stride[1],
            "fused_activation_function": self.activation(),
        }
        if dilated:
            options |= {"dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1]}
        return Windows((inputs[0], inputs[1]), (outputs[0], outputs[1]), kernel, options)
