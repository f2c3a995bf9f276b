"""Which exceptions are pending, active and enabled, and which of them is taken next."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "BUS_FAULT",
    "DEBUG_MONITOR",
    "FAULTS",
    "FIRST_INTERRUPT",
    "HARD_FAULT",
    "MEM_MANAGE",
    "NMI",
    "PENDSV",
    "SVCALL",
    "SYSTICK",
    "USAGE_FAULT",
    "Exceptions",
    "Masks",
    "exception_name",
]

NMI, HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT = 2, 3, 4, 5, 6
SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK = 11, 12, 14, 15
#: Those that a fault of the code is taken as.
FAULTS = frozenset((HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, DEBUG_MONITOR))
#: Number of the exception of interrupt 0.
FIRST_INTERRUPT = 16

_IDLE = 256  # the priority of code outside every handler: below all others
#: Those that SHCSR or DEMCR enables, as NVIC enables interrupts.
_CONFIGURABLE = frozenset((MEM_MANAGE, BUS_FAULT, USAGE_FAULT, DEBUG_MONITOR))
_FIXED = {1: -3, NMI: -2, HARD_FAULT: -1}
_NAMES = {
    NMI: "NMI",
    HARD_FAULT: "HardFault",
    MEM_MANAGE: "MemManage",
    BUS_FAULT: "BusFault",
    USAGE_FAULT: "UsageFault",
    SVCALL: "SVCall",
    DEBUG_MONITOR: "DebugMonitor",
    PENDSV: "PendSV",
    SYSTICK: "SysTick",
}


def exception_name(number: int) -> str:
    """Name of an exception, such as ``SVCall`` or ``interrupt 17``."""
    if number >= FIRST_INTERRUPT:
        return f"interrupt {number - FIRST_INTERRUPT}"
    return _NAMES.get(number, f"exception {number}")


@dataclass(frozen=True)
class Masks:
    """What the core's mask registers hold.

    Attributes:
        primask: bars every exception of configurable priority.
        faultmask: bars HardFault as well.
        basepri: bars this priority and lower ones; 0 for none.
    """

    primask: bool = False
    faultmask: bool = False
    basepri: int = 0


@dataclass
class Exceptions:
    """State of the exceptions of one core (ARMv7-M ARM, B1.5 and B3.4).

    Attributes:
        interrupts: how many interrupt lines the chip has.
        priority_bits: how many bits of a priority are there, from the highest.
        group_shift: bits of a priority, from the lowest, that do not preempt.
        pending: numbers of pending exceptions.
        active: numbers of exceptions whose handlers run, in the order of entry.
        enabled: numbers of enabled interrupts and faults; the other exceptions always are.
        asserted: numbers of interrupts whose line a peripheral holds.
    """

    interrupts: int
    priority_bits: int
    group_shift: int = 1
    pending: set[int] = field(default_factory=set)
    active: list[int] = field(default_factory=list)
    enabled: set[int] = field(default_factory=set)
    asserted: set[int] = field(default_factory=set)
    _priorities: dict[int, int] = field(default_factory=dict)

    def clear(self) -> None:
        """As after reset; lines stay as peripherals hold them."""
        self.pending = set(self.asserted)
        self.active.clear()
        self.enabled.clear()
        self._priorities.clear()

    def priority(self, number: int) -> int:
        """Priority of an exception; smaller is more urgent."""
        return _FIXED.get(number, self._priorities.get(number, 0))

    def set_priority(self, number: int, value: int) -> None:
        """Set a priority; bits that the chip does not have read as zero, and fixed ones stay."""
        self._priorities[number] = value & (0xFF << (8 - self.priority_bits)) & 0xFF

    def is_enabled(self, number: int) -> bool:
        """Whether an exception may be taken, if its priority allows it."""
        is_always = number < FIRST_INTERRUPT and number not in _CONFIGURABLE
        return is_always or number in self.enabled

    def pend(self, number: int) -> None:
        """Make an exception pending."""
        self.pending.add(number)

    def unpend(self, number: int) -> None:
        """Take a pending state back; an interrupt whose line is held stays pending."""
        if number not in self.asserted:
            self.pending.discard(number)

    def hold_line(self, interrupt: int, asserted: bool) -> None:
        """What a peripheral does with its interrupt line, numbered from 0."""
        number = FIRST_INTERRUPT + interrupt
        if not asserted:
            self.asserted.discard(number)
        elif number not in self.asserted:
            self.asserted.add(number)
            self.pending.add(number)

    def execution_priority(self, masks: Masks) -> int:
        """Priority that an exception must beat to be taken now."""
        current = min((self._group(self.priority(n)) for n in self.active), default=_IDLE)
        if masks.basepri:
            current = min(current, self._group(masks.basepri))
        if masks.primask:
            current = min(current, 0)
        return min(current, -1) if masks.faultmask else current

    def next_taken(self, masks: Masks) -> int | None:
        """The pending exception that is taken now, if one is."""
        number = self._most_urgent()
        if number is None:
            return None
        beats = self._group(self.priority(number)) < self.execution_priority(masks)
        return number if beats else None

    def fault_taken_as(self, number: int, masks: Masks) -> int | None:
        """Which exception a fault of the code that runs is taken as (B1.5.4, B1.5.15).

        Args:
            number: the fault's own exception; SVCALL for a supervisor call.
            masks: what the core's mask registers hold.

        Returns:
            It, or HardFault where it is disabled or not urgent enough; None where that cannot be
            taken either, so that the core locks up.
        """
        current = self.execution_priority(masks)
        if self.is_enabled(number) and self._group(self.priority(number)) < current:
            return number
        return HARD_FAULT if _FIXED[HARD_FAULT] < current else None

    @property
    def in_fault(self) -> bool:
        """Whether the handler of a fault has begun and not returned."""
        return not FAULTS.isdisjoint(self.active)

    def wakes(self, masks: Masks) -> bool:
        """Whether a sleeping core wakes: as if PRIMASK were clear (B1.5.19)."""
        return self.next_taken(Masks(False, masks.faultmask, masks.basepri)) is not None

    def could_be_taken(self) -> bool:
        """Whether one is pending and enabled, whatever the masks say."""
        return self._most_urgent() is not None

    def enter(self, number: int) -> None:
        """The handler of an exception begins."""
        self.pending.discard(number)
        self.active.append(number)

    def leave(self, number: int) -> None:
        """The handler of an exception returns; a line that is still held pends it again."""
        if number in self.active:
            self.active.remove(number)
        if number in self.asserted:
            self.pending.add(number)

    def _most_urgent(self) -> int | None:
        ready = [n for n in self.pending if self.is_enabled(n)]
        return min(ready, key=lambda n: (self.priority(n), n), default=None)

    def _group(self, priority: int) -> int:
        return priority if priority < 0 else priority >> self.group_shift << self.group_shift
