"""The compiled hook of an instruction that may trap: looks at registers, and may stop the core."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from numba import types as numba_types

from mcusim.emulator.native import address_of, call_at, words_at

__all__ = ["CHECK", "NO_REGISTER", "trap_hook"]

#: For no index register.
NO_REGISTER = -1
#: Words of what one instruction is checked by: functions of Unicorn to read a register and to stop;
#: Unicorn's numbers of a base and an index register; their sum, shifted and with an offset, is the
#: value; it is looked at within a mask, and springs the trap when that is zero or when it is not.
CHECK = {
    name: place
    for place, name in enumerate(
        (
            "read",
            "stop",
            "base",
            "index",
            "shift",
            "offset",
            "mask",
            "springs_on_zero",
            "is_active",
            "sprung",
            "value",
            "scratch",
        )
    )
}
(
    _READ,
    _STOP,
    _BASE,
    _INDEX,
    _SHIFT,
    _OFFSET,
    _MASK,
    _ON_ZERO,
    _ACTIVE,
    _SPRUNG,
    _VALUE,
    _SCRATCH,
) = range(12)

types: Any = numba_types


def _register(uc: int, number: int, check: Any) -> Any:
    at = address_of(check) + 8 * _SCRATCH
    words_at(at)[0] = 0
    call_at(check[_READ], uc, number, at, 0)
    return words_at(at)[0] & 0xFFFFFFFF


@lru_cache(maxsize=1)
def trap_hook() -> Any:
    """The hook, compiled; ``address`` of it is what Unicorn calls before the instruction."""
    register = numba.njit(_register)

    def enter(uc: int, address: int, size: int, check: Any) -> None:
        if check[_ACTIVE] == 0:
            return
        value = register(uc, check[_BASE], check) + check[_OFFSET]
        if check[_INDEX] != NO_REGISTER:
            value += register(uc, check[_INDEX], check) << check[_SHIFT]
        value &= 0xFFFFFFFF
        if (value & check[_MASK] == 0) == (check[_ON_ZERO] != 0):
            check[_VALUE] = value
            check[_SPRUNG] = 1
            call_at(check[_STOP], uc, 0, 0, 0)

    word = types.int64
    signature = types.void(word, word, types.uint32, types.CPointer(word))
    return numba.cfunc(signature, cache=True)(enter)
