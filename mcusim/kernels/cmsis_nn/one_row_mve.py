"""``arm_convolve_1_x_n_s8`` with MVE: three matrix products, of which strides break some.

The function copies only the left and the right end of the row beside their padding, and takes its
right end for one that lacks a single column. With a stride over 1 that is mostly not so: it then
multiplies other activations than asked, or refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
)
from mcusim.kernels.reference.convolution import ConvolutionShape, OutputScaling
from mcusim.kernels.reference.convolution_binding import ImageKernel, Preparation

__all__ = ["OneRow", "is_unknown", "one_row", "one_row_outputs", "reads_wrongly"]

#: Stands for a byte that the function reads where nobody wrote it.
_UNKNOWN = -1
#: Stands for a byte of padding.
_PADDING = -2


@dataclass(frozen=True)
class OneRow:
    """How the function cuts the outputs of a row.

    Attributes:
        refuses: the paddings do not agree with each other: it computes nothing.
        left: outputs of the product whose input is padded on the left.
        middle: outputs computed on the input itself.
        right: outputs of the product whose input is padded on the right.
        general: the parts are not as many as the outputs: ``arm_convolve_s8`` runs.
    """

    refuses: bool
    left: int
    middle: int
    right: int
    general: bool


def one_row(shape: ConvolutionShape) -> OneRow:
    """Cut the outputs of a row as ``arm_convolve_1_x_n_s8`` does."""
    axis = shape.horizontal
    total = (axis.outputs - 1) * axis.stride + axis.kernel - axis.inputs
    odd = total - 2 * int(total / 2)  # C's remainder keeps the sign
    behind = axis.padding + odd
    right = max(1, int((behind + axis.stride - 1) / axis.stride)) if behind else 0
    left = max(1, (axis.padding + axis.stride - 1) // axis.stride) if axis.padding else 0
    middle = max(axis.outputs - right - left, 0)
    return OneRow(
        refuses=axis.padding * 2 + odd != total,
        left=left,
        middle=middle,
        right=right,
        general=left + middle + right != axis.outputs,
    )


def reads_wrongly(shape: ConvolutionShape) -> bool:
    """Whether a device multiplies other activations than asked, or none."""
    axis = shape.horizontal
    is_row = (
        shape.kernel_channels == shape.in_channels
        and (shape.vertical.inputs, shape.vertical.kernel, axis.dilation) == (1, 1, 1)
        and axis.stride * shape.in_channels % 4 == 0
        and not (axis.kernel == 1 and axis.padding == 0 and shape.vertical.padding == 0)
    )
    if not is_row or axis.stride == 1:
        return False
    cut = one_row(shape)
    if cut.refuses:
        return True
    return not cut.general and not np.array_equal(_sources(shape), _asked(shape))


def is_unknown(shape: ConvolutionShape) -> bool:
    """Whether outputs depend on memory that the layer does not own."""
    return one_row(shape).refuses or bool((_sources(shape) == _UNKNOWN).any())


def _asked(shape: ConvolutionShape) -> npt.NDArray[np.int64]:
    """Which element of the row each product of each output should take."""
    axis, channels = shape.horizontal, shape.in_channels
    column = np.arange(axis.outputs)[:, np.newaxis] * axis.stride - axis.padding
    places = column * channels + np.arange(axis.kernel * channels)[np.newaxis]
    inside = (places >= 0) & (places < axis.inputs * channels)
    return np.where(inside, places, _PADDING)


def _sources(shape: ConvolutionShape) -> npt.NDArray[np.int64]:
    """Which element of the row each product of each output takes on a device."""
    cut, axis, channels = one_row(shape), shape.horizontal, shape.in_channels
    if cut.refuses:
        return np.full((axis.outputs, axis.kernel * channels), _UNKNOWN)
    length, step = axis.kernel * channels, axis.stride * channels
    row = np.arange(axis.inputs * channels)
    before = axis.padding * channels
    total = (axis.outputs - 1) * axis.stride + axis.kernel - axis.inputs
    after = cut.right * channels if total % 2 else before
    start = (axis.stride * (cut.left + cut.middle) - axis.padding) * channels
    left = np.concatenate([np.full(before, _PADDING), _part(row, 0, length)])
    right = np.concatenate([_part(row, start, length - channels), np.full(after, _PADDING)])
    begin = (axis.stride * cut.left - axis.padding) * channels
    return np.concatenate(
        [
            _rows(left, 0, cut.left, length, step),
            _rows(row, begin, cut.middle, length, step),
            _rows(right, 0, cut.right, length, step),
        ]
    )


def _part(row: npt.NDArray[np.int64], start: int, length: int) -> npt.NDArray[np.int64]:
    places = start + np.arange(max(length, 0))
    inside = (places >= 0) & (places < row.size)
    return np.where(inside, places, _UNKNOWN)


def _rows(
    memory: npt.NDArray[np.int64], begin: int, count: int, length: int, step: int
) -> npt.NDArray[np.int64]:
    places = begin + np.arange(count)[:, np.newaxis] * step + np.arange(length)[np.newaxis]
    inside = (places >= 0) & (places < memory.size)
    found = memory[np.clip(places, 0, memory.size - 1)]
    return np.where(inside, found, _UNKNOWN)


def one_row_outputs(
    shape: ConvolutionShape, parameters: OutputScaling, rounds_once: bool
) -> Preparation:
    """What computes the layer as a device does; unknown bytes count as padding.

    Args:
        shape: of the convolution.
        parameters: its quantization.
        rounds_once: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
    """
    sources = _sources(shape)
    scale = multiply_by_quantized_multiplier
    if rounds_once:
        scale = multiply_by_quantized_multiplier_once

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        filters = weights.reshape(shape.out_channels, -1).astype(np.int64)
        added = 0 if bias is None else bias.ravel().astype(np.int64)

        def run(x: Array, out: Array) -> None:
            rows = x.reshape(len(x), -1).astype(np.int64) - parameters.input_zero_point
            rows = np.concatenate([rows, np.zeros((len(x), 1), np.int64)], axis=1)
            columns = rows[:, np.where(sources < 0, -1, sources)]
            sums = (columns @ filters.T + added).astype(np.int32)
            scaled = scale(sums, parameters.multipliers, parameters.shifts)
            stored = np.clip(
                scaled.astype(np.int64) + parameters.output_zero_point,
                parameters.low,
                parameters.high,
            )
            out[...] = stored.reshape(out.shape)

        return run

    return prepare
