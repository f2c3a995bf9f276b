"""The compiled hook: what happens natively at the start of each executed block."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "ADDRESS_BITS",
    "FELL",
    "RECORD",
    "RING",
    "STATE",
    "TICKS",
    "UNMASKS",
    "WATCHED",
    "block_hook",
]

#: Ticks of the hook's clock in a core cycle.
TICKS = 1 << 16
#: A record's key is the block's address, and its size above these bits.
ADDRESS_BITS = 32
#: Blocks remembered for a fault.
RING = 16

#: Words of a block's record, one cache line.
RECORD = {
    name: place
    for place, name in enumerate(
        ("key", "executed", "fell", "ticks", "instructions", "flags", "spare", "more")
    )
}
FELL = RECORD["fell"]
#: Flags of a record: Python wants to know of it; it may allow interrupts that were masked.
WATCHED, UNMASKS = 1, 2

#: Words of what the hook keeps; the addresses of the last blocks follow the last of them.
STATE = {
    name: place
    for place, name in enumerate(
        (
            "records",
            "mask",
            "last",
            "expected",
            "ticks",
            "deadline",
            "instructions",
            "instruction_limit",
            "taken_ticks",
            "stop",
            "stopped",
            "miss",
            "watch",
            "block_address",
            "masked",
            "ring_used",
            "ring",
            *(f"ring{further}" for further in range(1, RING)),
        )
    )
}

_RECORD_BYTES = 8 * len(RECORD)
_KEY, _EXECUTED, _FELL, _TICKS, _INSTRUCTIONS, _FLAGS = range(6)
(
    _RECORDS,
    _MASK,
    _LAST,
    _EXPECTED,
    _CLOCK,
    _DEADLINE,
    _COUNT,
    _LIMIT,
    _TAKEN_TICKS,
    _STOP,
    _STOPPED,
    _MISS,
    _WATCH,
    _BLOCK_ADDRESS,
    _MASKED,
    _RING_USED,
    _RING,
) = range(17)


@intrinsic  # type: ignore[untyped-decorator]
def _words(typing_context: Any, address: Any) -> Any:
    """The int64 words that begin at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, function: Any, first: Any, second: Any) -> Any:
    """Call the C function at an address with two 64-bit arguments."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), (word, word))
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _enter_block(uc: int, address: int, size: int, state: Any) -> None:
    if state[_CLOCK] >= state[_DEADLINE] or state[_COUNT] >= state[_LIMIT]:
        state[_STOPPED] = 1
        _call(state[_STOP], uc, 0)
        return
    key = address | size << ADDRESS_BITS
    place = (address >> 1) & state[_MASK]
    record = _words(state[_RECORDS] + place * _RECORD_BYTES)
    while record[_KEY] != key:
        if record[_KEY] == 0:
            # Python adds it, and may move the table.
            _call(state[_MISS], address, size)
            place = (address >> 1) & state[_MASK]
        else:
            place = (place + 1) & state[_MASK]
        record = _words(state[_RECORDS] + place * _RECORD_BYTES)
    if record[_FLAGS]:
        if record[_FLAGS] & UNMASKS and state[_MASKED]:
            state[_DEADLINE] = 0
        if record[_FLAGS] & WATCHED:
            _call(state[_WATCH], address, size)
    if address == state[_EXPECTED]:
        last = _words(state[_LAST])
        last[_FELL] += 1
    elif state[_EXPECTED] >= 0:
        state[_CLOCK] += state[_TAKEN_TICKS]
    record[_EXECUTED] += 1
    state[_CLOCK] += record[_TICKS]
    state[_COUNT] += record[_INSTRUCTIONS]
    state[_EXPECTED] = address + size
    state[_LAST] = state[_RECORDS] + place * _RECORD_BYTES
    state[_BLOCK_ADDRESS] = address
    state[_RING + (state[_RING_USED] & (RING - 1))] = address
    state[_RING_USED] += 1


@lru_cache(maxsize=1)
def block_hook() -> Any:
    """The hook, compiled; ``address`` of it is what Unicorn calls."""
    word = types.int64
    signature = types.void(word, word, types.uint32, types.CPointer(word))
    return numba.cfunc(signature, cache=True)(_enter_block)
