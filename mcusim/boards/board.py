"""A physical board with its clock, memories and supply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PositiveInt, model_validator

from mcusim.boards.calibration import Calibration
from mcusim.boards.core import Core, Strict
from mcusim.boards.memory import Flash, Memory, MemoryPath, Ram
from mcusim.boards.power import Power

__all__ = ["Board", "Clock", "Region"]

#: Where a memory lies, and its size in bytes.
Region = tuple[Annotated[int, Field(ge=0)], PositiveInt]


class Clock(Strict):
    """Clock of the core, in Hz: what it runs at unless told otherwise, and its range."""

    default_hz: PositiveInt
    min_hz: PositiveInt
    max_hz: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Clock:
        if not self.min_hz <= self.default_hz <= self.max_hz:
            raise ValueError(
                f"default_hz is {self.default_hz:,}, and must lie between "
                f"min_hz of {self.min_hz:,} and max_hz of {self.max_hz:,}"
            )
        return self


class Board(Strict):
    """A board as a TOML file describes it.

    Attributes:
        name: name of the file.
        description: what it is, for people.
        core: the CPU, with the board's own overrides.
        core_overrides: what the board changes of its core's file.
        peripherals: name of the table of its chip's registers; empty where there is none.
        calibrated: whether measured runs have been fitted.
        clock: of the core.
        flash: program memory.
        ram: working memory.
        memory: memories that wait, beside flash, by the name of their region.
        power: supply.
        calibration: what was fitted beside the other keys; None without measured runs.
        regions: where each memory lies, by name; ``"flash"`` is :attr:`flash`.
        source: the manuals, where a number does not name its own.
    """

    name: str
    description: str
    core: Core
    core_overrides: Mapping[str, Any] = Field(default_factory=dict)
    peripherals: str = ""
    calibrated: bool
    clock: Clock
    flash: Flash
    ram: Ram
    memory: Mapping[str, Memory] = Field(default_factory=dict)
    power: Power
    calibration: Calibration | None = None
    regions: Mapping[str, Region] = Field(default_factory=dict)
    source: str = ""

    @model_validator(mode="after")
    def _wait_states_reach_the_clock(self) -> Board:
        reached = self.flash.wait_states[-1][0]
        if reached < self.clock.max_hz:
            raise ValueError(
                "flash.wait_states must reach clock.max_hz of "
                f"{self.clock.max_hz:,}, and end at {reached:,}"
            )
        return self

    @model_validator(mode="after")
    def _calibrated_by_runs(self) -> Board:
        if self.calibration and not self.calibrated:
            raise ValueError("calibrated must be true where there is a table calibration")
        return self

    @property
    def unscaled(self) -> Board:
        """The board as its files describe it, without what was fitted to measured runs."""
        plain = self.core.uncalibrated.model_copy(update={"time_scale": 1.0})
        core = self.core.model_copy(update={"uncalibrated": plain, "software_scale": {}})
        return self.model_copy(update={"core": core, "calibrated": False, "calibration": None})

    def with_flash(self, **changes: Any) -> Board:
        """The board with some values of its flash and caches changed, which are not checked."""
        return self.model_copy(update={"flash": self.flash.model_copy(update=changes)})

    @property
    def places(self) -> tuple[str, ...]:
        """Memories in which something may be placed; ``"ram"`` is any that does not wait."""
        return tuple(dict.fromkeys(("flash", "ram", *self.regions, *self.memory)))

    def path(self, place: str, clock_hz: float) -> MemoryPath:
        """A memory as the core sees it at a clock.

        Args:
            place: one of :attr:`places`; what has no table of its own does not wait.
            clock_hz: clock of the core.
        """
        if place == "flash":
            return self.flash.path(clock_hz, self.power.supply_v)
        memory = self.memory.get(place)
        return memory.path(clock_hz, self.flash) if memory else MemoryPath()
