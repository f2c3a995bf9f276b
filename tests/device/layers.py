"""Layers drawn at random for the device kernels, as models of one operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from mcusim.calibration.device_layers import DeviceLayer, device_layer
from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph, Quantization
from mcusim.interpreter import Interpreter
from tests.kernels.agreement import model, values
from tests.kernels.convolution_layers import CONV, DEPTHWISE, layers
from tests.oracles import activation, constant, quantized

__all__ = [
    "additions",
    "convolutions",
    "deep_dense",
    "dense",
    "expected",
    "pooling",
    "poolings",
    "prepared",
    "softmaxes",
]

INT8 = DType.INT8
ZERO_POINT = st.integers(-128, 127)
FUSED = st.sampled_from(("NONE", "RELU", "RELU6", "RELU_N1_TO_1"))


@st.composite
def convolutions(draw: st.DrawFn) -> Graph:
    """CONV_2D, also grouped, and DEPTHWISE_CONV_2D, with and without bias."""
    operator = draw(st.sampled_from((CONV, DEPTHWISE)))
    bias = draw(st.sampled_from((DType.INT32, None)))
    return replace(draw(layers(operator)), types=(INT8, INT8, bias)).graph()


@st.composite
def dense(draw: st.DrawFn) -> Graph:
    """FULLY_CONNECTED, with one scale or one for each output."""
    batches, depth, outputs = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 23)),
        draw(st.integers(1, 9)),
    )
    per_channel = draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    scale, of_filter = 2.0 ** random.uniform(-8, 0, 2)
    growth = 2.0 ** random.uniform(-2, 14)
    filter_scale: Quantization = quantized(
        float(np.float32(of_filter)), 0 if draw(st.booleans()) else 5
    )
    if per_channel:
        filter_scale = quantized(list(of_filter * random.uniform(0.01, 1, outputs)))
    bias = None
    if draw(st.booleans()):
        product = float(np.float64(np.float32(scale)) * np.float32(of_filter))
        bias = constant(random.integers(-(1 << 13), 1 << 13, outputs, np.int32), quantized(product))
    weights = random.integers(-128, 128, (outputs, depth)).astype(np.int8)
    return model(
        "FULLY_CONNECTED",
        [
            activation((batches, depth), INT8, quantized(scale, draw(ZERO_POINT))),
            constant(weights, filter_scale),
            bias,
        ],
        [
            activation(
                (batches, outputs), INT8, quantized(scale * of_filter * growth, draw(ZERO_POINT))
            )
        ],
        "FullyConnectedOptions",
        fused_activation_function=draw(FUSED),
    )


@st.composite
def poolings(draw: st.DrawFn) -> Graph:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    name = draw(st.sampled_from(("AVERAGE_POOL_2D", "MAX_POOL_2D")))
    extent, window = (draw(st.tuples(*[st.integers(1, 9)] * 2)) for _ in range(2))
    stride = draw(st.tuples(*[st.integers(1, 4)] * 2))
    same = draw(st.booleans())
    assume(same or (window[0] <= extent[0] and window[1] <= extent[1]))
    batches, channels = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    out = [
        -(-e // s) if same else (e - w) // s + 1
        for e, w, s in zip(extent, window, stride, strict=True)
    ]
    quantization = quantized(0.05, draw(ZERO_POINT))
    return model(
        name,
        [activation((batches, *extent, channels), INT8, quantization)],
        [activation((batches, *out, channels), INT8, quantization)],
        "Pool2DOptions",
        padding="SAME" if same else "VALID",
        stride_h=stride[0],
        stride_w=stride[1],
        filter_height=window[0],
        filter_width=window[1],
        fused_activation_function=draw(FUSED),
    )


@st.composite
def additions(draw: st.DrawFn) -> Graph:
    """ADD of two tensors of one shape."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    scales = [2.0 ** draw(st.floats(-8, 0)) for _ in range(2)]
    scales.append(max(scales) * 2.0 ** draw(st.floats(-4, 4)))
    tensors = [activation(shape, INT8, quantized(s, draw(ZERO_POINT))) for s in scales]
    return model(
        "ADD", tensors[:2], tensors[2:], "AddOptions", fused_activation_function=draw(FUSED)
    )


@st.composite
def softmaxes(draw: st.DrawFn) -> Graph:
    """SOFTMAX of int8."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 19)))
    scale, beta = 2.0 ** draw(st.floats(-10, 2)), draw(st.sampled_from((0.5, 1.0, 3.0)))
    return model(
        "SOFTMAX",
        [activation(shape, INT8, quantized(scale, draw(ZERO_POINT)))],
        [activation(shape, INT8, quantized(1 / 256, -128))],
        "SoftmaxOptions",
        beta=beta,
    )


def pooling(name: str, extent: tuple[int, int], channels: int) -> Graph:
    """One window over a whole image."""
    quantization = quantized(0.05, 0)
    return model(
        name,
        [activation((1, *extent, channels), INT8, quantization)],
        [activation((1, 1, 1, channels), INT8, quantization)],
        "Pool2DOptions",
        padding="VALID",
        stride_h=1,
        stride_w=1,
        filter_height=extent[0],
        filter_width=extent[1],
    )


def deep_dense() -> Graph:
    """FULLY_CONNECTED of 4,096 inputs, with weights of -128 and 127 and an input offset of 127."""
    weights = np.array([[-128] * 4096, [127] * 4096, [-128, 127] * 2048], np.int8)
    return model(
        "FULLY_CONNECTED",
        [activation((1, 4096), INT8, quantized(0.5, -127)), constant(weights, quantized(0.5))],
        [activation((1, 3), INT8, quantized(4e6 / 128))],
        "FullyConnectedOptions",
    )


def prepared(graph: Graph, seed: int) -> tuple[DeviceLayer, list[Array]]:
    """The layer of a model of one operator, and inputs for it."""
    try:
        layer = device_layer(graph.main.node(0))
    except UnsupportedOperatorError:
        # Drawn so that TFLite Micro itself refuses it.
        assume(False)
        raise
    assert layer is not None
    inputs = [values(seed + i, tensor.shape, INT8) for i, tensor in enumerate(graph.inputs)]
    return layer, inputs


def expected(graph: Graph, inputs: list[Array]) -> Array:
    """What mcusim's own kernels compute, flat."""
    return Interpreter(graph).invoke(inputs).outputs[0].reshape(-1)
