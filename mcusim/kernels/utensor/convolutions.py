"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

Source: uTensor 2cb1b70, ``ReferenceOperators::Conv2dOperator``,
``TflmSymQuantOps::DepthwiseSeparableConvOperator`` and ``FullyConnectedOperator``, as called by
code that utensor_cgen of June 2020 generates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, Node
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import (
    activation_range_quantized,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantize_multipliers,
)
from mcusim.kernels.library import LibraryKernel, refuse
from mcusim.kernels.utensor.checks import activation, bytes_with_scale, constant_weights
from mcusim.kernels.utensor.windows import window_of

__all__ = ["KERNELS", "relu_call"]

#: Above this the operator throws for a bias whose scale is not that of the sums.
_SCALE_TOLERANCE = 2e-6


def relu_call(elements: int) -> KernelCall:
    """The operator that the code generator puts behind a convolution with a fused ReLU."""
    trips = {"call": 1, "element": elements}
    return KernelCall("ReferenceOperators::ReLUOperator", "utensor/relu_int8", trips)


def _check_convolution(node: Node) -> None:
    bytes_with_scale(node.input(0), node.input(1), node.output())
    constant_weights(node)
    activation(node, "NONE", "RELU")
    x, weights, y = node.input(0), node.input(1), node.output()
    refuse(len(x.shape) == len(weights.shape) == len(y.shape) == 4, "it takes images")
    refuse(x.shape[3] == weights.shape[3], "uTensor has no convolution in groups")
    refuse(x.shape[0] == y.shape[0] == 1, "uTensor is known with one image at a time")
    _check_dilation(node)
    window_of(node)


def _check_dilation(node: Node) -> None:
    dilations = (node.options.integer(f"dilation_{way}_factor", 1) for way in "hw")
    refuse(set(dilations) == {1}, "uTensor's convolutions do not dilate")


def _bind_convolution(node: Node) -> BoundKernel:
    """Sums of stored values in int8, which wraps; no zero point, no bias, no rescaling."""
    window, weights, y = window_of(node), node.input(1), node.output()
    matrix = np.asarray(weights.data).reshape(weights.shape[0], -1).astype(np.float64)
    has_relu = activation(node, "NONE", "RELU") == "RELU"

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        images = np.asarray(inputs[0])[:, 0]
        columns = window.columns(images, 0).reshape(-1, matrix.shape[1])
        sums = (columns.astype(np.float64) @ matrix.T).astype(np.int64).astype(np.int8)
        found = np.maximum(sums, np.int8(0)) if has_relu else sums
        return (found.reshape(-1, *y.shape),)

    return run


def _convolution_calls(node: Node) -> Sequence[KernelCall]:
    window, weights, y = window_of(node), node.input(1), node.output()
    channels = weights.shape[3]
    inside = window.inside * channels * weights.shape[0]
    products = y.elements * window.taps * channels
    trips = {
        "call": 1,
        "output": y.elements,
        "kernel_row": y.elements * window.kernel[0],
        "kernel_tap": y.elements * window.taps,
        "tap": inside,
        "tap_outside": products - inside,
    }
    call = KernelCall(
        "ReferenceOperators::Conv2dOperator",
        "utensor/conv_2d_int8",
        trips,
        products,
        "the code generator calls the reference operator",
        (
            "uTensor's convolution sums stored values in int8, without zero point, bias or scale: "
            "its outputs are not the network's",
        ),
    )
    if activation(node, "NONE", "RELU") == "RELU":
        return call, relu_call(y.elements)
    return (call,)


def _check_depthwise(node: Node) -> None:
    x, weights, y = node.input(0), node.input(1), node.output()
    bytes_with_scale(x, weights, y)
    constant_weights(node)
    activation(node, "NONE", "RELU", "RELU6")
    refuse(len(x.shape) == len(weights.shape) == len(y.shape) == 4, "it takes images")
    scales = 0 if weights.quantization is None else weights.quantization.scales.size
    refuse(
        scales == weights.shape[3] > 1,
        "uTensor's depthwise convolution takes a scale for each of several channels",
    )
    options = node.options
    refuse(
        options.integer("stride_h", 1) == options.integer("stride_w", 1),
        "uTensor's depthwise convolution swaps unequal strides",
    )
    _check_dilation(node)
    refuse(weights.shape[0] == 1, "its weights are not of one filter a channel")
    refuse(weights.shape[3] % x.shape[3] == 0, "its filters are no multiple of the channels")
    refuse(x.shape[0] == y.shape[0] == 1, "uTensor is known with one image at a time")
    window_of(node)


