"""Division where it is a function."""

from __future__ import annotations

from mcusim.kernels.cmsis_nn.quotients import quotient_kinds


def test_quotients_are_told_apart_by_the_steps_that_find_them() -> None:
    """Seven by two is three: two bits, one of them found before the steps."""
    found = quotient_kinds((7, -2, 33, 600), 2)
    assert found == {
        "quotient.call": 4,
        "quotient.negative": 1,
        "quotient.from_2": 3,
        "quotient.from_16": 2,
        "quotient.from_256": 1,
        "quotient.bit": 1 + 0 + 1 + 4,
    }
