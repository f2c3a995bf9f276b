"""Loop turns of CMSIS-NN's depthwise convolutions, as closed formulas of the shape.

Names end where the library's do: :func:`depthwise_conv_3x3_s8_trips` counts the loops of
``arm_depthwise_conv_3x3_s8``.
"""

from __future__ import annotations

from collections import Counter

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.quotients import quotient_kinds
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape

__all__ = [
    "CHANNELS_PER_BLOCK_MVE",
    "MVE_LANES",
    "depthwise_conv_3x3_s8_trips",
    "depthwise_conv_s8_mult_4_trips",
    "depthwise_conv_s8_opt_fills",
    "depthwise_conv_s8_opt_mve_trips",
    "depthwise_conv_s8_opt_trips",
    "depthwise_conv_s8_trips",
    "depthwise_conv_s16_trips",
    "is_tiled",
    "scaling_trips",
    "with_bias",
    "word_reads_3x3",
]

#: Channels that the MVE kernel gathers at a time.
CHANNELS_PER_BLOCK_MVE = 124
#: Bytes of an MVE vector.
MVE_LANES = 16


def depthwise_conv_3x3_s8_trips(shape: ConvolutionShape, scaling: Scaling) -> dict[str, float]:
    """Turns of ``arm_depthwise_conv_3x3_s8``: four channels at a time, then one.

    Rows of the kernel that fall outside are skipped; of each row the left tap is taken where the
    window begins inside, the middle one always, the right one where three columns are left. What
    is skipped takes a branch, so that it is counted, too.
    """
    rows, columns = shape.vertical, shape.horizontal
    starts = columns.starts
    quads, singles = divmod(shape.in_channels, 4)
    trips: dict[str, float] = {
        "call": 1,
        "row": rows.outputs,
        "pixel": shape.pixels,
        "quads": shape.pixels * (quads > 0),
        "no_quads": shape.pixels * (quads == 0),
        "singles": shape.pixels * (singles > 0),
        "no_singles": shape.pixels * (singles == 0),
        **scaling_trips(shape, scaling),
    }
    has_left = sum(start >= 0 for start in starts)
    has_right = sum(columns.inputs - start >= 3 for start in starts)
    for part, channels in (("quad", quads), ("single", singles)):
        inside = channels * rows.inside
        trips |= {
            **with_bias(part, channels * shape.pixels, scaling),
            f"{part}.row": inside * columns.outputs,
            f"{part}.left": inside * has_left,
            f"{part}.no_left": inside * (columns.outputs - has_left),
            f"{part}.right": inside * has_right,
            f"{part}.no_right": inside * (columns.outputs - has_right),
        }
    return trips


