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
        instruction_bytes: float64, shape ``(loops,)``: bytes of the instructions that are executed
            again after that much code, of all turns together.
        taken_branches: float64, shape ``(loops,)``: taken by them, of all turns together.
        footprint_branches: float64, shape ``(loops,)``: taken from one turn of the loop to its
            next.
    """

    footprint_bytes: _Floats
    instruction_bytes: _Floats
    taken_branches: _Floats
    footprint_branches: _Floats

    @classmethod
    def of(
        cls,
        footprint_bytes: Iterable[float],
        instruction_bytes: Iterable[float],
        taken_branches: Iterable[float],
    ) -> CodeTraffic:
        """The same from plain numbers, of code that uses lines of a cache in full."""
        columns = (footprint_bytes, instruction_bytes, taken_branches)
        footprint, fetched, taken = (np.fromiter(column, np.float64) for column in columns)
        return cls(footprint, fetched, taken, np.zeros_like(footprint))

    @classmethod
    def nested(
        cls,
        turns: _Floats,
        bytes_per_turn: _Floats,
        branches_per_turn: _Floats,
        calls: _Floats | None = None,
        function: npt.NDArray[np.intp] | None = None,
    ) -> CodeTraffic:
        """Loops of which those that turn more often lie within those that turn less often.

        A loop that turns ``t`` times within one that turns ``u`` times comes back to its code
        ``t - u`` times after a turn of its own, and ``u`` times after one of the other, which a
        cache must hold for that.

        Args:
            turns: float64, shape ``(loops,)``.
            bytes_per_turn: float64, shape ``(loops,)``: of a loop's own instructions.
            branches_per_turn: float64, shape ``(loops,)``: taken.
            calls: float64, shape ``(loops,)``: how often the function of each loop is called. Its
                loops lie within those of another that turn no more often than that.
            function: intp, shape ``(loops,)``: which one that is; all are of one when None.
        """
        order = np.argsort(-turns, kind="stable")
        often = turns[order]
        # Row by column: whether the code of a loop is executed within a turn of another.
        within = np.tri(len(often), dtype=np.bool_)
        if calls is not None and function is not None:
            called, of = calls[order], function[order]
            within &= (of[:, None] == of) | (called >= often[:, None])
        outer = np.zeros((len(often) + 1, len(often)))
        outer[:-1] = np.where(within, often[:, None], 0.0)
        outer = np.maximum.accumulate(outer[::-1])[::-1]
        again = np.where(within, often[:, None] - outer[1:], 0.0)
        own, taken = bytes_per_turn[order], branches_per_turn[order]
        return cls(within @ own, again @ own, again @ taken, within @ taken)

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
