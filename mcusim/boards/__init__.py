"""Boards as TOML describes them: core timing, memories, clock and supply."""

from mcusim.boards.board import Board
from mcusim.boards.calibration import Calibration, time_bounds
from mcusim.boards.core import Core
from mcusim.boards.files import (
    BoardFile,
    board_names,
    load_board,
    read_board_file,
    without_fpu,
)
from mcusim.boards.timing import Cycles, price

__all__ = [
    "Board",
    "BoardFile",
    "Calibration",
    "Core",
    "Cycles",
    "board_names",
    "load_board",
    "price",
    "read_board_file",
    "time_bounds",
    "without_fpu",
]
