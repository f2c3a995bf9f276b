"""What a person needs to see of a fault: where, in what state, and how the core came there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["FaultReport", "look_at_fault"]

_NAMES = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr")


@dataclass(frozen=True)
class FaultReport:
    """The core at a fault.

    Attributes:
        detail: what happened, and where.
        registers: by name.
        last_blocks: the last blocks entered, the latest first, for people.
        time_s: board time since reset.
        exception: what the firmware took it as, such as ``BusFault``; empty where it took none.
        handler: where the handler of that begins, for people.
        status: fault status registers of the core by name, as a handler reads them.
    """

    detail: str
    registers: dict[str, int]
    last_blocks: tuple[str, ...]
    time_s: float
    exception: str = ""
    handler: str = ""
    status: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Registers and blocks as lines of text."""
        pairs = [f"{name:>4} {value:08x}" for name, value in self.registers.items()]
        said = ["  ".join(pairs[at : at + 4]) for at in range(0, len(pairs), 4)]
        if self.status:
            said += ["  ".join(f"{name:>4} {value:08x}" for name, value in self.status.items())]
        said += ["last blocks, the latest first:"]
        return said + [f"  {place}" for place in self.last_blocks]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "detail": self.detail,
            "time_s": self.time_s,
            "exception": self.exception or None,
            "handler": self.handler or None,
            "registers": self.registers,
            "status": dict(self.status),
            "last_blocks": list(self.last_blocks),
        }


def look_at_fault(
    machine: Machine,
    detail: str,
    exception: str = "",
    handler: str = "",
    status: Mapping[str, int] | None = None,
) -> FaultReport:
    """Look at a machine whose core stands at a fault, before a handler changes its registers.

    Args:
        machine: it.
        detail: what happened, and where.
        exception: what it is taken as.
        handler: of that.
        status: fault status registers.
    """
    from unicorn import arm_const

    registers = {
        name: int(machine.uc.reg_read(getattr(arm_const, f"UC_ARM_REG_{name.upper()}")))
        for name in _NAMES
    }
    blocks = tuple(machine.place(address) for address in machine.counter.recent())
    time_s = machine.cycles / machine.clock_hz
    return FaultReport(detail, registers, blocks, time_s, exception, handler, status or {})
