"""Scaling of accumulators to stored values, a vector of channels at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mcusim.kernels.compiled.compiler import njit
from mcusim.kernels.compiled.products import LANES
from mcusim.kernels.reference.convolution import OutputScaling

__all__ = [
    "Scaling",
    "WideScaling",
    "once_scaling",
    "requantize",
    "requantize_wide",
    "scaling",
    "wide_scaling",
]

_cgutils: Any = cgutils


class Scaling(NamedTuple):
    """Scaling of int32 sums, for each output channel, zeros up to a whole vector.

    Attributes:
        bias: int32, added to the sum first, wrapping.
        multiplier: int32, Q31, not -2**31: so the product never saturates.
        left: int32, bits of left shift, modulo 32 as machines take them.
        right: int32, bits of right shift.
        mask: int32, the bits that the right shift drops.
        channels: output channels.
        offset: zero point of the output.
        low: least stored value.
        high: largest stored value.
    """

    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    mask: npt.NDArray[np.int32]
    channels: int
    offset: int
    low: int
    high: int


class WideScaling(NamedTuple):
    """Scaling of int64 sums, for each output channel.

    Attributes:
        bias: int64, added to the sum first.
        multiplier: int64, 15 bits.
        shift: int64, bits of right shift.
        low: least stored value.
        high: largest stored value.
    """

    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    low: int
    high: int


def scaling(
    parameters: OutputScaling, bias: npt.NDArray[Any] | None, channels: slice = slice(None)
) -> Scaling:
    """Prepare a layer's scaling for int32 sums.

    Args:
        parameters: of the layer.
        bias: int32, for all its output channels.
        channels: which of them to prepare.
    """
    shift = parameters.shifts[channels].astype(np.int64)
    count = shift.size
    added = np.zeros(count) if bias is None else bias.ravel()[channels]

    def whole(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        filled = np.zeros(-(-count // LANES) * LANES, np.int32)
        filled[:count] = values
        return filled

    return Scaling(
        bias=whole(added),
        multiplier=whole(parameters.multipliers[channels]),
        left=whole(np.maximum(shift, 0) & 31),
        right=whole(np.maximum(-shift, 0)),
        mask=whole((np.int64(1) << np.maximum(-shift, 0)) - 1),
        channels=count,
        offset=parameters.output_zero_point,
        low=parameters.low,
        high=parameters.high,
    )


def wide_scaling(
    parameters: OutputScaling, bias: npt.NDArray[Any] | None, channels: slice = slice(None)
) -> WideScaling:
    """Prepare a layer's scaling for int64 sums.

    Args:
        parameters: of the layer.
        bias: int16 or int64, for all its output channels.
        channels: which of them to prepare.

    Source: ``MultiplyByQuantizedMultiplier(int64_t, …)``, which rounds the multiplier first.
    """
    significand = parameters.multipliers[channels].astype(np.int64)
    shift = parameters.shifts[channels].astype(np.int64)
    added = np.zeros(shift.size) if bias is None else bias.ravel()[channels]
    return WideScaling(
        bias=added.astype(np.int64),
        multiplier=np.where(significand < 0x7FFF0000, (significand + (1 << 15)) >> 16, 0x7FFF),
        shift=15 - shift,
        low=parameters.low,
        high=parameters.high,
    )


def once_scaling(
    parameters: OutputScaling, bias: npt.NDArray[Any] | None, channels: slice = slice(None)
) -> WideScaling:
    """Prepare a layer's scaling for sums that are rounded only once.

    Args:
        parameters: of the layer.
        bias: int32, for all its output channels.
        channels: which of them to prepare.

    Returns:
        A scaling that leaves out the output's zero point, to which it fits the clamp.

    Source: ``arm_nn_requantize`` under ``CMSIS_NN_USE_SINGLE_ROUNDING``.
    """
    shift = parameters.shifts[channels].astype(np.int64)
    added = np.zeros(shift.size) if bias is None else bias.ravel()[channels]
    return WideScaling(
        bias=added.astype(np.int64),
        multiplier=parameters.multipliers[channels].astype(np.int64),
        shift=31 - shift,
        low=parameters.low - parameters.output_zero_point,
        high=parameters.high - parameters.output_zero_point,
    )


def _column_intrinsic(
    _context: Any,
    sums: Any,
    place: Any,
    step: Any,
    pixels: Any,
    bias: Any,
    multiplier: Any,
    left: Any,
    right: Any,
    mask: Any,
    channel: Any,
    offset: Any,
    low: Any,
    high: Any,
    out: Any,
    target: Any,
    stride: Any,
) -> Any:
    """Requantize one vector of channels of consecutive pixels; integers are int64, arrays flat.

    The first pixel's sums begin at ``place``, the next one's ``step`` later; ``channel`` is the
    first of the ``LANES`` channels. So many values a pixel are stored in ``out``, the first
    pixel's at ``target``, the next one's ``stride`` later.
    """
    count = types.int64
    scales = (bias, multiplier, left, right, mask)
    numbers = (count,) * 4
    signature = types.void(sums, count, count, count, *scales, *numbers, out, count, count)
    return signature, _generate_column


def _generate_column(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    i32, i64 = ir.IntType(32), ir.IntType(64)
    lanes, halves = ir.VectorType(i32, LANES), ir.VectorType(i64, LANES // 2)
    stored = ir.VectorType(context.get_data_type(signature.args[13].dtype), LANES)

    def pointer(position: int, index: Any, to: Any) -> Any:
        array = context.make_array(signature.args[position])
        data = array(context, builder, arguments[position]).data
        return builder.bitcast(builder.gep(data, [index]), to.as_pointer())

    def of_channels(position: int) -> Any:
        return builder.load(pointer(position, arguments[9], lanes), align=4)

    def constant(value: int, vector: Any = lanes) -> Any:
        return ir.Constant(vector, [value] * vector.count)

    def spread(index: int) -> Any:
        undefined = ir.Constant(lanes, ir.Undefined)
        one = builder.insert_element(undefined, builder.trunc(arguments[index], i32), i32(0))
        return builder.shuffle_vector(one, undefined, constant(0))

    def even(vector: Any) -> Any:
        both = builder.bitcast(vector, halves)
        return builder.ashr(builder.shl(both, constant(32, halves)), constant(32, halves))

    def odd(vector: Any) -> Any:
        return builder.ashr(builder.bitcast(vector, halves), constant(32, halves))

    def product(one: Any, other: Any) -> Any:
        return builder.add(builder.mul(one, other), constant(1 << 30, halves))

    bias, multiplier, left, right, mask = (of_channels(position) for position in range(4, 9))
    half = builder.lshr(mask, constant(1))
    offset, least, most = (spread(position) for position in (10, 11, 12))
    order = [lane if lane % 2 == 0 else LANES + lane for lane in range(LANES)]
    with _cgutils.for_range(builder, arguments[3], intp=i64) as loop:
        source = builder.add(arguments[1], builder.mul(loop.index, arguments[2]))
        total = builder.load(pointer(0, source, lanes), align=4)
        shifted = builder.shl(builder.add(total, bias), left)
        # Bits 31 to 62 of the even products go to the even lanes, those of the odd to the odd.
        low_half = builder.lshr(product(even(shifted), even(multiplier)), constant(31, halves))
        high_half = builder.shl(product(odd(shifted), odd(multiplier)), constant(1, halves))
        high = builder.shuffle_vector(
            builder.bitcast(low_half, lanes),
            builder.bitcast(high_half, lanes),
            ir.Constant(lanes, order),
        )
        threshold = builder.sub(half, builder.ashr(high, constant(31)))
        rounds_up = builder.icmp_signed(">", builder.and_(high, mask), threshold)
        scaled = builder.add(builder.ashr(high, right), builder.zext(rounds_up, lanes))
        value = builder.add(scaled, offset)
        value = builder.select(builder.icmp_signed(">", value, least), value, least)
        value = builder.select(builder.icmp_signed("<", value, most), value, most)
        target = builder.add(arguments[14], builder.mul(loop.index, arguments[15]))
        builder.store(builder.trunc(value, stored), pointer(13, target, stored), align=1)
    return context.get_dummy_value()


_requantize_column: Any = intrinsic(_column_intrinsic)


@njit(cache=True)
def requantize(
    sums: Any,
    pixels: int,
    vectors: int,
    channel: int,
    scaling: Scaling,
    out: Any,
    target: int,
    stride: int,
    spare: Any,
) -> None:
    """Store channels of consecutive pixels from int32 sums, rounding twice.

    Args:
        sums: int32, ``[pixel][vector][lane]``, flat, wrapping.
        pixels: how many.
        vectors: of channels; what is beyond ``scaling.channels`` is not stored.
        channel: the first channel, a multiple of ``LANES``.
        scaling: of all channels.
        out: int8 or int16, flat.
        target: position of the first stored value.
        stride: from one pixel's to the next.
        spare: of the type of ``out``, a vector for each pixel.

    Source: ``MultiplyByQuantizedMultiplier(int32_t, …)``, addition of the output's zero point,
    clamp.
    """
    bias, multiplier = scaling.bias, scaling.multiplier
    left, right, mask = scaling.left, scaling.right, scaling.mask
    offset, low, high = scaling.offset, scaling.low, scaling.high
    # With all channels in one vector, what it stores beyond them is overwritten by the next pixel.
    may_exceed = scaling.channels == stride and stride < LANES
    step = vectors * LANES
    for vector in range(vectors):
        done = vector * LANES
        at = channel + done
        rest = scaling.channels - at
        end = target + (pixels - 1) * stride + done + LANES
        if rest >= LANES or (may_exceed and end <= out.size):
            _requantize_column(
                sums, done, step, pixels, bias, multiplier, left, right, mask, at,
                offset, low, high, out, target + done, stride,
            )  # fmt: skip
        else:
            _requantize_column(
                sums, done, step, pixels, bias, multiplier, left, right, mask, at,
                offset, low, high, spare, 0, LANES,
            )  # fmt: skip
            for pixel in range(pixels):
                for i in range(rest):
                    out[target + pixel * stride + done + i] = spare[pixel * LANES + i]


@njit(cache=True)
def requantize_wide(
    sums: Any, place: int, channel: int, count: int, scaling: WideScaling, out: Any, target: int
) -> None:
    """Store ``count`` channels of a pixel from int64 sums, rounding once.

    Source: ``MultiplyByQuantizedMultiplier(int64_t, …)`` and clamp.
    """
    for i in range(count):
        at = channel + i
        bits = scaling.shift[at]
        total = (sums[place + i] + scaling.bias[at]) * scaling.multiplier[at]
        value = np.int32((total + (1 << ((bits - 1) & 63))) >> (bits & 63))
        out[target + i] = max(min(value, scaling.high), scaling.low)
