"""How CMSIS-NN's functions that multiply by weights are called.

Source: ``arm_nnfunctions.h`` and ``arm_nn_types.h`` of CMSIS 5.8.0 to CMSIS-NN 4ab83cc (2026), and
what TFLM's glue passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np

from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.checks.contract import (
    Case,
    FunctionCall,
    LibraryFunction,
    Version,
    context,
    dims,
)
from mcusim.graph import Array, DType, Node
from mcusim.kernels.fixed_point import activation_range_quantized
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import (
    Axis,
    ConvolutionShape,
    OutputScaling,
    output_scaling,
)
from mcusim.kernels.reference.dense import product_multiplier
from mcusim.kernels.reference.depthwise_conv import depthwise_shape
from mcusim.kernels.reference.transpose_conv import transposed_shape

__all__ = ["FUNCTIONS"]

_CONVOLUTION = (
    "ctx",
    "conv_params",
    "quant_params",
    "input_dims",
    "input_data",
    "filter_dims",
    "filter_data",
    "bias_dims",
    "bias_data",
    "output_dims",
    "output_data",
)
_SINCE_2021 = "CMSIS 5.8.0 and later"


def _packed(weights: Array, dtype: DType) -> Array:
    """Weights as a file holds them: two of int4 in a byte, the first in its lower half."""
    if dtype is not DType.INT4:
        return weights
    flat = np.append(weights.ravel(), np.zeros(weights.size % 2, np.int8)).view(np.uint8) & 15
    return np.asarray(flat[::2] | flat[1::2] << 4)


def _windowed(shape: ConvolutionShape, scaling: OutputScaling, *multiplier: int) -> Pointer:
    """``cmsis_nn_conv_params``, or ``cmsis_nn_dw_conv_params`` with its channel multiplier."""
    rows, columns = shape.vertical, shape.horizontal
    return Pointer(
        Struct.of(
            -scaling.input_zero_point,
            scaling.output_zero_point,
            *multiplier,
            *(columns.stride, rows.stride),
            *(columns.padding, rows.padding),
            *(columns.dilation, rows.dilation),
            *(scaling.low, scaling.high),
        )
    )


def _plain_bias(case: Case) -> Argument:
    return case.optional(2)


def _has_wide_bias(case: Case) -> bool:
    bias = case.optional(2)
    return bias is not None and bias.dtype == np.int64


def _tagged_bias(case: Case) -> Argument:
    """``cmsis_nn_bias_data``: where the bias lies, and whether it is of 32 bits."""
    bias = case.optional(2)
    is_narrow = bias is None or bias.dtype == np.int32
    return Pointer(Struct.of(bias, np.uint8(is_narrow)))


def _convolution(
    case: Case,
    *,
    bias: Callable[[Case], Argument] = _plain_bias,
    upscale: Sequence[Argument] = (),
) -> FunctionCall:
    node = case.node
    shape = conv_shape(node)
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    filters = (
        shape.out_channels,
        shape.vertical.kernel,
        shape.horizontal.kernel,
        shape.kernel_channels,
    )
    return _windowed_call(case, _windowed(shape, scaling), scaling, filters, bias(case), upscale)


def _depthwise(case: Case) -> FunctionCall:
    node = case.node
    shape = depthwise_shape(node)
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    filters = (1, shape.vertical.kernel, shape.horizontal.kernel, shape.out_channels)
    parameters = _windowed(shape, scaling, shape.out_channels // shape.in_channels)
    return _windowed_call(case, parameters, scaling, filters, _plain_bias(case))


def _is_by_columns(case: Case) -> bool:
    """Columns of an even length have a function of their own only with MVE."""
    return case.runs("arm_convolve_s4") or case.runs("arm_convolve_even_s4")


def _is_fast(case: Case) -> bool:
    """``USE_FAST_DW_CONV_S16_FUNCTION``, by which the library's wrapper chooses."""
    option = case.node.options.integer
    plain = option("dilation_h_factor", 1) == option("dilation_w_factor", 1) == 1
    return plain and option("depth_multiplier", 1) == 1


