"""Inferences at an interval: average current, and how long a battery lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcusim.errors import InputError
from mcusim.estimates import Estimate

__all__ = ["DutyCycle", "duty_cycle"]


@dataclass(frozen=True)
class DutyCycle:
    """A board that computes once a period and rests for what remains of it.

    Attributes:
        period_s: from one inference to the next.
        active_s: time of one inference, waking up included.
        active_j: energy meanwhile.
        rest: ``"sleep"`` or ``"idle"``: how the board spends the rest.
        rest_w: power meanwhile.
        supply_v: supply voltage.
        battery_ah: charge of the battery; None without one.
    """

    period_s: float
    active_s: float
    active_j: float
    rest: str
    rest_w: float
    supply_v: float
    battery_ah: float | None = None

    @property
    def duty(self) -> float:
        """Share of the time in which the board computes."""
        return self.active_s / self.period_s

    @property
    def energy_j(self) -> float:
        """Energy of one period."""
        return self.active_j + self.rest_w * (self.period_s - self.active_s)

    @property
    def average_w(self) -> float:
        """Average power."""
        return self.energy_j / self.period_s

    @property
    def average_a(self) -> float:
        """Average supply current."""
        return self.average_w / self.supply_v

    @property
    def life_s(self) -> float | None:
        """How long the battery lasts; None without one.

        All of its rated charge is used, at the supply voltage: self-discharge, temperature and a
        converter's losses come on top.
        """
        if self.battery_ah is None:
            return None
        return self.battery_ah * 3600.0 / self.average_a if self.average_a else math.inf


def duty_cycle(
    estimate: Estimate,
    period_s: float,
    *,
    battery_ah: float | None = None,
    rest: str | None = None,
    rest_a: float | None = None,
) -> DutyCycle:
    """What one inference every ``period_s`` seconds draws.

    Args:
        estimate: of one inference.
        period_s: from one inference to the next.
        battery_ah: charge of the battery in ampere-hours, such as 0.22 for a CR2032 of 220 mAh.
        rest: ``"sleep"`` for the deepest mode that keeps RAM, ``"idle"`` for a core that waits
            with its clock running; the deeper one that the board's file knows when None.
        rest_a: supply current meanwhile, in amperes; the board's own when None.

    Returns:
        Average power and current, and the battery's life.

    Raises:
        InputError: one inference takes longer than the period, a number is not positive, the
            board's file does not know the current at rest, or that is more than computing takes.
    """
    board, power = estimate.board, estimate.board.power
    for name, value in (("a period", period_s), ("a battery's charge", battery_ah)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is above 0, not {value:g}")
    if rest not in (None, "sleep", "idle"):
        raise InputError(f"a board rests in 'sleep' or 'idle', not in {rest!r}")
    known = {"sleep": power.sleep_w(), "idle": power.idle_w(estimate.clock_hz)}
    name = rest or ("idle" if known["sleep"] is None and known["idle"] is not None else "sleep")
    rest_w = known[name] if rest_a is None else rest_a * power.supply_v
    if rest_w is None:
        key = "power.sleep_a" if name == "sleep" else "power.idle_a_per_hz"
        raise InputError(f"{board.name}: its current in {name} is not known; give `{key}`")
    active_a = power.active_w(estimate.clock_hz) / power.supply_v
    if rest_a is not None and rest_a >= active_a:
        raise InputError(
            f"{board.name} draws {active_a:.3g} A while computing: it does not rest at {rest_a:g} A"
        )
    wake_s = (power.wake_s or 0.0) if name == "sleep" else 0.0
    active_s = estimate.latency_s + wake_s
    if active_s > period_s:
        raise InputError(
            f"one inference of {estimate.model} takes {estimate.latency_s:.3g} s on {board.name}, "
            f"longer than the period of {period_s:g} s"
        )
    active_j = estimate.energy_j + wake_s * power.active_w(estimate.clock_hz)
    return DutyCycle(period_s, active_s, active_j, name, rest_w, power.supply_v, battery_ah)
