"""Which peripheral answers at which address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcusim.emulator.contract import Peripheral
from mcusim.emulator.outcomes import Stop, StopReason

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["Bus", "UnknownAccess"]

_PAGE = 0x1000
#: Registers in no table that are remembered; code that runs wild reads more than any driver.
_MOST_UNKNOWN = 10_000
#: Reads of a register that nobody has, after which firmware is taken to wait for it.
_STUCK_READS = 1_000_000
#: Where the architecture has peripherals, the core's own last (DDI 0403E, table B3-1).
_WINDOWS = ((0x4000_0000, 0x2000_0000), (0xE000_0000, 0x0010_0000))


class UnknownAccess:
    """Accesses of a register that no peripheral has.

    Attributes:
        address: of the register, a word.
        value: what was written last; reads give it back.
        reads: how often it was read.
        writes: how often it was written.
        blocks: addresses of blocks that accessed it, up to eight.
    """

    def __init__(self, address: int) -> None:
        self.address = address
        self.value = self.reads = self.writes = 0
        self.blocks: dict[int, int] = {}

    def note(self, block: int) -> None:
        """Remember which block it was."""
        if block in self.blocks or len(self.blocks) < 8:
            self.blocks[block] = self.blocks.get(block, 0) + 1


class Bus:
    """Dispatches reads and writes of registers.

    Attributes:
        peripherals: those attached.
        unknown: accesses that found none, by address.
    """

    def __init__(self, uc: Any, machine: Machine) -> None:
        self.peripherals: list[Peripheral] = []
        self.unknown: dict[int, UnknownAccess] = {}
        self._uc = uc
        self._machine = machine
        self._pages: dict[int, list[Peripheral]] = {}
        self._mapped: list[tuple[int, int]] = []
        for base, size in _WINDOWS:
            self._map(base, size)

    def attach(self, peripheral: Peripheral) -> None:
        """Have a peripheral answer; the one attached last answers first."""
        first, last = peripheral.base, peripheral.base + peripheral.size - 1
        start, end = first // _PAGE * _PAGE, last // _PAGE * _PAGE + _PAGE
        if not any(base <= first and last < base + size for base, size in self._mapped):
            self._map(start, end - start)
        self.peripherals.append(peripheral)
        for page in range(start, end, _PAGE):
            self._pages.setdefault(page, []).insert(0, peripheral)

    def tick(self, cycles: float) -> float | None:
        """Have all peripherals do what is due.

        Returns:
            When the next of them is.
        """
        due = [at for p in self.peripherals if (at := p.tick(cycles)) is not None]
        return min(due, default=None)

    def read(self, address: int, size: int) -> int:
        """Read a register as the core does."""
        found = self._find(address)
        if found is None:
            return self.read_unknown(address, size)
        return found.read(address - found.base, size) & ((1 << 8 * size) - 1)

    def write(self, address: int, size: int, value: int) -> None:
        """Write a register as the core does."""
        found = self._find(address)
        if found is None:
            self.write_unknown(address, size, value)
        else:
            found.write(address - found.base, size, value)

    def read_unknown(self, address: int, size: int) -> int:
        """Read a register that is in no table: what was written to it, or 0."""
        unknown = self._unknown(address & ~3)
        unknown.reads += 1
        if unknown.reads == _STUCK_READS:
            self._machine.halt(Stop(StopReason.STUCK, self._polled(unknown)))
        return unknown.value >> 8 * (address & 3) & ((1 << 8 * size) - 1)

    def write_unknown(self, address: int, size: int, value: int) -> None:
        """Write a register that is in no table."""
        unknown = self._unknown(address & ~3)
        unknown.writes += 1
        shift = 8 * (address & 3)
        unknown.value = unknown.value & ~(((1 << 8 * size) - 1) << shift) | value << shift

    def _polled(self, unknown: UnknownAccess) -> str:
        place = self._machine.place(self._machine.counter.current)
        return (
            f"{unknown.reads:,} reads of register {unknown.address:#010x}, which no table has, "
            f"at {place}"
        )

    def _find(self, address: int) -> Peripheral | None:
        for peripheral in self._pages.get(address & -_PAGE, ()):
            if peripheral.base <= address < peripheral.base + peripheral.size:
                return peripheral
        return None

    def _unknown(self, address: int) -> UnknownAccess:
        found = self.unknown.get(address)
        if found is None:
            found = UnknownAccess(address)
            if len(self.unknown) < _MOST_UNKNOWN:
                self.unknown[address] = found
        found.note(self._machine.counter.current)
        return found

    def _map(self, base: int, size: int) -> None:
        def read(_: Any, offset: int, count: int, __: object) -> int:
            return self.read(base + offset, count)

        def write(_: Any, offset: int, count: int, value: int, __: object) -> None:
            self.write(base + offset, count, value)

        self._uc.mmio_map(base, size, read, None, write, None)
        self._mapped.append((base, size))
