"""Boards as TOML describes them: core timing, memories, clock and supply."""

from mcusim.boards.board import Board
from mcusim.boards.bounds import Bounds, half_width, widened
from mcusim.boards.calibration import Calibration
from mcusim.boards.core import Core
from mcusim.boards.files import (
    BoardFile,
    board_names,
    load_board,
    read_board_file,
    without_fpu,
)
from mcusim.boards.memory import Flash, Memory, MemoryPath
from mcusim.boards.power import SUPPLY_V, Power, Regulator
from mcusim.boards.timing import Cycles, external_energy_j, price
from mcusim.boards.traffic import (
    PLACES,
    CodeTraffic,
    ConstantStream,
    MemoryTraffic,
    WorkingTraffic,
)

__all__ = [
    "PLACES",
    "SUPPLY_V",
    "Board",
    "BoardFile",
    "Bounds",
    "Calibration",
    "CodeTraffic",
    "ConstantStream",
    "Core",
    "Cycles",
    "Flash",
    "Memory",
    "MemoryPath",
    "MemoryTraffic",
    "Power",
    "Regulator",
    "WorkingTraffic",
    "board_names",
    "external_energy_j",
    "half_width",
    "load_board",
    "price",
    "read_board_file",
    "widened",
    "without_fpu",
]
