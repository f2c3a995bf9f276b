"""What the machine asks of the hardware around the core, and how it tells what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["Event", "EventKind", "Peripheral", "SystemControl"]


class EventKind(Enum):
    """Why the core left the code it was executing."""

    SUPERVISOR_CALL = "supervisor call"
    BREAKPOINT = "breakpoint"
    EXCEPTION_RETURN = "exception return"
    WAIT_FOR_INTERRUPT = "wait for interrupt"
    WAIT_FOR_EVENT = "wait for event"
    BAD_READ = "read where nothing answers"
    BAD_WRITE = "write where nothing answers"
    BAD_FETCH = "execution where no memory is"
    UNDEFINED = "undefined instruction"
    INVALID_STATE = "branch to an address without the bit of Thumb code"
    INVALID_RETURN = "return from an exception that cannot be"
    NO_COPROCESSOR = "instruction of a coprocessor that is not there"
    UNALIGNED = "unaligned access"
    DIVISION_BY_ZERO = "division by zero"


@dataclass(frozen=True)
class Event:
    """What the core met.

    Attributes:
        kind: what it was.
        pc: where it goes on, for calls and waits; else the address of the instruction. For an
            exception return it is the value that was branched to, such as 0xFFFFFFF9.
        address: what a bad access was about.
    """

    kind: EventKind
    pc: int
    address: int = 0

    def told(self, place: Callable[[int], str]) -> str:
        """What happened and where, for people.

        Args:
            place: names an address.
        """
        if self.kind in (EventKind.BAD_READ, EventKind.BAD_WRITE):
            return f"{self.kind.value}, {self.address:#010x}, at {place(self.pc)}"
        return f"{self.kind.value} at {place(self.pc)}"


class Peripheral(Protocol):
    """Registers at an address."""

    @property
    def name(self) -> str:
        """Name, for people."""

    @property
    def base(self) -> int:
        """Address of the first register."""

    @property
    def size(self) -> int:
        """Bytes of address space."""

    def read(self, offset: int, size: int) -> int:
        """Answer a read of 1, 2 or 4 bytes at an offset from the base."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Take a write of 1, 2 or 4 bytes at an offset from the base."""

    def tick(self, cycles: float) -> float | None:
        """Do what is due, with the core between two blocks.

        Args:
            cycles: core cycles since reset.

        Returns:
            When to be called next, in cycles since reset; None for when the core attends anyhow.
        """


class SystemControl(Peripheral, Protocol):
    """The core's own peripherals, which also take and leave exceptions."""

    def reset(self) -> None:
        """Put the core where it is after reset: stack and entry from the vector table."""

    def take_exceptions(self) -> None:
        """Enter the exception that is pending and may be taken, if there is one.

        The core is between two blocks; this changes its registers and stack.
        """

    def handle(self, event: Event) -> bool:
        """Deal with what the core met.

        Returns:
            Whether execution goes on, from the core's pc as it is then; False ends the run.
        """
