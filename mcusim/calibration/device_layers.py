"""What a layer is to the device kernels in ``kernels/device``: a function and its structures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Node
from mcusim.kernels.fixed_point import (
    Int32Array,
    activation_range_quantized,
    quantize_multiplier_smaller_than_one,
    quantize_multipliers,
)
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.checks import refuse, require, supported
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, output_scaling
from mcusim.kernels.reference.dense import product_multiplier
from mcusim.kernels.reference.depthwise_conv import depthwise_shape
from mcusim.kernels.reference.pooling import Axis as PoolingAxis
from mcusim.kernels.reference.pooling import Pooling
from mcusim.kernels.reference.softmax_scaling import InputScaling

__all__ = ["DeviceLayer", "Field", "device_layer", "flat"]

#: What a structure in C holds, in its order: integers, arrays that it points to, structures.
Field: TypeAlias = "int | Int32Array | tuple[Field, ...]"


@dataclass(frozen=True, eq=False)
class DeviceLayer:
    """A layer as ``kernels/device/source/kernels.h`` takes it.

    Attributes:
        operator: the schema's name.
        structure: name of the structure in C, ``mcusim_<structure>``.
        function: name of the function in C.
        fields: of the structure.
        inputs: tensors that the function reads, by index.
        output: tensor that it writes.
        weights: int8 in the order of the file; None for an operator without.
        bias: int32; None without.
        column_bytes: of working memory.
    """

    operator: str
    structure: str
    function: str
    fields: tuple[Field, ...]
    inputs: tuple[int, ...]
    output: int
    weights: Array | None = None
    bias: Array | None = None
    column_bytes: int = 0


def flat(fields: tuple[Field, ...]) -> Iterator[int | Int32Array]:
    """The integers and pointers of a structure with those inside it, in order of memory."""
    for field in fields:
        if isinstance(field, tuple):
            yield from flat(field)
        else:
            yield field


def device_layer(node: Node) -> DeviceLayer | None:
    """The layer that computes an operator; None for one that only renames its input.

    Raises:
        UnsupportedOperatorError: there is no device kernel for the operator, its types or its
            computed weights; or TFLite Micro refuses it.
    """
    if node.name == "RESHAPE":
        return None
    if node.name not in _LAYERS:
        refuse(node, f"the device kernels have {', '.join(sorted(_LAYERS))} and RESHAPE, not this")
    KERNELS[node.name].check(node)
    for tensor, what in ((node.input(0), "input"), (node.output(), "output")):
        supported(node, tensor, (DType.INT8,), what)
    return _LAYERS[node.name](node)


def _axis(axis: Axis) -> Field:
    return (axis.inputs, axis.outputs, axis.kernel, axis.stride, axis.dilation, axis.padding)


def _constants(node: Node) -> tuple[Array, Array | None]:
    weights, bias = node.input(1), node.optional_input(2)
    supported(node, weights, (DType.INT8,), "filter")
    if weights.data is None or (bias is not None and bias.data is None):
        refuse(node, "its weights are computed, where the device kernels need constants")
    return weights.data, None if bias is None else bias.data


def _convolution(node: Node, shape: ConvolutionShape) -> tuple[Field, ...]:
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    return (
        shape.batches,
        _axis(shape.vertical),
        _axis(shape.horizontal),
        shape.in_channels,
        shape.kernel_channels,
        shape.out_channels,
        (
            -scaling.input_zero_point,
            0,
            scaling.output_zero_point,
            scaling.low,
            scaling.high,
            1,
            scaling.multipliers,
            scaling.shifts,
        ),
    )


def _conv_2d(node: Node) -> DeviceLayer:
    shape = conv_shape(node)
    weights, bias = _constants(node)
    column_words = -(-shape.taps * shape.kernel_channels // 4)
    return DeviceLayer(
        node.name,
        "convolution",
        "mcusim_convolve_s8",
        _convolution(node, shape),
        node.operator.inputs[:1],
        node.operator.outputs[0],
        weights,
        bias,
        5 * 4 * column_words,
    )


def _depthwise_conv_2d(node: Node) -> DeviceLayer:
    weights, bias = _constants(node)
    return DeviceLayer(
        node.name,
        "convolution",
        "mcusim_depthwise_s8",
        _convolution(node, depthwise_shape(node)),
        node.operator.inputs[:1],
        node.operator.outputs[0],
        weights,
        bias,
    )


def _fully_connected(node: Node) -> DeviceLayer:
    """Source: ``CalculateOpDataFullyConnected``."""
    source, filters, output = node.input(0), node.input(1), node.output()
    weights, bias = _constants(node)
    quantization = filters.quantization
    outputs, depth = output.shape[-1], filters.shape[-1]
    per_channel = quantization is not None and quantization.is_per_channel
    if per_channel and quantization is not None:
        products = np.float64(source.scale) * quantization.scales[:outputs].astype(np.float64)
        multipliers, shifts = quantize_multipliers(products / np.float64(output.scale))
    else:
        one = product_multiplier(node, source, filters, node.optional_input(2), output.scale)
        multipliers, shifts = (np.array([part], np.int32) for part in one)
    low, high = _limits(node)
    return DeviceLayer(
        node.name,
        "dense",
        "mcusim_dense_s8",
        (
            output.elements // outputs,
            depth,
            outputs,
            (
                -source.zero_point,
                0 if per_channel else -filters.zero_point,
                output.zero_point,
                low,
                high,
                int(per_channel),
                multipliers,
                shifts,
            ),
        ),
        node.operator.inputs[:1],
        node.operator.outputs[0],
        weights.reshape(-1, depth)[:outputs],
        bias,
    )


def _limits(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)


def _pooling(function: str) -> Callable[[Node], DeviceLayer]:
    def axis(of: PoolingAxis) -> Field:
        return (of.extent, of.windows, of.filter, of.stride, 1, of.padding)

    def layer(node: Node) -> DeviceLayer:
        shape = Pooling.of(node)
        return DeviceLayer(
            node.name,
            "pooling",
            function,
            (
                shape.batches,
                axis(shape.height),
                axis(shape.width),
                shape.channels,
                *_limits(node),
            ),
            node.operator.inputs[:1],
            node.operator.outputs[0],
        )

    return layer


def _add(node: Node) -> DeviceLayer:
    """Source: ``CalculateOpDataAdd``."""
    first, second, output = node.input(0), node.input(1), node.output()
    require(
        first.shape == second.shape == output.shape,
        node,
        f"the device kernel adds one shape, not {first.shape} and {second.shape}",
    )
    require(
        first.data is None and second.data is None,
        node,
        "the device kernel adds computed tensors, not a constant",
    )
    twice_max = 2 * max(first.scale, second.scale)
    scales = (first.scale / twice_max, second.scale / twice_max)
    inputs = [quantize_multiplier_smaller_than_one(scale) for scale in scales]
    result = quantize_multiplier_smaller_than_one(twice_max / ((1 << 20) * output.scale))
    return DeviceLayer(
        node.name,
        "addition",
        "mcusim_add_s8",
        (
            output.elements,
            (-first.zero_point, -second.zero_point),
            (inputs[0][0], inputs[1][0]),
            (inputs[0][1], inputs[1][1]),
            *result,
            output.zero_point,
            *_limits(node),
        ),
        node.operator.inputs,
        node.operator.outputs[0],
    )


def _softmax(node: Node) -> DeviceLayer:
    source = node.input(0)
    scaling = InputScaling.of(source.scale, node.options.real("beta"))
    depth = source.shape[-1]
    if depth >= 1 << 12:
        raise UnsupportedOperatorError(
            f"operator {node.index} ({node.name}): rows of {depth} elements, where the device "
            "kernel takes fewer than 4096"
        )
    return DeviceLayer(
        node.name,
        "softmax",
        "mcusim_softmax_s8",
        (
            source.elements // depth,
            depth,
            scaling.multiplier,
            scaling.left_shift,
            scaling.least_difference,
        ),
        node.operator.inputs,
        node.operator.outputs[0],
    )


_LAYERS: dict[str, Callable[[Node], DeviceLayer]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pooling("mcusim_average_pool_s8"),
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pooling("mcusim_max_pool_s8"),
    "SOFTMAX": _softmax,
}
