"""What CMSIS-NN's depthwise convolutions compute, whichever function runs, vectorized."""

from __future__ import annotations

import numpy as np

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
)
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, OutputScaling
from mcusim.kernels.reference.convolution_binding import ImageKernel, Preparation
from mcusim.kernels.reference.depthwise_conv import integer_depthwise

__all__ = ["depthwise_conv_s8", "requantized_s8"]


def depthwise_conv_s8(
    shape: ConvolutionShape, scaling: OutputScaling, configuration: Configuration
) -> Preparation:
    """``arm_depthwise_conv_wrapper_s8`` and every function it chooses from: all are exact.

    Args:
        shape: of one inference.
        scaling: of its output.
        configuration: of the library.
    """
    if not configuration.single_rounding:
        return integer_depthwise(shape, scaling, is_wide=False)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        def run(x: Array, out: Array) -> None:
            sums = _sums(shape, scaling, x, weights, bias)
            out[:] = requantized_s8(sums, scaling, single_rounding=True)

        return run

    return prepare


def _sums(
    shape: ConvolutionShape, scaling: OutputScaling, x: Array, weights: Array, bias: Array | None
) -> Int32Array:
    rows, columns = shape.vertical, shape.horizontal
    below = max(rows.extent - rows.padding - rows.inputs, 0)
    right = max(columns.extent - columns.padding - columns.inputs, 0)
    around = ((0, 0), (rows.padding, below), (columns.padding, right), (0, 0))
    centred = x.astype(np.int32) - np.int32(scaling.input_zero_point)
    padded = np.pad(centred.repeat(shape.out_channels // shape.in_channels, axis=3), around)
    factors = weights.reshape(rows.kernel, columns.kernel, -1).astype(np.int32)
    sums = np.zeros((len(x), rows.outputs, columns.outputs, shape.out_channels), np.int32)
    if bias is not None:
        sums += bias.reshape(-1)
    for row in range(rows.kernel):
        down = _steps(rows, row)
        for column in range(columns.kernel):
            sums += padded[:, down, _steps(columns, column)] * factors[row, column]
    return sums


def _steps(axis: Axis, tap: int) -> slice:
    """What a tap meets, output by output, along a padded axis."""
    first = tap * axis.dilation
    return slice(first, first + (axis.outputs - 1) * axis.stride + 1, axis.stride)


def requantized_s8(sums: Int32Array, scaling: OutputScaling, single_rounding: bool) -> Array:
    """``arm_nn_requantize`` of int32 sums with the channel last, the offset added, clamped.

    Args:
        sums: int32, channel last.
        scaling: of the channels.
        single_rounding: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
    """
    multiply = (
        multiply_by_quantized_multiplier_once
        if single_rounding
        else multiply_by_quantized_multiplier
    )
    scaled = multiply(sums, scaling.multipliers, scaling.shifts)
    moved = scaled + np.int32(scaling.output_zero_point)
    stored: Array = np.clip(moved, scaling.low, scaling.high).astype(np.int8)
    return stored
