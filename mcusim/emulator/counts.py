"""How often blocks were executed, and what that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.emulator.blocks import Block, Ending
from mcusim.instruction_mix import FIELDS, InstructionMix

__all__ = ["Counts"]

_TAKEN_CONDITIONAL = FIELDS.index("taken_conditional")
_TAKEN_UNCONDITIONAL = FIELDS.index("taken_unconditional")


@dataclass(frozen=True, eq=False)
class Counts:
    """How often blocks were executed, and how often the branch at their end was taken.

    Attributes:
        blocks: the blocks.
        executed: int64, shape ``(blocks,)``.
        taken: int64, shape ``(blocks,)``; zero where a block ends in no branch.
    """

    blocks: tuple[Block, ...]
    executed: npt.NDArray[np.int64]
    taken: npt.NDArray[np.int64]

    def since(self, before: Counts) -> Counts:
        """What was executed after ``before``, an earlier reading of the same counter."""
        executed, taken = self.executed.copy(), self.taken.copy()
        executed[: len(before.executed)] -= before.executed
        taken[: len(before.taken)] -= before.taken
        return Counts(self.blocks, executed, taken)

    def chosen(self, numbers: Sequence[int]) -> Counts:
        """Only some of the blocks, by position."""
        places = np.array(numbers, np.int64)
        blocks = tuple(self.blocks[number] for number in numbers)
        return Counts(blocks, self.executed[places], self.taken[places])

    def mixes(self) -> npt.NDArray[np.float64]:
        """float64, shape ``(blocks, len(FIELDS))``: what each block counts in all."""
        if not self.blocks:
            return np.zeros((0, len(FIELDS)))
        found = np.stack([block.vector for block in self.blocks]) * self.executed[:, None]
        conditional = np.array([block.ending is Ending.CONDITIONAL for block in self.blocks])
        found[:, _TAKEN_CONDITIONAL] += np.where(conditional, self.taken, 0)
        found[:, _TAKEN_UNCONDITIONAL] += np.where(conditional, 0, self.taken)
        return found

    def mix(self) -> InstructionMix:
        """All of them together."""
        return InstructionMix(self.mixes().sum(axis=0))
