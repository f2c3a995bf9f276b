"""Loop turns of CMSIS-NN's convolutions, function by function, as closed formulas."""

from __future__ import annotations

from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import gather_trips, tap_trips
from mcusim.kernels.cmsis_nn.matrix_trips import (
    Scaling,
    nt_t_s8_trips,
    nt_t_s16_mve_trips,
    pixel_pair_s16_trips,
    pixel_pair_trips,
    tail_trips,
    widening_trips,
)
from mcusim.kernels.cmsis_nn.one_row_mve import one_row
from mcusim.kernels.contract import Trips
from mcusim.kernels.reference.convolution import ConvolutionShape

__all__ = [
    "FunctionTrips",
    "columns_of",
    "convolve_1x1_trips",
    "convolve_old_s8_trips",
    "convolve_one_row_mve_trips",
    "convolve_s8_trips",
    "convolve_s16_trips",
]

#: Turns of one library function: its name and its loop levels.
FunctionTrips = tuple[str, Trips]

_MVE_BYTES = 16


def columns_of(shape: ConvolutionShape) -> int:
    """Products of one output."""
    return shape.taps * shape.kernel_channels


def convolve_s8_trips(
    shape: ConvolutionShape, simd: Simd, scaling: Scaling
) -> tuple[FunctionTrips, ...]:
    """Turns of ``arm_convolve_s8`` and of the functions that it calls."""
    if simd == "mve":
        return _convolve_mve(shape, scaling)
    groups = shape.in_channels // shape.kernel_channels
    blocks = shape.batches * groups
    per_block = shape.vertical.outputs * shape.horizontal.outputs
    channels = shape.out_channels // groups
    columns = columns_of(shape)
    pairs = blocks * (per_block // 2)
    trips = (
        {
            "call": 1.0,
            "batch": shape.batches,
            "group": blocks,
            "row": blocks * shape.vertical.outputs,
            "pixel": blocks * per_block,
            "kernel_row": blocks * per_block * shape.vertical.kernel,
            "pair": pairs,
            "group_pair": pairs if groups > 1 else 0,
        }
        | {level: turns * groups for level, turns in tap_trips(shape).items()}
        | _left_over(blocks * (per_block % 2), channels, columns, simd, scaling)
        | gather_trips(shape, 1, shape.kernel_channels)
    )
    product = "arm_nn_mat_mult_kernel_s8_s16"
    if groups > 1:
        product = "arm_nn_mat_mult_kernel_row_offset_s8_s16"
    widening = "arm_s8_to_s16_unordered_with_offset"
    if simd == "none":
        widening = "arm_q7_to_q15_with_offset"
    return (
        ("arm_convolve_s8", trips),
        (widening, widening_trips(blocks * per_block, columns, simd)),
        (product, pixel_pair_trips(pairs, channels, columns, simd, scaling)),
    )


def _left_over(
    pixels: int, channels: int, columns: int, simd: Simd, scaling: Scaling
) -> dict[str, float]:
    """The last pixel of an odd number, a channel at a time."""
    outputs = pixels * channels
    trips: dict[str, float] = {
        "left": pixels,
        "left.output": outputs,
        "left.bias": outputs * scaling.has_bias,
        **scaling.turns(outputs, "left."),
        "scaling.output": outputs,
    }
    if simd == "none":
        return trips | {"left.product": outputs * columns}
    quads, tail = divmod(columns, 4)
    trips |= {"left.quad": outputs * quads, "left.quads": outputs * (quads > 0)}
    return trips | tail_trips("left.tail", outputs, tail)


def _convolve_mve(shape: ConvolutionShape, scaling: Scaling) -> tuple[FunctionTrips, ...]:
    groups = shape.in_channels // shape.kernel_channels
    blocks = shape.batches * groups
    per_block = shape.vertical.outputs * shape.horizontal.outputs
    taps = {level: turns * groups for level, turns in tap_trips(shape).items()}
    steps = -(-shape.kernel_channels // _MVE_BYTES)
    trips = (
        {
            "call": 1.0,
            "batch": shape.batches,
            "group": blocks,
            "row": blocks * shape.vertical.outputs,
            "pixel": blocks * per_block,
            "kernel_row": blocks * per_block * shape.vertical.kernel,
        }
        | taps
        | {
            "copy.step": taps["tap_inside"] * steps,
            "fill.step": (taps["tap"] - taps["tap_inside"]) * steps,
            "product": blocks * -(-per_block // 4),
        }
    )
    calls = [(blocks * (per_block // 4), 4), (blocks * (per_block % 4 > 0), per_block % 4)]
    channels = shape.out_channels // groups
    product = nt_t_s8_trips(calls, channels, columns_of(shape), "mve", scaling)
    return (("arm_convolve_s8", trips), ("arm_nn_mat_mult_nt_t_s8", product))


def convolve_1x1_trips(
    shape: ConvolutionShape, simd: Simd, scaling: Scaling
) -> tuple[FunctionTrips, ...]:
    """Turns of ``arm_convolve_1x1_s8_fast`` or, with a stride, of ``arm_convolve_1x1_s8``."""
    if (shape.vertical.stride, shape.horizontal.stride) == (1, 1):
        # The library takes the input's pixels, not the output's.
        pixels = shape.batches * shape.vertical.inputs * shape.horizontal.inputs
        first: FunctionTrips = ("arm_convolve_1x1_s8_fast", {"call": 1.0})
        calls = [(1, pixels)]
    else:
        rows = shape.batches * shape.vertical.outputs
        first = ("arm_convolve_1x1_s8", {"call": 1.0, "batch": shape.batches, "row": rows})
        calls = [(rows, shape.horizontal.outputs)]
    product = nt_t_s8_trips(calls, shape.out_channels, shape.in_channels, simd, scaling)
    return (first, ("arm_nn_mat_mult_nt_t_s8", product))


def convolve_one_row_mve_trips(
    shape: ConvolutionShape, scaling: Scaling
) -> tuple[FunctionTrips, ...]:
    """Turns of ``arm_convolve_1_x_n_s8`` with MVE: three matrix products for each image."""
    cut, axis, channels = one_row(shape), shape.horizontal, shape.in_channels
    total = (axis.outputs - 1) * axis.stride + axis.kernel - axis.inputs
    after = cut.right * channels if total % 2 else axis.padding * channels
    bytes_moved = (
        axis.padding * channels, axis.kernel * channels, (axis.kernel - 1) * channels, after
    )  # fmt: skip
    runs = shape.batches * (not cut.refuses and not cut.general)
    trips = {
        "call": 1.0,
        "batch": runs,
        "move.step": runs * sum(-(-size // _MVE_BYTES) for size in bytes_moved),
    }
    first: tuple[FunctionTrips, ...] = (("arm_convolve_1_x_n_s8", trips),)
    if cut.general:
        return first + _convolve_mve(shape, scaling)
    calls = [(runs, rows) for rows in (cut.left, cut.middle, cut.right)]
    product = nt_t_s8_trips(calls, shape.out_channels, columns_of(shape), "mve", scaling)
    return (*first, ("arm_nn_mat_mult_nt_t_s8", product))


def _convolve_s16_mve(shape: ConvolutionShape, wide: bool) -> tuple[FunctionTrips, ...]:
    per_image = shape.vertical.outputs * shape.horizontal.outputs
    taps = tap_trips(shape)
    steps = -(-2 * shape.in_channels // _MVE_BYTES)
    trips = (
        {
            "call": 1.0,
            "batch": shape.batches,
            "row": shape.batches * shape.vertical.outputs,
            "pixel": shape.pixels,
            "kernel_row": shape.pixels * shape.vertical.kernel,
        }
        | taps
        | {
            "copy.step": taps["tap_inside"] * steps,
            "fill.step": (taps["tap"] - taps["tap_inside"]) * steps,
            "product": shape.batches * -(-per_image // 4),
        }
    )
    calls = [
        (shape.batches * (per_image // 4), 4),
        (shape.batches * (per_image % 4 > 0), per_image % 4),
    ]
    product = nt_t_s16_mve_trips(calls, shape.out_channels, shape.taps * shape.in_channels, wide)
    return (("arm_convolve_s16", trips), ("arm_nn_mat_mult_nt_t_s16", product))


def convolve_s16_trips(
    shape: ConvolutionShape, simd: Simd, scaling: Scaling, wide: bool
) -> tuple[FunctionTrips, ...]:
    """Turns of ``arm_convolve_s16`` and of the function that it calls.

    Args:
        shape: of the convolution; the library ignores groups.
        simd: of the core.
        scaling: of the outputs.
        wide: whether sums are taken to 64 bits, as with an int64 bias.
    """
    if simd == "mve":
        return _convolve_s16_mve(shape, wide)
    per_image = shape.vertical.outputs * shape.horizontal.outputs
    columns = shape.taps * shape.in_channels
    pairs = shape.batches * (per_image // 2)
    left = _left_over(shape.batches * (per_image % 2), shape.out_channels, columns, simd, scaling)
    trips = (
        {
            "call": 1.0,
            "batch": shape.batches,
            "row": shape.batches * shape.vertical.outputs,
            "pixel": shape.pixels,
            "kernel_row": shape.pixels * shape.vertical.kernel,
            "pair": pairs,
        }
        | tap_trips(shape)
        | left
        | {"left.narrow": 0.0 if wide else left["left.output"]}
        | gather_trips(shape, 2)
    )
    product = pixel_pair_s16_trips(pairs, shape.out_channels, columns, simd, scaling, wide)
    return (("arm_convolve_s16", trips), ("arm_nn_mat_mult_kernel_s16", product))


def convolve_old_s8_trips(shape: ConvolutionShape, scaling: Scaling) -> tuple[FunctionTrips, ...]:
    """Turns of ``arm_convolve_s8`` of 2020 to 2022 with DSP, and of what it calls.

    Each tap inside is widened at once, each tap outside is filled with zeros.
    """
    per_image = shape.vertical.outputs * shape.horizontal.outputs
    depth, columns = shape.in_channels, shape.taps * shape.in_channels
    pairs = shape.batches * (per_image // 2)
    taps = tap_trips(shape)
    trips = (
        {
            "call": 1.0,
            "batch": shape.batches,
            "row": shape.batches * shape.vertical.outputs,
            "pixel": shape.pixels,
            "kernel_row": shape.pixels * shape.vertical.kernel,
            "pair": pairs,
        }
        | taps
        | _left_over(shape.batches * (per_image % 2), shape.out_channels, columns, "dsp", scaling)
        | {
            level: turns
            for level, turns in gather_trips(shape, 2).items()
            if level.startswith("fill.")
        }
    )
    return (
        ("arm_convolve_s8", trips),
        (
            "arm_q7_to_q15_with_offset",
            widening_trips(int(taps["tap_inside"]), depth, "dsp"),
        ),
        (
            "arm_nn_mat_mult_kernel_s8_s16",
            pixel_pair_trips(pairs, shape.out_channels, columns, "dsp", scaling),
        ),
    )
