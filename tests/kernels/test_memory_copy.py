"""The loops of newlib's memcpy, walked byte by byte beside the formulas."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.kernels.memory_copy import ALIGNED_LEVELS, LEVELS, copy_trips, fill_trips

ADDRESS = st.integers(0, 63)


def armv7m(length: int, source: int, target: int) -> tuple[Counter[str], int]:
    """The assembly for cores with unaligned access: turns of its loops, and bytes it copied."""
    turns: Counter[str] = Counter()
    copied = 0
    left = length
    if source % 4 or target % 4:
        if left < 8:
            if left >= 4:
                turns["copy.few"] += 1
                while left >= 4:
                    turns["copy.single"] += 1
                    left -= 1
                    copied += 1
                return turns, copied + left
        else:
            turns["copy.unaligned"] += 1
            if target % 4:
                turns["copy.lead"] += 1
                while target % 4:
                    target, left, copied = target + 1, left - 1, copied + 1
    else:
        turns["copy.aligned"] += 1
    for level, block in (("copy.block64", 64), ("copy.block16", 16), ("copy.word", 4)):
        while left >= block:
            turns[level] += 1
            left, copied = left - block, copied + block
    if left:
        turns["copy.tail"] += 1
        turns["copy.tail_half"] += left >= 2
        copied += left
    return turns, copied


@settings(max_examples=300)
@given(length=st.integers(0, 300), source=ADDRESS, target=ADDRESS)
def test_formulas_are_the_loops(length: int, source: int, target: int) -> None:
    turns, copied = armv7m(length, source, target)
    assert copied == length
    found = copy_trips([(length, source, target)])
    # ARMv6-M copies short aligned runs by bytes, so their words are a level of their own, and
    # unaligned ones as well, so that no step of theirs is one of an aligned copy.
    found["copy.word"] += found["copy.short_word"]
    for step in ("block64", "block16", "word", "tail", "tail_half"):
        found[f"copy.{step}"] += found[f"copy.unaligned_{step}"]
    for level in ("copy.block64", "copy.block16", "copy.word", "copy.tail", "copy.tail_half"):
        assert found[level] == turns[level], level
    for level in ("copy.aligned", "copy.unaligned", "copy.lead", "copy.few", "copy.single"):
        assert found[level] == turns[level], level


@settings(max_examples=200)
@given(length=st.integers(0, 300), source=ADDRESS, target=ADDRESS)
def test_every_byte_is_in_one_level_of_armv6m(length: int, source: int, target: int) -> None:
    turns = copy_trips([(length, source, target)])
    if source % 4 or target % 4:
        assert turns["copy.bytewise"] == length
        return
    assert turns["copy.bytewise"] == 0
    assert turns["copy.long"] == (length >= 16)
    blocks = 64 * turns["copy.block64"] + 16 * turns["copy.block16"]
    words = 4 * (turns["copy.word"] + turns["copy.short_word"])
    assert blocks + words + turns["copy.tail_byte"] == length


def test_copies_add_up() -> None:
    one, other = (100, 0, 0), (7, 1, 2)
    both = copy_trips([one, other, other])
    assert set(both) == set(LEVELS)
    for level in LEVELS:
        expected = copy_trips([one])[level] + 2 * copy_trips([other])[level]
        assert both[level] == expected
    assert set(copy_trips([one], ALIGNED_LEVELS)) == set(ALIGNED_LEVELS)


@settings(max_examples=100)
@given(length=st.integers(0, 300), times=st.integers(1, 9))
def test_memset_fills_blocks_then_words_then_bytes(length: int, times: int) -> None:
    turns: Counter[str] = Counter()
    left = length
    for level, loop, size in (("block16", "long", 16), ("word", "worded", 4), ("byte", "tail", 1)):
        turns[loop] += left >= size
        while left >= size:
            turns[level] += 1
            left -= size
    turns["some"] = length >= 4
    found = fill_trips([(length, times)])
    assert found == {level: times * turns[level.removeprefix("fill.")] for level in found}
