"""Small firmware for whole chips: vector tables with handlers, and the chips to run them on."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from mcusim.emulator.chips import Chip, boot_machine
from mcusim.emulator.images import Image, Segment
from mcusim.emulator.machine import Machine
from mcusim.emulator.peripheral_tables import ChipTable
from tests.emulator.thumb import BASE, STACK, board, halfwords

__all__ = ["CHIP", "firmware", "registers", "start", "word"]

#: A chip without peripherals of its own.
CHIP = ChipTable(chip="bare", interrupts=32, priority_bits=3)


def firmware(code: tuple[int, ...], handlers: Mapping[int, int]) -> Image:
    """Halfwords of code at ``BASE``, and addresses of handlers by exception."""
    vectors = [STACK, BASE | 1] + [0] * 14
    for number, address in handlers.items():
        vectors[number] = address | 1
    data = struct.pack("<16I", *vectors) + halfwords(*code)
    return Image("program", (Segment(0, 0, data, len(data)),), BASE, 0)


def start(
    code: tuple[int, ...],
    handlers: Mapping[int, int] | None = None,
    core: str = "m4",
    table: ChipTable = CHIP,
    files: Mapping[str, Path] | None = None,
) -> tuple[Machine, Chip]:
    """A machine with its chip, after reset."""
    return boot_machine(firmware(code, handlers or {}), board(core), table=table, files=files)


def registers(machine: Machine, *names: str) -> tuple[int, ...]:
    """Registers by name."""
    from unicorn import arm_const

    numbers = (getattr(arm_const, f"UC_ARM_REG_{name.upper()}") for name in names)
    return tuple(int(machine.uc.reg_read(number)) for number in numbers)


def word(machine: Machine, address: int) -> int:
    """A word of memory."""
    return int.from_bytes(machine.read(address, 4), "little")
