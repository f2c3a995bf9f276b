"""CONV_2D as TFLM's reference kernels compute it, ordinary and grouped."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcusim.graph import Array, DType, Node, once_a_node
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import activation_range
from mcusim.kernels.reference.checks import refuse, require, require_same_type
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

__all__ = ["KERNELS", "conv_shape", "conv_trips", "integer_convolution", "uses_int32_sums"]

_FILTERS = {
    DType.FLOAT32: (DType.FLOAT32,),
    DType.INT16: (DType.INT8,),
    DType.INT8: (DType.INT8, DType.INT4),
}
_BIASES = {
    DType.FLOAT32: (DType.FLOAT32,),
    DType.INT16: (DType.INT32, DType.INT64),
    DType.INT8: (DType.INT32,),
}


@once_a_node
def conv_shape(node: Node) -> ConvolutionShape:
    """Shape of a CONV_2D.

    Raises:
        UnsupportedOperatorError: TFLM refuses its types or shapes; the message says why.

    Source: ``ConvPrepare``.
    """
    check_arity(node, 2)
    source, weights = node.input(0), node.input(1)
    require_same_type(node, source, node.output(), "input and output")
    require(
        weights.dtype in _FILTERS.get(source.dtype, ()),
        node,
        f"TFLite Micro runs no {source.dtype.value} input with {weights.dtype.value} filters",
    )
    shape = convolution_shape(node, of_depth=3, of_channels=0)
    depth, channels = shape.kernel_channels, shape.out_channels
    groups = shape.in_channels // depth if depth else 0
    if not groups or shape.in_channels % depth or channels % groups:
        refuse(
            node,
            f"filters of {depth} channels do not divide {shape.in_channels} input and "
            f"{channels} output channels into groups",
        )
    check_bias(node, 2, channels, _BIASES[source.dtype])
    return shape


def uses_int32_sums(node: Node) -> bool:
    """Whether an int16 convolution accumulates in int32, as its bias or its options ask for.

    Source: ``ConvEval``.
    """
    bias = node.optional_input(2)
    if bias is None:
        return node.options.text("quantized_bias_type") == DType.INT32.value
    return bias.dtype is DType.INT32


def _prepare(node: Node) -> Binder:
    return convolution_binder(node, 0, conv_shape(node), _bind_float, _bind_integer)


def _bind_float(node: Node, shape: ConvolutionShape) -> BoundKernel:
    from mcusim.kernels.compiled.float_convolution import Geometry, convolve

    low, high = map(np.float32, activation_range(node.options.text("fused_activation_function")))
    geometry = Geometry(*shape.steps)
    groups = shape.in_channels // shape.kernel_channels

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        grouped = weights.reshape(groups, -1, *weights.shape[1:])
        packed = np.ascontiguousarray(grouped.transpose(0, 2, 3, 4, 1))
        added = np.zeros(shape.out_channels, np.float32) if bias is None else bias.flatten()

        def run(x: Array, out: Array) -> None:
            convolve(x, packed, added, low, high, geometry, out)

        return run

    return bound_convolution(node, (0, 1, 2), prepare)


def _bind_integer(node: Node, shape: ConvolutionShape, parameters: OutputScaling) -> BoundKernel:
    is_wide = node.input(0).dtype is DType.INT16 and not uses_int32_sums(node)
    return bound_convolution(node, (0, 1, 2), integer_convolution(shape, parameters, is_wide))


def integer_convolution(
    shape: ConvolutionShape,
    parameters: OutputScaling,
    is_wide: bool,
    rounds_once: bool = False,
) -> Preparation:
    """What computes an integer convolution, ordinary or grouped.

    Args:
        shape: of the convolution.
        parameters: its quantization.
        is_wide: whether it sums in int64 and scales with 15 bits, as int16 with an int64 bias.
        rounds_once: whether int32 sums are rounded only once, as CMSIS-NN can be built to do;
            outputs are then int16 in place of int8 or int16.
    """
    from mcusim.kernels.compiled import conv as compiled
    from mcusim.kernels.compiled.requantization import once_scaling, scaling, wide_scaling

    depth = shape.kernel_channels
    sums_wide = is_wide or rounds_once
    scaled = wide_scaling if is_wide else once_scaling if rounds_once else scaling
    longest = compiled.LONGEST_SUM if sums_wide else None
    plan = window_plan(shape, shape.in_channels, depth, longest)
    groups = shape.in_channels // depth
    width = shape.out_channels // groups
    safe_segments = max(compiled.LONGEST_SUM // plan.length, 1)

    windows = compiled.place_windows(plan, shape, parameters.input_zero_point)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        def group_of(group: int) -> tuple[Any, ...]:
            channels = slice(group * width, (group + 1) * width)
            return (
                windows._replace(segments=plan.segments + group * depth),
                compiled.pack_weights(plan.split(weights[channels]), plan.pairs),
                scaled(parameters, bias, channels),
                group * width,
            )

        parts = [group_of(group) for group in range(groups)]

        def run(x: Array, out: Array) -> None:
            flat = out.reshape(len(out), -1, shape.out_channels)
            for placed, packed, scales, first in parts:
                if sums_wide:
                    compiled.convolve_wide(x, placed, packed, scales, first, flat, safe_segments)
                else:
                    compiled.convolve(x, placed, packed, scales, first, flat)

        return run

    return prepare


def conv_trips(shape: ConvolutionShape) -> dict[str, float]:
    """Loop turns of ``Conv`` and ``ConvPerChannel``.

    A tap's place is tested in the source's order, ``x >= 0``, ``x < width``, ``y >= 0``,
    ``y < height``, and each test that is passed is a level.
    """
    outputs = shape.pixels * shape.out_channels
    turns = shape.tap_turns
    inside = turns.inside * shape.out_channels
    not_above = inside + turns.below * shape.out_channels
    in_columns = not_above + turns.above * shape.out_channels
    return {
        "call": 1,
        "row": shape.batches * shape.vertical.outputs,
        "pixel": shape.pixels,
        "output": outputs,
        "kernel_row": outputs * shape.vertical.kernel,
        "tap": outputs * shape.taps,
        "tap_not_left": in_columns + turns.right * shape.out_channels,
        "tap_in_columns": in_columns,
        "tap_not_above": not_above,
        "tap_inside": inside,
        "product": inside * shape.kernel_channels,
    }


def _call(node: Node) -> KernelCall:
    shape = conv_shape(node)
    source, weights, bias = node.input(0), node.input(1), node.optional_input(2)
    trips = conv_trips(shape)
    warnings: tuple[str, ...] = ()
    if source.dtype is DType.INT8:
        # Only here does a counted model without a bias tell its addition from the rest.
        trips["bias"] = trips["output"] if bias is not None else 0
    if weights.dtype is DType.INT4:
        warnings = (f"unpacking {weights.elements} int4 weights was not counted and is left out",)
    if source.dtype is DType.INT16 and uses_int32_sums(node):
        warnings = ("counted with 64-bit sums; this layer's 32-bit sums take fewer instructions",)
    is_float = source.dtype is DType.FLOAT32
    return KernelCall(
        kernel="reference_ops::Conv" if is_float else "reference_integer_ops::ConvPerChannel",
        profile=f"reference/conv_2d_{source.dtype.value}",
        trips=trips,
        macs=shape.pixels * shape.taps * shape.kernel_channels * shape.out_channels,
        warnings=warnings,
    )


KERNELS: tuple[Kernel, ...] = (Kernel("CONV_2D", _prepare, _call),)