def _windowed_call(
    case: Case,
    parameters: Pointer,
    scaling: OutputScaling,
    filters: tuple[int, ...],
    bias: Argument,
    upscale: Sequence[Argument] = (),
) -> FunctionCall:
    scratch, output = case.scratch(), case.unwritten()
    if case.node.name == "DEPTHWISE_CONV_2D" and case.expected.dtype == np.int16:
        # A column of the input: TFLM calls the function that needs none.
        scratch = np.full(2 * case.node.input(1).elements, 0xA5, np.uint8)
    elif case.node.name == "CONV_2D" and not scratch.size:
        # Releases before 6.0.0 may compute by columns what needs none now.
        scratch = np.full(2 * 2 * 4 * -(-prod(filters[1:]) // 4), 0xA5, np.uint8)
    arguments = (
        context(scratch),
        parameters,
        Pointer(Struct.of(scaling.multipliers, scaling.shifts)),
        dims(*case.node.input(0).shape),
        case.value(0),
        dims(*filters),
        _packed(case.value(1), case.node.input(1).dtype),
        dims(output.shape[-1]),
        bias,
        *upscale,
        dims(*output.shape),
        output,
    )
    return FunctionCall(arguments, output, buffers=(scratch,))


def _turned(case: Case, *, by_columns: bool = False) -> FunctionCall:
    """A transposed convolution; its second buffer holds the turned filter.

    Until release 6.0.0 the buffers held all columns, and sums of the whole output.
    """
    node = case.node
    shape = transposed_shape(node)
    scaling = output_scaling(node, node.input(2), node.input(1), shape.out_channels)
    rows, columns = shape.vertical, shape.horizontal
    parameters = Struct.of(
        -scaling.input_zero_point,
        scaling.output_zero_point,
        *(columns.stride, rows.stride),
        *(columns.padding, rows.padding),
        *(_after(columns), _after(rows)),
        *(1, 1),
        *(scaling.low, scaling.high),
    )
    scratch, output = case.scratch(), case.unwritten()
    turned = np.full(node.input(1).elements, 0xA5, np.uint8)
    if by_columns:
        pixels = rows.outputs * columns.outputs * rows.kernel * columns.kernel
        scratch = np.full(4 * pixels * shape.out_channels, 0xA5, np.uint8)
        turned = np.full(4 * output.size, 0xA5, np.uint8)
    arguments = (
        context(scratch),
        context(turned),
        Pointer(parameters),
        Pointer(Struct.of(scaling.multipliers, scaling.shifts)),
        dims(*node.input(2).shape),
        case.value(2),
        dims(*node.input(1).shape),
        case.value(1),
        dims(output.shape[-1]),
        case.optional(3),
        dims(*output.shape),
        output,
    )
    return FunctionCall(arguments, output, buffers=(scratch, turned))


def _after(axis: Axis) -> int:
    """Padding behind: what of all the padding is not before."""
    total = max((axis.outputs - 1) * axis.stride + axis.kernel - axis.inputs, 0)
    return total - axis.padding


def _limits(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)


def _dense(case: Case, scales: Callable[[Case], Argument]) -> FunctionCall:
    node = case.node
    source, weights, result = node.input(0), node.input(1), node.output()
    outputs, depth = weights.shape
    batches = result.elements // outputs
    per_channel = weights.quantization is not None and weights.quantization.is_per_channel
    filter_offset = 0 if per_channel else -weights.zero_point
    scratch, output = case.scratch(), case.unwritten()
    arguments = (
        context(scratch),
        Pointer(Struct.of(-source.zero_point, filter_offset, result.zero_point, *_limits(node))),
        scales(case),
        dims(batches, 1, 1, depth),
        case.value(0),
        dims(depth, 1, 1, outputs),
        _packed(case.value(1), weights.dtype),
        dims(outputs),
        case.optional(2),
        dims(batches, 1, 1, outputs),
        output,
    )
    return FunctionCall(arguments, output, buffers=(scratch,))


def _one_scale(case: Case) -> tuple[int, int]:
    node = case.node
    source, weights = node.input(0), node.input(1)
    return product_multiplier(node, source, weights, node.optional_input(2), node.output().scale)


def _per_tensor(case: Case) -> Pointer:
    return Pointer(Struct.of(*_one_scale(case)))


def _per_channel(case: Case) -> tuple[Array, Array]:
    node = case.node
    scaling = output_scaling(node, node.input(0), node.input(1), node.output().shape[-1])
    return scaling.multipliers, scaling.shifts


def _either(case: Case) -> Pointer:
    """``cmsis_nn_quant_params``."""
    quantization = case.node.input(1).quantization
    if quantization is not None and quantization.is_per_channel:
        return Pointer(Struct.of(*_per_channel(case), 1))
    one = [np.array([part], np.int32) for part in _one_scale(case)]
    return Pointer(Struct.of(*one, 0))


def _matrices(case: Case) -> FunctionCall:
    node = case.node
    left, right, result = node.input(0), node.input(1), node.output()
    limits = np.iinfo(result.dtype.numpy)
    scaling = product_multiplier(node, left, right, None, result.scale)
    output = case.unwritten()
    parameters = Struct.of(
        *(np.uint8(0), np.uint8(1)),
        Struct.of(
            *(-left.zero_point, -right.zero_point, result.zero_point),
            *(int(limits.min), int(limits.max)),
        ),
    )
    arguments = (
        context(None),
        Pointer(parameters),
        Pointer(Struct.of(*scaling)),
        dims(*left.shape),
        case.value(0),
        dims(*right.shape),
        case.value(1),
        dims(*result.shape),
        output,
    )
    return FunctionCall(arguments, output)


def _versions(releases: str, call: Callable[[Case], FunctionCall]) -> tuple[Version, ...]:
    return (Version(releases, _CONVOLUTION, call),)


_S8 = _versions(_SINCE_2021, _convolution)
_S4 = _versions("CMSIS-NN 5.0.0 and later", _convolution)
_UPSCALED = (*_CONVOLUTION[:9], "upscale_dims", *_CONVOLUTION[9:])
_S16 = (
    Version("CMSIS-NN 6.0.0 and later", _CONVOLUTION, partial(_convolution, bias=_tagged_bias)),
    Version("CMSIS 5.9.0 to CMSIS-NN 5.0.0", _CONVOLUTION, _convolution, _has_wide_bias),
)
_DEPTHWISE = ("ctx", "dw_conv_params", *_CONVOLUTION[2:])
_DENSE = ("ctx", "fc_params", *_CONVOLUTION[2:])
_TURNED = ("ctx", "output_ctx", "transpose_conv_params", *_CONVOLUTION[2:])
_MATRICES = (
    "ctx",
    "bmm_params",
    "quant_params",
    "input_lhs_dims",
    "input_lhs",
    "input_rhs_dims",
    "input_rhs",
    "output_dims",
    "output",
)


def _depthwise_function(name: str, cases: str, *, is_entry: bool = False) -> LibraryFunction:
    return LibraryFunction(name, cases, (Version(_SINCE_2021, _DEPTHWISE, _depthwise),), is_entry)


def _dense_function(name: str, cases: str, scales: Callable[[Case], Argument]) -> LibraryFunction:
    call = partial(_dense, scales=scales)
    return LibraryFunction(name, cases, (Version(_SINCE_2021, _DENSE, call),))


def _channel_scales(case: Case) -> Pointer:
    return Pointer(Struct.of(*_per_channel(case)))


FUNCTIONS: tuple[LibraryFunction, ...] = (
    LibraryFunction("arm_convolve_wrapper_s8", "CONV_2D int8", _S8),
    LibraryFunction(
        "arm_convolve_s8",
        "CONV_2D int8",
        (
            Version("CMSIS-NN 7.0.0 and later", _UPSCALED, partial(_convolution, upscale=(None,))),
            Version("CMSIS 5.8.0 to CMSIS-NN 6.0.0", _CONVOLUTION, _convolution),
        ),
        is_entry=False,
    ),
    LibraryFunction("arm_convolve_1x1_s8_fast", "CONV_2D int8", _S8, is_entry=False),
    LibraryFunction("arm_convolve_1x1_s8", "CONV_2D int8", _S8, is_entry=False),
    LibraryFunction("arm_convolve_1_x_n_s8", "CONV_2D int8", _S8, is_entry=False),
    LibraryFunction("arm_convolve_wrapper_s4", "CONV_2D int4", _S4),
    LibraryFunction("arm_convolve_s4", "CONV_2D int4", _S4, is_entry=False, chosen=_is_by_columns),
    LibraryFunction("arm_convolve_1x1_s4_fast", "CONV_2D int4", _S4, is_entry=False),
    LibraryFunction("arm_convolve_1x1_s4", "CONV_2D int4", _S4, is_entry=False),
    LibraryFunction("arm_convolve_1_x_n_s4", "CONV_2D int4", _S4, is_entry=False),
    LibraryFunction("arm_convolve_wrapper_s16", "CONV_2D int16", _S16),
    LibraryFunction("arm_convolve_s16", "CONV_2D int16", _S16, is_entry=False),
    _depthwise_function("arm_depthwise_conv_wrapper_s8", "DEPTHWISE_CONV_2D int8", is_entry=True),
    _depthwise_function("arm_depthwise_conv_s8", "DEPTHWISE_CONV_2D int8"),
    _depthwise_function("arm_depthwise_conv_s8_opt", "DEPTHWISE_CONV_2D int8"),
    _depthwise_function("arm_depthwise_conv_3x3_s8", "DEPTHWISE_CONV_2D int8"),
    _depthwise_function("arm_depthwise_conv_wrapper_s4", "DEPTHWISE_CONV_2D int4", is_entry=True),
    _depthwise_function("arm_depthwise_conv_s4", "DEPTHWISE_CONV_2D int4"),
    _depthwise_function("arm_depthwise_conv_s4_opt", "DEPTHWISE_CONV_2D int4"),
    _depthwise_function("arm_depthwise_conv_wrapper_s16", "DEPTHWISE_CONV_2D int16", is_entry=True),
    _depthwise_function("arm_depthwise_conv_s16", "DEPTHWISE_CONV_2D int16"),
    LibraryFunction(
        "arm_depthwise_conv_fast_s16",
        "DEPTHWISE_CONV_2D int16",
        (Version("CMSIS-NN 4.0.0 and later", _DEPTHWISE, _depthwise),),
        is_entry=False,
        chosen=_is_fast,
    ),
    _dense_function("arm_fully_connected_wrapper_s8", "FULLY_CONNECTED int8", _either),
    _dense_function("arm_fully_connected_s8", "FULLY_CONNECTED int8, one scale", _per_tensor),
    _dense_function(
        "arm_fully_connected_per_channel_s8",
        "FULLY_CONNECTED int8, a scale each",
        _channel_scales,
    ),
    _dense_function("arm_fully_connected_s4", "FULLY_CONNECTED int4", _per_tensor),
    _dense_function("arm_fully_connected_s16", "FULLY_CONNECTED int16", _per_tensor),
    *(
        LibraryFunction(
            name,
            "TRANSPOSE_CONV int8",
            (
                Version("CMSIS-NN 7.0.0 and later", _TURNED, _turned),
                Version("CMSIS-NN 5.0.0 and 6.0.0", _TURNED, partial(_turned, by_columns=True)),
            ),
            is_entry=name.endswith("wrapper_s8"),
        )
        for name in ("arm_transpose_conv_wrapper_s8", "arm_transpose_conv_s8")
    ),
    *(
        LibraryFunction(
            f"arm_batch_matmul_{ending}",
            f"BATCH_MATMUL {kind}",
            (Version("CMSIS-NN 7.0.0 and later", _MATRICES, _matrices),),
        )
        for ending, kind in (("s8", "int8"), ("s16", "int16"))
    ),
)
