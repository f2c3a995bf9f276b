"""How a run of firmware ends, and what the firmware says meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mcusim.emulator.contract import Event

__all__ = ["Output", "Stop", "StopReason"]

_LONGEST_LINE = 1024


class StopReason(Enum):
    """Why a run ended."""

    EXITED = "the firmware ended"
    RETURNED = "the function returned"
    TIME_LIMIT = "time limit"
    INSTRUCTION_LIMIT = "instruction limit"
    FAULT = "fault"
    ASLEEP = "asleep, and nothing will wake it"
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    STUCK = "stuck"


@dataclass(frozen=True)
class Stop:
    """How a run ended.

    Attributes:
        reason: why.
        detail: the same in words, with the place.
        event: what the core met, for a fault.
    """

    reason: StopReason
    detail: str = ""
    event: Event | None = None


@dataclass(frozen=True)
class Output:
    """Something the firmware said.

    Attributes:
        channel: where, such as ``"uart0"``, ``"rtt0"`` or ``"semihosting"``.
        data: the bytes.
        cycles: when its first byte was said, in core cycles since reset.
    """

    channel: str
    data: bytes
    cycles: float

    @property
    def goes_on(self) -> bool:
        """Whether what comes next on the channel belongs to it: lines are kept whole."""
        return len(self.data) < _LONGEST_LINE and not self.data.endswith(b"\n")
