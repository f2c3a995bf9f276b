"""What CMSIS-NN's convolutions compute: the fast path, by the loops of the reference kernels.

Convolutions round as the reference kernels do, so that the bits are the same, except where the
library is built to round once, or does something else than asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.one_row_mve import one_row_outputs, reads_wrongly
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier_wide
from mcusim.kernels.reference.conv import integer_convolution
from mcusim.kernels.reference.convolution import ConvolutionShape, OutputScaling
from mcusim.kernels.reference.convolution_binding import ImageKernel, Preparation

__all__ = ["Arithmetic", "convolution"]


@dataclass(frozen=True)
class Arithmetic:
    """How a convolution sums.

    Attributes:
        is_wide: int16 with an int64 bias: sums of 64 bits, multipliers of 15.
        is_int16: activations are int16.
    """

    is_wide: bool = False
    is_int16: bool = False


#: Products of int16 that the library sums in 32 bits, whatever they are.
_LONGEST_NARROW_SUM = 512


def convolution(
    shape: ConvolutionShape,
    parameters: OutputScaling,
    arithmetic: Arithmetic,
    configuration: Configuration,
) -> Preparation:
    """What computes a convolution as a device with the library does.

    Args:
        shape: of the convolution.
        parameters: its quantization.
        arithmetic: how it sums.
        configuration: of the library.
    """
    if configuration.generation in ("2020", "2020apr", "2021"):
        shape = _without_dilation(shape)
    once = configuration.single_rounding and not arithmetic.is_wide
    prepare = integer_convolution(shape, parameters, arithmetic.is_wide, once)
    if once:
        prepare = _with_offset(prepare, parameters.output_zero_point)
    if not arithmetic.is_int16 and configuration.simd == "mve" and reads_wrongly(shape):
        return one_row_outputs(shape, parameters, configuration.single_rounding)
    columns = shape.taps * shape.in_channels
    if (
        arithmetic.is_wide
        and configuration.simd != "mve"
        and columns > _LONGEST_NARROW_SUM
        and shape.vertical.outputs * shape.horizontal.outputs % 2
    ):
        return _last_pixel_narrow(prepare, shape, parameters)
    return prepare


def _without_dilation(shape: ConvolutionShape) -> ConvolutionShape:
    return replace(
        shape,
        vertical=replace(shape.vertical, dilation=1),
        horizontal=replace(shape.horizontal, dilation=1),
    )


def _with_offset(prepare: Preparation, offset: int) -> Preparation:
    def prepared(weights: Array, bias: Array | None) -> ImageKernel:
        kernel = prepare(weights, bias)

        def run(x: Array, out: Array) -> None:
            scaled = np.empty(out.shape, np.int16)
            kernel(x, scaled)
            out[...] = scaled + np.int16(offset)

        return run

    return prepared


def _last_pixel_narrow(
    prepare: Preparation, shape: ConvolutionShape, parameters: OutputScaling
) -> Preparation:
    """The last pixel of an odd number sums in 32 bits, however long the sum is."""

    def prepared(weights: Array, bias: Array | None) -> ImageKernel:
        kernel = prepare(weights, bias)
        filters = weights.reshape(shape.out_channels, -1).astype(np.int64)
        added = 0 if bias is None else bias.ravel().astype(np.int64)

        def run(x: Array, out: Array) -> None:
            kernel(x, out)
            sums = (_last_column(x, shape) @ filters.T).astype(np.int32)
            scaled = multiply_by_quantized_multiplier_wide(
                sums.astype(np.int64) + added, parameters.multipliers, parameters.shifts
            )
            out[:, -1, -1] = np.clip(scaled, parameters.low, parameters.high)

        return run

    return prepared


def _last_column(x: Array, shape: ConvolutionShape) -> npt.NDArray[np.int64]:
    """What the last output pixel of each image takes, zeros outside of the image."""
    rows, columns = shape.vertical, shape.horizontal
    column = np.zeros((len(x), rows.kernel, columns.kernel, shape.in_channels), np.int64)
    for tap_y in range(rows.kernel):
        y = (rows.outputs - 1) * rows.stride - rows.padding + tap_y * rows.dilation
        for tap_x in range(columns.kernel):
            at = (columns.outputs - 1) * columns.stride - columns.padding
            at += tap_x * columns.dilation
            if 0 <= y < rows.inputs and 0 <= at < columns.inputs:
                column[:, tap_y, tap_x] = x[:, y, at]
    return column.reshape(len(x), -1)
