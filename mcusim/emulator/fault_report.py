"""What a person needs to see of a fault: where, in what state, and how the core came there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcusim.emulator.machine import Machine, Stop

__all__ = ["FaultReport", "fault_report"]

_NAMES = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr")


@dataclass(frozen=True)
class FaultReport:
    """The core at a fault.

    Attributes:
        detail: what happened, and where.
        registers: by name.
        last_blocks: the last blocks entered, the latest first, for people.
    """

    detail: str
    registers: dict[str, int]
    last_blocks: tuple[str, ...]

    def lines(self) -> list[str]:
        """Registers and blocks as lines of text."""
        pairs = [f"{name:>4} {value:08x}" for name, value in self.registers.items()]
        said = ["  ".join(pairs[at : at + 4]) for at in range(0, len(pairs), 4)]
        said += ["last blocks, the latest first:"]
        return said + [f"  {place}" for place in self.last_blocks]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "detail": self.detail,
            "registers": self.registers,
            "last_blocks": list(self.last_blocks),
        }


def fault_report(machine: Machine, stop: Stop) -> FaultReport:
    """Look at a machine that has stopped."""
    from unicorn import arm_const

    registers = {
        name: int(machine.uc.reg_read(getattr(arm_const, f"UC_ARM_REG_{name.upper()}")))
        for name in _NAMES
    }
    blocks = tuple(machine.place(address) for address in machine.counter.recent())
    return FaultReport(stop.detail, registers, blocks)
