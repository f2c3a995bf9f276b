"""Hypothesis strategies: quantized tensors, and models of one operator that TFLite Micro runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

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

__all__ = ["OPERATORS", "quantizations", "quantized_arrays", "single_operator_models"]

_INT8, _INT16 = DType.INT8, DType.INT16

#: Operators that :func:`single_operator_models` draws, and the element types of each.
OPERATORS = {
    "ADD": (_INT8, _INT16),
    "AVERAGE_POOL_2D": (_INT8, _INT16),
    "CONV_2D": (_INT8, _INT16),
    "DEPTHWISE_CONV_2D": (_INT8, _INT16),
    "FULLY_CONNECTED": (_INT8, _INT16),
    "MAX_POOL_2D": (_INT8, _INT16),
    "MUL": (_INT8, _INT16),
    "SOFTMAX": (_INT8,),
}

_FUSED = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_SMALL = st.integers(1, 4)
_CHANNELS = st.sampled_from((1, 2, 3, 4, 7, 8, 16, 17))


@st.composite
def quantizations(draw: st.DrawFn, dtype: DType = DType.INT8) -> Quantization:
    """Per-tensor quantizations: any scale from 2**-10 to 1, int16 symmetric as TFLM wants it."""
    scale = draw(st.floats(2**-10, 1.0, width=32))
    zero_point = draw(st.integers(-128, 127)) if dtype is DType.INT8 else 0
    return _per_tensor(scale, zero_point)


@st.composite
def quantized_arrays(
    draw: st.DrawFn, shape: Sequence[int], dtype: DType = DType.INT8, inferences: int | None = None
) -> Array:
    """Arrays over the whole range of a type, with some of its extremes.

    Args:
        draw: given by hypothesis.
        shape: of one inference.
        dtype: an integer type.
        inferences: a leading axis of as many; none when None.
    """
    whole = (*(() if inferences is None else (inferences,)), *shape)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    limits = np.iinfo(dtype.numpy)
    array = random.integers(limits.min, limits.max, whole, dtype.numpy, endpoint=True)
    extremes = random.random(whole) < draw(st.sampled_from((0.0, 0.1, 0.9)))
    ends: Array = np.array([limits.min, limits.max], dtype.numpy)
    return np.where(extremes, ends[random.integers(0, 2, whole)], array)


@st.composite
def single_operator_models(draw: st.DrawFn, operator: str | None = None) -> Graph:
    """Models of one quantized operator that TFLM runs, with random weights.

    Args:
        draw: given by hypothesis.
        operator: one of :data:`OPERATORS`; any of them when None.
    """
    name = operator or draw(st.sampled_from(sorted(OPERATORS)))
    dtype = draw(st.sampled_from(OPERATORS[name]))
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return draw(_convolutions(name, dtype))
    if name == "FULLY_CONNECTED":
        return draw(_dense(dtype))
    if name.endswith("POOL_2D"):
        return draw(_pools(name, dtype))
    shape = (1, draw(_SMALL), draw(_SMALL), draw(_CHANNELS))
    if name == "SOFTMAX":
        source = _activation("input", shape, dtype, draw(quantizations(dtype)))
        target = _activation("output", shape, dtype, _per_tensor(1 / 256, -128))
        return _model(name, "SoftmaxOptions", [source], target, {"beta": 1.0})
    tensors = [
        _activation(n, shape, dtype, draw(quantizations(dtype))) for n in ("a", "b", "output")
    ]
    fused: dict[str, OptionValue] = {"fused_activation_function": draw(st.sampled_from(_FUSED))}
    options = "AddOptions" if name == "ADD" else "MulOptions"
    if name == "ADD":
        fused["pot_scale_int16"] = False
    return _model(name, options, tensors[:2], tensors[2], fused)


@st.composite
def _convolutions(draw: st.DrawFn, name: str, dtype: DType) -> Graph:
    depthwise = name == "DEPTHWISE_CONV_2D"
    kernel, stride = (draw(_SMALL), draw(_SMALL)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(("SAME", "VALID")))
    size = (draw(st.integers(kernel[0], kernel[0] + 5)), draw(st.integers(kernel[1], 9)))
    depth, width = draw(_CHANNELS), draw(_CHANNELS)
    multiplier = draw(st.integers(1, 3)) if depthwise else 1
    channels = depth * multiplier if depthwise else width
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, depth)
    source = _activation("input", (1, *size, depth), dtype, draw(quantizations(dtype)))
    out = [
        -(-n // stride) if padding == "SAME" else (n - k) // stride + 1
        for n, k in zip(size, kernel, strict=True)
    ]
    target = _activation("output", (1, *out, channels), dtype, draw(quantizations(dtype)))
    options: dict[str, OptionValue] = {
        "padding": padding,
        "stride_w": stride,
        "stride_h": stride,
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "fused_activation_function": draw(st.sampled_from(_FUSED)),
    }
    if depthwise:
        options["depth_multiplier"] = multiplier
    constants = draw(_weights(source, shape, channels, 3 if depthwise else 0))
    kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    return _model(name, kind, [source, *constants], target, options)


@st.composite
def _dense(draw: st.DrawFn, dtype: DType) -> Graph:
    features, units = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    source = _activation("input", (1, features), dtype, draw(quantizations(dtype)))
    target = _activation("output", (1, units), dtype, draw(quantizations(dtype)))
    constants = draw(_weights(source, (units, features), 1, 0))
    options: dict[str, OptionValue] = {
        "fused_activation_function": draw(st.sampled_from(_FUSED)),
        "weights_format": "DEFAULT",
        "keep_num_dims": False,
    }
    return _model(
        "FULLY_CONNECTED",
        "FullyConnectedOptions",
        [source, *constants],
        target,
        options,
    )


@st.composite
def _pools(draw: st.DrawFn, name: str, dtype: DType) -> Graph:
    window, stride = (draw(_SMALL), draw(_SMALL)), draw(st.integers(1, 3))
    size = [draw(st.integers(n, n + 5)) for n in window]
    channels = draw(_CHANNELS)
    same = draw(quantizations(dtype))
    source = _activation("input", (1, *size, channels), dtype, same)
    out = [(n - k) // stride + 1 for n, k in zip(size, window, strict=True)]
    target = _activation("output", (1, *out, channels), dtype, same)
    options: dict[str, OptionValue] = {
        "padding": "VALID",
        "stride_w": stride,
        "stride_h": stride,
        "filter_width": window[1],
        "filter_height": window[0],
        "fused_activation_function": draw(st.sampled_from(_FUSED)),
    }
    return _model(name, "Pool2DOptions", [source], target, options)


@st.composite
def _weights(
    draw: st.DrawFn, source: Tensor, shape: tuple[int, ...], channels: int, axis: int
) -> list[Tensor]:
    """int8 weights with a scale a channel, and a bias at the product of the scales."""
    assert source.quantization is not None
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scales = random.uniform(2**-9, 2**-5, channels).astype(np.float32)
    values = random.integers(-127, 128, shape).astype(np.int8)
    weights = Quantization(scales, np.zeros(channels, np.int64), axis)
    products = Quantization(
        np.float32(source.quantization.scale) * scales, np.zeros(channels, np.int64)
    )
    wide = DType.INT32 if source.dtype is DType.INT8 else DType.INT64
    count = shape[axis] if channels == 1 else channels
    bias = random.integers(-(1 << 12), 1 << 12, count).astype(wide.numpy)
    return [
        Tensor(0, "weights", shape, DType.INT8, weights, values),
        Tensor(0, "bias", (count,), wide, products, bias),
    ]


def _per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def _activation(
    name: str, shape: tuple[int, ...], dtype: DType, quantization: Quantization
) -> Tensor:
    return Tensor(0, name, shape, dtype, quantization)


def _model(
    operator: str,
    options_type: str,
    inputs: Sequence[Tensor],
    output: Tensor,
    options: dict[str, OptionValue],
) -> Graph:
    tensors = tuple(
        Tensor(i, t.name, t.shape, t.dtype, t.quantization, t.data, buffer=i + 1)
        for i, t in enumerate((*inputs, output))
    )
    last = len(tensors) - 1
    run = Operator(operator, tuple(range(last)), (last,), Options(options), options_type)
    fed = tuple(t.index for t in tensors[:-1] if t.data is None)
    return Graph((Subgraph("main", tensors, fed, (last,), (run,)),), name=operator.lower())
