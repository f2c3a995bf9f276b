"""How the loops of newlib's memcpy run, and of its memset.

Many kernels spend most of their time in memcpy. Two versions are linked: on cores with unaligned
access (ARMv7-M, ARMv8-M Mainline) one in assembly that copies 64 bytes a turn, then 16, then words,
then up to three bytes; on ARMv6-M one in C that copies words only where both pointers are aligned
and at least 16 bytes are left, else bytes. The levels tell both apart: on each core some of them
cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

__all__ = [
    "ALIGNED_LEVELS",
    "FILL_LEVELS",
    "LEVELS",
    "Copy",
    "copy_trips",
    "fill_trips",
    "repeated_copies",
]

#: Levels of copies between addresses that are multiples of four.
ALIGNED_LEVELS: tuple[str, ...] = (
    "copy.long",
    "copy.block64",
    "copy.block16",
    "copy.word",
    "copy.worded",
    "copy.short_word",
    "copy.tail",
    "copy.tail_half",
    "copy.tail_byte",
)

#: Every level.
LEVELS: tuple[str, ...] = (
    *ALIGNED_LEVELS,
    "copy.aligned",
    "copy.unaligned",
    "copy.unaligned_block64",
    "copy.unaligned_block16",
    "copy.unaligned_word",
    "copy.unaligned_tail",
    "copy.unaligned_tail_half",
    "copy.lead",
    "copy.few",
    "copy.single",
    "copy.bytewise",
)

#: Levels of memset.
FILL_LEVELS: tuple[str, ...] = tuple(
    f"fill.{level}" for level in ("some", "long", "block16", "worded", "word", "tail", "byte")
)

#: Bytes, address they are read from, address they are written to (what counts is modulo four).
Copy = tuple[int, int, int]


def repeated_copies(turns: int, of_turn: Callable[[int], Iterable[Copy]]) -> Counter[Copy]:
    """Copies of a loop, addresses modulo four, and how often there are such.

    Args:
        turns: turns of the loop.
        of_turn: copies of a turn, whose addresses all advance by as much from turn to turn, so that
            every fourth turn is alike.
    """
    counts: Counter[Copy] = Counter()
    for turn in range(min(turns, 4)):
        times = turns // 4 + (turn < turns % 4)
        for length, source, target in of_turn(turn):
            counts[length, source % 4, target % 4] += times
    return counts


def copy_trips(
    copies: Iterable[Copy] | Counter[Copy], levels: tuple[str, ...] = LEVELS
) -> dict[str, float]:
    """How often each level runs over some copies.

    Args:
        copies: each copy's bytes and addresses; one of no bytes is a call all the same. Counted by
            :func:`repeated_copies`, or one by one.
        levels: the levels to report; the others must not occur.

    Returns:
        Turns by level: ``long`` copies of 16 bytes and more, blocks and words of those
        (``worded``: that have any), words of shorter ones, remainders of one to three bytes
        (``tail``), of two or three (``tail_half``) and their bytes; then whether the addresses were
        ``aligned``, and of those that were not: ``unaligned`` ones of 8 bytes and more, after a
        ``lead`` to an aligned target, and what they copy in which steps; ``few`` of 4 to 7, copied
        by ``single`` bytes; and the bytes that ARMv6-M copies one by one.
    """
    turns: Counter[str] = Counter()
    if not isinstance(copies, Counter):
        copies = Counter((n, source % 4, target % 4) for n, source, target in copies)
    for (length, source, target), times in copies.items():
        for level, count in _one(length, source, target).items():
            turns[level] += count * times
    return {level: float(turns[level]) for level in levels}


def _one(length: int, source: int, target: int) -> dict[str, int]:
    if source == target == 0:
        rest = {f"copy.{level}": count for level, count in _rest(length).items()}
        rest["copy.worded"] = int(length >= 16 and length % 16 >= 4)
        if length < 16:
            rest["copy.short_word"] = rest.pop("copy.word")
        return rest | {
            "copy.aligned": 1,
            "copy.long": int(length >= 16),
            "copy.tail_byte": length % 4,
        }
    turns = {"copy.bytewise": length}
    if length >= 8:
        lead = -target % 4
        turns |= {"copy.unaligned": 1, "copy.lead": int(lead > 0)}
    elif length >= 4:
        return turns | {"copy.few": 1, "copy.single": length - 3}
    else:
        lead = 0
    rest = _rest(length - lead)
    return turns | {f"copy.unaligned_{level}": count for level, count in rest.items()}


def _rest(length: int) -> dict[str, int]:
    """Turns from an aligned target on."""
    return {
        "block64": length // 64,
        "block16": length % 64 // 16,
        "word": length % 16 // 4,
        "tail": int(length % 4 > 0),
        "tail_half": int(length % 4 >= 2),
    }


def fill_trips(lengths: Iterable[tuple[int, int]]) -> dict[str, float]:
    """How often each loop of newlib's memset runs from addresses that are multiples of four.

    Args:
        lengths: bytes of a call, and how often it is called.

    Returns:
        Turns by level: calls that write words (``some``), blocks of 16 bytes and calls that write
        any (``long``), words behind them and calls that write any (``worded``), single bytes at the
        end and calls that write any (``tail``).
    """
    turns = dict.fromkeys(FILL_LEVELS, 0.0)
    for length, times in lengths:
        words, tail = length % 16 // 4, length % 4
        for level, count in (
            ("some", length >= 4),
            ("long", length >= 16),
            ("block16", length // 16),
            ("worded", words > 0),
            ("word", words),
            ("tail", tail > 0),
            ("byte", tail),
        ):
            turns[f"fill.{level}"] += times * count
    return turns
