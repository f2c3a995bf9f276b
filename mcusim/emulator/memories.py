"""Memories of a board in Unicorn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcusim.boards import Board
from mcusim.emulator.images import Image
from mcusim.errors import InputError

__all__ = ["Memories", "MemoryRegion"]

_PAGE = 0x1000


@dataclass(frozen=True)
class MemoryRegion:
    """A memory.

    Attributes:
        name: the board's name of it.
        address: of its first byte.
        size: in bytes.
        is_flash: whether the core cannot write it.
    """

    name: str
    address: int
    size: int
    is_flash: bool = False


class Memories:
    """The memories of a board, mapped.

    Attributes:
        regions: them, by address.
    """

    def __init__(self, uc: Any, board: Board) -> None:
        """Map them.

        Raises:
            InputError: the board does not say where they lie.
        """
        if "flash" not in board.regions:
            raise InputError(f"{board.name}: `regions` does not say where its memories lie")
        self._uc = uc
        self._board = board
        self.regions = tuple(
            sorted(
                (
                    MemoryRegion(name, at, size, "flash" in name)
                    for name, (at, size) in board.regions.items()
                ),
                key=lambda region: region.address,
            )
        )
        from unicorn import UC_PROT_ALL, UC_PROT_EXEC, UC_PROT_READ, UcError

        for region in self.regions:
            access = UC_PROT_READ | UC_PROT_EXEC if region.is_flash else UC_PROT_ALL
            try:
                uc.mem_map(region.address, -(-region.size // _PAGE) * _PAGE, access)
            except UcError:
                raise InputError(
                    f"{board.name}: `regions.{region.name}` cannot be mapped: it overlaps another, "
                    "does not begin at a multiple of 4096, or is larger than this computer's memory"
                ) from None
            if region.is_flash:  # erased, as boot code finds out what was programmed
                uc.mem_write(region.address, b"\xff" * region.size)

    def program(self, image: Image) -> None:
        """Write an image to where it lies after programming.

        Raises:
            InputError: it does not fit.
        """
        for segment in image.segments:
            if segment.data and not self.holds(segment.load_address, len(segment.data)):
                end = segment.load_address + len(segment.data)
                raise InputError(
                    f"{image.name}: bytes {segment.load_address:#010x} to {end:#010x} lie in no "
                    f"memory of {self._board.name}, which has {self._listed()}"
                )
            self._uc.mem_write(segment.load_address, segment.data)

    def add(self, region: MemoryRegion) -> None:
        """Map one more."""
        self._uc.mem_map(region.address, -(-region.size // _PAGE) * _PAGE)
        self.regions = tuple(sorted((*self.regions, region), key=lambda r: r.address))

    def allow_writes(self, allowed: bool) -> None:
        """Let the core write flash, as while its controller programs it, or no longer."""
        from unicorn import UC_PROT_ALL, UC_PROT_EXEC, UC_PROT_READ

        access = UC_PROT_ALL if allowed else UC_PROT_READ | UC_PROT_EXEC
        for region in self.regions:
            if region.is_flash:
                size = -(-region.size // _PAGE) * _PAGE
                self._uc.mem_protect(region.address, size, access)

    def region_at(self, address: int) -> MemoryRegion | None:
        """The memory that an address lies in."""
        for region in self.regions:
            if region.address <= address < region.address + region.size:
                return region
        return None

    def holds(self, address: int, size: int) -> bool:
        """Whether memory is at all of some addresses; regions may follow each other."""
        end = address + size
        while address < end:
            region = self.region_at(address)
            if region is None:
                return False
            address = region.address + region.size
        return True

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory.

        Raises:
            InputError: no memory is there.
        """
        from unicorn import UcError

        try:
            return bytes(self._uc.mem_read(address, size))
        except UcError:
            raise InputError(f"no memory of {size} bytes is at {address:#010x}") from None

    def write(self, address: int, data: bytes) -> None:
        """Write bytes, to flash too.

        Raises:
            InputError: no memory is there.
        """
        from unicorn import UcError

        try:
            self._uc.mem_write(address, data)
        except UcError:
            raise InputError(f"no memory of {len(data)} bytes is at {address:#010x}") from None

    def _listed(self) -> str:
        return ", ".join(
            f"{r.name} at {r.address:#010x} ({r.size // 1024:,} KiB)" for r in self.regions
        )
