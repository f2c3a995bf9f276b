"""Kernel calls of padding and resizing: their loops as formulas of the shape."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from mcusim.graph import DType, Node
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.memory_copy import ALIGNED_LEVELS, Copy, copy_trips, repeated_copies
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
    alive = 1
    depth = five[4] - edges[9]
    told: dict[str, float] = {}
    for axis, extent in enumerate(five):
        behind = math.prod(five[axis + 1 :])
        before, after = edges[2 * axis], edges[2 * axis + 1]
        for side, extra in (("below", before), ("beyond", after)):
            elements = alive * extra * behind
            near = elements * depth // five[4] if axis < 4 else elements
            told[f"element.{side}_{axis}"] = float(near)
            if axis < 4:
                told[f"far.{side}_{axis}"] = float(elements - near)
        alive *= extent - before - after
    trips = {
        "call": 1.0,
        "row": float(math.prod(five[:3])),
        "column": float(math.prod(five[:4])),
        "element.copied": float(alive),
        **told,
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
        # Where the row's weight is zero 4 of the 8 go, where the column's is 2, with both 5.
        zero_rows = _zero_weights(node, x.shape[1], height)
        zero_columns = _zero_weights(node, x.shape[2], width)
        gone = 4 * zero_rows * width + 2 * height * zero_columns - zero_rows * zero_columns
        products = 8 * height * width - gone
        trips["element.product"] = float(batches * channels * products)
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
    row_turns = turns = 0
    for extent, out_extent, times in ((x.shape[1], height, batches), (x.shape[2], width, rows)):
        division = _division_turns(node, extent, out_extent)
        row_turns += rows * division
        turns += times * out_extent * division

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
        "row": float(rows),
        "row.division_turn": float(row_turns),
        "column": float(columns),
        "coordinate.division_turn": float(turns),
        "coordinate.half_pixel": float((rows + columns) * half),
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


def _zero_weights(node: Node, extent: int, out_extent: int) -> int:
    """Coordinates along one axis that need no interpolation."""
    coordinates = _coordinates(node, extent, out_extent)
    if node.options.flag("half_pixel_centers"):
        coordinates = coordinates - np.float32(0.5)
    return int(np.count_nonzero((coordinates >= 0) & (coordinates == np.floor(coordinates))))


def _coordinates(
    node: Node, extent: int, out_extent: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Source coordinates along one axis before they are rounded, in float32."""
    offset = np.float32(0.5 if node.options.flag("half_pixel_centers") else 0)
    positions = np.arange(out_extent, dtype=np.float32)
    dividend, divisor = _scaled_extents(node, extent, out_extent)
    return (positions + offset) * (np.float32(dividend) / np.float32(divisor))
