"""Where the data of executed blocks lies, seen from registers at some of their executions.

Unicorn's memory hooks would tell every access, but corrupt conditional code. The memory that a
pointer points to does not change from turn to turn of a loop, so that some turns tell it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcusim.emulator.blocks import Access, Block
from mcusim.emulator.image_types import Image
from mcusim.emulator.memories import Memories
from mcusim.emulator.traps import Traps

__all__ = ["DataSamples", "FlashReads"]

#: Executions of a block that are looked at, each time it is.
_EXECUTIONS = 3
#: What a table without a symbol is taken to hold at least, in bytes.
_LEAST_TABLE = 64


@dataclass(frozen=True)
class FlashReads:
    """What one execution of some blocks reads from a memory through pointers, on average.

    Attributes:
        bytes: read.
        accesses: of memory.
        held: size of the tables that were seen.
    """

    bytes: float
    accesses: float
    held: float


@dataclass
class _Seen:
    """Samples of one access.

    Attributes:
        regions: how often it was in each memory; empty where none is.
        low: lowest address in flash.
        high: end of the highest.
    """

    regions: Counter[str] = field(default_factory=Counter)
    low: int = 1 << 32
    high: int = 0


class DataSamples:
    """Samples by block.

    Args:
        uc: the ``unicorn.Uc`` whose registers are looked at.
        memories: of the board.
        image: whose symbols tell the size of tables.
        traps: hears where accesses go.
    """

    def __init__(self, uc: Any, memories: Memories, image: Image, traps: Traps) -> None:
        self._uc = uc
        self._memories = memories
        self._image = image
        self._traps = traps
        self._seen: dict[tuple[int, int], tuple[_Seen, ...]] = {}
        self._left: dict[int, int] = {}

    def look(self, number: int, block: Block) -> bool:
        """Look at the registers as a block begins.

        Returns:
            Whether to look at its next execution as well.
        """
        seen = self._seen.get((block.address, block.size))
        if seen is None:
            seen = tuple(_Seen() for _ in block.accesses)
            self._seen[block.address, block.size] = seen
        for access, samples in zip(block.accesses, seen, strict=True):
            address = self._address(access)
            self._traps.see(block, access, address)
            region = self._memories.region_at(address)
            samples.regions[region.name if region else ""] += 1
            if region is not None and region.is_flash:
                samples.low = min(samples.low, address)
                samples.high = max(samples.high, address + access.bytes)
        left = self._left.get(number, _EXECUTIONS) - 1
        self._left[number] = left or _EXECUTIONS
        return left > 0

    def flash_reads(self, blocks: Sequence[Block], executed: Sequence[float]) -> FlashReads | None:
        """What some blocks read from flash through pointers, in all.

        Args:
            blocks: them.
            executed: how often each was.

        Returns:
            The sum; None where they read none.
        """
        total_bytes = total_accesses = 0.0
        tables: dict[int, int] = {}
        for block, times in zip(blocks, executed, strict=True):
            for access, share, seen in self._loads(block):
                if share:
                    total_bytes += share * times * access.bytes
                    total_accesses += share * times * access.words
                    tables.update(self._table(seen))
        if not total_accesses:
            return None
        return FlashReads(total_bytes, total_accesses, float(sum(tables.values())))

    def _loads(self, block: Block) -> Iterator[tuple[Access, float, _Seen]]:
        """Loads of a block, and the share of their samples that lies in flash."""
        seen = self._seen.get((block.address, block.size), ())
        for access, samples in zip(block.accesses, seen, strict=False):
            count = samples.regions.total()
            if access.is_load and count:
                inside = sum(n for name, n in samples.regions.items() if self._is_flash(name))
                yield access, inside / count, samples

    def _is_flash(self, name: str) -> bool:
        return any(r.is_flash for r in self._memories.regions if r.name == name)

    def _table(self, seen: _Seen) -> dict[int, int]:
        """Address and size of the table that an access reads: by its symbol, or what was seen."""
        symbol = self._image.object_at(seen.low)
        if symbol is not None and symbol.size:
            return {symbol.address: symbol.size}
        return {seen.low: max(_LEAST_TABLE, seen.high - seen.low)}

    def _address(self, access: Access) -> int:
        address = self._register(access.base) + access.offset
        if access.index is not None:
            address += self._register(access.index) << access.shift
        return address & 0xFFFF_FFFF

    def _register(self, number: int) -> int:
        from unicorn import arm_const

        if number < 13:
            return int(self._uc.reg_read(arm_const.UC_ARM_REG_R0 + number))
        name = arm_const.UC_ARM_REG_SP if number == 13 else arm_const.UC_ARM_REG_LR
        return int(self._uc.reg_read(name))
