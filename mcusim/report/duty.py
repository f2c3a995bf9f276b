"""Inferences at an interval, as lines for a terminal and as JSON."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from mcusim.duty_cycle import DutyCycle
from mcusim.estimates import Estimate

__all__ = ["duty_cycle_dict", "duty_cycle_lines", "duty_cycle_sentences"]

_TIMES = (("years", 365.25 * 86400.0), ("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def duty_cycle_dict(cycle: DutyCycle, estimate: Estimate) -> dict[str, Any]:
    """JSON-ready, after ``duty_cycle`` in the schema of estimates.

    Intervals are those of the inference's time and energy; the current at rest is taken as it is.
    """
    ends = _ends(cycle, estimate)
    lives = [end.life_s for end in ends]
    endless = cycle.life_s is None or math.isinf(cycle.life_s)
    return {
        "period_s": cycle.period_s,
        "active_s": cycle.active_s,
        "duty": cycle.duty,
        "rest": cycle.rest,
        "rest_w": cycle.rest_w,
        "energy_j": cycle.energy_j,
        "energy_interval_j": [end.energy_j for end in ends],
        "average_w": cycle.average_w,
        "average_a": cycle.average_a,
        "average_interval_a": [end.average_a for end in ends],
        "battery_ah": cycle.battery_ah,
        "life_s": None if endless else cycle.life_s,
        "life_interval_s": None if endless else lives[::-1],
    }


def duty_cycle_lines(cycle: DutyCycle, estimate: Estimate) -> list[str]:
    """Share of the time, energy of a period, average current, and the battery's life."""
    period, energy, *battery = duty_cycle_sentences(cycle, estimate)
    titles = {0: "battery   "} if cycle.battery_ah is not None else {}
    rest = [titles.get(i, " " * 10) + sentence for i, sentence in enumerate(battery)]
    return [f"period    {period}", f"          {energy}", *rest]


def duty_cycle_sentences(cycle: DutyCycle, estimate: Estimate) -> list[str]:
    """The same for a text: the period, its energy, and the battery where there is one."""
    low, high = _ends(cycle, estimate)
    rest_a = cycle.rest_w / cycle.supply_v
    said = [
        f"{_time(cycle.period_s)}: computing {100 * cycle.duty:.3g} % of it, "
        f"{cycle.rest} at {_amperes(rest_a)} for the rest",
        f"{cycle.energy_j * 1e3:,.4g} mJ a period "
        f"(90 %: {low.energy_j * 1e3:,.4g} to {high.energy_j * 1e3:,.4g} mJ), average "
        f"{_amperes(cycle.average_a)} at {cycle.supply_v:g} V",
    ]
    if cycle.battery_ah is not None and cycle.life_s is not None:
        assert low.life_s is not None and high.life_s is not None
        unit, size = _unit(cycle.life_s)
        said.append(
            f"{cycle.battery_ah * 1e3:,.4g} mAh last {_time(cycle.life_s)} "
            f"(90 %: {high.life_s / size:.3g} to {low.life_s / size:.3g} {unit}); "
            "self-discharge and a converter's losses come on top"
        )
    if high.active_s >= cycle.period_s:
        said.append("the inference may take longer than the period: see its interval")
    return said


def _ends(cycle: DutyCycle, estimate: Estimate) -> tuple[DutyCycle, DutyCycle]:
    """The same with the time and energy at either end of their intervals."""
    low, high = (
        replace(
            cycle,
            active_s=min(cycle.active_s + time_s - estimate.latency_s, cycle.period_s),
            active_j=cycle.active_j + energy_j - estimate.energy_j,
        )
        for time_s, energy_j in zip(
            estimate.latency_interval_s, estimate.energy_interval_j, strict=True
        )
    )
    return low, high


def _time(seconds: float) -> str:
    unit, size = _unit(seconds)
    return f"{seconds / size:.3g} {unit}"


def _unit(seconds: float) -> tuple[str, float]:
    return next(((unit, size) for unit, size in _TIMES if seconds >= size), ("ms", 1e-3))


def _amperes(value: float) -> str:
    unit, size = next(((u, s) for u, s in (("A", 1.0), ("mA", 1e-3)) if value >= s), ("µA", 1e-6))
    return f"{value / size:.4g} {unit}"
