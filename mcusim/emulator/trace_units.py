"""DWT and ITM: the cycle counter that firmware measures with, and the ports it prints to."""

from __future__ import annotations

from collections.abc import Callable

from mcusim.emulator.timeline import Timeline

__all__ = ["InstrumentationTrace", "WatchpointTrace"]

_NO_CYCLE_COUNTER, _COUNTING = 1 << 25, 1 << 0
_CONTROL, _CYCCNT = 0x000, 0x004


class WatchpointTrace:
    """DWT at 0xE0001000 (ARMv7-M ARM, C1.8): CYCCNT counts the board's cycles as they are priced.

    Args:
        timeline: cycles of the core.
        has_cycle_counter: an Armv6-M core has none.
    """

    def __init__(self, timeline: Timeline, has_cycle_counter: bool) -> None:
        self._timeline = timeline
        self._control = 0x4000_0000 if has_cycle_counter else _NO_CYCLE_COUNTER
        self._has = has_cycle_counter
        self._value = 0
        self._since = 0
        self._held: dict[int, int] = {}

    def read(self, offset: int) -> int:
        """Read the word at an offset from 0xE0001000."""
        if offset == _CONTROL:
            return self._control
        if offset == _CYCCNT:
            return self._count() if self._has else 0
        return self._held.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write the word at an offset from 0xE0001000."""
        if offset == _CONTROL:
            self._value, self._since = self._count(), self._timeline.now
            if self._has:
                self._control = 0x4000_0000 | value & 0x007F_1FFF
        elif offset == _CYCCNT:
            self._value, self._since = value, self._timeline.now
        elif offset != 0xFB4:  # what is written to unlock is not read back
            self._held[offset] = value

    def _count(self) -> int:
        passed = self._timeline.now - self._since if self._control & _COUNTING else 0
        return (self._value + passed) & 0xFFFF_FFFF


class InstrumentationTrace:
    """ITM at 0xE0000000 (C1.7): every stimulus port is listened to, as a debugger would.

    Args:
        printed: takes a port and the bytes written to it.
    """

    def __init__(self, printed: Callable[[int, bytes], None]) -> None:
        self._printed = printed
        self._held = {0xE00: 0xFFFF_FFFF, 0xE80: 0x0000_0001}

    def read(self, offset: int) -> int:
        """Read the word at an offset from 0xE0000000; a port is always ready."""
        return 1 if offset < 0x80 else self._held.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Write to a stimulus port or a control register."""
        if offset >= 0x80:
            self._held[offset & ~3] = value
        elif self._held[0xE80] & 1 and self._held[0xE00] >> (offset >> 2) & 1:
            self._printed(offset >> 2, value.to_bytes(size, "little"))
