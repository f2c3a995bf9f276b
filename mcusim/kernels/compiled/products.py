"""Sums of int16 products in vector registers, the inside of every integer convolution.

The vector code is plain LLVM: on x86 it becomes ``vpmaddwd`` or ``vpdpwssd``, two products a lane
and instruction, elsewhere what the machine has. Sums are int32 and wrap, as the library's do.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "PIXELS", "VECTORS", "depthwise_tile", "narrow_tile", "wide_tile"]

#: Output channels of one vector.
LANES = 16
#: Output pixels of a tile, and vectors of channels of a wide one: as many sums as registers hold.
PIXELS, VECTORS = (8, 2) if binding.get_host_cpu_features().get("avx512bw") else (6, 1)

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_cgutils: Any = cgutils
_SUMS = ir.VectorType(_I32, LANES)
_PAIRS = ir.VectorType(_I16, 2 * LANES)
_PRODUCTS = ir.VectorType(_I32, 2 * LANES)
_HALVES = ir.VectorType(_I16, LANES)


def _tile(vectors: int) -> Any:
    """Make the function that computes a tile of ``PIXELS`` by ``vectors * LANES`` sums.

    Its arguments, all integers int64: ``x`` (int16 activations), ``pixels`` (where each pixel's
    window begins in ``x``) and ``first`` (the tile's first pixel), ``segments`` (where each run of
    consecutive activations begins in a window), of which those from ``begin`` to ``end`` are
    summed, ``pairs`` (their length / 2), ``weights`` (int16, ``[segment][pair][channel][2]``) and
    ``origin`` (where the tile's begin), and ``sums`` (int32 ``[pixel][channel]``, overwritten).
    """
    channels = vectors * LANES

    @intrinsic
    def tile(
        _context: Any,
        x: Any,
        pixels: Any,
        first: Any,
        segments: Any,
        begin: Any,
        end: Any,
        pairs: Any,
        weights: Any,
        origin: Any,
        sums: Any,
    ) -> Any:
        count = types.int64
        signature = types.void(
            x, pixels, count, segments, count, count, count, weights, count, sums
        )
        return signature, _generator(vectors, channels)

    return tile


def _generator(vectors: int, channels: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, pixels, segments, weights, sums = (
            _data(context, builder, signature, arguments, i) for i in (0, 1, 3, 7, 9)
        )
        first, begin, end, pairs, origin = (arguments[i] for i in (2, 4, 5, 6, 8))
        windows = _windows(builder, x, pixels, first)
        totals = _totals(builder, vectors)
        with _cgutils.for_range_slice(builder, begin, end, _I64(1), _I64) as (segment, _):
            start = builder.load(builder.gep(segments, [segment]))
            rows = [builder.gep(window, [start]) for window in windows]
            row = builder.mul(builder.mul(segment, pairs), _I64(2 * channels))
            weight_row = builder.gep(weights, [builder.add(origin, row)])
            with _cgutils.for_range(builder, pairs, intp=_I64) as loop:
                place = builder.mul(loop.index, _I64(2 * channels))
                factors = [
                    _weights(builder, weight_row, builder.add(place, _I64(2 * LANES * v)))
                    for v in range(vectors)
                ]
                for pixel in range(PIXELS):
                    value = _activation_pair(builder, rows[pixel], loop.index)
                    for v in range(vectors):
                        total = totals[pixel][v]
                        products = _pair_sums(builder, value, factors[v])
                        builder.store(builder.add(builder.load(total), products), total)
        _store_totals(builder, totals, sums)
        return context.get_dummy_value()

    return generate


def _depthwise_tile(
    _context: Any,
    x: Any,
    pixels: Any,
    first: Any,
    segments: Any,
    taps: Any,
    weights: Any,
    width: Any,
    channel: Any,
    sums: Any,
) -> Any:
    """Compute a tile of ``PIXELS`` by ``LANES`` sums, each channel's own.

    Its arguments are those of the other tiles where they are named so; a segment holds the
    channels of one of ``taps`` taps, ``weights`` (int16, ``[tap][channel][2]``, the second of each
    pair 0) are ``width`` channels wide, and the tile begins at ``channel``.
    """
    count = types.int64
    signature = types.void(x, pixels, count, segments, count, weights, count, count, sums)
    return signature, _generate_depthwise


def _generate_depthwise(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    x, pixels, segments, weights, sums = (
        _data(context, builder, signature, arguments, i) for i in (0, 1, 3, 5, 8)
    )
    first, taps, width, channel = (arguments[i] for i in (2, 4, 6, 7))

    windows = _windows(builder, x, pixels, first)
    totals = _totals(builder, 1)
    with _cgutils.for_range(builder, taps, intp=_I64) as loop:
        row = builder.add(builder.mul(loop.index, width), channel)
        factors = _weights(builder, weights, builder.mul(row, _I64(2)))
        start = builder.load(builder.gep(segments, [loop.index]))
        place = builder.add(start, channel)
        for pixel in range(PIXELS):
            (total,) = totals[pixel]
            source = builder.bitcast(builder.gep(windows[pixel], [place]), _HALVES.as_pointer())
            # The upper half of a widened value is a factor too; its weight is 0.
            value = builder.bitcast(builder.sext(builder.load(source, align=2), _SUMS), _PAIRS)
            products = _pair_sums(builder, builder.sext(value, _PRODUCTS), factors)
            builder.store(builder.add(builder.load(total), products), total)
    _store_totals(builder, totals, sums)
    return context.get_dummy_value()


def _data(context: Any, builder: Any, signature: Any, arguments: Any, position: int) -> Any:
    """Pointer to the elements of an array argument."""
    array = context.make_array(signature.args[position])
    return array(context, builder, arguments[position]).data


def _windows(builder: Any, x: Any, pixels: Any, first: Any) -> list[Any]:
    """Pointers to the windows of a tile's pixels."""
    places = [builder.gep(pixels, [builder.add(first, _I64(i))]) for i in range(PIXELS)]
    return [builder.gep(x, [builder.load(place)]) for place in places]


def _totals(builder: Any, vectors: int) -> list[list[Any]]:
    """Sums of a tile, zero; LLVM keeps them in registers."""
    zero = ir.Constant(_SUMS, None)
    return [
        [_cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(PIXELS)
    ]


def _store_totals(builder: Any, totals: list[list[Any]], sums: Any) -> None:
    for i, total in enumerate(total for row in totals for total in row):
        target = builder.bitcast(builder.gep(sums, [_I64(i * LANES)]), _SUMS.as_pointer())
        builder.store(builder.load(total), target, align=4)


def _weights(builder: Any, row: Any, place: Any) -> Any:
    """A vector of weight pairs, widened."""
    source = builder.bitcast(builder.gep(row, [place]), _PAIRS.as_pointer())
    return builder.sext(builder.load(source, align=2), _PRODUCTS)


def _activation_pair(builder: Any, row: Any, pair: Any) -> Any:
    """Two neighbouring activations in every lane, widened."""
    place = builder.gep(row, [builder.mul(pair, _I64(2))])
    both = builder.load(builder.bitcast(place, _I32.as_pointer()), align=2)
    undefined = ir.Constant(_SUMS, ir.Undefined)
    one = builder.insert_element(undefined, both, _I32(0))
    every = builder.shuffle_vector(one, undefined, ir.Constant(_SUMS, [0] * LANES))
    return builder.sext(builder.bitcast(every, _PAIRS), _PRODUCTS)


def _pair_sums(builder: Any, one: Any, other: Any) -> Any:
    """Sums of neighbouring products: the pattern that the x86 back end knows as one instruction."""
    products = builder.mul(one, other)
    undefined = ir.Constant(_PRODUCTS, ir.Undefined)
    even = ir.Constant(_SUMS, list(range(0, 2 * LANES, 2)))
    odd = ir.Constant(_SUMS, list(range(1, 2 * LANES, 2)))
    return builder.add(
        builder.shuffle_vector(products, undefined, even),
        builder.shuffle_vector(products, undefined, odd),
    )


#: A tile of ``LANES`` channels, and one of ``VECTORS`` times as many.
narrow_tile: Any = _tile(1)
wide_tile: Any = _tile(VECTORS)

#: A tile of ``LANES`` channels that do not mix.
depthwise_tile: Any = intrinsic(_depthwise_tile)
