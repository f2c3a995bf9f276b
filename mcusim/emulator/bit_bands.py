"""Bit-band aliases of a Cortex-M3 or M4: one word for each bit (ARMv7-M: DDI 0403E, B3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["BIT_BANDED", "BitBand", "bit_bands"]

#: Profiles of the cores that have them.
BIT_BANDED = ("m3", "m4")
_ALIAS_BYTES = 0x0200_0000


class BitBand:
    """The alias of one megabyte of registers or of memory.

    Args:
        machine: whose registers and memory these are.
        region: where the megabyte begins.
    """

    def __init__(self, machine: Machine, region: int) -> None:
        self.name = f"bit-band alias of {region:#010x}"
        self.base = region + _ALIAS_BYTES
        self.size = _ALIAS_BYTES
        self._machine = machine
        self._region = region

    def read(self, offset: int, size: int) -> int:
        """One bit, as 0 or 1."""
        return self._word(offset) >> offset // 4 % 32 & 1 if size else 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Set or clear one bit, and leave the others of its word."""
        address, bit = self._address(offset), offset // 4 % 32
        word = self._word(offset) & ~(1 << bit) | (value & 1) << bit
        if self._in_memory(address):
            self._machine.write(address, word.to_bytes(4, "little"))
        else:
            self._machine.bus.write(address, 4, word)

    def tick(self, cycles: float) -> float | None:
        """Nothing is ever due."""
        return None

    def _address(self, offset: int) -> int:
        return self._region + offset // 128 * 4

    def _in_memory(self, address: int) -> bool:
        return self._machine.memories.holds(address, 4)

    def _word(self, offset: int) -> int:
        address = self._address(offset)
        if self._in_memory(address):
            return int.from_bytes(self._machine.read(address, 4), "little")
        return self._machine.bus.read(address, 4)


def bit_bands(machine: Machine) -> tuple[BitBand, ...]:
    """The aliases of a machine's core, as far as no memory of the board lies there."""
    if machine.board.core.profile.removesuffix("-soft") not in BIT_BANDED:
        return ()
    bands = (BitBand(machine, region) for region in (0x2000_0000, 0x4000_0000))
    return tuple(b for b in bands if machine.memories.region_at(b.base) is None)
