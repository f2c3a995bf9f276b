"""The core's own side of a run: reset, exceptions, sleep, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from unicorn import arm_const as arm

from mcusim.emulator.contract import Event, EventKind
from mcusim.emulator.exception_entry import ExceptionEntry
from mcusim.emulator.exceptions import Exceptions
from mcusim.emulator.machine import Stop, StopReason
from mcusim.emulator.peripherals import RegisterBank
from mcusim.emulator.semihosting import Semihosting
from mcusim.emulator.system_registers import PPB_BASE, PPB_BYTES, SystemRegisters
from mcusim.errors import InputError

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["SystemControl"]

_SEMIHOSTING = 0xBEAB
#: CCR.
_CONFIGURATION = 0xED14
#: Firmware resets the chip once to have its configuration taken over; more often it is in a loop.
_MOST_RESETS = 8
_SEV, _YIELD, _WFE = 0xBF40, 0xBF10, 0xBF20
_WFE_WIDE = 0x8002_F3AF


class SystemControl:
    """Exceptions as the architecture takes them, on a core that does not (ARMv7-M ARM, B1.5).

    Args:
        machine: whose core this is.
        registers: of the private peripheral bus.
        semihosting: answers ``BKPT 0xAB``.
        traps: answers of other breakpoints by their address, for code that stands in for a ROM.
    """

    name = "system control"
    base = PPB_BASE
    size = PPB_BYTES

    def __init__(
        self,
        machine: Machine,
        registers: SystemRegisters,
        semihosting: Semihosting,
        traps: Mapping[int, Callable[[], None]],
    ) -> None:
        self._machine = machine
        self._uc = machine.uc
        self._registers = registers
        self._exceptions: Exceptions = registers.exceptions
        self._semihosting = semihosting
        self._traps = traps
        self._entry = ExceptionEntry(machine, registers)
        self._hint: tuple[int, int] | None = None
        self._resets = 0

    def read(self, offset: int, size: int) -> int:
        """Answer a read of the private peripheral bus."""
        self._registers.timeline.now = int(self._machine.cycles)
        return self._registers.read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Take a write to the private peripheral bus."""
        self._registers.timeline.now = int(self._machine.cycles)
        self._registers.write(offset, size, value)
        if offset & ~3 == _CONFIGURATION:
            self._set_traps()

    def tick(self, cycles: float) -> float | None:
        """Let timers do what is due."""
        timeline = self._registers.timeline
        timeline.now = int(cycles)
        timeline.run_due()
        return timeline.next_cycle

    def reset(self) -> None:
        """Stack and first instruction from the vector table; registers as after reset."""
        registers, uc = self._registers, self._uc
        registers.vector_table = self._machine.image.vector_table
        registers.reset()
        self._entry.reset()
        self._set_traps()
        for bank in self._machine.bus.peripherals:
            if isinstance(bank, RegisterBank):
                bank.reset()
        for register, value in (
            (arm.UC_ARM_REG_IPSR, 0),
            (arm.UC_ARM_REG_CONTROL, 0),
            (arm.UC_ARM_REG_PRIMASK, 0),
            (arm.UC_ARM_REG_LR, 0xFFFF_FFFF),
            (arm.UC_ARM_REG_SP, self._word(registers.vector_table) & ~3),
        ):
            uc.reg_write(register, value)
        self._machine.pc = self._word(registers.vector_table + 4)

    def take_exceptions(self) -> None:
        """Enter the most urgent exception that may be taken now; ask again where one is masked."""
        exceptions = self._exceptions
        if self._registers.reset_requested:
            self._resets += 1
            if self._resets > _MOST_RESETS:
                said = f"the firmware reset the chip {self._resets} times"
                self._machine.halt(Stop(StopReason.EXITED, said))
            self.reset()
        elif exceptions.could_be_taken():
            self._entry.take()
            if exceptions.could_be_taken():
                self._machine.attend()

    def handle(self, event: Event) -> bool:
        """Deal with what the core met; False leaves a fault to the machine."""
        kind = event.kind
        if kind is EventKind.SUPERVISOR_CALL:
            self._entry.supervisor_call(event)
            return True
        if kind is EventKind.EXCEPTION_RETURN:
            if self._entry.leave(event.pc) and self._registers.sleep_on_exit:
                return self._sleep(wakes_by_event=False)
            return True
        if kind is EventKind.WAIT_FOR_INTERRUPT:
            return self._sleep(wakes_by_event=False)
        if kind is EventKind.BREAKPOINT and self._breakpoint(event):
            return True
        if kind is EventKind.UNDEFINED and self._hinted(event):
            return True
        return self._entry.fault(event)

    def _breakpoint(self, event: Event) -> bool:
        uc = self._uc
        code = self._half(event.pc)
        if code == _SEMIHOSTING:
            operation, argument = (
                uc.reg_read(register) for register in (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1)
            )
            uc.reg_write(arm.UC_ARM_REG_R0, self._semihosting.request(operation, argument))
            exit_code = self._semihosting.exit_code
            if exit_code is not None:
                self._semihosting.close()
                self._machine.halt(Stop(StopReason.EXITED, f"with code {exit_code}"))
        elif event.pc in self._traps:
            self._traps[event.pc]()
        else:
            return False
        self._machine.pc = event.pc + 2
        return True

    def _hinted(self, event: Event) -> bool:
        """WFE and YIELD, which arrive as undefined instructions with the pc behind them."""
        pc, seen = event.pc, self._machine.counter.instructions
        if self._hint == (pc, seen):
            return False  # nothing was executed since: it is the instruction behind the hint
        self._hint = (pc, seen)
        before = self._half(pc - 2)
        wide = before == _WFE_WIDE >> 16 and self._half(pc - 4) == _WFE_WIDE & 0xFFFF
        if before == _YIELD:
            return True
        if before != _WFE and not wide:
            return False
        # SEV executes unseen; right before WFE it is the idiom that clears the event register.
        if self._half(pc - 4) == _SEV:
            self._registers.event = True
        return self._sleep(wakes_by_event=True)

    def _sleep(self, wakes_by_event: bool) -> bool:
        """Let time pass until something wakes the core (B1.5.18, B1.5.19)."""
        registers, exceptions = self._registers, self._exceptions
        masks = self._entry.masks()
        self._entry.forget_loops()
        while not exceptions.wakes(masks):
            if wakes_by_event and (registers.event or self._pended_event()):
                break
            if not self._machine.sleep():
                place = self._machine.place(self._machine.pc)
                self._machine.halt(Stop(StopReason.ASLEEP, f"at {place}"))
                return True
        if wakes_by_event:
            registers.event = False
        self._machine.attend()
        return True

    def _pended_event(self) -> bool:
        return self._registers.send_event_on_pend and bool(self._exceptions.pending)

    def _set_traps(self) -> None:
        registers = self._registers
        self._machine.trap(divisions=registers.traps_divisions, unaligned=registers.traps_unaligned)

    def _half(self, address: int) -> int:
        """The halfword of an instruction; 0 where no memory is."""
        try:
            return int.from_bytes(self._machine.read(address, 2), "little")
        except InputError:
            return 0

    def _word(self, address: int) -> int:
        return int.from_bytes(self._machine.read(address, 4), "little")
