"""DEPTHWISE_CONV_2D as TFLM's reference kernels compute it."""

from __future__ import annotations

import numpy as np

from mcusim.graph import Array, DType, Node, once_a_node
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import activation_range
from mcusim.kernels.reference.checks import require, require_same_type
from mcusim.kernels.reference.convolution import (
    ConvolutionShape,
    OutputScaling,
    check_arity,
    check_bias,
    convolution_shape,
)
from mcusim.kernels.reference.convolution_binding import (
    ImageKernel,
    Preparation,
    bound_convolution,
    convolution_binder,
)
from mcusim.kernels.reference.convolution_windows import window_plan

__all__ = ["KERNELS", "depthwise_shape", "depthwise_trips", "integer_depthwise"]

_FILTERS = {
    DType.FLOAT32: (DType.FLOAT32,),
    DType.INT16: (DType.INT8,),
    DType.INT8: (DType.INT8, DType.INT4),
}
_BIASES = {DType.FLOAT32: DType.FLOAT32, DType.INT16: DType.INT64, DType.INT8: DType.INT32}


@once_a_node
def depthwise_shape(node: Node) -> ConvolutionShape:
    """Shape of a DEPTHWISE_CONV_2D; ``kernel_channels`` is 1.

    Raises:
        UnsupportedOperatorError: TFLM refuses its types or shapes; the message says why.

    Source: ``DepthwiseConvPrepare`` and ``DepthwiseConvEval``.
    """
    check_arity(node, 2)
    source, weights = node.input(0), node.input(1)
    require_same_type(node, source, node.output(), "input and output")
    require(
        weights.dtype in _FILTERS.get(source.dtype, ()),
        node,
        f"TFLite Micro runs no {source.dtype.value} input with {weights.dtype.value} filters",
    )
    shape = convolution_shape(node, of_depth=0, of_channels=3)
    require(
        shape.kernel_channels == 1,
        node,
        f"the filter's first dimension is {shape.kernel_channels} instead of 1",
    )
    multiplier = node.options.integer("depth_multiplier")
    require(
        shape.in_channels * multiplier == shape.out_channels,
        node,
        f"{shape.in_channels} input channels and a depth multiplier of {multiplier} do not give "
        f"{shape.out_channels} output channels",
    )
    check_bias(node, 2, shape.out_channels, (_BIASES[source.dtype],))
    return shape


def _prepare(node: Node) -> Binder:
    return convolution_binder(node, 0, depthwise_shape(node), _bind_float, _bind_integer)


def _bind_float(node: Node, shape: ConvolutionShape) -> BoundKernel:
    from mcusim.kernels.compiled.float_convolution import Geometry, convolve_depthwise

    low, high = map(np.float32, activation_range(node.options.text("fused_activation_function")))
    geometry = Geometry(*shape.steps)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        factors = weights.reshape(*weights.shape[1:3], shape.in_channels, -1).copy()
        added = np.zeros(shape.out_channels, np.float32) if bias is None else bias.flatten()

        def run(x: Array, out: Array) -> None:
            convolve_depthwise(x, factors, added, low, high, geometry, out)

        return run

    return bound_convolution(node, (0, 1, 2), prepare)


def _bind_integer(node: Node, shape: ConvolutionShape, parameters: OutputScaling) -> BoundKernel:
    prepare = integer_depthwise(shape, parameters, node.input(0).dtype is DType.INT16)
    return bound_convolution(node, (0, 1, 2), prepare)


def integer_depthwise(
    shape: ConvolutionShape, parameters: OutputScaling, is_wide: bool
) -> Preparation:
    """What computes an integer depthwise convolution.

    Args:
        shape: of the convolution.
        parameters: its quantization.
        is_wide: whether it sums in int64 and scales with 15 bits, as int16 does.
    """
    from mcusim.kernels.compiled import depthwise_conv as compiled
    from mcusim.kernels.compiled.conv import place_windows
    from mcusim.kernels.compiled.products import LANES
    from mcusim.kernels.compiled.requantization import scaling, wide_scaling

    plan = window_plan(shape, shape.out_channels, depth=0)
    windows = place_windows(plan, shape, parameters.input_zero_point)
    multiplier = shape.out_channels // max(shape.in_channels, 1)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        channels = shape.out_channels
        factors = np.zeros((shape.taps, -(-channels // LANES) * LANES, 2), np.int16)
        factors[:, :channels, 0] = weights.reshape(-1, channels)

        def run_wide(x: Array, out: Array) -> None:
            flat = out.reshape(len(out), -1, channels)
            compiled.convolve_depthwise_wide(x, windows, factors, multiplier, wide, flat)

        def run(x: Array, out: Array) -> None:
            flat = out.reshape(len(out), -1, channels)
            compiled.convolve_depthwise(x, windows, factors, multiplier, narrow, flat)

        if is_wide:
            wide = wide_scaling(parameters, bias)
            return run_wide
        narrow = scaling(parameters, bias)
        return run

    return prepare


def depthwise_trips(shape: ConvolutionShape) -> dict[str, float]:
    """Loop turns of ``DepthwiseConv`` and ``DepthwiseConvPerChannel``.

    A tap's row does not change in the inner loop, so compilers that optimize for speed test it
    outside: ``kernel_row_inside`` and ``tap_in_row`` tell the rows on the input from the others.
    """
    rows, columns = shape.vertical, shape.horizontal
    outputs = shape.pixels * shape.out_channels
    inside_rows = shape.batches * shape.out_channels * rows.inside
    return {
        "call": 1,
        "row": shape.batches * rows.outputs,
        "pixel": shape.pixels,
        "channel": shape.pixels * shape.in_channels,
        "output": outputs,
        "kernel_row": outputs * rows.kernel,
        "kernel_row_inside": inside_rows * columns.outputs,
        "tap": outputs * shape.taps,
        "tap_in_row": inside_rows * columns.outputs * columns.kernel,
        "tap_in_row_not_left": inside_rows * (columns.outputs * columns.kernel - columns.before),
        "product": inside_rows * columns.inside,
    }


def _call(node: Node) -> KernelCall:
    shape = depthwise_shape(node)
    source, weights, bias = node.input(0), node.input(1), node.optional_input(2)
    trips = depthwise_trips(shape)
    warnings: tuple[str, ...] = ()
    is_float = source.dtype is DType.FLOAT32
    if is_float:
        # Only here does a counted model without a bias tell its addition from the rest; rows
        # and pixels cannot be told apart.
        trips["bias"] = trips["output"] if bias is not None else 0
        del trips["row"]
    if weights.dtype is DType.INT4:
        warnings = (f"unpacking {weights.elements} int4 weights was not counted and is left out",)
    return KernelCall(
        kernel="reference_ops::DepthwiseConv"
        if is_float
        else "reference_integer_ops::DepthwiseConvPerChannel",
        profile=f"reference/depthwise_conv_2d_{source.dtype.value}",
        trips=trips,
        macs=shape.pixels * shape.taps * shape.out_channels,
        warnings=warnings,
    )


KERNELS: tuple[Kernel, ...] = (Kernel("DEPTHWISE_CONV_2D", _prepare, _call),)
