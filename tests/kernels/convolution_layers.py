"""Convolution layers drawn at random, as models of one operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph, Quantization, Tensor
from tests.kernels.agreement import model, values
from tests.oracles import activation, constant, quantized

__all__ = ["CONV", "DEPTHWISE", "KINDS", "TRANSPOSED", "Layer", "held", "layers"]

INT4, INT8, INT16 = DType.INT4, DType.INT8, DType.INT16
INT32, INT64, FLOAT32 = DType.INT32, DType.INT64, DType.FLOAT32

CONV, DEPTHWISE, TRANSPOSED = "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"

#: Types of input, filter and bias that TFLM runs.
KINDS: dict[str, tuple[tuple[DType, DType, DType | None], ...]] = {
    CONV: (
        (INT8, INT8, INT32),
        (INT8, INT8, None),
        (INT8, INT4, INT32),
        (INT16, INT8, INT64),
        (INT16, INT8, INT32),
        (INT16, INT8, None),
        (FLOAT32, FLOAT32, FLOAT32),
        (FLOAT32, FLOAT32, None),
    ),
    DEPTHWISE: (
        (INT8, INT8, INT32),
        (INT8, INT8, None),
        (INT8, INT4, INT32),
        (INT16, INT8, INT64),
        (INT16, INT8, None),
        (FLOAT32, FLOAT32, FLOAT32),
        (FLOAT32, FLOAT32, None),
    ),
    TRANSPOSED: (
        (INT8, INT8, INT32),
        (INT8, INT8, None),
        (INT16, INT8, INT64),
        (INT16, INT8, INT16),
        (INT16, INT8, None),
        (FLOAT32, FLOAT32, FLOAT32),
        (FLOAT32, FLOAT32, None),
    ),
}

_OPTIONS = {
    CONV: "Conv2DOptions",
    DEPTHWISE: "DepthwiseConv2DOptions",
    TRANSPOSED: "TransposeConvOptions",
}


def held(data: Array, dtype: DType, quantization: Quantization | None = None) -> Tensor:
    """A constant of a type that NumPy may not have."""
    return Tensor(0, "", data.shape, dtype, quantization, np.ascontiguousarray(data))


@dataclass(frozen=True)
class Layer:
    """What a convolution is drawn from.

    Attributes:
        operator: its name.
        types: of input, filter and bias.
        batches: of input and output.
        size: rows and columns of the input.
        groups: groups of channels; of a depthwise convolution, its input channels.
        depth: input channels of a group.
        width: output channels of a group; of a depthwise convolution, its multiplier.
        kernel: rows and columns of the filter.
        stride: by rows and columns.
        dilation: by rows and columns.
        padding: ``SAME`` or ``VALID``.
        spare: rows and columns of a transposed convolution's output beyond the least.
        per_channel: a scale for each output channel.
        fused: activation.
        seed: of the data.
    """

    operator: str
    types: tuple[DType, DType, DType | None]
    batches: int = 1
    size: tuple[int, int] = (4, 4)
    groups: int = 1
    depth: int = 2
    width: int = 3
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    spare: tuple[int, int] = (0, 0)
    per_channel: bool = True
    fused: str = "NONE"
    seed: int = 0

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.batches, *self.size, self.groups * self.depth)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        sizes = []
        for i in range(2):
            size, stride, spare = self.size[i], self.stride[i], self.spare[i]
            reach = (self.kernel[i] - 1) * self.dilation[i] + 1
            if self.operator == TRANSPOSED:
                least = (size - 1) * stride + (reach if self.padding == "VALID" else 1)
                sizes.append(least + spare % stride)
            else:
                fitting = size if self.padding == "SAME" else size - reach + 1
                sizes.append(max(-(-fitting // stride), 0))
        return (self.batches, *sizes, self.groups * self.width)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """Shape of the filter."""
        if self.operator == DEPTHWISE:
            return (1, *self.kernel, self.groups * self.width)
        return (self.groups * self.width, *self.kernel, self.depth)

    def graph(self, constant_filter: bool = True) -> Graph:
        """The model."""
        random = np.random.default_rng(self.seed)
        source, of_filter, of_bias = self.types
        channels = self.groups * self.width
        scales: list[Quantization | None] = [None] * 4
        if source is not FLOAT32:
            scales = self._quantizations(random, channels)
        weights = values(self.seed + 7, self.filter_shape, FLOAT32 if source is FLOAT32 else INT8)
        if of_filter is INT4:
            weights = weights >> 4
        kernel = (
            held(weights, of_filter, scales[1])
            if constant_filter
            else activation(self.filter_shape, of_filter, scales[1])
        )
        bias = None
        if of_bias is not None:
            data = random.normal(0, 1 if of_bias is FLOAT32 else 1 << 12, channels)
            bias = held(data.astype(of_bias.numpy), of_bias, scales[2])
        inputs: list[Tensor | None] = [activation(self.in_shape, source, scales[0]), kernel, bias]
        options: dict[str, int | str] = {
            "padding": self.padding,
            "stride_h": self.stride[0],
            "stride_w": self.stride[1],
            "fused_activation_function": self.fused,
        }
        if self.operator == TRANSPOSED:
            shape = constant(np.array(self.out_shape, np.int32))
            inputs = [shape, kernel, inputs[0], bias]
        else:
            options |= {
                "dilation_h_factor": self.dilation[0],
                "dilation_w_factor": self.dilation[1],
            }
        if self.operator == DEPTHWISE:
            options["depth_multiplier"] = self.width
        return model(
            self.operator,
            inputs if bias is not None else inputs[:-1],
            [activation(self.out_shape, source, scales[3])],
            _OPTIONS[self.operator],
            **options,
        )

    def _quantizations(
        self, random: np.random.Generator, channels: int
    ) -> list[Quantization | None]:
        is_narrow = self.types[0] is INT8
        scale, weight_scale = 2.0 ** random.uniform(-8, 0, 2)
        growth = 2.0 ** (random.uniform(-2, 14) if is_narrow else random.uniform(-4, 8))
        zeros = random.integers(-128, 128, 2) if is_narrow else (0, 0)
        axis = 3 if self.operator == DEPTHWISE else 0
        each = weight_scale * random.uniform(0.01, 1, channels)
        return [
            quantized(scale, int(zeros[0])),
            quantized(list(each), axis=axis) if self.per_channel else quantized(weight_scale),
            quantized(scale * weight_scale),
            quantized(scale * weight_scale * growth, int(zeros[1])),
        ]

    def inputs(self, call: int) -> Array:
        """The input of a call."""
        return values(self.seed + call, self.in_shape, self.types[0])


_PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw: st.DrawFn, operator: str) -> Layer:
    """Layers of an operator, all that TFLM runs."""
    is_transposed, is_depthwise = operator == TRANSPOSED, operator == DEPTHWISE
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = (1, 1) if is_transposed else draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3)]))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    least = (1, 1)
    if padding == "VALID" and not is_transposed:
        least = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    groups = 1
    if is_depthwise:
        groups = draw(st.sampled_from([1, 2, 5, 16, 19]))
    elif not is_transposed:
        groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return Layer(
        operator=operator,
        types=draw(st.sampled_from(KINDS[operator])),
        batches=draw(st.sampled_from([1, 1, 2])),
        size=(
            draw(st.integers(least[0], least[0] + 5)),
            draw(st.integers(least[1], least[1] + 5)),
        ),
        groups=groups,
        depth=1 if is_depthwise else draw(st.sampled_from([1, 2, 3, 8, 17])),
        width=draw(st.sampled_from([1, 2, 3] if is_depthwise else [1, 2, 7, 16, 37])),
        kernel=kernel,
        stride=draw(_PAIRS),
        dilation=dilation,
        padding=padding,
        spare=draw(_PAIRS) if is_transposed else (0, 0),
        per_channel=draw(st.booleans()),
        fused=draw(st.sampled_from(["NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH"])),
        seed=draw(st.integers(0, 1 << 30)),
    )
