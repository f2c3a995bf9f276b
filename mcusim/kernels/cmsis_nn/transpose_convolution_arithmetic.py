"""What CMSIS-NN's transposed convolutions compute, where they are wrong included, vectorized."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.cmsis_nn.depthwise_arithmetic import requantized_s8
from mcusim.kernels.cmsis_nn.transpose_convolution_trips import (
    buffer_columns,
    flushed_rows,
    late_rows,
)
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, OutputScaling

__all__ = ["is_exact", "rows_written", "transpose_conv_s8"]


def rows_written(rows: Axis, flushes_partly: bool) -> int:
    """Output rows that ``arm_transpose_conv_s8`` writes for an image."""
    return sum(flushed_rows(rows, flushes_partly)) + sum(late_rows(rows))


def is_exact(rows: Axis, flushes_partly: bool) -> bool:
    """Whether ``arm_transpose_conv_s8`` puts every row in its place, and writes them all.

    Until July 2026 it finished no row while any of the kernel's were above the output, so that
    rows went wrong where the padding is not a multiple of the stride.
    """
    in_place = flushes_partly or rows.padding % rows.stride == 0
    return in_place and rows_written(rows, flushes_partly) == rows.inputs


def transpose_conv_s8(
    x: Array,
    weights: Array,
    bias: Array | None,
    shape: ConvolutionShape,
    scaling: OutputScaling,
    *,
    single_rounding: bool = False,
    flushes_partly: bool = True,
) -> Array:
    """``arm_transpose_conv_s8``, row by row through its rolling buffer.

    Args:
        x: int8, ``[inference][batch][row][column][channel]``.
        weights: int8, ``[output channel][row][column][channel]``.
        bias: int32, ``[output channel]``, or None.
        shape: of the convolution that this one turns around.
        scaling: of the output.
        single_rounding: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
        flushes_partly: whether the library is of July 2026 or later.

    Returns:
        int8, ``[inference][batch][row][column][output channel]``; rows that the library leaves
        unwritten are 0, as in memory that nothing used before.
    """
    rows, columns = shape.vertical, shape.horizontal
    count = max(rows.kernel, rows.stride)
    start = np.int32(0) if bias is None else bias.reshape(-1).astype(np.int32)
    centred = x.astype(np.int32) - np.int32(scaling.input_zero_point)
    factors = weights.astype(np.int32).transpose(1, 2, 3, 0)
    places = np.arange(columns.outputs) * columns.stride
    wanted = slice(columns.padding, columns.padding + columns.inputs)
    sums = np.empty((len(x), count, buffer_columns(columns), shape.out_channels), np.int32)
    written: list[npt.NDArray[np.int32]] = []
    flushed = flushed_rows(rows, flushes_partly)
    for batch in range(shape.batches):
        sums[:] = start
        first = 0
        for in_y in range(rows.outputs):
            above = max(0, rows.padding - in_y * rows.stride)
            below = max(0, in_y * rows.stride + rows.kernel - rows.padding - rows.inputs - 1)
            for turn, row in enumerate(range(above, rows.kernel - below)):
                target = sums[:, (first + turn) % count]
                for column in range(columns.kernel):
                    target[:, places + column] += centred[:, batch, in_y] @ factors[row, column]
            for _ in range(flushed[in_y]):
                written.append(sums[:, first, wanted].copy())
                sums[:, first] = start
                first = (first + 1) % count
        for is_output in late_rows(rows):
            if is_output:
                written.append(sums[:, first, wanted].copy())
            first = (first + 1) % count
    stored = np.zeros(
        (len(x), shape.batches * rows.inputs, columns.inputs, shape.out_channels), np.int8
    )
    fitting = written[: stored.shape[1]]
    if fitting:
        stored[:, : len(fitting)] = requantized_s8(
            np.stack(fitting, axis=1), scaling, single_rounding
        )
    return stored.reshape(len(x), shape.batches, rows.inputs, columns.inputs, shape.out_channels)
