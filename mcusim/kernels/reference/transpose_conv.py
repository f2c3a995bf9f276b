"""TRANSPOSE_CONV as TFLM's reference kernels compute it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import activation_range
from mcusim.kernels.reference.checks import require, require_same_type
from mcusim.kernels.reference.convolution import (
    Axis,
    ConvolutionShape,
    OutputScaling,
    check_arity,
    check_bias,
    check_extents,
    check_filter,
    check_rank,
    paddings,
)
from mcusim.kernels.reference.convolution_binding import (
    ImageKernel,
    bound_convolution,
    convolution_binder,
)

__all__ = ["KERNELS", "transposed_shape", "transposed_trips"]

_FILTERS = {
    DType.FLOAT32: DType.FLOAT32,
    DType.INT16: DType.INT8,
    DType.INT8: DType.INT8,
}
_BIASES = {
    DType.FLOAT32: (DType.FLOAT32,),
    DType.INT16: (DType.INT16, DType.INT64),
    DType.INT8: (DType.INT32,),
}


def transposed_shape(node: Node) -> ConvolutionShape:
    """Shape of the convolution that a TRANSPOSE_CONV turns around: each axis goes from its output
    to its input, while channels are counted its own way.

    Raises:
        UnsupportedOperatorError: TFLM refuses its types or shapes; the message says why.

    Source: ``TransposeConvPrepare``.
    """
    check_arity(node, 3)
    weights, source, result = node.input(1), node.input(2), node.output()
    require_same_type(node, source, result, "input and output")
    require(
        weights.dtype is _FILTERS.get(source.dtype),
        node,
        f"TFLite Micro runs no {source.dtype.value} input with {weights.dtype.value} filters",
    )
    check_rank(node, {"input": source, "filter": weights, "output": result})
    out_channels, kernel_h, kernel_w, depth = weights.shape
    require(
        (depth, out_channels) == (source.shape[3], result.shape[3]),
        node,
        f"the filter turns {depth} channels into {out_channels}, but the input has "
        f"{source.shape[3]} and the output {result.shape[3]}",
    )
    require(
        source.shape[0] == result.shape[0],
        node,
        f"the input has {source.shape[0]} batches, the output {result.shape[0]}",
    )
    stride = node.options.integer("stride_h"), node.options.integer("stride_w")
    require(min(stride) > 0, node, "strides must be positive")
    check_filter(node, weights)
    padding = paddings(
        node.options.text("padding", "SAME"),
        (result.shape[1], result.shape[2]),
        (kernel_h, kernel_w),
        stride,
        (1, 1),
    )
    check_extents(
        node,
        (result.shape[1], result.shape[2]),
        source.shape[1:3],
        (kernel_h, kernel_w),
        stride,
    )
    check_bias(node, 3, out_channels, _BIASES[source.dtype])
    return ConvolutionShape(
        source.shape[0],
        Axis(result.shape[1], source.shape[1], kernel_h, stride[0], 1, padding[0]),
        Axis(result.shape[2], source.shape[2], kernel_w, stride[1], 1, padding[1]),
        depth,
        depth,
        out_channels,
    )


def _prepare(node: Node) -> Binder:
    return convolution_binder(node, 2, transposed_shape(node), _bind_float, _bind_integer)


def _bind_float(node: Node, shape: ConvolutionShape) -> BoundKernel:
    from mcusim.kernels.compiled.float_convolution import Geometry, convolve_transposed

    low, high = map(np.float32, activation_range(node.options.text("fused_activation_function")))
    geometry = Geometry(*shape.steps)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        factors = weights.transpose(1, 2, 3, 0).copy()
        # Without a bias the library adds nothing; no sum that began at 0 is the -0 that shows it.
        added = np.zeros(shape.out_channels, np.float32) if bias is None else bias.flatten()

        def run(x: Array, out: Array) -> None:
            convolve_transposed(x, factors, added, low, high, geometry, out)

        return run

    return bound_convolution(node, (2, 1, 3), prepare)


def _bind_integer(node: Node, shape: ConvolutionShape, parameters: OutputScaling) -> BoundKernel:
    from mcusim.kernels.compiled import transpose_conv as compiled
    from mcusim.kernels.compiled.float_convolution import Geometry
    from mcusim.kernels.compiled.requantization import scaling, wide_scaling

    geometry = Geometry(*shape.steps)
    is_wide = node.input(2).dtype is DType.INT16
    convolve: Any = compiled.convolve_transposed_wide if is_wide else compiled.convolve_transposed

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        factors = np.ascontiguousarray(weights.transpose(1, 2, 3, 0)).astype(np.int16)
        scaled = (wide_scaling if is_wide else scaling)(parameters, bias)

        def run(x: Array, out: Array) -> None:
            convolve(x, parameters.input_zero_point, factors, geometry, scaled, out)

        return run

    return bound_convolution(node, (2, 1, 3), prepare)


def transposed_trips(shape: ConvolutionShape) -> dict[str, float]:
    """Loop turns of ``TransposeConv``.

    The source tests a tap's place in the innermost loop, for every output channel, though the
    place is the tap's own: ``tap_inside`` counts it once, the ``scatter`` levels each time.
    """
    rows, columns = shape.vertical, shape.horizontal
    turns, channels = shape.tap_turns, shape.out_channels
    elements = shape.pixels * shape.in_channels
    inside = turns.inside * shape.in_channels
    not_above = inside + turns.below * shape.in_channels
    in_columns = not_above + turns.above * shape.in_channels
    pixels = shape.batches * rows.inputs * columns.inputs
    return {
        "call": 1,
        "input_pixel": shape.pixels,
        "input": elements,
        "kernel_row": elements * rows.kernel,
        "tap": elements * shape.taps,
        "tap_inside": inside,
        "scatter": elements * shape.taps * channels,
        "scatter_not_left": (in_columns + turns.right * shape.in_channels) * channels,
        "scatter_in_columns": in_columns * channels,
        "scatter_not_above": not_above * channels,
        "product": inside * channels,
        "output_pixel": pixels,
        "output": pixels * channels,
    }


def _call(node: Node) -> KernelCall:
    shape = transposed_shape(node)
    kind = node.input(2).dtype
    return KernelCall(
        kernel=f"{'reference_ops' if kind is DType.FLOAT32 else 'reference_integer_ops'}"
        "::TransposeConv",
        profile=f"reference/transpose_conv_{kind.value}",
        trips={
            **transposed_trips(shape),
            "output.biased": shape.batches
            * shape.vertical.inputs
            * shape.horizontal.inputs
            * shape.out_channels
            * (node.optional_input(3) is not None),
        },
        macs=shape.pixels * shape.taps * shape.out_channels * shape.in_channels,
    )


KERNELS: tuple[Kernel, ...] = (Kernel("TRANSPOSE_CONV", _prepare, _call),)
