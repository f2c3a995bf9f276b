"""Faults as the architecture tells them: which exception, and what its registers say."""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.emulator.contract import Event, EventKind
from mcusim.emulator.exceptions import BUS_FAULT, DEBUG_MONITOR, HARD_FAULT, MEM_MANAGE, USAGE_FAULT

__all__ = ["CauseBits", "Fault", "FaultStatus", "fault_of"]

#: From here to 0x60000000, and from 0xE0000000, nothing is ever executed (ARMv7-M ARM, B3.1).
_PERIPHERALS, _EXTERNAL, _SYSTEM = 0x4000_0000, 0x6000_0000, 0xE000_0000

_CFSR, _HFSR, _DFSR, _MMFAR, _BFAR = 0xD28, 0xD2C, 0xD30, 0xD34, 0xD38
_ADDRESS_VALID = 1 << 7, 1 << 15


class CauseBits:
    """Bits of CFSR (ARMv7-M ARM, B3.2.15) and of HFSR (B3.2.16)."""

    EXECUTED_NEVER = 1 << 0
    FETCH, PRECISE, IMPRECISE, UNSTACKING, STACKING = (1 << bit for bit in (8, 9, 10, 11, 12))
    UNDEFINED, STATE, RETURN, COPROCESSOR = (1 << bit for bit in (16, 17, 18, 19))
    UNALIGNED, DIVISION = 1 << 24, 1 << 25
    VECTOR, FORCED, DEBUG = 1 << 1, 1 << 30, 1 << 31


@dataclass(frozen=True)
class Fault:
    """A fault, before it is known which handler takes it.

    Attributes:
        exception: number of the exception that is its own.
        cause: its bit of CFSR; 0 for a breakpoint.
        address: what BFAR gets; None where the registers do not tell.
        is_behind: whether the address stacked is that of the next instruction.
    """

    exception: int
    cause: int
    address: int | None = None
    is_behind: bool = False


_USAGE = {
    EventKind.UNDEFINED: CauseBits.UNDEFINED,
    EventKind.INVALID_STATE: CauseBits.STATE,
    EventKind.INVALID_RETURN: CauseBits.RETURN,
    EventKind.NO_COPROCESSOR: CauseBits.COPROCESSOR,
    EventKind.UNALIGNED: CauseBits.UNALIGNED,
    EventKind.DIVISION_BY_ZERO: CauseBits.DIVISION,
}


def fault_of(event: Event, *, buffers_writes: bool) -> Fault:
    """What an event is to the architecture (ARMv7-M ARM, B1.5.14).

    Args:
        event: that the core met.
        buffers_writes: whether a store is done behind the core's back, so that its fault is
            imprecise: BFAR does not tell the address.
    """
    if event.kind in _USAGE:
        return Fault(USAGE_FAULT, _USAGE[event.kind])
    if event.kind is EventKind.BAD_FETCH:
        at = event.address
        if _PERIPHERALS <= at < _EXTERNAL or at >= _SYSTEM:
            return Fault(MEM_MANAGE, CauseBits.EXECUTED_NEVER)
        return Fault(BUS_FAULT, CauseBits.FETCH)
    if event.kind is EventKind.BAD_READ:
        return Fault(BUS_FAULT, CauseBits.PRECISE, event.address)
    if event.kind is EventKind.BAD_WRITE:
        if buffers_writes:
            return Fault(BUS_FAULT, CauseBits.IMPRECISE, is_behind=True)
        return Fault(BUS_FAULT, CauseBits.PRECISE, event.address)
    if event.kind is EventKind.BREAKPOINT:
        return Fault(DEBUG_MONITOR, 0)
    return Fault(HARD_FAULT, 0)  # SVC while it is masked


@dataclass
class FaultStatus:
    """CFSR, HFSR, DFSR, MMFAR and BFAR.

    Attributes:
        configurable: CFSR.
        hard: HFSR.
        debug: DFSR.
        memory_address: MMFAR.
        bus_address: BFAR.
    """

    configurable: int = 0
    hard: int = 0
    debug: int = 0
    memory_address: int = 0
    bus_address: int = 0

    def note(self, fault: Fault) -> None:
        """Set what a fault sets."""
        self.configurable |= fault.cause
        if fault.exception == DEBUG_MONITOR:
            self.debug |= 1 << 1
        if fault.address is not None:
            self.bus_address = fault.address
            self.configurable |= _ADDRESS_VALID[1]

    def read(self, register: int) -> int:
        """Read the register at an offset from 0xE000E000."""
        return {
            _CFSR: self.configurable,
            _HFSR: self.hard,
            _DFSR: self.debug,
            _MMFAR: self.memory_address,
            _BFAR: self.bus_address,
        }[register]

    def write(self, register: int, value: int) -> None:
        """Write the register at an offset from 0xE000E000: ones clear bits of the first three."""
        if register == _CFSR:
            self.configurable &= ~value
        elif register == _HFSR:
            self.hard &= ~value
        elif register == _DFSR:
            self.debug &= ~value
        elif register == _MMFAR:
            self.memory_address = value
        else:
            self.bus_address = value

    def said(self) -> dict[str, int]:
        """What a crash report prints of them: the address only where it is valid."""
        found = {"cfsr": self.configurable, "hfsr": self.hard}
        if self.configurable & _ADDRESS_VALID[1]:
            found["bfar"] = self.bus_address
        return found
