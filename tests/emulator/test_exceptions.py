"""Which exception is taken, by the rules of the architecture (ARMv7-M ARM, B1.5.4 and B3.4)."""

from __future__ import annotations

import pytest

from mcusim.emulator.exceptions import PENDSV, SYSTICK, Exceptions, Masks


def three_bits() -> Exceptions:
    return Exceptions(interrupts=32, priority_bits=3)


def test_most_urgent_is_taken_and_of_equals_the_lowest_number() -> None:
    exceptions = three_bits()
    exceptions.set_priority(17, 0x40)
    exceptions.enabled |= {16, 17, 18}
    for number in (18, 17, PENDSV):
        exceptions.pend(number)
    exceptions.set_priority(PENDSV, 0xE0)
    assert exceptions.next_taken(Masks()) == 18
    exceptions.enter(18)
    assert exceptions.next_taken(Masks()) is None
    exceptions.leave(18)
    assert exceptions.next_taken(Masks()) == 17


def test_disabled_interrupt_stays_pending() -> None:
    exceptions = three_bits()
    exceptions.pend(20)
    assert exceptions.next_taken(Masks()) is None
    exceptions.enabled.add(20)
    assert exceptions.next_taken(Masks()) == 20


def test_only_a_higher_group_priority_preempts() -> None:
    exceptions = three_bits()
    exceptions.enabled |= {16, 17}
    exceptions.set_priority(16, 0x40)
    exceptions.set_priority(17, 0x60)
    exceptions.enter(17)
    exceptions.pend(16)
    assert exceptions.next_taken(Masks()) == 16
    exceptions.group_shift = 7  # only the highest bit preempts
    assert exceptions.next_taken(Masks()) is None


@pytest.mark.parametrize(
    ("masks", "taken"),
    [
        (Masks(), True),
        (Masks(primask=True), False),
        (Masks(faultmask=True), False),
        (Masks(basepri=0x40), False),
        (Masks(basepri=0x60), True),
    ],
)
def test_masks(masks: Masks, taken: bool) -> None:
    exceptions = three_bits()
    exceptions.set_priority(SYSTICK, 0x40)
    exceptions.pend(SYSTICK)
    assert (exceptions.next_taken(masks) == SYSTICK) is taken


def test_sleep_ends_though_primask_bars_the_handler() -> None:
    exceptions = three_bits()
    exceptions.pend(SYSTICK)
    masks = Masks(primask=True)
    assert exceptions.wakes(masks)
    assert exceptions.next_taken(masks) is None


def test_line_that_is_held_pends_again() -> None:
    exceptions = three_bits()
    exceptions.enabled.add(16)
    exceptions.hold_line(0, True)
    exceptions.enter(16)
    exceptions.leave(16)
    assert exceptions.next_taken(Masks()) == 16
    exceptions.enter(16)
    exceptions.hold_line(0, False)
    exceptions.leave(16)
    assert exceptions.next_taken(Masks()) is None
