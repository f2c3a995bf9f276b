"""Models of a few operators, for tests that only need some model."""

from __future__ import annotations

import numpy as np

from mcusim.graph import DType, Graph, Options, Quantization
from tests.oracles import activation, constant, quantized, single_operator

__all__ = ["convolution", "pooling"]


def convolution(dtype: DType = DType.INT8, extent: int = 12, channels: int = 16) -> Graph:
    """A 3x3 convolution, SAME, int8 or float32."""
    shape = (1, extent, extent, channels)
    weights = np.ones((channels, 3, 3, channels), dtype.numpy)
    bias = np.zeros(channels, np.int32 if dtype is DType.INT8 else np.float32)
    fine = quantized(0.05) if dtype is DType.INT8 else None
    per_channel: Quantization | None = None
    products: Quantization | None = None
    if dtype is DType.INT8:
        per_channel = quantized([0.01] * channels, [0] * channels)
        products = quantized([0.0005] * channels, [0] * channels)
    return single_operator(
        "CONV_2D",
        [activation(shape, dtype, fine), constant(weights, per_channel), constant(bias, products)],
        [activation(shape, dtype, fine)],
        Options({"padding": "SAME", "stride_w": 1, "stride_h": 1}),
        "Conv2DOptions",
        version=3,
    )


def pooling() -> Graph:
    """An average over 2x2, without constants."""
    return single_operator(
        "AVERAGE_POOL_2D",
        [activation((1, 8, 8, 4), DType.INT8, quantized(0.1))],
        [activation((1, 4, 4, 4), DType.INT8, quantized(0.1))],
        Options(
            {
                "padding": "VALID",
                "stride_w": 2,
                "stride_h": 2,
                "filter_width": 2,
                "filter_height": 2,
            }
        ),
        "Pool2DOptions",
    )
