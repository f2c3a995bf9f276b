"""Registers of a chip's peripherals, answering as their tables say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcusim.emulator.exceptions import Exceptions
from mcusim.emulator.peripheral_tables import Follow, PeripheralTable, RegisterTable
from mcusim.emulator.timeline import Timeline
from mcusim.errors import InputError

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["RegisterBank", "Wiring"]

_EVENTS, _INTEN = 0x100, "INTEN"
_LONGEST_TRANSFER = 0x1_0000


@dataclass(frozen=True)
class Wiring:
    """What the peripherals of a chip share.

    Attributes:
        machine: that they are part of.
        timeline: cycles of the core.
        exceptions: where interrupts are pended.
    """

    machine: Machine
    timeline: Timeline
    exceptions: Exceptions

    def catch_up(self) -> None:
        """Do what is due by the cycle the core has come to."""
        self.timeline.now = int(self.machine.cycles)
        self.timeline.run_due()

    def hold_line(self, interrupt: int, asserted: bool) -> None:
        """A peripheral holds its interrupt line, or lets it go."""
        self.exceptions.hold_line(interrupt, asserted)
        if asserted:
            self.machine.attend()


class RegisterBank:
    """The registers of one peripheral.

    Args:
        name: of the peripheral.
        table: of the peripheral.
        wiring: of the chip.
    """

    def __init__(self, name: str, table: PeripheralTable, wiring: Wiring) -> None:
        self.name = name
        self.base = table.base
        self.size = table.size * 4 if table.set_clear_aliases else table.size
        self.table = table
        self.wiring = wiring
        self._offsets: dict[str, int] = {}
        self._known: dict[int, RegisterTable] = {}
        self._flash_writable = False
        self._follows: dict[int, tuple[tuple[Follow, int], ...]] = {}
        for key, register in table.registers.items():
            for i in range(register.count):
                offset = register.at + 4 * i
                self._known[offset] = register
                self._offsets.setdefault(key if register.count == 1 else f"{key}{i}", offset)
            self._offsets.setdefault(key, register.at)
        for offset, register in self._known.items():
            self._follows[offset] = tuple(
                (rule, self._offsets[rule.register] if rule.register else offset)
                for rule in register.parsed_follows
            )

        self.reset()

    def reset(self) -> None:
        """As after reset of the chip."""
        self._busy_until = 0
        self.values = {
            offset: register.reset_of((offset - register.at) // 4)
            for offset, register in self._known.items()
        }

    def tick(self, cycles: float) -> float | None:
        """Nothing by itself: what is due stands in the timeline of the chip."""
        return None

    def read(self, offset: int, size: int) -> int:
        """Answer a read of 1, 2 or 4 bytes."""
        if self.table.set_clear_aliases:
            offset %= self.table.size
        self.wiring.catch_up()
        word = self.read_word(offset & ~3)
        return word >> 8 * (offset & 3) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        """Take a write of 1, 2 or 4 bytes."""
        self.wiring.catch_up()
        alias, offset = (
            divmod(offset, self.table.size) if self.table.set_clear_aliases else (0, offset)
        )
        at = offset & ~3
        if size < 4 and not (at in self._known and self._known[at].prints):
            shift = 8 * (offset & 3)
            kept = self.values.get(at, 0) & ~(((1 << 8 * size) - 1) << shift)
            value = kept | value << shift
        if alias:
            held = self.values.get(at, 0)
            value = (held ^ value, held | value, held & ~value)[alias - 1]
        self.write_word(at, value)
        self.update_interrupts()

    def read_word(self, offset: int) -> int:
        """The word of a register, with what a read does to it."""
        register = self._known.get(offset)
        if register is None:
            return self.wiring.machine.bus.read_unknown(self.base + offset, 4)
        if register.alias_of:
            offset = self._offsets[register.alias_of]
            register = self._known[offset]
        value = self._current(offset, register)
        if register.read_clears:
            self.values[offset] = self.values.get(offset, 0) & ~register.read_clears
            self.update_interrupts()
        for name, mask in register.read_clears_in.items():
            self._change(name, 0, mask)
        for name, mask in register.read_sets.items():
            self._set_later(name, mask)
        if register.read_clears_in or register.read_sets:
            self.update_interrupts()
        if register.counts_reads:
            self.values[offset] = (self.values[offset] + 1) & 0xFFFF_FFFF
        return value

    def write_word(self, offset: int, value: int) -> None:
        """Write a register, with what a write does to others."""
        register = self._known.get(offset)
        if register is None:
            self.wiring.machine.bus.write_unknown(self.base + offset, 4, value)
            return
        if register.alias_of:
            offset = self._offsets[register.alias_of]
            register = self._known[offset]
        if register.set_bits_of:
            self._change(register.set_bits_of, value, 0)
        elif register.clear_bits_of:
            self._change(register.clear_bits_of, 0, value)
        elif register.flip_bits_of:
            self.values[self._offsets[register.flip_bits_of]] ^= value
        else:
            held = self.values.get(offset, 0) & ~(register.one_clears & value)
            held &= value | ~register.zero_clears
            writable = register.writable & ~(register.one_clears | register.zero_clears)
            self.values[offset] = held & ~writable | value & writable
        if register.prints:
            self._send(bytes([value & 0xFF]))
        if register.erases_bytes:
            self._erase(value, register.erases_bytes)
        for name, mask in register.always_sets.items():
            self._change(name, mask, 0)
        if value:
            self._do(register, (offset - register.at) // 4)
        if self.table.flash_writable:
            self._let_flash_be_written()

    def update_interrupts(self) -> None:
        """Hold or let go the interrupt line, as the registers say now."""
        if self.table.interrupt is not None:
            sent = self.wiring.timeline.now >= self._busy_until
            self.wiring.hold_line(self.table.interrupt, sent and self._wants_interrupt())

    def set_bits(self, name: str, mask: int) -> None:
        """Hardware sets bits of a register."""
        self._change(name, mask, 0)
        self.update_interrupts()

    def _change(self, name: str, ones: int, zeros: int) -> None:
        offset = self._offsets[name]
        self.values[offset] = self.values.get(offset, 0) & ~zeros | ones

    def _set_later(self, name: str, mask: int) -> None:
        """Hardware sets bits of a register in its own time."""
        wait = int(self.table.answer_s * self.wiring.machine.clock_hz)
        if wait:
            at = self.wiring.timeline.now + wait
            self.wiring.timeline.schedule(
                f"{self.name} {name}", at, lambda: self.set_bits(name, mask)
            )
        else:
            self._change(name, mask, 0)

    def _send(self, data: bytes) -> None:
        """Bytes leave for whoever listens."""
        if not data:
            return
        self.wiring.machine.emit(self.name.lower(), data)
        if self.table.byte_s:
            took = self.table.byte_s * len(data) * self.wiring.machine.clock_hz
            self._busy_until = self.wiring.timeline.now + int(took)
            self.wiring.timeline.schedule(
                f"{self.name} sent", self._busy_until, self.update_interrupts
            )

    def _erase(self, address: int, size: int) -> None:
        """Erase the page of flash that holds an address, if one does."""
        memories = self.wiring.machine.memories
        start = address // size * size
        if memories.holds(start, size):
            memories.write(start, b"\xff" * size)

    def _let_flash_be_written(self) -> None:
        name, bit = self.table.flash_writable.split(".")
        allowed = bool(self.values.get(self._offsets[name], 0) >> int(bit) & 1)
        if allowed != self._flash_writable:
            self._flash_writable = allowed
            self.wiring.machine.memories.allow_writes(allowed)

    def _do(self, register: RegisterTable, number: int) -> None:
        if register.prints_from:
            address, count, done = register.prints_from
            size = min(self.values[self._offsets[count]], _LONGEST_TRANSFER)
            try:
                start = self.values[self._offsets[address]]
                self._send(self.wiring.machine.read(start, size))
            except InputError:
                size = 0
            self.values[self._offsets[done]] = size
        for name, mask in register.clears.items():
            self._change(name, 0, mask)
        for name, mask in register.sets.items():
            own = f"{name}{number}"
            self._change(own if own in self._offsets else name, mask, 0)

    def _current(self, offset: int, register: RegisterTable) -> int:
        value = self.values.get(offset, 0) | register.ones
        for rule, source in self._follows[offset]:
            other = self.values.get(source, 0) if source != offset else value
            bits = other >> rule.from_shift & ((1 << rule.width) - 1)
            if rule.how == "one_hot":
                bits = 1 << bits
            elif rule.how == "!":
                bits = ~bits
            value = value & ~rule.mask | bits << rule.shift & rule.mask
        return value

    def _wants_interrupt(self) -> bool:
        table = self.table
        if table.events:
            enabled = self.values.get(self._offsets.get(_INTEN, -1), 0)
            return any(enabled >> i & 1 and self.values.get(_EVENTS + 4 * i, 0) for i in range(32))
        for a, a_bit, b, b_bit in map(table.interrupt_bits, table.interrupt_when):
            first = self._current(self._offsets[a], self._known[self._offsets[a]])
            if first >> a_bit & self.values.get(self._offsets[b], 0) >> b_bit & 1:
                return True
        return False