def word_reads_3x3(shape: ConvolutionShape) -> int:
    """Words that ``arm_depthwise_conv_3x3_s8`` reads: inputs and weights of four channels."""
    rows, columns = shape.vertical, shape.horizontal
    starts = columns.starts
    taps = sum(1 + (start >= 0) + (columns.inputs - start >= 3) for start in starts)
    return 2 * (shape.in_channels // 4) * rows.inside * taps


def scaling_trips(shape: ConvolutionShape, scaling: Scaling) -> dict[str, float]:
    """Turns of the requantization: all outputs, and those that are not shifted to the left."""
    outputs = shape.pixels * shape.out_channels
    return {"scaling.output": outputs, **scaling.turns(outputs)}


def with_bias(part: str, turns: float, scaling: Scaling) -> dict[str, float]:
    """Turns of a part that begins its sums with a bias, or takes a detour to begin without."""
    return {part: turns, f"{part}.no_bias": turns * (not scaling.has_bias)}


def depthwise_conv_s8_opt_trips(shape: ConvolutionShape, scaling: Scaling) -> dict[str, float]:
    """Turns of ``arm_depthwise_conv_s8_opt`` with DSP: a column of every pixel, then products.

    Loops that turn ``again`` take a branch. What gathers the column is counted apart: taps inside
    are widened to int16 in place, :func:`depthwise_conv_s8_opt_fills` are the others.
    """
    rows, columns = shape.vertical, shape.horizontal
    quads, singles = divmod(shape.in_channels, 4)
    above, below = _partly_outside(rows)
    tap_rows = rows.inside * columns.outputs
    return {
        "call": 1,
        "row": rows.outputs,
        "pixel": shape.pixels,
        "fill_above": above * columns.outputs,
        "fill_below": below * columns.outputs,
        "tap_row": tap_rows,
        "tap_inside": rows.inside * columns.inside,
        "tap_outside": tap_rows * columns.kernel - rows.inside * columns.inside,
        "quads": shape.pixels * (quads > 0),
        **with_bias("quad", shape.pixels * quads, scaling),
        "quad.pairs": shape.pixels * quads * (shape.taps > 1),
        "quad.pair": shape.pixels * quads * (shape.taps // 2),
        "quad.pair.again": shape.pixels * quads * max(shape.taps // 2 - 1, 0),
        "quad.odd_tap": shape.pixels * quads * (shape.taps % 2),
        "singles": shape.pixels * (singles > 0),
        **with_bias("single", shape.pixels * singles, scaling),
        "single.tap": shape.pixels * singles * shape.taps,
        "single.tap.again": shape.pixels * singles * (shape.taps - 1),
        **scaling_trips(shape, scaling),
    }


def _partly_outside(axis: Axis) -> tuple[int, int]:
    """Outputs whose windows begin before the input, and those whose windows end beyond it."""
    return (
        sum(start < 0 for start in axis.starts),
        sum(start + axis.kernel > axis.inputs for start in axis.starts),
    )


def depthwise_conv_s8_opt_fills(shape: ConvolutionShape) -> dict[str, float]:
    """Turns of memset in ``arm_depthwise_conv_s8_opt``: a call for all rows above, one for all
    below, one for each tap left and right."""
    rows, columns = shape.vertical, shape.horizontal
    tap = 2 * shape.in_channels
    tap_row = columns.kernel * tap
    fills: Counter[tuple[int, int]] = Counter()
    outside: Counter[int] = Counter()
    for start in columns.starts:
        outside.update(
            column for column in range(columns.kernel) if not 0 <= start + column < columns.inputs
        )
    for start in rows.starts:
        first, last = max(0, -start), min(rows.kernel, rows.inputs - start)
        if first:
            fills[first * tap_row, 0] += columns.outputs
        if last < rows.kernel:
            fills[(rows.kernel - last) * tap_row, last * tap_row % 4] += columns.outputs
        for row in range(first, last):
            for column, times in outside.items():
                fills[tap, (row * tap_row + column * tap) % 4] += times
    return fill_trips(fills)


def depthwise_conv_s8_trips(
    shape: ConvolutionShape, scaling: Scaling, simd: Simd, through_opt: bool = False
) -> dict[str, float]:
    """Turns of ``arm_depthwise_conv_s8``, one output at a time unless :func:`is_tiled`.

    Args:
        shape: of the convolution.
        scaling: of the outputs.
        simd: of the core; without any a division may be a function.
        through_opt: called by ``arm_depthwise_conv_s8_opt`` on a core without DSP.
    """
    every = _output_trips(shape, scaling, simd) | scaling_trips(shape, scaling)
    tiled = is_tiled(shape)
    return {
        "call": 1,
        "through_opt": int(through_opt),
        **{level: 0 if tiled else turns for level, turns in every.items()},
    }


def depthwise_conv_s8_mult_4_trips(shape: ConvolutionShape, scaling: Scaling) -> dict[str, float]:
    """Turns of ``depthwise_conv_s8_mult_4``: tiles of four output channels of an input channel."""
    tiles = shape.pixels * shape.out_channels // 4
    inside = shape.vertical.inside * shape.out_channels // 4
    return {
        "call": 1,
        "row": shape.vertical.outputs,
        "pixel": shape.pixels,
        "channel": shape.pixels * shape.in_channels,
        **with_bias("tile", tiles, scaling),
        "tile.row": inside * shape.horizontal.outputs,
        "tile.tap": inside * shape.horizontal.inside,
        **scaling_trips(shape, scaling),
    }


def is_tiled(shape: ConvolutionShape) -> bool:
    """Whether ``arm_depthwise_conv_s8`` takes four output channels of an input channel at once."""
    dilations = shape.vertical.dilation, shape.horizontal.dilation
    multiplier = shape.out_channels // shape.in_channels
    return multiplier % 4 == 0 and shape.batches == 1 and dilations == (1, 1)


def depthwise_conv_s16_trips(
    shape: ConvolutionShape, scaling: Scaling, simd: Simd
) -> dict[str, float]:
    """Turns of ``arm_depthwise_conv_s16``: one output at a time on every core."""
    return {"call": 1, **_output_trips(shape, scaling, simd)}


def _output_trips(shape: ConvolutionShape, scaling: Scaling, simd: Simd) -> dict[str, float]:
    rows, columns = shape.vertical, shape.horizontal
    outputs = shape.pixels * shape.out_channels
    inside = shape.batches * rows.inside * shape.out_channels
    return {
        "batch": shape.batches,
        "row": shape.batches * rows.outputs,
        "pixel": shape.pixels,
        "channel": shape.pixels * shape.in_channels,
        **with_bias("output", outputs, scaling),
        "output.dilated": outputs * ((columns.dilation > 1) + (rows.dilation > 1)),
        "output.row": inside * columns.outputs,
        "output.row_with_taps": inside * _windows_inside(columns),
        "output.tap": inside * columns.inside,
        "scaling.output": outputs,
        **(_window_quotients(shape) if simd == "none" else {}),
    }


def _windows_inside(axis: Axis) -> int:
    """Outputs whose windows meet the input: with a dilation both may lie between the taps."""
    return sum(
        any(0 <= start + tap * axis.dilation < axis.inputs for tap in range(axis.kernel))
        for start in axis.starts
    )


def _window_quotients(shape: ConvolutionShape) -> dict[str, float]:
    """Divisions by the dilation, where each output finds the first and the last tap inside.

    They round up, towards zero where the window begins within the input.
    """
    outputs = shape.pixels * shape.out_channels
    turns: Counter[str] = Counter()
    for axis in (shape.vertical, shape.horizontal):
        if axis.dilation == 1:
            continue
        ends = [end - start for start in axis.starts for end in (0, axis.inputs)]
        dividends = [end + axis.dilation - 1 for end in ends]
        for level, count in quotient_kinds(dividends, axis.dilation).items():
            turns[level] += count * outputs // axis.outputs
    return {level: float(turns[level]) for level in quotient_kinds((), 1)}


def depthwise_conv_s8_opt_mve_trips(shape: ConvolutionShape) -> dict[str, float]:
    """Turns of ``arm_depthwise_conv_s8_opt`` with MVE: blocks of 124 channels, four pixels each.

    The kernel of four pixels, ``arm_nn_depthwise_conv_nt_t_s8``, is counted with it.
    """
    blocks = [
        min(CHANNELS_PER_BLOCK_MVE, shape.in_channels - first)
        for first in range(0, shape.in_channels, CHANNELS_PER_BLOCK_MVE)
    ]
    steps = sum(-(-active // MVE_LANES) for active in blocks)
    vectors = sum(-(-active // 4) for active in blocks)
    fours, left = divmod(shape.pixels, 4)
    taps = shape.pixels * shape.taps
    inside = shape.vertical.inside * shape.horizontal.inside
    return {
        "call": 1,
        "block": len(blocks),
        "row": len(blocks) * shape.vertical.outputs,
        "pixel": len(blocks) * shape.pixels,
        "tap_row": len(blocks) * shape.pixels * shape.vertical.kernel,
        "tap_inside": len(blocks) * inside,
        "tap_inside.step": steps * inside,
        "tap_outside": len(blocks) * (taps - inside),
        "tap_outside.step": steps * (taps - inside),
        "four": len(blocks) * fours,
        "four.vector": vectors * fours,
        "four.tap": vectors * fours * shape.taps,
        "left": len(blocks) * left,
        "left.vector": vectors * left,
        "left.tap": vectors * left * shape.taps,
    }
