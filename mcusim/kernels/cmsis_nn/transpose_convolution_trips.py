"""Loop turns of CMSIS-NN's transposed convolutions, as closed formulas of the shape.

Shapes are those of the convolution that a transposed one turns around: each axis goes from the
transposed convolution's output to its input.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape

__all__ = [
    "Copies",
    "buffer_columns",
    "flushed_rows",
    "late_rows",
    "reversal_trips",
    "row_product_trips",
    "transpose_conv_copies",
    "transpose_conv_fills",
    "transpose_conv_row_trips",
    "transpose_conv_s8_trips",
    "upscaled_gather_trips",
    "upscaled_shape",
]

#: How often so many bytes are copied from and to an address (both modulo four).
Copies: TypeAlias = Counter[tuple[int, int, int]]

_MVE_LANES = 16


def flushed_rows(rows: Axis, flushes_partly: bool) -> list[int]:
    """Output rows that ``arm_transpose_conv_s8`` finishes after each input row.

    Args:
        rows: of the transposed convolution.
        flushes_partly: whether the first rows are finished one by one, as from July 2026 on;
            before, either all rows of a stride or none.
    """
    stride, padding = rows.stride, rows.padding
    if flushes_partly:
        done = [max(0, row * stride - padding) for row in range(rows.outputs + 1)]
        return [after - before for before, after in pairwise(done)]
    return [stride * (row * stride >= padding) for row in range(rows.outputs)]


def late_rows(rows: Axis) -> list[bool]:
    """For each row that is left in the buffer in the end, whether it is an output's."""
    return [
        rows.padding <= rows.outputs * rows.stride + row < rows.padding + rows.inputs
        for row in range(rows.kernel - rows.stride)
    ]


def kernel_rows(rows: Axis) -> int:
    """Kernel rows that are computed, over the input rows of an image."""
    return sum(
        rows.kernel
        - max(0, rows.padding - row * rows.stride)
        - max(0, row * rows.stride + rows.kernel - rows.padding - rows.inputs - 1)
        for row in range(rows.outputs)
    )


def buffer_columns(columns: Axis) -> int:
    """Columns of the buffer of sums."""
    return (columns.outputs - 1) * columns.stride + max(columns.kernel, columns.stride)


