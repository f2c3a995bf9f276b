"""Time and energy of moving bytes between SRAM, on-chip flash and a µSD card over SPI.

Of the card no more is known than 2 GB, class 4, so that times of its own are ranges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcusim.boards import (
    Board,
    ConstantStream,
    MemoryTraffic,
    price,
)
from mcusim.instruction_mix import InstructionMix

__all__ = ["Card", "Reach", "board_power_w", "flash_read_s", "flash_write_s", "sram_read_s"]

#: Power of the whole board while it writes to the card, at two clocks of the SPI (section 5.1).
_POWER_W = ((100e3, 0.460), (25e6, 0.590))

#: Programming of 32 bits at 3.3 V, typical and longest; DS11532, flash memory programming
#: (unchecked).
_PROGRAM_WORD_S = (16e-6, 100e-6)
#: Erasing a sector of 256 KB, with parallelism of 32 bits; the same (unchecked).
_ERASE_S = (1.0, 2.0)
_SECTOR_BYTES = 262_144


@dataclass(frozen=True)
class Reach:
    """A quantity between two ends.

    Attributes:
        low: the smallest.
        high: the largest.
    """

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The geometric mean of the ends."""
        return math.sqrt(self.low * self.high)

    def times(self, factor: float) -> Reach:
        """Both ends multiplied."""
        return Reach(factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Card:
    """An SD card in SPI mode, which reads and writes blocks.

    Attributes:
        block_bytes: of one block (SD specification).
        frame_bytes: sent with each block: command, response, token, checksum (the same).
        access_s: from a command to read until the block comes. A 2 GB card on the same adaptor
            answered 512-byte reads in 1.2 ms at 8 MHz, half of it transfer
            (forum.arduino.cc/t/169505).
        busy_s: after a written block. A fast card took 0.85 ms a block with its transfer, and at
            times 2 to 3 ms more (SdFat, CardPerformance.txt).
    """

    block_bytes: int = 512
    frame_bytes: int = 12
    access_s: Reach = Reach(1e-4, 6e-4)
    busy_s: Reach = Reach(2e-4, 3e-3)

    def read_s(self, count: float, clock_hz: float) -> Reach:
        """Time to read bytes, in seconds."""
        return self._moved(count, clock_hz, self.access_s)

    def write_s(self, count: float, clock_hz: float) -> Reach:
        """Time to write bytes, in seconds; what is less than a block takes a block."""
        return self._moved(count, clock_hz, self.busy_s)

    def _moved(self, count: float, clock_hz: float, waits: Reach) -> Reach:
        blocks = math.ceil(count / self.block_bytes)
        transfer_s = 8 * (self.block_bytes + self.frame_bytes) / clock_hz
        return Reach(blocks * (transfer_s + waits.low), blocks * (transfer_s + waits.high))


def board_power_w(clock_hz: float) -> float:
    """Power of the board at a clock of the SPI: the line through the two published ones."""
    (slow_hz, slow_w), (fast_hz, fast_w) = _POWER_W
    return slow_w + (fast_w - slow_w) * (clock_hz - slow_hz) / (fast_hz - slow_hz)


def sram_read_s(board: Board, count: float) -> float:
    """Time to load bytes from SRAM word by word, in seconds."""
    return _loaded_s(board, count, "ram")


def flash_read_s(board: Board, count: float) -> float:
    """Time to load bytes from on-chip flash word by word, in seconds."""
    return _loaded_s(board, count, "flash")


def _loaded_s(board: Board, count: float, place: str) -> float:
    # A word takes a load, and a quarter of a pass of an unrolled loop.
    words = count / 4
    counts = {"load_word": words, "load_accesses": words, "alu": words / 2}
    counts |= {"branch_conditional": words / 4, "taken_conditional": words / 4}
    mix = InstructionMix.of(counts)
    traffic = MemoryTraffic(constants=(ConstantStream(count, count),))
    clock_hz = board.clock.default_hz
    return price(board, clock_hz, mix, traffic, placement={"weights": place}).total / clock_hz


def flash_write_s(count: float) -> Reach:
    """Time to erase sectors and program bytes, in seconds."""
    sectors, words = math.ceil(count / _SECTOR_BYTES), count / 4
    ends = zip(_ERASE_S, _PROGRAM_WORD_S, strict=True)
    low, high = (sectors * erase + words * program for erase, program in ends)
    return Reach(low, high)
