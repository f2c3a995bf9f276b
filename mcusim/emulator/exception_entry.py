"""Entry of exceptions, return from them, and faults: those of the code and those of entry itself.

ARMv7-M ARM, B1.5.6 to B1.5.15.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unicorn import arm_const as arm

from mcusim.emulator.contract import Event, EventKind
from mcusim.emulator.core_registers import CoreRegisters
from mcusim.emulator.endless_loops import is_endless
from mcusim.emulator.exception_frames import ExceptionFrames, FrameError, Pushed
from mcusim.emulator.exceptions import (
    BUS_FAULT,
    DEBUG_MONITOR,
    FAULTS,
    HARD_FAULT,
    MEM_MANAGE,
    NMI,
    SVCALL,
    USAGE_FAULT,
    Exceptions,
    Masks,
    exception_name,
)
from mcusim.emulator.fault_report import FaultReport, look_at_fault
from mcusim.emulator.faults import CauseBits, Fault, fault_of
from mcusim.emulator.outcomes import Stop, StopReason
from mcusim.emulator.system_registers import SystemRegisters
from mcusim.errors import InputError

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["ExceptionEntry"]

_NUMBER = 0x1FF
_TO_THREAD, _FROM_PROCESS_STACK = 1 << 3, 1 << 2
#: Vectors from here on lie where nothing is executed; so does erased flash, read as a vector.
_SYSTEM = 0xE000_0000
#: Faults whose report is kept; and how often one comes until the run is taken to be stuck in it.
_MOST_FAULTS, _MOST_TIMES = 64, 1000
#: Cycles after which a handler of a fault is looked at for the first time: whether it loops.
_FIRST_LOOK = 4096
_LOOK = "handler of a fault"
#: Highest five bits of instructions of two halfwords.
_WIDE = (0b11101, 0b11110, 0b11111)


class ExceptionEntry:
    """What the core does by itself when an exception is taken or left.

    Args:
        machine: whose core this is.
        registers: of the private peripheral bus.
    """

    def __init__(self, machine: Machine, registers: SystemRegisters) -> None:
        self._machine = machine
        self._uc = machine.uc
        self._registers = registers
        self._exceptions: Exceptions = registers.exceptions
        self._frames = ExceptionFrames(machine.uc)
        self._mask_registers = CoreRegisters(
            machine.uc,
            (arm.UC_ARM_REG_PRIMASK, arm.UC_ARM_REG_FAULTMASK, arm.UC_ARM_REG_BASEPRI),
        )
        # The fault whose handler runs: what that handler runs into comes from it.
        # Until that returns to fewer active handlers than there were at the fault.
        self._origin: FaultReport | None = None
        self._origin_depth = 0
        self._reports: dict[str, FaultReport] = {}
        self._times: Counter[str] = Counter()

    def reset(self) -> None:
        """As after reset of the core."""
        self._origin = None
        self._times.clear()

    def masks(self) -> Masks:
        """What the mask registers hold."""
        primask, faultmask, basepri = self._mask_registers.read()
        return Masks(bool(primask & 1), bool(faultmask & 1), basepri & 0xFF)

    def take(self) -> None:
        """Enter the most urgent exception that may be taken now."""
        number = self._exceptions.next_taken(self.masks())
        if number is not None:
            self._enter(number, self._uc.reg_read(arm.UC_ARM_REG_PC))

    def supervisor_call(self, event: Event) -> None:
        """Take SVC; where that is masked it is a fault."""
        taken = self._exceptions.fault_taken_as(SVCALL, self.masks())
        if taken == SVCALL:
            self._enter(SVCALL, event.pc)
        else:
            at = event.pc - 2
            said = f"SVC at {self._machine.place(at)} while SVCall is masked"
            self._raise(Fault(HARD_FAULT, 0), said, at)

    def fault(self, event: Event) -> bool:
        """Take what the core met as a fault; False leaves it to the machine."""
        machine, registers = self._machine, self._registers
        if machine.return_address is not None:
            return False
        fault = fault_of(event, buffers_writes=registers.buffers_writes)
        above_all = self._exceptions.execution_priority(self.masks()) < 0
        if fault.exception == BUS_FAULT and registers.ignores_bus_faults and above_all:
            machine.pc = self._behind(event.pc)
            return True
        at = self._behind(event.pc) if fault.is_behind else event.pc
        said = event.told(machine.place)
        if event.kind in (EventKind.BAD_FETCH, EventKind.INVALID_STATE):
            before = next((a for a in machine.counter.recent() if a != event.pc), None)
            said += "" if before is None else f", from {machine.place(before)}"
        self._raise(fault, said, at)
        return True

    def leave(self, exc_return: int) -> bool:
        """Return from the handler that runs.

        Args:
            exc_return: what was branched to.

        Returns:
            Whether thread mode goes on, with nothing left to be handled.
        """
        exceptions, machine = self._exceptions, self._machine
        number = self._uc.reg_read(arm.UC_ARM_REG_IPSR) & _NUMBER
        if not number:
            said = f"branch to {exc_return:#010x} outside of a handler, behind "
            said += machine.place(machine.counter.current)
            self._raise(Fault(MEM_MANAGE, CauseBits.EXECUTED_NEVER), said, exc_return & ~1)
            return False
        may_return = number in exceptions.active and self._may_return(exc_return)
        if number != NMI:
            self._uc.reg_write(arm.UC_ARM_REG_FAULTMASK, 0)
        exceptions.leave(number)
        if len(exceptions.active) <= self._origin_depth:
            self._origin = None
        self._registers.event = True
        name = exception_name(number)
        if not may_return:
            said = f"return from {name} by {exc_return:#010x}, which it was not entered with"
            self._raise(Fault(USAGE_FAULT, CauseBits.RETURN), said, chained=exc_return)
            return False
        taken = exceptions.next_taken(self.masks())
        if taken is not None:
            self._chain(taken, exc_return)
            return False
        try:
            if not self._frames.leave(exc_return):
                said = f"return from {name} by {exc_return:#010x} to a frame of the other mode"
                self._raise(Fault(USAGE_FAULT, CauseBits.RETURN), said, chained=exc_return)
                return False
        except FrameError as error:
            said = f"could not return from {name}: {error}"
            self._raise(Fault(BUS_FAULT, CauseBits.UNSTACKING), said, chained=exc_return)
            return False
        machine.spend(self._registers.ids.return_cycles)
        return bool(exc_return & _TO_THREAD)

    def forget_loops(self) -> None:
        """Leave off looking whether a handler loops: it sleeps."""
        self._registers.timeline.cancel(_LOOK)

    def _may_return(self, exc_return: int) -> bool:
        """Whether a value may be returned by, with the handlers that are active (B1.5.8)."""
        from_process_stack = bool(exc_return & _FROM_PROCESS_STACK)
        nested = len(self._exceptions.active) > 1
        if exc_return & _TO_THREAD:
            return not nested or self._registers.returns_to_thread_any_time
        return nested and not from_process_stack

    def _raise(
        self, fault: Fault, detail: str, return_address: int = 0, chained: int | None = None
    ) -> None:
        """Take a fault.

        Args:
            fault: it.
            detail: what happened, and where.
            return_address: what is stacked.
            chained: an EXC_RETURN value whose context is still on the stack, and is not stacked
                again.
        """
        if self._machine.return_address is not None:
            self._machine.fail(detail)
            return
        exceptions, status = self._exceptions, self._registers.faults
        taken = exceptions.fault_taken_as(fault.exception, self.masks())
        status.note(fault)
        if taken == HARD_FAULT:
            by_debug = fault.exception == DEBUG_MONITOR
            status.hard |= CauseBits.DEBUG if by_debug else CauseBits.FORCED
        self._note(detail, fault.exception, taken)
        if taken is None:
            within = exception_name(exceptions.active[-1]) if exceptions.active else "FAULTMASK"
            self._end(f"the core locked up, since that was within {within}", detail)
        elif chained is None:
            self._enter(taken, return_address)
        else:
            self._chain(taken, chained)

    def _note(self, detail: str, own: int, taken: int | None) -> None:
        """Keep how the core stands, for people."""
        machine = self._machine
        report = self._reports.get(detail)
        if report is None:
            report = self._report(detail, own, taken)
            if len(self._reports) < _MOST_FAULTS:
                self._reports[detail] = report
        if len(machine.faults) < _MOST_FAULTS:
            machine.faults.append(report)
        if self._origin is None:
            self._origin, self._origin_depth = report, len(self._exceptions.active)
        self._times[detail] += 1
        if self._times[detail] == _MOST_TIMES:
            self._end(f"it came {_MOST_TIMES:,} times, since its handler returns", detail)

    def _report(self, detail: str, own: int, taken: int | None) -> FaultReport:
        name = handler = ""
        if taken is not None:
            name = exception_name(taken)
            if taken != own and own != HARD_FAULT and not self._registers.ids.v6m:
                name += f", escalated from {exception_name(own)}"
            vector = self._vector(taken)
            handler = self._machine.place(vector & ~1) if vector and _is_code(vector) else ""
        status = {} if self._registers.ids.v6m else self._registers.faults.said()
        return look_at_fault(self._machine, detail, name, handler, status)

    def _end(self, how: str, then: str = "") -> None:
        """End the run: nothing handles the fault.

        Args:
            how: why not.
            then: what its handler ran into, if that is it.
        """
        origin = self._origin or self._machine.faults[-1]
        between = f"; then {then}" if then and then != origin.detail else ""
        said = f"{origin.detail}{between}; {how}"
        self._machine.halt(Stop(StopReason.FAULT, said, fault=origin))

    def _enter(self, number: int, return_address: int) -> None:
        """Stack the context and begin a handler."""
        pushed = self._frames.push(return_address, self._registers.stacks_floats)
        came_something = self._machine.spend(self._registers.ids.entry_cycles)
        if not pushed.is_written:
            number = self._without_frame(number, pushed, return_address)
        elif came_something and number not in FAULTS and number != SVCALL:
            # What has become pending while the context was stacked, and is more urgent, goes first.
            number = self._exceptions.next_taken(self.masks()) or number
        self._begin(number, pushed)

    def _without_frame(self, number: int, pushed: Pushed, return_address: int) -> int:
        """The exception entered when the stack cannot take the context (B1.5.11)."""
        exceptions, status = self._exceptions, self._registers.faults
        taken = exceptions.fault_taken_as(BUS_FAULT, self.masks())
        status.note(Fault(BUS_FAULT, CauseBits.STACKING))
        name, place = exception_name(number), self._machine.place(return_address & ~1)
        said = (
            f"could not enter {name} at {place}: the stack at {pushed.frame:#x} cannot be written"
        )
        if exceptions.priority(number) < 0 or taken is None:
            self._note(said, BUS_FAULT, number)
            return number  # its handler runs, and must not return
        self._note(said, BUS_FAULT, taken)
        if taken == HARD_FAULT:
            status.hard |= CauseBits.FORCED
        elif exceptions.priority(BUS_FAULT) >= exceptions.priority(number):
            exceptions.pend(BUS_FAULT)
            return number
        exceptions.pend(number)
        return taken

    def _begin(self, number: int, pushed: Pushed) -> None:
        found = self._handler(number)
        if found is not None:
            self._frames.begin(*found, pushed)
            self._started(*found)

    def _chain(self, number: int, exc_return: int) -> None:
        """From one handler to the next: the context stays on the stack (B1.5.12)."""
        self._machine.spend(self._registers.ids.tail_cycles)
        found = self._handler(number)
        if found is not None:
            self._frames.chain(*found, exc_return)
            self._started(*found)

    def _handler(self, number: int) -> tuple[int, int] | None:
        """The exception that begins, and its vector; None where a fault has no handler."""
        vector = self._vector(number)
        if vector is None and number != HARD_FAULT:
            self._registers.faults.hard |= CauseBits.VECTOR
            self._note(f"the vector of {exception_name(number)} cannot be read", number, HARD_FAULT)
            number, vector = HARD_FAULT, self._vector(HARD_FAULT)
        if vector is not None and (number != HARD_FAULT or _is_code(vector)):
            return number, vector
        self._end("there is no handler of HardFault")
        return None

    def _vector(self, number: int) -> int | None:
        """A word of the vector table; None where it cannot be read."""
        try:
            word = self._machine.read(self._registers.vector_table + 4 * number, 4)
        except InputError:
            return None
        return int.from_bytes(word, "little")

    def _started(self, number: int, handler: int) -> None:
        """The first instruction of a handler is next."""
        self._exceptions.enter(number)
        self._registers.event = True
        if number in FAULTS:
            self._look_in(_FIRST_LOOK)
        if _is_code(handler):
            return
        at = self._registers.vector_table + 4 * number
        said = f"took {exception_name(number)}, whose vector at {at:#x} is {handler:#x}: no address"
        said += " of Thumb code"
        kind = EventKind.BAD_FETCH if handler & 1 else EventKind.INVALID_STATE
        fault = fault_of(Event(kind, handler & ~1, handler & ~1), buffers_writes=False)
        self._frames.set_thumb(bool(handler & 1))
        self._raise(fault, said, handler & ~1)

    def _look_in(self, cycles: int) -> None:
        timeline = self._registers.timeline
        due = int(self._machine.cycles) + cycles
        timeline.schedule(_LOOK, due, lambda: self._look(2 * cycles))

    def _look(self, again_in: int) -> None:
        """End the run where the handler of a fault does nothing but loop."""
        active = self._exceptions.active
        if not active or active[-1] not in FAULTS:
            if self._exceptions.in_fault:
                self._look_in(again_in)
        elif is_endless(self._machine.counter.recent_blocks()):
            where = self._machine.place(self._machine.counter.current)
            self._end(f"the handler of {exception_name(active[-1])} loops without end at {where}")
        else:
            self._look_in(again_in)

    def _behind(self, address: int) -> int:
        """Address of the next instruction."""
        first = int.from_bytes(self._machine.read(address, 2), "little")
        return address + (4 if first >> 11 in _WIDE else 2)


def _is_code(vector: int) -> bool:
    return bool(vector & 1) and vector < _SYSTEM
