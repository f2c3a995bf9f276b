"""Firmware from reset on a whole board: core, memories, peripherals, and who listens to them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mcusim.boards import Board
from mcusim.emulator.chips import Chip, boot_machine
from mcusim.emulator.images import Image, load_image
from mcusim.emulator.machine import Machine
from mcusim.emulator.peripheral_tables import ChipTable, chip_of_board, load_chip

__all__ = ["power_on"]

#: How often up-buffers are read, per second of board time: before a kilobyte of log is full.
_READS_PER_S = 1000
#: The same where the control block has no symbol, so that all of RAM must be looked through.
_SEARCHES_PER_S = 1


def power_on(
    image: Image | str | os.PathLike[str],
    board: Board,
    *,
    clock_hz: float | None = None,
    peripherals: ChipTable | str | os.PathLike[str] | None = None,
    files: Mapping[str, Path] | None = None,
) -> Machine:
    """Put firmware onto a board that stands in reset.

    Args:
        image: the firmware, or the path of its file.
        board: where it runs.
        clock_hz: clock of the core; the board's own when None.
        peripherals: a table of registers, by name or as a file whose registers lie over those of
            the board; that of the board when None.
        files: what the firmware may open by semihosting: its name for a file, and the file.

    Returns:
        The machine, with output of UARTs, RTT, ITM and semihosting in :attr:`Machine.outputs`.

    Raises:
        ImageError: the file is no firmware.
        InputError: it does not fit the board.
        BoardError: the table of peripherals cannot be used.
    """
    if not isinstance(image, Image):
        image = load_image(image)
    table = chip_of_board(board)
    if isinstance(peripherals, ChipTable):
        table = peripherals
    elif peripherals is not None:
        table = load_chip(peripherals, over=table)
    machine, chip = boot_machine(image, board, table=table, clock_hz=clock_hz, files=files)
    machine.refused_files = chip.semihosting.refused
    _listen(machine, chip)
    return machine


def _listen(machine: Machine, chip: Chip) -> None:
    def read() -> None:
        for number, data in chip.rtt.drain():
            machine.emit(f"rtt{number}", data)

    per_s = _READS_PER_S if machine.image.symbol("_SEGGER_RTT") else _SEARCHES_PER_S
    machine.listen(read, machine.clock_hz / per_s)
