"""How CMSIS-NN's convolutions gather their columns: taps inside and outside, copied and filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import product

from mcusim.kernels.reference.convolution import Axis, ConvolutionShape

__all__ = ["copy_trips", "fill_trips", "gather_trips", "tap_trips"]


def tap_trips(shape: ConvolutionShape) -> dict[str, float]:
    """Bounds tests of all taps, in the library's order: above, below, left, right."""
    per_column = shape.batches * shape.horizontal.outputs * shape.horizontal.kernel
    rows, columns = shape.vertical, shape.horizontal
    in_rows = shape.batches * rows.inside
    return {
        "tap": shape.pixels * shape.taps,
        "tap_not_above": per_column * (rows.outputs * rows.kernel - rows.before),
        "tap_in_rows": per_column * rows.inside,
        "tap_not_left": in_rows * (columns.outputs * columns.kernel - columns.before),
        "tap_inside": in_rows * columns.inside,
    }


def gather_trips(
    shape: ConvolutionShape, element_bytes: int, group_channels: int | None = None
) -> dict[str, float]:
    """Turns of memcpy and memset: one call for each tap inside, and one for each outside.

    Args:
        shape: of the convolution.
        element_bytes: of an activation.
        group_channels: channels of a tap where groups loop outside of the pixels.
    """
    depth = shape.in_channels if group_channels is None else group_channels
    return dict(
        _gathered(
            shape.batches,
            shape.vertical,
            shape.horizontal,
            shape.in_channels,
            depth,
            element_bytes,
        )
    )


