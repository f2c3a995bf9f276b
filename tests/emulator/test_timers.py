"""SysTick and the timeline: at which cycle what happens."""

from __future__ import annotations

import pytest

from mcusim.emulator.exceptions import SYSTICK, Exceptions
from mcusim.emulator.system_timer import SysTick
from mcusim.emulator.timeline import Timeline

_CONTROL, _RELOAD, _VALUE = 0, 4, 8
_COUNTFLAG = 1 << 16


def systick(divider: int = 0) -> tuple[Timeline, Exceptions, SysTick]:
    timeline, exceptions = Timeline(lambda: None), Exceptions(32, 3)
    return timeline, exceptions, SysTick(timeline, exceptions, divider)


def at(timeline: Timeline, cycle: int) -> None:
    timeline.now = cycle
    timeline.run_due()


def test_actions_come_in_order_and_the_last_word_counts() -> None:
    done: list[str] = []
    timeline = Timeline(lambda: None)
    timeline.schedule("b", 20, lambda: done.append("b"))
    timeline.schedule("a", 10, lambda: done.append("a"))
    timeline.schedule("c", 15, lambda: done.append("early"))
    timeline.schedule("c", 30, lambda: done.append("c"))
    timeline.schedule("d", 12, lambda: done.append("never"))
    timeline.cancel("d")
    assert timeline.next_cycle == 10
    at(timeline, 40)
    assert done == ["a", "b", "c"]
    assert timeline.next_cycle is None


def test_earlier_action_is_told_of() -> None:
    told: list[int] = []
    timeline = Timeline(lambda: told.append(1))
    timeline.schedule("a", 20, lambda: None)
    timeline.schedule("b", 30, lambda: None)
    timeline.schedule("c", 10, lambda: None)
    assert len(told) == 2


def test_counter_counts_down_and_wraps() -> None:
    """With a reload of 99 it reaches zero 100 cycles after it was cleared, and each 100 after."""
    timeline, exceptions, timer = systick()
    timer.write(_RELOAD, 99)
    timer.write(_VALUE, 12345)
    timer.write(_CONTROL, 7)
    seen = []
    for cycle in (0, 1, 50, 99, 100, 101, 200):
        at(timeline, cycle)
        seen.append(timer.read(_VALUE))
    assert seen == [0, 99, 50, 1, 0, 99, 0]
    assert SYSTICK in exceptions.pending


def test_flag_is_cleared_by_reading_it() -> None:
    timeline, _, timer = systick()
    timer.write(_RELOAD, 99)
    timer.write(_CONTROL, 5)
    at(timeline, 250)
    assert timer.read(_CONTROL) & _COUNTFLAG
    assert not timer.read(_CONTROL) & _COUNTFLAG
    at(timeline, 300)
    assert timer.read(_CONTROL) & _COUNTFLAG


def test_without_its_interrupt_it_pends_nothing() -> None:
    timeline, exceptions, timer = systick()
    timer.write(_RELOAD, 99)
    timer.write(_CONTROL, 5)
    assert timeline.next_cycle is None
    at(timeline, 1000)
    timer.read(_VALUE)
    assert SYSTICK not in exceptions.pending


def test_reference_clock_is_slower() -> None:
    """An STM32 divides by eight; SYST_CALIB then does not say that there is no reference."""
    timeline, _, timer = systick(divider=8)
    timer.write(_RELOAD, 99)
    timer.write(_CONTROL, 3)
    assert timeline.next_cycle == 800
    at(timeline, 8)
    assert timer.read(_VALUE) == 99
    assert not timer.read(12) & 1 << 31


@pytest.mark.parametrize("cycles", [0, 17, 99])
def test_stopped_counter_holds_its_value(cycles: int) -> None:
    timeline, _, timer = systick()
    timer.write(_RELOAD, 99)
    timer.write(_CONTROL, 5)
    at(timeline, cycles)
    held = timer.read(_VALUE)
    timer.write(_CONTROL, 4)
    at(timeline, cycles + 1000)
    assert timer.read(_VALUE) == held
