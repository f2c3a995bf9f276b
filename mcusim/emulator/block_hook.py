"""The compiled hook: what happens natively at the start of each executed block."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from llvmlite import ir
from numba import types as numba_types

from mcusim.emulator.native import NativeFunction, call_at, words_at

__all__ = [
    "ADDRESS_BITS",
    "FELL",
    "RECORD",
    "RECORD_BYTES",
    "SAMPLED",
    "SLOW",
    "STATE",
    "TICKS",
    "TIMED",
    "UNMASKS",
    "WATCHED",
    "block_hook",
    "slow_hook",
]

#: Ticks of the hook's clock in a core cycle.
TICKS = 1 << 16
#: A record's key is the block's address, and its size above these bits.
ADDRESS_BITS = 32
#: Keys of blocks that the quick path must not take have this bit as well.
SLOW = 1 << 60
#: Blocks remembered for a fault.
RING = 16
#: Flags of a record: Python wants to know of it; it may allow interrupts that were masked; the time
#: at which it is entered is kept; registers are looked at for where its data is.
WATCHED, UNMASKS, TIMED, SAMPLED = 1, 2, 4, 8

#: Words of a block's record, one cache line.
RECORD = {
    name: place
    for place, name in enumerate(
        ("key", "executed", "fell", "ticks", "instructions", "flags", "spare", "more")
    )
}
FELL = RECORD["fell"]
RECORD_BYTES = 8 * len(RECORD)

#: Words of what the hook keeps; the last are addresses of the records of the last blocks.
STATE = {
    name: place
    for place, name in enumerate(
        (
            "ticks",
            "deadline",
            "records",
            "mask",
            "expected",
            "ring_used",
            "taken_ticks",
            "slow",
            "stop",
            "stopped",
            "miss",
            "watch",
            "masked",
            "refused",
            "events",
            "event_count",
            "event_room",
            "ring",
            *(f"ring{further}" for further in range(1, RING)),
        )
    )
}

types: Any = numba_types
#: How often a condition holds beside how often it does not.
_RARELY = (1 << 20, 1)
#: From an address, whose lowest bit is nothing, to bytes of the table.
_SHIFT = 5
_KEY, _EXECUTED, _FELL, _TICKS, _INSTRUCTIONS, _FLAGS = range(6)
(
    _CLOCK,
    _DEADLINE,
    _RECORDS,
    _MASK,
    _EXPECTED,
    _RING_USED,
    _TAKEN_TICKS,
    _SLOW,
    _STOP,
    _STOPPED,
    _MISS,
    _WATCH,
    _MASKED,
    _REFUSED,
    _EVENTS,
    _EVENT_COUNT,
    _EVENT_ROOM,
    _RING,
) = range(18)


def _find(address: int, size: int, state: Any) -> Any:
    """Address of the record of a block that the quick path did not find, or must not take."""
    key = address | size << ADDRESS_BITS
    at = state[_RECORDS] + ((address << _SHIFT) & state[_MASK])
    found = words_at(at)[_KEY]
    while found & ~SLOW != key:
        if found == 0:
            # Python adds it, and may move the table.
            call_at(state[_MISS], address, size, 0, 0)
            at = state[_RECORDS] + ((address << _SHIFT) & state[_MASK])
        else:
            at = state[_RECORDS] + ((at - state[_RECORDS] + RECORD_BYTES) & state[_MASK])
        found = words_at(at)[_KEY]
    flags = words_at(at)[_FLAGS]
    if flags & (WATCHED | SAMPLED) and not state[_REFUSED]:
        call_at(state[_WATCH], address, size, 0, 0)
    if state[_REFUSED]:
        return at
    if flags & UNMASKS and state[_MASKED]:
        state[_DEADLINE] = 0
    used = state[_EVENT_COUNT]
    if flags & TIMED and used < state[_EVENT_ROOM]:
        event = words_at(state[_EVENTS] + 16 * used)
        event[0] = state[_CLOCK]
        event[1] = address
        state[_EVENT_COUNT] = used + 1
    return at


def _count(address: int, size: int, at: int, state: Any) -> None:
    """Count a block by its record."""
    record = words_at(at)
    clock = state[_CLOCK] + record[_TICKS]
    used = state[_RING_USED]
    if address == state[_EXPECTED]:
        words_at(state[_RING + ((used - 1) & (RING - 1))])[_FELL] += 1
    else:
        clock += state[_TAKEN_TICKS]
    record[_EXECUTED] += 1
    state[_CLOCK] = clock
    state[_EXPECTED] = address + size
    state[_RING + (used & (RING - 1))] = at
    state[_RING_USED] = used + 1


@lru_cache(maxsize=1)
def slow_hook() -> Any:
    """What the quick path leaves to a function of its own, so as to save no registers."""
    find = numba.njit(_find)
    count = numba.njit(_count)

    def enter(uc: int, address: int, size: int, state: Any) -> None:
        if state[_CLOCK] >= state[_DEADLINE]:
            state[_STOPPED] = 1
            call_at(state[_STOP], uc, 0, 0, 0)
            return
        at = find(address, size, state)
        if state[_REFUSED]:
            state[_STOPPED] = 1
            call_at(state[_STOP], uc, 0, 0, 0)
            return
        count(address, size, at, state)

    word = types.int64
    signature = types.void(word, word, types.uint32, types.CPointer(word))
    return numba.cfunc(signature, cache=True)(enter)


@lru_cache(maxsize=1)
def block_hook() -> NativeFunction:
    """The hook, compiled; ``address`` of it is what Unicorn calls.

    It is written in instructions of LLVM, since a function that numba compiles for C is one that
    calls another and looks whether it raised: as much again as all that is done here.
    """
    word, size = ir.IntType(64), ir.IntType(32)
    words = word.as_pointer()
    module = ir.Module("block_hook")
    hook = ir.FunctionType(ir.VoidType(), (word, word, size, words))
    function = ir.Function(module, hook, "enter")
    uc, address, size_bytes, state = function.args
    begin, met, counted, fell, jumped, last, slow = (
        function.append_basic_block(name)
        for name in ("begin", "met", "counted", "fell", "jumped", "last", "slow")
    )
    build = ir.IRBuilder(begin)

    def const(value: int) -> Any:
        return ir.Constant(word, value)

    def place(of: Any, index: Any) -> Any:
        return build.gep(of, [const(index) if isinstance(index, int) else index], inbounds=True)

    def load(of: Any, index: Any) -> Any:
        return build.load(place(of, index))

    def store(value: Any, of: Any, index: Any) -> None:
        build.store(value, place(of, index))

    def add_one(of: Any, index: Any) -> None:
        store(build.add(load(of, index), const(1)), of, index)

    # Is this the record of the block, without a flag?
    offset = build.and_(build.shl(address, const(_SHIFT)), load(state, _MASK))
    at = build.add(load(state, _RECORDS), offset)
    record = build.inttoptr(at, words)
    bytes_of = build.zext(size_bytes, word)
    key = build.or_(address, build.shl(bytes_of, const(ADDRESS_BITS)))
    build.cbranch(build.icmp_signed("==", load(record, _KEY), key), met, slow).set_weights(_RARELY)

    build.position_at_end(met)
    clock = load(state, _CLOCK)
    is_early = build.icmp_signed("<", clock, load(state, _DEADLINE))
    build.cbranch(is_early, counted, slow).set_weights(_RARELY)

    # Did the block before it go on to here, or branch?
    build.position_at_end(counted)
    used = load(state, _RING_USED)
    own = build.add(clock, load(record, _TICKS))
    build.cbranch(build.icmp_signed("==", address, load(state, _EXPECTED)), fell, jumped)
    build.position_at_end(fell)
    newest = build.and_(build.sub(used, const(1)), const(RING - 1))
    before = load(state, build.add(newest, const(_RING)))
    add_one(build.inttoptr(before, words), _FELL)
    build.branch(last)
    build.position_at_end(jumped)
    with_branch = build.add(own, load(state, _TAKEN_TICKS))
    build.branch(last)

    build.position_at_end(last)
    ticks = build.phi(word)
    ticks.add_incoming(own, fell)
    ticks.add_incoming(with_branch, jumped)
    add_one(record, _EXECUTED)
    store(ticks, state, _CLOCK)
    store(build.add(address, bytes_of), state, _EXPECTED)
    store(at, state, build.add(build.and_(used, const(RING - 1)), const(_RING)))
    store(build.add(used, const(1)), state, _RING_USED)
    build.ret_void()

    build.position_at_end(slow)
    leave = build.inttoptr(load(state, _SLOW), hook.as_pointer())
    build.call(leave, (uc, address, size_bytes, state), tail=True)
    build.ret_void()
    return NativeFunction(module, "enter")
