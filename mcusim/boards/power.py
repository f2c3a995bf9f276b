"""Supply of a board: current while it computes, waits and sleeps, and through which regulator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from mcusim.boards.core import Ratio

__all__ = ["SUPPLY_V", "Power", "Regulator"]

Regulator = Literal["ldo", "smps"]

#: Lower and higher supplies were meant in another unit.
SUPPLY_V = (0.5, 60.0)

_Current = Annotated[float, Field(ge=0)]
#: Where a switching regulator's efficiency is not known.
_EFFICIENCY = 0.85


class Power(Ratio):
    """Supply currents, as measured at :attr:`measured_at_v` through :attr:`measured_through`.

    A linear regulator draws the current that the core takes, whatever the supply voltage; a
    switching one draws the power, so that its current falls as the voltage rises.

    Attributes:
        supply_v: supply voltage.
        supply_range_v: lowest and highest supply that the chip runs at; None where it is not known.
        regulator: ``"ldo"`` for a linear regulator, ``"smps"`` for a switching one.
        core_v: what the regulator makes; needed only where currents were measured through the
            other regulator.
        smps_efficiency: power out over power in of the switching regulator.
        measured_at_v: supply voltage of the currents below; ``supply_v`` when None.
        measured_through: regulator of the currents below; ``regulator`` when None.
        active_a_per_hz: current while computing, for each Hz of clock.
        active_a: current while computing that does not depend on the clock.
        idle_a_per_hz: current while the core waits for an interrupt with its clock running
            (sleep mode), for each Hz of clock; None where it is not known.
        idle_a: that part of it that does not depend on the clock.
        sleep_a: current in the deepest mode that keeps RAM; None where it is not known.
        wake_s: from there until code runs again.
    """

    supply_v: PositiveFloat
    supply_range_v: tuple[PositiveFloat, PositiveFloat] | None = None
    regulator: Regulator
    core_v: PositiveFloat | None = None
    smps_efficiency: Annotated[float, Field(gt=0, le=1)] | None = None
    measured_at_v: PositiveFloat | None = None
    measured_through: Regulator | None = None
    active_a_per_hz: PositiveFloat
    active_a: _Current | None = None
    idle_a_per_hz: _Current | None = None
    idle_a: _Current | None = None
    sleep_a: _Current | None = None
    wake_s: Annotated[float, Field(ge=0)] | None = None

    @field_validator("supply_range_v")
    @classmethod
    def _rising(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits and limits[0] > limits[1]:
            raise ValueError(f"has its lowest, {limits[0]:g} V, above its highest")
        return limits

    @model_validator(mode="after")
    def _convertible(self) -> Power:
        if self._through != self.regulator and self.core_v is None:
            raise ValueError(
                f"core_v is missing: currents were measured through the {self._through} and the "
                f"supply is the {self.regulator}"
            )
        return self

    def other_supplies(self, supply_v: float) -> str | None:
        """The supplies that the chip runs at, in words, where a voltage is none of them."""
        if self.supply_range_v is None:
            return None
        low, high = self.supply_range_v
        return None if low <= supply_v <= high else f"{low:g} to {high:g} V"

    @property
    def _through(self) -> Regulator:
        return self.measured_through or self.regulator

    def with_supply(
        self, supply_v: float | None = None, regulator: Regulator | None = None
    ) -> Power:
        """The same chip at another supply voltage, or through its other regulator.

        Raises:
            ValueError: the other regulator needs ``core_v``, which is not known.
        """
        values = self.model_dump() | {
            "supply_v": supply_v or self.supply_v,
            "regulator": regulator or self.regulator,
            "measured_at_v": self.measured_at_v or self.supply_v,
            "measured_through": self._through,
        }
        return Power.model_validate(values)

    @property
    def current_scale(self) -> float:
        """Current at this supply over the current as measured."""
        return self._share(self.supply_v, self.regulator) / self._share(
            self.measured_at_v or self.supply_v, self._through
        )

    def _share(self, supply_v: float, regulator: Regulator) -> float:
        """Supply current over core current."""
        if regulator == "ldo":
            return 1.0
        efficiency = self.smps_efficiency or _EFFICIENCY
        # Without core_v both sides of the ratio are switching regulators, and it cancels.
        return (self.core_v or 1.0) / (efficiency * supply_v)

    def active_w(self, clock_hz: float) -> float:
        """Power while computing, in watts."""
        current_a = (self.active_a or 0.0) + self.active_a_per_hz * clock_hz
        return self.supply_v * self.current_scale * current_a

    def idle_w(self, clock_hz: float) -> float | None:
        """Power while the core waits with its clock running, in watts; None if unknown."""
        if self.idle_a_per_hz is None:
            return None
        current_a = (self.idle_a or 0.0) + self.idle_a_per_hz * clock_hz
        return self.supply_v * self.current_scale * current_a

    def sleep_w(self) -> float | None:
        """Power in the deepest mode that keeps RAM, in watts; None if unknown."""
        # Chips sleep on a small linear regulator, whichever they compute with.
        return None if self.sleep_a is None else self.supply_v * self.sleep_a
