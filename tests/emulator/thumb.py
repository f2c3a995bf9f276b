"""Programs as halfwords of Thumb code, and boards to run them on."""

from __future__ import annotations

import struct

from mcusim.boards import Board, load_board
from mcusim.emulator.images import Image, Segment, Symbol
from mcusim.emulator.machine import Machine

__all__ = ["BASE", "RAM", "STACK", "board", "halfwords", "machine_with", "program"]

BASE, RAM, STACK = 0x40, 0x2000_0000, 0x2000_8000


def halfwords(*values: int) -> bytes:
    """Little-endian halfwords."""
    return struct.pack(f"<{len(values)}H", *values)


def board(core: str = "m4") -> Board:
    """A board whose flash begins at 0."""
    found = load_board("nrf52840-dk")
    if core == "m4":
        return found
    other = {
        "m0plus": "raspberry-pi-pico",
        "m3": "nucleo-f207zg",
        "m33": "nucleo-u575zi-q",
        "m7": "nucleo-f767zi",
    }[core]
    return found.model_copy(update={"core": load_board(other).core})


def program(code: bytes, *symbols: Symbol) -> Image:
    """An image with a vector table of two words, and code behind it."""
    vectors = struct.pack("<II", STACK, BASE | 1).ljust(BASE, b"\0")
    data = vectors + code
    return Image("program", (Segment(0, 0, data, len(data)),), BASE, 0, tuple(symbols))


def machine_with(code: bytes, core: str = "m4", *symbols: Symbol) -> Machine:
    """A machine in reset with this code at its entry."""
    return Machine(program(code, *symbols), board(core))
