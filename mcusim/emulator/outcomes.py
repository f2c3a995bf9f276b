"""How a run of firmware ends, and what the firmware says meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mcusim.emulator.contract import Event
from mcusim.emulator.fault_report import FaultReport

__all__ = ["Output", "Stop", "StopReason", "Transcript"]

_LONGEST_LINE = 1024
#: Output kept, and what a piece of it takes beside its bytes.
_MOST_SAID_BYTES, _PIECE_BYTES = 64 * 2**20, 100


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
        event: what the core met, for a fault that no handler of the firmware was to take.
        fault: the core at the fault that ended the run.
    """

    reason: StopReason
    detail: str = ""
    event: Event | None = None
    fault: FaultReport | None = None


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


@dataclass
class Transcript:
    """What firmware said, as far as it fits into the computer's memory.

    Attributes:
        pieces: in order.
    """

    pieces: list[Output] = field(default_factory=list)
    _bytes: int = 0

    def add(self, said: Output) -> None:
        """Keep a piece, or what of it there is room for: nothing, once there is none."""
        last = self.pieces[-1] if self.pieces else None
        goes_on = last is not None and last.channel == said.channel and last.goes_on
        self._bytes += len(said.data) + (0 if goes_on else _PIECE_BYTES)
        if self._bytes > _MOST_SAID_BYTES or not said.data:
            return
        if last is not None and goes_on:
            # A line that comes byte by byte is one thing said, or memory would fill with bytes.
            self.pieces[-1] = Output(said.channel, last.data + said.data, last.cycles)
        else:
            self.pieces.append(said)
