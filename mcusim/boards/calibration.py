"""What measured runs add to a board, and how far its times are to be trusted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from mcusim.boards.core import Core, Ratio

__all__ = ["Calibration", "time_bounds"]


class Calibration(Ratio):
    """What measured runs say that the manuals do not; written by ``mcusim calibrate``.

    Attributes:
        measured_on: the measured runs, for people.
        runs: how many they are.
        software: runtimes and builds measured, ``"<runtime> <build>"``.
        time_scale: factor on every cycle.
        fetch_wait_scale: factor on the cycles that wait for instructions.
        constant_wait_scale: factor on the cycles that wait for constants.
    """

    measured_on: str
    runs: PositiveInt
    software: Annotated[tuple[str, ...], Field(min_length=1)]
    time_scale: PositiveFloat
    fetch_wait_scale: Annotated[float, Field(ge=0)]
    constant_wait_scale: Annotated[float, Field(ge=0)]


def time_bounds(core: Core, fitted: Calibration | None, software: str) -> tuple[float, float]:
    """Measured over predicted time, low and high, 90 %.

    Args:
        core: of the board.
        fitted: the board's calibration.
        software: runtime and build, ``"<runtime> <build>"``. One that was not measured has the
            core's bounds as well, which lie around the time that nothing scales.
    """
    bounds = core.uncalibrated
    low, high = bounds.measured_over_predicted_low, bounds.measured_over_predicted_high
    if fitted is None:
        return low, high
    found = fitted.measured_over_predicted_low, fitted.measured_over_predicted_high
    if software in fitted.software:
        return found
    return min(found[0], low / fitted.time_scale), max(found[1], high / fitted.time_scale)
