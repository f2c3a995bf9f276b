"""A stand-in for the boot ROM of an RP2040: its tables of routines, answered by mcusim.

Firmware built with the Pico SDK looks routines up in the ROM (RP2040 datasheet, section 2.8.3).
Each is a breakpoint here that ends in what the routine computes, and costs about what the datasheet
gives for the chip's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from unicorn import arm_const as arm

from mcusim.emulator.memories import MemoryRegion
from mcusim.emulator.soft_float import FLOAT_ROUTINES, Routine
from mcusim.errors import InputError

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["install_boot_rom"]

_SIZE = 0x4000
_FLASH = 0x1000_0000
_FUNCTIONS, _DATA, _LOOKUP, _TABLES, _STUBS = 0x100, 0x180, 0x040, 0x200, 0x400
_TABLE_BYTES = 0x90
_BREAKPOINT, _RETURN = 0xBE00, 0x4770
_VERSION = 3
_REGISTERS, _REGISTERS_END, _MOST_REGISTERS = 0x4000_0000, 0x6000_0000, 0x1_0000
_STACK = 0x2004_1F00

#: rom_table_lookup(table, code): pairs of a code and an address, until a code of 0.
_LOOKUP_CODE = (
    *(0x8803, 0x2B00, 0xD004, 0x428B, 0xD001, 0x3004, 0xE7F8),
    *(0x8840, 0x4770, 0x2000, 0x4770),
)


def install_boot_rom(machine: Machine) -> Mapping[int, Callable[[], None]]:
    """Put the ROM into a machine.

    Returns:
        What answers the breakpoint at each address.
    """
    rom = bytearray(b"\0" * _SIZE)
    traps: dict[int, Callable[[], None]] = {}
    functions, data = bytearray(), bytearray()

    def stub(answer: Callable[[], None]) -> int:
        address = _STUBS + 4 * len(traps)
        struct.pack_into("<HH", rom, address, _BREAKPOINT, _RETURN)
        traps[address] = answer
        return address | 1

    memory_routines = _Routines(machine)
    for code, answer in memory_routines.by_code().items():
        functions += struct.pack("<2sH", code.encode(), stub(answer))
    for number, (code, is_double) in enumerate((("SF", False), ("SD", True))):
        table = _TABLES + _TABLE_BYTES * number
        rom[table - 2] = len(FLOAT_ROUTINES)  # the SDK makes sure that it knows them all
        for place, routine in enumerate(FLOAT_ROUTINES):
            answer = memory_routines.float_routine(routine, is_double)
            struct.pack_into("<I", rom, table + 4 * place, stub(answer))
        data += struct.pack("<2sH", code.encode(), table)
    struct.pack_into("<II", rom, 0, _STACK, _LOOKUP | 1)
    struct.pack_into("<2sBB", rom, 0x10, b"Mu", 1, _VERSION)
    struct.pack_into("<HHH", rom, 0x14, _FUNCTIONS, _DATA, _LOOKUP | 1)
    struct.pack_into(f"<{len(_LOOKUP_CODE)}H", rom, _LOOKUP, *_LOOKUP_CODE)
    rom[_FUNCTIONS : _FUNCTIONS + len(functions)] = functions
    rom[_DATA : _DATA + len(data)] = data
    machine.memories.add(MemoryRegion("boot rom", 0, _SIZE, is_flash=True))
    machine.write(0, bytes(rom))
    return traps


class _Routines:
    """The routines on the memory and registers of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._uc = machine.uc

    def by_code(self) -> dict[str, Callable[[], None]]:
        """Routines by the code they are looked up with (datasheet, section 2.8.3.1)."""
        return {
            "P3": lambda: self._bits(int.bit_count),
            "R3": lambda: self._bits(lambda x: int(f"{x:032b}"[::-1], 2)),
            "L3": lambda: self._bits(lambda x: 32 - x.bit_length()),
            "T3": lambda: self._bits(lambda x: (x & -x).bit_length() - 1 if x else 32),
            "MS": self._fill,
            "S4": self._fill,
            "MC": self._copy,
            "C4": self._copy,
            "IF": lambda: None,
            "EX": lambda: None,
            "FC": lambda: None,
            "CX": lambda: None,
            "RE": self._erase,
            "RP": self._program,
            "UB": self._usb_boot,
        }

    def float_routine(self, routine: Routine, is_double: bool) -> Callable[[], None]:
        """A routine of the tables of floating-point ones."""

        def answer() -> None:
            words = [self._register(i) for i in range(4)]
            results, flags = routine(words, is_double)
            for i, value in enumerate(results):
                self._uc.reg_write(arm.UC_ARM_REG_R0 + i, value & 0xFFFF_FFFF)
            if flags is not None:
                kept = self._uc.reg_read(arm.UC_ARM_REG_APSR) & 0x0FFF_FFFF
                self._uc.reg_write(arm.UC_ARM_REG_APSR, kept | flags << 28)
            self._machine.counter.add_cycles(140 if is_double else 70)

        return answer

    def _register(self, number: int) -> int:
        return int(self._uc.reg_read(arm.UC_ARM_REG_R0 + number))

    def _bits(self, function: Callable[[int], int]) -> None:
        self._uc.reg_write(arm.UC_ARM_REG_R0, function(self._register(0)))
        self._machine.counter.add_cycles(20)

    def _fill(self) -> None:
        address, value, size = (self._register(i) for i in range(3))
        self._move(address, size, lambda: bytes([value & 0xFF]) * size)
        self._machine.counter.add_cycles(20 + size / 4)

    def _copy(self) -> None:
        to, start, size = (self._register(i) for i in range(3))
        self._move(to, size, lambda: self._loaded(start, size))
        self._machine.counter.add_cycles(20 + size / 2)

    def _erase(self) -> None:
        start, size = _FLASH + self._register(0), self._register(1)
        self._move(start, size, lambda: b"\xff" * size)

    def _program(self) -> None:
        start, data, size = _FLASH + self._register(0), self._register(1), self._register(2)
        self._move(start, size, lambda: self._loaded(data, size))

    def _usb_boot(self) -> None:
        from mcusim.emulator.machine import Stop, StopReason

        said = "the firmware left for the boot loader on USB"
        self._machine.halt(Stop(StopReason.EXITED, said))

    def _move(self, address: int, size: int, data: Callable[[], bytes]) -> None:
        """Store what a routine computed; where nothing is, the run ends as in a fault."""
        try:
            self._store(address, size, data)
        except InputError as error:
            self._machine.fail(f"a routine of the boot ROM was called wrongly: {error}")

    def _store(self, address: int, size: int, data: Callable[[], bytes]) -> None:
        if self._machine.memories.holds(address, size):
            self._machine.write(address, data())
            return
        self._check_registers(address, size)
        for i, byte in enumerate(data()):
            self._machine.bus.write(address + i, 1, byte)

    def _loaded(self, address: int, size: int) -> bytes:
        if self._machine.memories.holds(address, size):
            return self._machine.read(address, size)
        self._check_registers(address, size)
        return bytes(self._machine.bus.read(address + i, 1) for i in range(size))

    def _check_registers(self, address: int, size: int) -> None:
        if not _REGISTERS <= address <= address + size <= _REGISTERS_END or size > _MOST_REGISTERS:
            raise InputError(f"nothing of {size} bytes is at {address:#010x}")
