"""Whether code runs in a circle that it cannot leave by itself."""

from __future__ import annotations

from collections.abc import Sequence

from mcusim.emulator.blocks import Block, Ending
from mcusim.instruction_mix import FIELDS

__all__ = ["is_endless"]

_ACTS = [
    position
    for position, name in enumerate(FIELDS)
    if name in ("load_accesses", "store_accesses", "call", "branch_indirect", "branch_table")
]


def is_endless(blocks: Sequence[Block]) -> bool:
    """Whether the blocks executed last turn in a circle without end and without doing anything.

    That is so when one comes twice, and none decides, reads, writes, or goes where a register says:
    ``while (1);`` at the end of a handler, with whatever of ``nop`` is within.

    Args:
        blocks: the latest first.
    """
    until = next((n for n, block in enumerate(blocks[1:], start=1) if block is blocks[0]), 0)
    return until > 0 and not any(
        block.ending is Ending.CONDITIONAL or block.vector[_ACTS].any() for block in blocks[:until]
    )
