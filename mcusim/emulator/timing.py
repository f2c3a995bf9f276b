"""What executed blocks cost: the same price as that of a kernel's profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.boards import (
    Board,
    Bounds,
    CodeTraffic,
    ConstantStream,
    MemoryTraffic,
    external_energy_j,
    price,
)
from mcusim.emulator.blocks import Block, Ending
from mcusim.emulator.counts import Counts
from mcusim.emulator.data_samples import DataSamples
from mcusim.emulator.memories import Memories
from mcusim.estimates import PartEstimate
from mcusim.instruction_mix import InstructionMix

__all__ = ["EXECUTED", "BlockPricing", "ranges"]

#: What stands for a kernel profile where instructions were executed.
EXECUTED = "executed"
_LITERAL_BYTES = 4.0
#: So many that what happens once is nothing beside them.
_TURNS = 1e6


@dataclass(frozen=True)
class BlockPricing:
    """Prices blocks on a board.

    Attributes:
        board: where they were executed.
        clock_hz: of the core.
        memories: where code lies.
        samples: where its data lies.
    """

    board: Board
    clock_hz: float
    memories: Memories
    samples: DataSamples

    def block_cycles(self, block: Block) -> float:
        """Cycles of one execution of a block, without those of a taken branch at its end.

        Code that is executed now is taken to stay in an instruction cache, if there is one. What
        follows a branch's target in order is not fetched in vain, so that a block which ends in a
        branch is priced with it, and :meth:`taken_cycles` are taken off.
        """
        size = float(block.size)
        if block.ending is Ending.FALLS_THROUGH:
            return self._cycles(InstructionMix(block.vector), size, 0.0, block)
        mix = InstructionMix(block.vector) + InstructionMix.of({"taken_unconditional": 1})
        return max(0.0, self._cycles(mix, size, 1.0, block) - self.taken_cycles())

    def taken_cycles(self) -> float:
        """Cycles of a branch that is taken, beside those of its block."""
        mix = InstructionMix.of({"taken_unconditional": 1})
        return self._cycles(mix, 0.0, 1.0, None)

    def part(self, name: str, counts: Counts) -> PartEstimate:
        """Price some blocks together.

        A loop is known by how often its blocks are executed: blocks that are executed more often
        are taken to lie within loops of those that are executed less often.

        Args:
            name: what they are.
            counts: how often each was executed.
        """
        ran = np.flatnonzero(counts.executed)
        mixes = counts.mixes()[ran]
        mix = InstructionMix(mixes.sum(axis=0)) if len(ran) else InstructionMix.zero()
        blocks = [counts.blocks[number] for number in ran]
        executed = counts.executed[ran].astype(np.float64)
        code = None
        if blocks:
            sizes = np.array([float(block.size) for block in blocks])
            code = CodeTraffic.nested(executed, sizes, counts.taken[ran] / executed)
        streams, placement = self._streams(blocks, executed)
        traffic = MemoryTraffic(code, streams)
        cycles = price(self.board, self.clock_hz, mix, traffic, placement=placement)
        latency_s = cycles.total / self.clock_hz
        energy_j = latency_s * self.board.power.active_w(self.clock_hz)
        return PartEstimate(
            kernel=name,
            reason="",
            instructions=mix,
            cycles_by_cause=cycles,
            latency_s=latency_s,
            energy_j=energy_j + external_energy_j(self.board, traffic, placement),
            priced_by=EXECUTED,
            is_exact=True,
            error=0.0,
        )

    def _cycles(self, mix: InstructionMix, size: float, taken: float, block: Block | None) -> float:
        """Cycles of one of many executions in turn: the first, which fills caches, is like none."""
        code = CodeTraffic.of([size], [size * _TURNS], [taken * _TURNS])
        blocks = [block] if block else []
        streams, placement = self._streams(blocks, np.full(len(blocks), _TURNS))
        traffic = MemoryTraffic(code, streams)
        priced = price(self.board, self.clock_hz, mix.scaled(_TURNS), traffic, placement=placement)
        return priced.total / _TURNS

    def _streams(
        self, blocks: Sequence[Block], executed: np.ndarray[tuple[int], np.dtype[np.float64]]
    ) -> tuple[tuple[ConstantStream, ...], dict[str, str]]:
        """Literals and tables that blocks read, and the memories of code and of these."""
        place = self._place(blocks)
        literals = _literals(blocks, executed)
        tables = self.samples.flash_reads(blocks, executed.tolist())
        if tables is None:
            return literals, {"code": place, "weights": place}
        stream = ConstantStream(
            tables.bytes, min(tables.bytes, tables.held), tables.bytes / tables.accesses
        )
        # Literals of code in RAM lie there with it, and wait for nothing.
        streams = (*literals, stream) if place == "flash" else (stream,)
        return streams, {"code": place, "weights": "flash"}

    def _place(self, blocks: Sequence[Block]) -> str:
        """The board's name of the memory that most of some blocks lie in."""
        if not blocks:
            return "flash"
        region = self.memories.region_at(max(blocks, key=lambda block: block.size).address)
        if region is None or region.name not in self.board.places:
            return "ram"
        return "flash" if region.is_flash and region.name not in self.board.memory else region.name


def ranges(board: Board, family: str = "rest") -> tuple[tuple[float, float], tuple[float, float]]:
    """Measured over predicted, low and high, 90 %: of time, and of energy.

    Args:
        board: where it ran.
        family: of operators that takes most of the time.
    """
    bounds = Bounds.of(board, EXECUTED, family)
    time, power = bounds.time, bounds.power
    low = math.exp(-math.hypot(math.log(time[0]), math.log(power[0])))
    high = math.exp(math.hypot(math.log(time[1]), math.log(power[1])))
    return time, (min(low, time[0]), max(high, time[1]))


def _literals(
    blocks: Sequence[Block], executed: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> tuple[ConstantStream, ...]:
    """Constants that code reads relative to the pc."""
    held = sum(block.literal_bytes for block in blocks)
    if not held:
        return ()
    read = sum(
        float(times) * block.literal_bytes for block, times in zip(blocks, executed, strict=True)
    )
    return (ConstantStream(read, float(held), _LITERAL_BYTES),)
