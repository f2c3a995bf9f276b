"""From executed instructions to cycles: the core, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.boards.board import Board
from mcusim.instruction_mix import InstructionMix

__all__ = ["Cycles", "price"]


@dataclass(frozen=True)
class Cycles:
    """Where the cycles of some instructions go.

    Attributes:
        core: executing, with memory that never waits.
        fetch: waiting for instructions from flash.
        data: waiting for constants from flash.
    """

    core: float
    fetch: float
    data: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.core + self.fetch + self.data


def price(
    board: Board,
    clock_hz: float,
    mix: InstructionMix,
    *,
    code_in_flash: bool = True,
    constant_bytes_read: float = 0.0,
    constant_bytes_held: float = 0.0,
    misaligned_accesses: float = 0.0,
) -> Cycles:
    """Price an instruction mix, whatever it was counted from.

    Fetching asks flash for a new line after every ``line_bytes`` of instructions and at every
    taken branch; ``fetch_miss_rate`` of these wait. Constants that outgrow the data cache are
    streamed: each line waits once, or each access when there is no data cache. What measured runs
    showed beyond that scales the cycles.

    Args:
        board: where it runs.
        clock_hz: clock of the core, which sets the wait states.
        mix: what is executed.
        code_in_flash: whether instructions come from flash.
        constant_bytes_read: bytes of constants that these instructions read from flash.
        constant_bytes_held: size of those constants in flash.
        misaligned_accesses: accesses that words at odd addresses take beyond their first.

    Returns:
        Cycles, by cause.
    """
    flash = board.flash
    wait_states = flash.wait_states_at(clock_hz)
    lines = mix.total * board.core.extra.instruction_bytes / flash.line_bytes + mix.taken_branches
    fetch = lines * flash.fetch_miss_rate * wait_states if code_in_flash else 0.0
    # A product reads a constant and an activation, so constants are at most half of what is loaded.
    waiting = min(constant_bytes_read, mix.loaded_bytes / 2)
    unit_bytes = float(flash.line_bytes)
    if not flash.dcache_bytes:
        accesses = mix["load_accesses"]
        unit_bytes = mix.loaded_bytes / accesses if accesses else unit_bytes
    elif constant_bytes_held <= flash.dcache_bytes:
        waiting = min(waiting, constant_bytes_held)
    core = board.core.cycles_of(mix)
    core += misaligned_accesses * board.core.extra.misaligned_access_cycles
    data = waiting / unit_bytes * wait_states
    if fitted := board.calibration:
        scale = fitted.time_scale
        return Cycles(core * scale, fetch * scale, data * fitted.constant_wait_scale * scale)
    return Cycles(core, fetch, data)
