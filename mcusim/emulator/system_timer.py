"""SysTick: the core's own down-counter."""

from __future__ import annotations

from mcusim.emulator.exceptions import SYSTICK, Exceptions
from mcusim.emulator.timeline import Timeline

__all__ = ["SysTick"]

_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1 << 0, 1 << 1, 1 << 2, 1 << 16
_NAME = "SysTick"


class SysTick:
    """The registers at 0xE000E010 (ARMv7-M ARM, B3.3).

    Args:
        timeline: cycles of the core's clock.
        exceptions: where the timer pends its exception.
        reference_divider: cycles of one tick of the reference clock; 0 where there is none.
    """

    def __init__(self, timeline: Timeline, exceptions: Exceptions, reference_divider: int) -> None:
        self._timeline = timeline
        self._exceptions = exceptions
        self._divider = reference_divider
        self.reset()

    def reset(self) -> None:
        """As after reset of the core: stopped."""
        self._control = 0 if self._divider else _CLKSOURCE
        self._flag = False
        self._reload = 0
        # The counter held `_value` at cycle `_since`, and counts down from there while enabled.
        self._value = 0
        self._since = 0

    def read(self, offset: int) -> int:
        """Read the register at an offset from 0xE000E010."""
        self._advance()
        if offset == 0:
            value = self._control | (_COUNTFLAG if self._flag else 0)
            self._flag = False
            return value
        if offset == 4:
            return self._reload
        if offset == 8:
            return self._current()
        return 0xC000_0000 if not self._divider else 0x4000_0000

    def write(self, offset: int, value: int) -> None:
        """Write the register at an offset from 0xE000E010."""
        self._advance()
        if offset == 0:
            self._value, self._since = self._current(), self._timeline.now
            self._control = value & 7 if self._divider else (value & 7) | _CLKSOURCE
        elif offset == 4:
            self._reload = value & 0xFF_FFFF
        elif offset == 8:
            self._value, self._since, self._flag = 0, self._timeline.now, False
        self._schedule()

    @property
    def _step(self) -> int:
        return 1 if self._control & _CLKSOURCE else self._divider

    def _ticks_to_zero(self) -> int:
        """Ticks from `_since` until the counter reaches zero; 0 if it never does."""
        return self._value or (self._reload + 1 if self._reload else 0)

    def _current(self) -> int:
        if not self._control & _ENABLE:
            return self._value
        ticks = (self._timeline.now - self._since) // self._step
        if not ticks:
            return self._value
        whole = self._ticks_to_zero()
        return whole - ticks if whole else 0

    def _advance(self) -> None:
        """Let the counter reach zero as often as it has until now."""
        if not self._control & _ENABLE:
            return
        while whole := self._ticks_to_zero():
            reached = self._since + whole * self._step
            if reached > self._timeline.now:
                return
            period = (self._reload + 1) * self._step
            missed = (self._timeline.now - reached) // period if self._reload else 0
            self._value, self._since = 0, reached + missed * period
            self._flag = True
            if self._control & _TICKINT:
                self._exceptions.pend(SYSTICK)
            if not self._reload:
                return

    def _schedule(self) -> None:
        whole = self._ticks_to_zero()
        if self._control & _ENABLE and self._control & _TICKINT and whole:
            self._timeline.schedule(_NAME, self._since + whole * self._step, self._reached)
        else:
            self._timeline.cancel(_NAME)

    def _reached(self) -> None:
        self._advance()
        self._schedule()
