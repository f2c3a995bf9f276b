"""Kernel calls of padding and resizing: their loops as formulas of the shape."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np

from mcusim.graph import DType, Node
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.memory_copy import (
    ALIGNED_LEVELS,
    Copy,
    copy_trips,
    fill_trips,
    repeated_copies,
)
from mcusim.kernels.reference.checks import int32_vector

__all__ = ["pad_call", "resize_bilinear_call", "resize_nearest_call"]


def pad_call(node: Node) -> KernelCall:
    """PAD and PADV2, five loops deep, with up to ten comparisons for each element.

    The comparisons go from the outermost dimension inwards, below and beyond in turn, and stop at
    the first that tells an element of the padding. The compiler takes some of them out of the inner
    loops, others than the next one does, so that each costs its own; and it may end the innermost
    loop where the input's depth ends, behind which elements (``far``) are written without a look.

    Source: ``reference_ops::PadImpl``.
    """
    output = node.output()
    five = (1,) * (5 - len(output.shape)) + output.shape
    given = node.input(1).data
    paddings = [0] * (2 * len(output.shape)) if given is None else int32_vector(given)
    edges = [0] * (10 - len(paddings)) + [max(0, p) for p in paddings]
    # Images, padded neither in batch nor in depth, have loops of their own.
    image = len(output.shape) == 4 and edges[2:4] == edges[8:] == [0, 0]
    alive = 1
    depth = five[4] - edges[9]
    told: dict[str, float] = {}
    for axis, extent in enumerate(five):
        behind = math.prod(five[axis + 1 :])
        before, after = edges[2 * axis], edges[2 * axis + 1]
        for side, extra in (("below", before), ("beyond", after)):
            elements = alive * extra * behind
            near = elements * depth // five[4] if axis < 4 else elements
            told[f"element.{side}_{axis}"] = float(near * (not image))
            if axis < 4:
                told[f"far.{side}_{axis}"] = float(elements - near)
            if axis in (2, 3):
                told[f"image.{side}_{axis}"] = float(near * image)
        alive *= extent - before - after
    rows, columns = math.prod(five[:3]), math.prod(five[:4])
    # Columns of batches or planes of padding are written by memset, as the far ends are, of bytes.
    whole = columns - math.prod(five[i] - edges[2 * i] - edges[2 * i + 1] for i in (0, 1)) * (
        five[2] * five[3]
    )
    size = output.dtype.numpy.itemsize
    fills = [(five[4], whole), (edges[9], columns - whole)] if size == 1 else []
    trips = {
        "call": 1.0,
        "dimension": float(len(output.shape)),
        "row": float(rows * (not image)),
        "column": float(columns * (not image)),
        "column.far": float((columns - whole) * (edges[9] > 0)),
        "column.whole": float(whole),
        "element.copied": float(alive * (not image)),
        "image.row": float(rows * image),
        "image.column": float(columns * image),
        "image.copied": float(alive * image),
        **told,
        **fill_trips(fills),
    }
    name = f"reference/{node.name.lower()}_{output.dtype.value}"
    # Three copies of each shape: from the tensor, to pass it on, to extend it.
    shapes = copy_trips([(4 * len(output.shape), 0, 0)] * 6, ALIGNED_LEVELS)
    return KernelCall("reference_ops::Pad", name, trips | shapes)


def resize_bilinear_call(node: Node) -> KernelCall:
    """Eight products an element; soft float is done at once with those by a weight of zero.

    Source: ``reference_ops::ResizeBilinear`` and ``ResizeBilinearInteger``.
    """
    x, output = node.input(0), node.output()
    batches, height, width, channels = output.shape
    rows, columns = batches * height, batches * height * width
    half = node.options.flag("half_pixel_centers")
    trips = {
        "call": 1.0,
        "row": float(rows),
        "column": float(columns),
        "coordinate.half_pixel": float((rows + columns) * half),
        "element": float(output.elements),
        **_coordinate_trips(node, x.shape, output.shape),
    }
    if output.dtype is DType.FLOAT32:
        turns = _weighing_turns(node, x.shape, output.shape)
        trips.update((level, float(batches * channels * n)) for level, n in turns.items())
    axes = ((x.shape[1], height), (x.shape[2], width))
    for axis in axes:
        for level, count in _division_trips(node, *axis).items():
            trips[level] = trips.get(level, 0.0) + count
    return KernelCall(
        "reference_ops::ResizeBilinear", f"reference/resize_bilinear_{output.dtype.value}", trips
    )


def resize_nearest_call(node: Node) -> KernelCall:
    """Source: ``reference_ops::ResizeNearestNeighbor``.

    It finds the source of a row once for each row and that of a column once for each pixel. What
    that costs depends on the coordinate: ``floorf`` is done sooner with zero, and with numbers
    below one or whole; soft float divides for longer where the scale is no short fraction, and adds
    half a pixel where zero costs less.
    """
    x, output = node.input(0), node.output()
    batches, height, width, channels = output.shape
    rows, columns = batches * height, batches * height * width
    length = channels * output.dtype.numpy.itemsize
    half = node.options.flag("half_pixel_centers")
    corners = node.options.flag("align_corners")
    # The width's division is done in every row or in every column.
    turns = {
        f"{place}.{level}": float(times * count)
        for place, times, axis in (
            ("row", rows, (x.shape[1], height)),
            ("row_of_columns", rows, (x.shape[2], width)),
            ("column", columns, (x.shape[2], width)),
        )
        for level, count in _division_trips(node, *axis).items()
    }

    def of_row(row: int) -> Iterator[Copy]:
        sources = np.floor(_coordinates(node, x.shape[2], width)).astype(int).tolist()
        for column, source in enumerate(sources):
            yield length, source * length, (row * width + column) * length

    copies = (
        Counter({(length, 0, 0): columns}) if length % 4 == 0 else repeated_copies(rows, of_row)
    )
    copies[4 * len(x.shape), 0, 0] += 4
    trips = {
        "call": 1.0,
        # The compiler makes loops of their own for the two ways of placing pixels.
        "row": float(rows * (not half and not corners)),
        "row.half_pixel": float(rows * half),
        "row.corners": float(rows * corners),
        "column": float(columns * (not half and not corners)),
        "column.half_pixel": float(columns * half),
        "column.corners": float(columns * corners),
        **turns,
        **_coordinate_trips(node, x.shape, output.shape),
    }
    return KernelCall(
        "reference_ops::ResizeNearestNeighbor",
        f"reference/resize_nearest_neighbor_{output.dtype.value}",
        trips | copy_trips(copies),
    )


def _coordinate_trips(
    node: Node, source: tuple[int, ...], target: tuple[int, ...]
) -> dict[str, float]:
    """Coordinates by what ``floorf`` or, with ``align_corners``, ``round`` does with them.

    They are done sooner with zero, and with numbers below one or whole.
    """
    batches, height, width, _ = target
    half = node.options.flag("half_pixel_centers")
    bilinear = node.name == "RESIZE_BILINEAR"
    corners = node.options.flag("align_corners")
    kinds = dict.fromkeys(
        ("nonzero", "fraction", "negative", "small", "aligned", "rounded", "whole"), 0
    )
    for extent, out_extent, times in (
        (source[1], height, batches),
        (source[2], width, batches * height),
    ):
        found = _coordinates(node, extent, out_extent)
        if bilinear and half:
            found = found - np.float32(0.5)
        parts = found - np.floor(found)
        if corners and not bilinear:
            kinds["aligned"] += times * out_extent
            kinds["rounded"] += times * int(np.count_nonzero(parts >= 0.5))
            kinds["whole"] += times * int(np.count_nonzero(parts == 0))
            continue
        kinds["nonzero"] += times * int(np.count_nonzero(found))
        kinds["fraction"] += times * int(np.count_nonzero((found >= 1) & (parts > 0)))
        kinds["negative"] += times * int(np.count_nonzero(found < 0))
        kinds["small"] += times * int(np.count_nonzero((found > 0) & (found < 1)))
    return {f"coordinate.{kind}": float(count) for kind, count in kinds.items()}


def _scaled_extents(node: Node, extent: int, out_extent: int) -> tuple[int, int]:
    if node.options.flag("align_corners") and out_extent > 1:
        return extent - 1, out_extent - 1
    return extent, out_extent


def _division_turns(node: Node, extent: int, out_extent: int) -> int:
    """Turns of the loop of libgcc's ``__divsf3``, which finds four bits of the quotient in each.

    There are none for a power of two, and it ends when nothing is left to divide.
    """
    dividend, divisor = _scaled_extents(node, extent, out_extent)
    if divisor & (divisor - 1) == 0:
        return 0
    odd = divisor // (divisor & -divisor)
    quotient_bits = (dividend // odd).bit_length() if dividend % odd == 0 else 24
    return math.ceil(quotient_bits / 4)


_DIVISION_LEVELS = (
    "division",
    "division_looped",
    "division_turn",
    "quotient_bit",
    "quotient_compared",
    "quotient_below",
)


def _division_trips(node: Node, extent: int, out_extent: int) -> dict[str, int]:
    """What soft float does to find the scale of an axis, on ARMv7-M and on ARMv6-M."""
    if out_extent == 1 and node.options.flag("align_corners"):
        # By one, which the compiler knows.
        return dict.fromkeys(_DIVISION_LEVELS, 0)
    bits, compared, below = _bitwise_division(node, extent, out_extent)
    turns = _division_turns(node, extent, out_extent)
    return {
        "division": 1,
        "division_looped": min(turns, 1),
        "division_turn": turns,
        "quotient_bit": bits,
        "quotient_compared": compared,
        "quotient_below": below,
    }


def _bitwise_division(node: Node, extent: int, out_extent: int) -> tuple[int, int, int]:
    """How ARMv6-M's ``__aeabi_fdiv`` finds a quotient, bit by bit.

    Returns:
        Bits that are set; turns that compare, as the remainder's top bit does not tell; and whether
        the dividend's significand is below the divisor's, which takes a turn more.
    """
    dividend, divisor = _scaled_extents(node, extent, out_extent)
    if not dividend:
        return 0, 0, 0
    remainder, subtrahend = (n << (32 - n.bit_length()) for n in (dividend, divisor))
    below = remainder < subtrahend
    bits = compared = 0
    if not below:
        remainder -= subtrahend
    for _ in range(27 if below else 26):
        top = remainder >> 31
        remainder = (remainder << 1) & 0xFFFFFFFF
        compared += not top
        if top or remainder >= subtrahend:
            remainder = (remainder - subtrahend) & 0xFFFFFFFF
            bits += 1
    return bits, compared, int(below)


def _weighing_turns(node: Node, source: tuple[int, ...], target: tuple[int, ...]) -> Counter[str]:
    """Products and sums of one image of one channel, by what soft float does with them.

    An element is a sum of four, each multiplied by a weight of its row and then of its column. A
    product with zero is done at once, one with a power of two sooner than others
    (``element.shifted``), and so is a sum with zero (``element.sum`` counts the others).
    """
    turns: Counter[str] = Counter()
    kinds = []
    for extent, out_extent in ((source[1], target[1]), (source[2], target[2])):
        places = _coordinates(node, extent, out_extent)
        if node.options.flag("half_pixel_centers"):
            places = places - np.float32(0.5)
        far = places - np.maximum(np.floor(places), 0)
        kinds.append(Counter(zip(map(_kind, 1 - far), map(_kind, far), strict=True)))
    for rows, columns in product(*(found.items() for found in kinds)):
        (of_row, row_times), (of_column, column_times) = rows, columns
        times = row_times * column_times
        kept = 0
        for row, column in product(of_row, of_column):
            kept += row != "zero" != column
            for kind in (row, "zero" if row == "zero" else column):
                turns[f"element.{kind}"] += times
        turns["element.sum"] += times * max(0, kept - 1)
    return Counter({k: turns[k] for k in ("element.product", "element.shifted", "element.sum")})


def _kind(weight: np.float32) -> str:
    if weight == 0:
        return "zero"
    return "shifted" if abs(np.frexp(weight)[0]) == 0.5 else "product"


def _coordinates(
    node: Node, extent: int, out_extent: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Source coordinates along one axis before they are rounded, in float32."""
    offset = np.float32(0.5 if node.options.flag("half_pixel_centers") else 0)
    positions = np.arange(out_extent, dtype=np.float32)
    dividend, divisor = _scaled_extents(node, extent, out_extent)
    return (positions + offset) * (np.float32(dividend) / np.float32(divisor))
