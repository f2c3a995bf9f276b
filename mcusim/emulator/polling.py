"""Whether firmware was waiting for a register that no table has."""

from __future__ import annotations

from mcusim.emulator.bus import UnknownAccess
from mcusim.emulator.machine import Machine, Stop, StopReason

__all__ = ["polled_register"]

#: Reads by one block from which on a register is taken to be waited for: a driver that configures
#: its peripheral reads each of its registers some dozens of times.
_MANY_READS = 1_000
_LIMITS = (StopReason.TIME_LIMIT, StopReason.INSTRUCTION_LIMIT, StopReason.INTERRUPTED)


def polled_register(machine: Machine, stop: Stop) -> UnknownAccess | None:
    """The register in no table that a run was reading again and again when its time was up.

    Args:
        machine: that has stopped.
        stop: how.

    Returns:
        The register read most by the blocks that ran last; None where they read none such.
    """
    if stop.reason not in _LIMITS:
        return None
    last = set(machine.counter.recent())
    waited = [
        access
        for access in machine.bus.unknown.values()
        if any(access.blocks.get(block, 0) >= _MANY_READS for block in last)
    ]
    return max(waited, key=lambda access: access.reads, default=None)
