"""The private peripheral bus of a Cortex-M: SCB, NVIC, SysTick, MPU, FPU and debug registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mcusim.emulator.exceptions import (
    BUS_FAULT,
    DEBUG_MONITOR,
    FIRST_INTERRUPT,
    MEM_MANAGE,
    NMI,
    PENDSV,
    SVCALL,
    SYSTICK,
    USAGE_FAULT,
    Exceptions,
)
from mcusim.emulator.faults import FaultStatus
from mcusim.emulator.system_timer import SysTick
from mcusim.emulator.timeline import Timeline
from mcusim.emulator.trace_units import InstrumentationTrace, WatchpointTrace

__all__ = ["CORE_IDS", "PPB_BASE", "PPB_BYTES", "CoreIds", "SystemRegisters"]

#: The private peripheral bus (ARMv7-M ARM, B3.1).
PPB_BASE, PPB_BYTES = 0xE000_0000, 0x10_0000

_SCS = 0xE000
_SYSTICK, _NVIC, _SCB, _MPU, _FPU, _STIR = 0x010, 0x100, 0xD00, 0xD90, 0xF34, 0xF00
#: CFSR, HFSR, DFSR, MMFAR and BFAR, and those of them whose bits are cleared by ones.
_FAULT_STATUS = (0xD28, 0xD2C, 0xD30, 0xD34, 0xD38)
_WRITE_ONE_CLEARS = _FAULT_STATUS[:3]
#: Bits of SHCSR by exception: it is active, pending, enabled (ARMv7-M ARM, B3.2.13).
_ACTIVE = {0: MEM_MANAGE, 1: BUS_FAULT, 3: USAGE_FAULT, 7: SVCALL, 8: DEBUG_MONITOR}
_ACTIVE |= {10: PENDSV, 11: SYSTICK}
_PENDING = {12: USAGE_FAULT, 13: MEM_MANAGE, 14: BUS_FAULT, 15: SVCALL}
_ENABLED = {16: MEM_MANAGE, 17: BUS_FAULT, 18: USAGE_FAULT}
_UNALIGN_TRP, _DIV_0_TRP, _IGNORES_BUS_FAULTS = 1 << 3, 1 << 4, 1 << 8
_KEY = 0x05FA


@dataclass(frozen=True)
class CoreIds:
    """What a core says of itself in its identification registers.

    Attributes:
        cpuid: SCB CPUID.
        v6m: whether the core is an Armv6-M one, which has fewer of the registers.
        mpu_regions: as in MPU_TYPE.
        cache: CLIDR, CTR and CCSIDR of the data and the instruction cache; zeros without caches.
        features: MVFR0, MVFR1 and MVFR2 of the FPU; zeros without.
        entry_cycles: from a request to the handler's first instruction, without wait states.
        return_cycles: from the return to the first instruction that was interrupted.
        tail_cycles: from one handler to the next.
    """

    cpuid: int
    v6m: bool = False
    mpu_regions: int = 8
    cache: tuple[int, int, int, int] = (0, 0, 0, 0)
    features: tuple[int, int, int] = (0, 0, 0)
    entry_cycles: int = 12
    return_cycles: int = 10
    tail_cycles: int = 6

    @property
    def v8m(self) -> bool:
        """Whether the core is an Armv8-M one."""
        return self.cpuid >> 4 & 0xFFF >= 0xD20


_FPV4 = (0x1011_0021, 0x1100_0011, 0)
_FPV5 = (0x1011_0021, 0x1100_0011, 0x0000_0040)

#: By profile of the core. The technical reference manuals give CPUID (their reset values of the
#: SCB), and 15 or 16 cycles of latency for Armv6-M, 12 for Armv7-M with 6 between two handlers; a
#: return is taken as the unstacking of eight words and the refill of the pipeline.
CORE_IDS: dict[str, CoreIds] = {
    "m0": CoreIds(0x410C_C200, v6m=True, mpu_regions=0, entry_cycles=16, return_cycles=12),
    "m0plus": CoreIds(0x410C_C601, v6m=True, entry_cycles=15, return_cycles=12),
    "m3": CoreIds(0x412F_C231),
    "m4": CoreIds(0x410F_C241, features=_FPV4),
    "m7": CoreIds(
        0x411F_C271,
        mpu_regions=8,
        cache=(0x0900_0003, 0x8303_C003, 0xF003_E019, 0xF007_E009),
        features=_FPV5,
    ),
    "m33": CoreIds(0x410F_D214, features=_FPV5),
    "m55": CoreIds(0x410F_D220, features=_FPV5),
}


@dataclass
class SystemRegisters:
    """Registers from 0xE0000000 to 0xE00FFFFF, as firmware sees them.

    Attributes:
        ids: of the core.
        exceptions: pending, active and enabled ones.
        timeline: cycles of the core.
        systick: the system timer.
        dwt: the cycle counter.
        itm: the stimulus ports.
        faults: what the fault status registers hold.
        vector_table: VTOR.
        sleep_on_exit: whether the return to thread mode sleeps.
        event: the event register of WFE and SEV.
        reset_requested: whether AIRCR asked for a reset.
        changed: called when a write may let an exception be taken.
    """

    ids: CoreIds
    exceptions: Exceptions
    timeline: Timeline
    systick: SysTick
    dwt: WatchpointTrace
    itm: InstrumentationTrace
    changed: Callable[[], None]
    faults: FaultStatus = field(default_factory=FaultStatus)
    vector_table: int = 0
    event: bool = False
    reset_requested: bool = False
    _held: dict[int, int] = field(default_factory=dict)
    _mpu: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As after reset of the core; what debuggers set up stays."""
        self.exceptions.clear()
        self.timeline.clear()
        self.systick.reset()
        self.event = self.reset_requested = False
        self._mpu.clear()
        self.faults = FaultStatus()
        # Control: unaligned access allowed, frames aligned to 8. FPU: automatic, lazy stacking.
        self._held = {0xD14: 0x0000_0200, 0xF34: 0xC000_0000, 0xDFC: 0x0100_0000}
        if self.ids.v6m:
            self._held[0xD14] = 0x0000_0208
        elif self.ids.v8m:
            self._held[0xD14] = 0x0000_0201

    @property
    def sleep_on_exit(self) -> bool:
        """SCR.SLEEPONEXIT: the return to thread mode sleeps."""
        return bool(self._held.get(0xD10, 0) & 2)

    @property
    def send_event_on_pend(self) -> bool:
        """SCR.SEVONPEND: an interrupt that becomes pending wakes a WFE."""
        return bool(self._held.get(0xD10, 0) & 16)

    @property
    def traps_unaligned(self) -> bool:
        """CCR.UNALIGN_TRP: every unaligned access of a word or halfword is a fault."""
        return bool(self._held[0xD14] & _UNALIGN_TRP)

    @property
    def traps_divisions(self) -> bool:
        """CCR.DIV_0_TRP: a division by zero is a fault."""
        return not self.ids.v6m and bool(self._held[0xD14] & _DIV_0_TRP)

    @property
    def ignores_bus_faults(self) -> bool:
        """CCR.BFHFNMIGN: code above every configurable priority may access what is not there."""
        return bool(self._held[0xD14] & _IGNORES_BUS_FAULTS)

    @property
    def returns_to_thread_any_time(self) -> bool:
        """Whether a handler may return to thread mode with others active (CCR.NONBASETHRDENA)."""
        return self.ids.v8m or bool(self._held[0xD14] & 1)

    @property
    def buffers_writes(self) -> bool:
        """Whether the core goes on before a store is done, so that its fault is imprecise."""
        return not self.ids.v6m and not self._held.get(0x008, 0) & 1 << 1  # ACTLR.DISDEFWBUF

    @property
    def stacks_floats(self) -> bool:
        """Whether exceptions keep the floating-point context (FPCCR.ASPEN)."""
        return any(self.ids.features) and bool(self._held[0xF34] & 1 << 31)

    def read(self, offset: int, size: int) -> int:
        """Read ``size`` bytes at an offset from 0xE0000000."""
        shift = 8 * (offset & 3)
        word = self._read_word(offset & ~3)
        return word >> shift & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        """Write ``size`` bytes at an offset from 0xE0000000."""
        if offset < 0x1000:
            self.itm.write(offset, size, value)
            return
        if size < 4:
            value = self._merged(offset, size, value)
        self._write_word(offset & ~3, value)
        if self.reset_requested or self.exceptions.could_be_taken():
            self.changed()

    def _merged(self, offset: int, size: int, value: int) -> int:
        """A whole word of a part of it; bits that are set by ones stay as they are."""
        shift = 8 * (offset & 3)
        register = (offset & ~3) - _SCS
        by_ones = _NVIC <= register < 0x300 or register in _WRITE_ONE_CLEARS
        kept = 0 if by_ones else self._read_word(offset & ~3) & ~(((1 << 8 * size) - 1) << shift)
        return kept | value << shift

    def _read_word(self, offset: int) -> int:
        if offset < 0x1000:
            return self.itm.read(offset)
        if offset < 0x2000:
            return self.dwt.read(offset - 0x1000)
        register = offset - _SCS
        if not 0 <= register < 0x1000:
            return 0
        if _SYSTICK <= register < _SYSTICK + 16:
            return self.systick.read(register - _SYSTICK)
        if _NVIC <= register < 0x500:
            return self._read_nvic(register)
        if _MPU <= register < _MPU + 0x30:
            return self._read_mpu(register)
        return self._read_scb(register)

    def _write_word(self, offset: int, value: int) -> None:
        if offset < 0x2000:
            self.dwt.write(offset - 0x1000, value)
            return
        register = offset - _SCS
        if not 0 <= register < 0x1000:
            return
        if _SYSTICK <= register < _SYSTICK + 16:
            self.systick.write(register - _SYSTICK, value)
        elif _NVIC <= register < 0x500:
            self._write_nvic(register, value)
        elif _MPU <= register < _MPU + 0x30:
            self._write_mpu(register, value)
        elif register == _STIR:
            self.exceptions.pend(FIRST_INTERRUPT + (value & 0x1FF))
        else:
            self._write_scb(register, value)

    # The interrupt controller (B3.4).

    def _bits(self, register: int, held: set[int] | list[int]) -> int:
        first = FIRST_INTERRUPT + (register & 0x7F) * 8
        return sum(1 << i for i in range(32) if first + i in held)

    def _read_nvic(self, register: int) -> int:
        kind = register & 0xF80
        if kind in (0x100, 0x180):
            return self._bits(register, self.exceptions.enabled)
        if kind in (0x200, 0x280):
            return self._bits(register, self.exceptions.pending)
        if kind == 0x300:
            return self._bits(register, self.exceptions.active)
        if register >= 0x400:
            first = FIRST_INTERRUPT + register - 0x400
            return sum(self.exceptions.priority(first + i) << 8 * i for i in range(4))
        return 0

    def _write_nvic(self, register: int, value: int) -> None:
        exceptions = self.exceptions
        last = FIRST_INTERRUPT + exceptions.interrupts
        if register >= 0x400:
            first = FIRST_INTERRUPT + register - 0x400
            for i in range(min(4, last - first)):
                exceptions.set_priority(first + i, value >> 8 * i & 0xFF)
            return
        first = FIRST_INTERRUPT + (register & 0x7F) * 8
        numbers = [first + i for i in range(32) if value >> i & 1 and first + i < last]
        kind = register & 0xF80
        if kind == 0x100:
            exceptions.enabled.update(numbers)
        elif kind == 0x180:
            exceptions.enabled.difference_update(numbers)
        elif kind == 0x200:
            exceptions.pending.update(numbers)
        elif kind == 0x280:
            for number in numbers:
                exceptions.unpend(number)

    # The memory protection unit (B3.5): what is written is kept, and nothing is protected.

    @property
    def mpu(self) -> Mapping[tuple[int, int], int]:
        """What was written to it, by register and selected region."""
        return self._mpu

    def _region(self, register: int) -> tuple[int, int]:
        return register, self._held.get(0xD98, 0) if register >= 0xD9C else 0

    def _read_mpu(self, register: int) -> int:
        if register == _MPU:
            return self.ids.mpu_regions << 8
        return (
            self._held.get(0xD98, 0)
            if register == 0xD98
            else self._mpu.get(self._region(register), 0)
        )

    def _write_mpu(self, register: int, value: int) -> None:
        if register == 0xD98:
            self._held[0xD98] = value & 0xFF
        else:
            if register == 0xD9C and value & 0x10 and not self.ids.v8m:
                self._held[0xD98] = value & 0xF  # RBAR.VALID selects the region as well
            self._mpu[self._region(register)] = value

    # The system control block (B3.2).

    def _read_scb(self, register: int) -> int:
        fixed = {
            0x004: max(0, (self.exceptions.interrupts - 1) // 32),
            0xD00: self.ids.cpuid,
            0xD04: self._interrupt_state(),
            0xD08: self.vector_table,
            0xD0C: 0xFA05_0000 | (self.exceptions.group_shift - 1) << 8,
            0xD24: self._handler_state(),
            0xD78: self.ids.cache[0],
            0xD7C: self.ids.cache[1],
            0xD80: self.ids.cache[2 + (self._held.get(0xD84, 0) & 1)],
            0xF40: self.ids.features[0],
            0xF44: self.ids.features[1],
            0xF48: self.ids.features[2],
        }
        if register in fixed:
            return fixed[register]
        if register in _FAULT_STATUS:
            return 0 if self.ids.v6m else self.faults.read(register)
        if 0xD18 <= register < 0xD24:
            first = register - 0xD18 + 4
            return sum(self.exceptions.priority(first + i) << 8 * i for i in range(4))
        return self._held.get(register, 0)

    def _write_scb(self, register: int, value: int) -> None:
        if register == 0xD04:
            self._write_interrupt_state(value)
        elif register == 0xD08:
            self.vector_table = value & 0xFFFF_FF80
        elif register == 0xD0C:
            if value >> 16 == _KEY:
                self.exceptions.group_shift = (value >> 8 & 7) + 1
                self.reset_requested |= bool(value & 4)
        elif 0xD18 <= register < 0xD24:
            for i in range(4):
                self.exceptions.set_priority(register - 0xD18 + 4 + i, value >> 8 * i & 0xFF)
        elif register in _FAULT_STATUS:
            self.faults.write(register, value)
        elif register == 0xD24:
            self._write_handler_state(value)
        elif register not in (0xD00, 0xD78, 0xD7C, 0xD80, 0xF40, 0xF44, 0xF48):
            self._held[register] = value
            if register == 0xDFC:  # DEMCR.MON_EN
                change = self.exceptions.enabled
                (change.add if value >> 16 & 1 else change.discard)(DEBUG_MONITOR)

    def _interrupt_state(self) -> int:
        """ICSR."""
        exceptions = self.exceptions
        pending = [n for n in exceptions.pending if exceptions.is_enabled(n)]
        first = min(pending, key=lambda n: (exceptions.priority(n), n), default=0)
        return (
            (exceptions.active[-1] if exceptions.active else 0)
            | (0 if len(exceptions.active) > 1 else 1 << 11)
            | first << 12
            | any(n >= FIRST_INTERRUPT for n in exceptions.pending) << 22
            | (SYSTICK in exceptions.pending) << 26
            | (PENDSV in exceptions.pending) << 28
            | (NMI in exceptions.pending) << 31
        )

    def _write_interrupt_state(self, value: int) -> None:
        for bit, number in ((31, NMI), (28, PENDSV), (26, SYSTICK)):
            if value >> bit & 1:
                self.exceptions.pend(number)
        for bit, number in ((27, PENDSV), (25, SYSTICK)):
            if value >> bit & 1:
                self.exceptions.unpend(number)

    def _handler_state(self) -> int:
        """SHCSR."""
        states = (_ACTIVE, self.exceptions.active), (_PENDING, self.exceptions.pending)
        found = 0
        for bits, held in (*states, (_ENABLED, self.exceptions.enabled)):
            found |= sum(1 << bit for bit, number in bits.items() if number in held)
        return found

    def _write_handler_state(self, value: int) -> None:
        exceptions = self.exceptions
        if not self.ids.v6m:
            for bit, number in _ENABLED.items():
                (exceptions.enabled.add if value >> bit & 1 else exceptions.enabled.discard)(number)
        for bit, number in _PENDING.items():
            (exceptions.pend if value >> bit & 1 else exceptions.unpend)(number)
