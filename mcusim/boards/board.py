"""A physical board with its clock, memories and supply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from mcusim.boards.calibration import Calibration
from mcusim.boards.core import Core, Ratio, Strict

__all__ = ["Board", "Clock", "Flash", "Power", "Ram", "Region"]

_Count = Annotated[int, Field(ge=0)]

#: Where a memory lies, and its size in bytes.
Region = tuple[_Count, PositiveInt]


class Clock(Strict):
    """Clock of the core, in Hz: what it runs at unless told otherwise, and its range."""

    default_hz: PositiveInt
    min_hz: PositiveInt
    max_hz: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Clock:
        if not self.min_hz <= self.default_hz <= self.max_hz:
            raise ValueError("default_hz must lie between min_hz and max_hz")
        return self


class Flash(Strict):
    """Program memory and what stands between it and the core.

    Attributes:
        bytes: size.
        line_bytes: what one access to the memory array returns.
        wait_states: pairs of a clock in Hz and the wait states needed up to it, rising.
        icache_bytes: cache for instructions; 0 for none.
        dcache_bytes: cache for constants; 0 for none.
        fetch_miss_rate: share of the lines fetched for instructions that wait for the array.
    """

    bytes: PositiveInt
    line_bytes: PositiveInt
    wait_states: Annotated[tuple[tuple[PositiveInt, _Count], ...], Field(min_length=1)]
    icache_bytes: _Count
    dcache_bytes: _Count
    fetch_miss_rate: Annotated[float, Field(ge=0, le=1)]

    @field_validator("wait_states")
    @classmethod
    def _rising(cls, value: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if list(value) != sorted(value) or len({clock for clock, _ in value}) != len(value):
            raise ValueError("pairs of clock and wait states must rise")
        return value

    def wait_states_at(self, clock_hz: float) -> int:
        """Wait states of one access at a clock; those of the highest clock beyond the table."""
        return next((ws for limit, ws in self.wait_states if clock_hz <= limit), self.slowest)

    @property
    def slowest(self) -> int:
        """Wait states at the highest clock."""
        return self.wait_states[-1][1]


class Ram(Strict):
    """Working memory on the chip, without wait states."""

    bytes: PositiveInt


class Power(Ratio):
    """Supply while the core computes.

    Attributes:
        supply_v: supply voltage.
        active_a_per_hz: supply current for each Hz of clock.
    """

    supply_v: PositiveFloat
    active_a_per_hz: PositiveFloat


class Board(Strict):
    """A board as a TOML file describes it.

    Attributes:
        name: name of the file.
        description: what it is, for people.
        core: the CPU.
        calibrated: whether measured runs have been fitted.
        clock: of the core.
        flash: program memory.
        ram: working memory.
        power: supply.
        calibration: what was fitted beside the other keys; None without measured runs.
        regions: where each memory lies, by name; ``"flash"`` is :attr:`flash`.
        source: the manuals, where a number does not name its own.
    """

    name: str
    description: str
    core: Core
    calibrated: bool
    clock: Clock
    flash: Flash
    ram: Ram
    power: Power
    calibration: Calibration | None = None
    regions: Mapping[str, Region] = Field(default_factory=dict)
    source: str = ""

    @model_validator(mode="after")
    def _wait_states_reach_the_clock(self) -> Board:
        if self.flash.wait_states[-1][0] < self.clock.max_hz:
            raise ValueError("flash.wait_states must reach clock.max_hz")
        return self

    @model_validator(mode="after")
    def _calibrated_by_runs(self) -> Board:
        if self.calibration and not self.calibrated:
            raise ValueError("calibrated must be true where there is a table calibration")
        return self