def _bind_depthwise(node: Node) -> BoundKernel:
    """TFLM's arithmetic of 2020, but clamped to int8 whatever the activation.

    A VALID convolution is padded as if it were SAME, and the other way round.
    """
    window, x, weights, y = window_of(node), node.input(0), node.input(1), node.output()
    depth, channels = x.shape[3], weights.shape[3]
    kernel = np.asarray(weights.data).reshape(window.taps, depth, channels // depth)
    bias = np.asarray(node.input(2).data).astype(np.int64)
    scales = np.zeros(1) if weights.quantization is None else weights.quantization.scales
    real = float(np.float32(x.scale)) * scales.astype(np.float64) / float(np.float32(y.scale))
    multipliers, shifts = quantize_multipliers(real)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        images = np.asarray(inputs[0])[:, 0].astype(np.int32) - x.zero_point
        windows = window.columns(images, 0)
        taps = windows.reshape(*windows.shape[:3], window.taps, depth)
        sums = np.einsum("nhwtd,tdm->nhwdm", taps, kernel.astype(np.int64))
        accumulated = sums.reshape(*windows.shape[:3], channels) + bias
        scaled = multiply_by_quantized_multiplier(accumulated, multipliers, shifts)
        found = np.clip(scaled.astype(np.int64) + y.zero_point, -128, 127).astype(np.int8)
        return (found.reshape(-1, *y.shape),)

    return run


def _depthwise_calls(node: Node) -> Sequence[KernelCall]:
    window, weights, y = window_of(node), node.input(1), node.output()
    channels = weights.shape[3]
    products = y.elements * window.taps
    trips = {
        "call": 1,
        "channel": channels,
        "output": y.elements,
        "kernel_row": y.elements * window.kernel[0],
        "tap": window.inside * channels,
        "tap_outside": products - window.inside * channels,
    }
    return (
        KernelCall(
            "TflmSymQuantOps::DepthwiseSeparableConvOperator",
            "utensor/depthwise_conv_2d_int8",
            trips,
            products,
            "the code generator calls the operator taken from TFLM",
            (
                "uTensor's depthwise convolution takes VALID for SAME and SAME for VALID where it "
                "pads: its outputs are not the network's",
            ),
        ),
    )


def _check_dense(node: Node) -> None:
    x, weights, y = node.input(0), node.input(1), node.output()
    bytes_with_scale(x, weights, y)
    constant_weights(node)
    activation(node, "NONE", "RELU", "RELU6")
    refuse(len(weights.shape) == 2, "its weights are no matrix")
    refuse(x.elements == weights.shape[1], "uTensor runs one vector at a time")
    refuse(
        weights.shape[0] < weights.shape[1],
        "uTensor's fully connected operator throws unless it has fewer outputs than inputs",
    )
    sums = x.scale * weights.scale
    refuse(
        abs(sums - node.input(2).scale) <= _SCALE_TOLERANCE,
        "uTensor throws for a bias whose scale is not that of the sums",
    )


def _bind_dense(node: Node) -> BoundKernel:
    x, weights, y = node.input(0), node.input(1), node.output()
    matrix = np.asarray(weights.data).astype(np.float64) - weights.zero_point
    bias = np.asarray(node.input(2).data).astype(np.float64)
    product = np.float32(x.scale) * np.float32(weights.scale)
    multiplier, shift = quantize_multiplier(float(product) / float(np.float32(y.scale)))
    fused = activation(node, "NONE", "RELU", "RELU6")
    least, most = activation_range_quantized(fused, y.dtype, y.scale, y.zero_point)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        vectors = np.asarray(inputs[0]).reshape(-1, x.elements).astype(np.float64) - x.zero_point
        sums = (vectors @ matrix.T + bias).astype(np.int64)
        scaled = multiply_by_quantized_multiplier(sums, multiplier, shift).astype(np.int64)
        found = np.clip(scaled + y.zero_point, least, most).astype(np.int8)
        return (found.reshape(-1, *y.shape),)

    return run


def _dense_calls(node: Node) -> Sequence[KernelCall]:
    outputs, products = node.input(1).shape[0], node.input(1).elements
    trips = {"call": 1, "output": outputs, "product": products}
    name = "TflmSymQuantOps::FullyConnectedOperator"
    reason = "the code generator calls the operator taken from TFLM"
    call = KernelCall(name, "utensor/fully_connected_int8", trips, products, reason)
    x = node.input(0)
    return (call,) if len(x.shape) <= 2 else (call, _reshape(x.elements))


def _reshape(elements: int) -> KernelCall:
    trips = {"call": 1, "element": elements}
    return KernelCall("ReferenceOperators::ReshapeOperator", "utensor/reshape_int8", trips)


KERNELS = {
    "CONV_2D": LibraryKernel(_check_convolution, _bind_convolution, _convolution_calls),
    "DEPTHWISE_CONV_2D": LibraryKernel(_check_depthwise, _bind_depthwise, _depthwise_calls),
    "FULLY_CONNECTED": LibraryKernel(_check_dense, _bind_dense, _dense_calls),
}
