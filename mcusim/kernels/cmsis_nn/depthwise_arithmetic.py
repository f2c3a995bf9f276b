"""What CMSIS-NN's depthwise convolutions compute, whichever function runs, vectorized."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
)
from mcusim.kernels.reference.convolution import ConvolutionShape, OutputScaling

__all__ = ["depthwise_conv_s8", "requantized_s8"]


def depthwise_conv_s8(
    x: Array,
    weights: Array,
    bias: Array | None,
    shape: ConvolutionShape,
    scaling: OutputScaling,
    single_rounding: bool = False,
) -> Array:
    """``arm_depthwise_conv_wrapper_s8`` and every function it chooses from.

    Args:
        x: int8, ``[image][row][column][channel]``, any number of images.
        weights: int8, ``[1][row][column][output channel]``.
        bias: int32, ``[output channel]``, or None.
        shape: of one inference.
        scaling: of its output.
        single_rounding: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Returns:
        int8, ``[image][row][column][output channel]``.
    """
    rows, columns = shape.vertical, shape.horizontal
    multiplier = shape.out_channels // shape.in_channels
    below = max(rows.extent - rows.padding - rows.inputs, 0)
    right = max(columns.extent - columns.padding - columns.inputs, 0)
    centred = np.repeat(x.astype(np.int32) - np.int32(scaling.input_zero_point), multiplier, axis=3)
    padded = np.pad(centred, ((0, 0), (rows.padding, below), (columns.padding, right), (0, 0)))
    sums: npt.NDArray[Any] = np.zeros(
        (len(x), rows.outputs, columns.outputs, shape.out_channels), np.int32
    )
    if bias is not None:
        sums += bias.reshape(-1)
    for row in range(rows.kernel):
        top = row * rows.dilation
        down = slice(top, top + (rows.outputs - 1) * rows.stride + 1, rows.stride)
        for column in range(columns.kernel):
            left = column * columns.dilation
            across = slice(left, left + (columns.outputs - 1) * columns.stride + 1, columns.stride)
            sums += padded[:, down, across] * weights[0, row, column].astype(np.int32)
    return requantized_s8(sums, scaling, single_rounding)


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