@lru_cache(maxsize=1024)
def _gathered(
    batches: int, vertical: Axis, horizontal: Axis, channels: int, depth: int, element_bytes: int
) -> dict[str, float]:
    """:func:`gather_trips` by what it depends on: many filters are tried on one input."""
    length = depth * element_bytes
    copies: Counter[tuple[int, int, int]] = Counter()
    fills: Counter[tuple[int, int]] = Counter()
    pixel = channels * element_bytes
    bases = Counter(
        (batch * vertical.inputs * horizontal.inputs * pixel + group * length) % 4
        for batch in range(batches)
        for group in range(channels // depth)
    )
    width = horizontal.outputs
    across = _positions(horizontal, pixel, 1)
    down = _positions(vertical, horizontal.inputs * pixel, width)
    for tap, (rows, columns) in enumerate(product(down, across)):
        for second in (0, 1):
            # The column of a pair's second pixel begins where the first one's ends.
            target = (tap + second * vertical.kernel * horizontal.kernel) * length % 4
            for (row, parity), times in rows.items():
                for (place, other), also in columns.items():
                    if parity ^ other != second:
                        continue
                    if row is None or place is None:
                        fills[length, target] += times * also * sum(bases.values())
                        continue
                    for base, repeated in bases.items():
                        source = (row + place + base) % 4
                        copies[length, source, target] += times * also * repeated
    return copy_trips(copies) | fill_trips(fills)


def _positions(axis: Axis, step: int, width: int) -> list[Counter[tuple[int | None, int]]]:
    """For each tap, how often it lies where, modulo four (None: outside), by its pixel's parity.

    Args:
        axis: rows or columns.
        step: bytes from one to the next.
        width: pixels from one output to the next.
    """
    found = []
    for tap in range(axis.kernel):
        places: Counter[tuple[int | None, int]] = Counter()
        first = tap * axis.dilation - axis.padding
        begin, end = (
            min(max(-(-(bound - first) // axis.stride), 0), axis.outputs)
            for bound in (0, axis.inputs)
        )
        # Places and parities repeat every four outputs.
        for output in range(min(4, axis.outputs)):
            parity = output * width % 2
            inside = _every_fourth(output, end) - _every_fourth(output, begin)
            place = (first + output * axis.stride) * step % 4
            places[place, parity] += inside
            places[None, parity] += _every_fourth(output, axis.outputs) - inside
        found.append(+places)
    return found


def _every_fourth(first: int, end: int) -> int:
    """How many numbers below ``end`` there are from ``first`` on in steps of four."""
    return max(-(-(end - first) // 4), 0)


_COPY_LEVELS = (
    "aligned",
    "block64",
    "block16",
    "word",
    "words",
    "tail",
    "tail_half",
    "unaligned",
    "unaligned_source",
    "unaligned_long",
    "lead",
    "lead_half",
    "few",
    "few.byte",
    "tiny",
    "unaligned_block64",
    "unaligned_block16",
    "unaligned_word",
    "long",
    "long_byte",
    "short_word",
    "byte",
)


def copy_trips(copies: Mapping[tuple[int, int, int], int]) -> dict[str, float]:
    """Turns of newlib's memcpy, of its assembly for ARMv7-M and its C code for ARMv6-M alike.

    ARMv7-M copies 64 bytes a turn, then 16, then words, then a byte and a halfword (``tail``,
    ``tail_half``). Where the source is not aligned it first copies up to an aligned target
    (``lead``), or single bytes if there are only ``few``, or goes to the tail at once (``tiny``).
    ARMv6-M copies blocks and words only of aligned copies from 16 bytes on (``long``), else
    ``byte`` by byte.

    Args:
        copies: how often so many bytes are copied from and to an address (both modulo four).
    """
    trips: Counter[str] = Counter()
    for (length, source, target), times in copies.items():
        aligned = source == target == 0
        is_long = aligned and length >= 16
        trips["aligned"] += times * aligned
        trips["long"] += times * is_long
        trips["long_byte"] += times * (is_long and length % 4 > 0)
        trips["byte"] += times * (length % 4 if is_long else length)
        rest = length
        if not aligned and length >= 8:
            lead = -target % 4 if source else 0
            rest -= lead
            trips["unaligned"] += times
            trips["unaligned_long"] += times * (length >= 16)
            trips["unaligned_source"] += times * (source > 0)
            trips["lead"] += times * (lead > 0)
            trips["lead_half"] += times * (lead > 1)
        elif not aligned and length >= 4:
            trips["few"] += times
            trips["few.byte"] += times * (length - 3)
            continue
        elif not aligned:
            trips["tiny"] += times
        kind = "" if is_long else "short_" if aligned else "unaligned_"
        trips[f"{kind}block64"] += times * (rest // 64)
        trips[f"{kind}block16"] += times * (rest % 64 // 16)
        trips[f"{kind}word"] += times * (rest % 16 // 4)
        trips["tail"] += times * (rest % 4 > 0)
        trips["tail_half"] += times * (rest % 4 > 1)
        trips["words"] += times * (is_long and rest % 16 >= 4)
    return {f"copy.{level}": float(trips[level]) for level in _COPY_LEVELS}


_FILL_LEVELS = (
    "call",
    "unaligned",
    "lead",
    "unfinished",
    "short",
    "words",
    "block16",
    "blocks",
    "word",
    "no_words",
    "words_after",
    "tail",
    "tail_after",
)


def fill_trips(fills: Mapping[tuple[int, int], int]) -> dict[str, float]:
    """Turns of newlib's memset, which fills bytes up to an aligned address, 16 bytes, words, bytes.

    Args:
        fills: how often so many bytes are filled at an address (modulo four).
    """
    trips: Counter[str] = Counter()
    for (length, target), times in fills.items():
        lead = min(-target % 4, length)
        rest = length - lead
        trips["call"] += times
        trips["unaligned"] += times * (lead > 0)
        trips["lead"] += times * lead
        trips["unfinished"] += times * (lead < -target % 4)
        trips["short"] += times * (0 < rest < 4)
        trips["words"] += times * (rest >= 4)
        trips["blocks"] += times * (rest >= 16)
        trips["block16"] += times * (rest // 16)
        trips["word"] += times * (rest % 16 // 4)
        trips["no_words"] += times * (rest >= 16 and rest % 16 < 4)
        trips["words_after"] += times * (rest >= 16 and rest % 16 >= 4)
        trips["tail"] += times * (rest % 4)
        trips["tail_after"] += times * (rest >= 4 and rest % 4 > 0)
    return {f"fill.{level}": float(trips[level]) for level in _FILL_LEVELS}
