"""What measured runs add to a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from mcusim.boards.core import Ratio

__all__ = ["Calibration"]


class Calibration(Ratio):
    """What measured runs say that the manuals do not; written by ``mcusim calibrate``.

    Attributes:
        measured_on: the measured runs, for people.
        runs: how many they are.
        software: runtimes and builds measured, ``"<runtime> <build>"``.
        time_scale: factor on every cycle.
        fetch_wait_scale: factor on the cycles that wait for instructions.
        constant_wait_scale: factor on the cycles that wait for constants.
        kinds: families of operators that took most of the time in the measured networks, by
            software; empty where that is not known.
        power_scale: factor on the power while computing, by software that it was measured with.
    """

    measured_on: str
    runs: PositiveInt
    software: Annotated[tuple[str, ...], Field(min_length=1)]
    time_scale: PositiveFloat
    fetch_wait_scale: Annotated[float, Field(ge=0)]
    constant_wait_scale: Annotated[float, Field(ge=0)]
    kinds: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    power_scale: Mapping[str, PositiveFloat] = Field(default_factory=dict)
