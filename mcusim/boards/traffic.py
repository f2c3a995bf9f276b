"""What some instructions ask of memory, whatever they were counted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mcusim.instruction_mix import InstructionMix

__all__ = ["PLACES", "CodeTraffic", "ConstantStream", "MemoryTraffic", "WorkingTraffic"]

#: What may be placed in a memory of its own, and where it lies unless said otherwise.
PLACES = {"code": "flash", "weights": "flash", "arena": "ram", "stack": "ram"}

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CodeTraffic:
    """Instructions fetched, loop by loop or block by block.

    Attributes:
        footprint_bytes: float64, shape ``(loops,)``: code that runs from one turn of the loop to
            its next, its own and that of loops within; what a cache must hold to serve it.
        instruction_bytes: float64, shape ``(loops,)``: bytes of the loop's own instructions, of
            all turns together.
        taken_branches: float64, shape ``(loops,)``: taken by them, of all turns together.
    """

    footprint_bytes: _Floats
    instruction_bytes: _Floats
    taken_branches: _Floats

    @classmethod
    def of(
        cls,
        footprint_bytes: Iterable[float],
        instruction_bytes: Iterable[float],
        taken_branches: Iterable[float],
    ) -> CodeTraffic:
        """The same from plain numbers."""
        columns = (footprint_bytes, instruction_bytes, taken_branches)
        return cls(*(np.fromiter(column, np.float64) for column in columns))

    @classmethod
    def nested(
        cls, turns: _Floats, bytes_per_turn: _Floats, branches_per_turn: _Floats
    ) -> CodeTraffic:
        """Loops of which those that turn more often lie within those that turn less often.

        Args:
            turns: float64, shape ``(loops,)``.
            bytes_per_turn: float64, shape ``(loops,)``: of a loop's own instructions.
            branches_per_turn: float64, shape ``(loops,)``: taken.
        """
        order = np.argsort(-turns, kind="stable")
        own = bytes_per_turn[order]
        often = turns[order]
        return cls(np.cumsum(own), often * own, often * branches_per_turn[order])

    @classmethod
    def tight(cls, mix: InstructionMix, instruction_bytes: float) -> CodeTraffic:
        """A loop so small that every cache holds it."""
        return cls.of([0.0], [mix.total * instruction_bytes], [mix.taken_branches])


@dataclass(frozen=True)
class ConstantStream:
    """Weights, biases, tables or literals as a kernel reads them.

    Attributes:
        bytes_read: in all, as often as each is read.
        bytes_held: how much memory they are.
        access_bytes: of one access.
        rows: places that are read in turns, each going on where it stopped: a cache must hold a
            line of each.
        window_bytes: how much of them is read before it is read again; all when None.
    """

    bytes_read: float
    bytes_held: float
    access_bytes: float = 4.0
    rows: int = 1
    window_bytes: float | None = None


@dataclass(frozen=True)
class WorkingTraffic:
    """Accesses of what is read and written while it runs: activations, or the stack.

    Attributes:
        accesses: loads and stores.
        bytes_touched: how much memory they are.
        access_bytes: of one access.
    """

    accesses: float = 0.0
    bytes_touched: float = 0.0
    access_bytes: float = 4.0


@dataclass(frozen=True)
class MemoryTraffic:
    """All of it. Kernel profiles and executed code both end in this.

    Attributes:
        code: instructions; None for a loop so small that every cache holds it.
        constants: streams of constants.
        arena: activations and scratch buffers.
        stack: saved registers and locals.
    """

    code: CodeTraffic | None = None
    constants: tuple[ConstantStream, ...] = ()
    arena: WorkingTraffic = field(default_factory=WorkingTraffic)
    stack: WorkingTraffic = field(default_factory=WorkingTraffic)
