"""Registers of a Unicorn core, several in one call: exceptions touch dozens of them each."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

__all__ = ["CoreRegisters"]


class CoreRegisters:
    """A fixed list of registers, read or written together, in order.

    Args:
        uc: the core.
        registers: Unicorn's numbers of them.

    Attributes:
        values: what was read last, or is to be written.
    """

    def __init__(self, uc: Any, registers: Sequence[int]) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        count = len(registers)
        self._uc, self._library, self._count = uc, uclib, count
        self._numbers = (ctypes.c_int * count)(*registers)
        # Unicorn writes 32 bits of a core register, and 64 of some others.
        self.values = (ctypes.c_uint64 * count)()
        start = ctypes.addressof(self.values)
        self._places = (ctypes.c_void_p * count)(*(start + 8 * i for i in range(count)))

    def read(self) -> list[int]:
        """Read all."""
        ctypes.memset(self.values, 0, 8 * self._count)
        self._library.uc_reg_read_batch(self._uc._uch, self._numbers, self._places, self._count)
        return list(self.values)

    def write(self, values: Sequence[int]) -> None:
        """Write all, in the order of the list."""
        self.values[:] = [*values]
        self._library.uc_reg_write_batch(self._uc._uch, self._numbers, self._places, self._count)