def transpose_conv_s8_trips(
    shape: ConvolutionShape, simd: Simd, scaling: Scaling, flushes_partly: bool
) -> dict[str, float]:
    """Turns of ``arm_transpose_conv_s8``: sums in a buffer of rows that rolls over the output.

    What the rows add up is counted apart, by :func:`transpose_conv_row_trips`, and so are the
    copies and fills that begin the sums, by :func:`transpose_conv_copies`; MVE has them inline.
    """
    rows, columns = shape.vertical, shape.horizontal
    flushed = flushed_rows(rows, flushes_partly)
    late = late_rows(rows)
    written = shape.batches * (sum(flushed) + sum(late))
    pixels = written * columns.inputs
    resets = _resets(shape, flushes_partly)
    trips: dict[str, float] = {
        "call": 1,
        "batch": shape.batches,
        "input_row": shape.batches * rows.outputs,
        "flush": shape.batches * sum(turns > 0 for turns in flushed),
        "flushed_row": shape.batches * sum(flushed),
        "late_row": shape.batches * len(late),
        "copy": resets * scaling.has_bias,
        "pixel": pixels,
    }
    if simd == "mve":
        return trips | {
            "reset_step": resets * -(-4 * shape.out_channels // _MVE_LANES),
            "vector": pixels * -(-shape.out_channels // 4),
        }
    outputs = pixels * shape.out_channels
    return trips | {"scaling.output": outputs, "right_shift": outputs * scaling.right}


def _resets(shape: ConvolutionShape, flushes_partly: bool) -> int:
    """Pixels of the buffer that are set to the bias."""
    rows = shape.vertical
    turns = max(rows.kernel, rows.stride) + sum(flushed_rows(rows, flushes_partly))
    return shape.batches * turns * buffer_columns(shape.horizontal)


def transpose_conv_copies(shape: ConvolutionShape, flushes_partly: bool) -> Copies:
    """Calls of memcpy where there is a bias: one for each pixel of the buffer."""
    return Counter({(4 * shape.out_channels, 0, 0): _resets(shape, flushes_partly)})


def transpose_conv_fills(shape: ConvolutionShape, flushes_partly: bool) -> dict[str, float]:
    """Turns of memset where there is none: for the whole buffer, then for each row written."""
    rows = shape.vertical
    row = 4 * shape.out_channels * buffer_columns(shape.horizontal)
    fills: Counter[tuple[int, int]] = Counter()
    fills[max(rows.kernel, rows.stride) * row, 0] += shape.batches
    fills[row, 0] += shape.batches * sum(flushed_rows(rows, flushes_partly))
    return fill_trips(fills)


def transpose_conv_row_trips(shape: ConvolutionShape, simd: Simd) -> dict[str, float]:
    """Turns of ``arm_nn_transpose_conv_row_s8_s32``: four input columns at a time, then two, one.

    Each number of columns has a nest of loops of its own. With MVE, levels that end in ``column``
    are turned once for each of a step's columns.
    """
    calls = shape.batches * shape.vertical.outputs
    width, depth = shape.horizontal.outputs, shape.in_channels
    fours, left = divmod(width, 4)
    rows = shape.batches * kernel_rows(shape.vertical) * shape.out_channels
    taps = rows * shape.horizontal.kernel
    trips: dict[str, float] = {"call": calls}
    if simd == "mve":
        steps = fours + left // 2 + left % 2
        vectors = -(-depth // _MVE_LANES)
        return trips | {
            "channel": calls * steps * shape.out_channels,
            "row": rows * steps,
            "tap": taps * steps,
            "tap.column": taps * width,
            "vector": taps * steps * vectors,
            "vector.column": taps * width * vectors,
        }
    for part, turns in (("four", fours), ("two", left // 2), ("one", left % 2)):
        trips |= {
            part: calls * turns,
            f"{part}.channel": calls * turns * shape.out_channels,
            f"{part}.row": rows * turns,
            f"{part}.tap": taps * turns,
        }
        products = row_product_trips(part, depth, simd)
        trips |= {level: taps * turns * count for level, count in products.items()}
    return trips


def row_product_trips(part: str, depth: int, simd: Simd) -> dict[str, int]:
    """Turns of the loops over input channels for one tap, without MVE.

    Args:
        part: which nest of loops it is, ``"four"``, ``"two"`` or ``"one"``.
        depth: input channels.
        simd: of the core.
    """
    if simd == "dsp":
        quads, left = divmod(depth, 4)
        entered = {f"{part}.left_{count}": int(left == count) for count in (1, 2, 3)}
        return {f"{part}.quads": int(quads > 0), f"{part}.quad": quads} | entered
    if part == "four":
        pairs, odd = divmod(depth, 2)
        return {"four.pairs": int(pairs > 0), "four.pair": pairs, "four.odd": odd}
    return {f"{part}.product": depth}


def reversal_trips(shape: ConvolutionShape) -> tuple[dict[str, float], Copies]:
    """Turns of ``arm_transpose_conv_wrapper_s8`` as it turns the filter around, and its copies."""
    channels, taps, depth = shape.out_channels, shape.taps, shape.in_channels
    copies: Copies = Counter()
    for channel in range(min(channels, 4)):
        # Addresses repeat after four filters.
        times = len(range(channel, channels, 4))
        for tap in range(taps):
            source = (channel * taps + tap) * depth % 4
            target = (channel * taps + taps - 1 - tap) * depth % 4
            copies[depth, source, target] += times
    trips: dict[str, float] = {
        "filter": channels,
        "filter_row": channels * shape.vertical.kernel,
        "filter_tap": channels * taps,
    }
    return trips, copies


def upscaled_shape(shape: ConvolutionShape) -> ConvolutionShape:
    """The convolution that runs instead, over an input with zeros between its pixels."""
    vertical, horizontal = (
        Axis(
            axis.outputs * axis.stride,
            axis.inputs,
            axis.kernel,
            1,
            1,
            axis.kernel - 1 - axis.padding,
        )
        for axis in (shape.vertical, shape.horizontal)
    )
    return replace(shape, vertical=vertical, horizontal=horizontal)


def upscaled_gather_trips(
    shape: ConvolutionShape,
) -> tuple[dict[str, float], dict[str, float], Copies]:
    """Turns of ``arm_convolve_s8`` as it gathers columns from an input that it stretches by two.

    Returns:
        Its own turns, those of memset, which fills every column first, and the calls of memcpy.
    """
    wide = upscaled_shape(shape)
    pixels = wide.vertical.outputs * wide.horizontal.outputs
    depth = shape.in_channels
    column = wide.taps * depth
    down = _places(wide.vertical, shape.vertical.stride)
    across = _places(wide.horizontal, shape.horizontal.stride)
    copies: Copies = Counter()
    image = shape.vertical.outputs * shape.horizontal.outputs * depth
    bases = Counter(batch * image % 4 for batch in range(shape.batches))
    inside_rows = 0
    for out_y, tap_y, in_y in down:
        inside_rows += 1
        for out_x, tap_x, in_x in across:
            second = (out_y * wide.horizontal.outputs + out_x) % 2
            source = (in_y * shape.horizontal.outputs + in_x) * depth
            target = second * column + (tap_y * wide.horizontal.kernel + tap_x) * depth
            for base, times in bases.items():
                copies[depth, (base + source) % 4, target % 4] += times
    fills = Counter({(column, 0): shape.batches * -(-pixels // 2)})
    fills[column, column % 4] += shape.batches * (pixels // 2)
    rows = shape.batches * inside_rows * wide.horizontal.outputs
    trips: dict[str, float] = {
        "call": 1,
        "batch": shape.batches,
        "row": shape.batches * wide.vertical.outputs,
        "pixel": shape.batches * pixels,
        "kernel_row": shape.batches * pixels * wide.vertical.kernel,
        "kernel_row_inside": rows,
        "tap": rows * wide.horizontal.kernel,
        "tap_inside": shape.batches * len(down) * len(across),
    }
    return trips, fill_trips(fills), copies


def _places(axis: Axis, stride: int) -> list[tuple[int, int, int]]:
    """Outputs and taps that fall on a pixel of the input, and on which."""
    return [
        (output, tap, place // stride)
        for output in range(axis.outputs)
        for tap in range(axis.kernel)
        if 0 <= (place := output - axis.padding + tap) < axis.inputs and place % stride == 0
    ]
