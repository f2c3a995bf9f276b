"""Supply currents of a board from measured energies and from recordings of its current."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from mcusim.boards import Power
from mcusim.calibration.board_fit import conformal_half_width

__all__ = ["CurrentFit", "PoweredRun", "fit_currents"]

#: Between inferences, a core that takes this share of its active current is busy waiting.
_BUSY = 0.7
#: Below this share it is in a deeper mode than one whose clock runs (assumed: sleep modes of
#: Cortex-M take 10 to 50 % of run mode, stop modes below 1 %).
_ASLEEP = 0.05


@dataclass(frozen=True)
class PoweredRun:
    """A run with a measured energy.

    Attributes:
        group: runs of one group are left out together.
        clock_hz: of the core.
        power_w: mean over the inference.
        supply_v: voltage that it was measured at.
        idle_a: current between inferences; None where it was not measured.
        software_scale: factor on active power that the board's file has for this software.
    """

    group: Hashable
    clock_hz: float
    power_w: float
    supply_v: float
    idle_a: float | None = None
    software_scale: float = 1.0


@dataclass(frozen=True)
class CurrentFit:
    """Supply currents from measured energies.

    Attributes:
        values: keys of the board's table ``power``, with what was fitted.
        half_width: of the logarithm's 90 % interval of active power.
        runs: how many tell an energy.
        notes: what could not be used, and why.
    """

    values: dict[str, float]
    half_width: float
    runs: int
    notes: tuple[str, ...] = ()


def fit_currents(power: Power, runs: Sequence[PoweredRun], half_width: float) -> CurrentFit:
    """Fit the active current, and the one between inferences where it was recorded.

    One factor scales the active current, the part that depends on the clock and the other; it is
    the median over the runs. The current between inferences is told by its share of the active
    one: a core that waits with its clock running, one that sleeps, or one that is busy waiting,
    which tells nothing.

    Args:
        power: of the board.
        runs: at least one.
        half_width: of the logarithm's 90 % interval of active power, before any run.

    Returns:
        The fit; without a value where networks left out speak against it.
    """
    logs: dict[Hashable, list[float]] = {}
    for run in runs:
        expected_w = power.with_supply(run.supply_v).active_w(run.clock_hz)
        ratio = run.power_w / (run.software_scale * expected_w)
        logs.setdefault(run.group, []).append(math.log(ratio))
    every = [value for values in logs.values() for value in values]
    values, notes = {}, []
    factor, against = math.exp(statistics.median(every)), ""
    if len(logs) > 1:
        sizes = [_left_out(logs, group) for group in logs]
        before = statistics.fmean(max(map(abs, held)) for held in logs.values())
        if statistics.fmean(sizes) > before + 1e-9:
            against = (
                "active_a_per_hz is kept: fitted to the other networks, energies left out are "
                f"wrong by {_percent(statistics.fmean(sizes))}, without a fit by {_percent(before)}"
            )
        else:
            half_width = conformal_half_width(sizes, half_width)
    if against:
        notes.append(against)
    else:
        values["active_a_per_hz"] = power.active_a_per_hz * factor
        if power.active_a:
            values["active_a"] = power.active_a * factor
    rest, said = _rest(power, runs)
    return CurrentFit(values | rest, half_width, len(every), (*notes, *said))


def _left_out(logs: dict[Hashable, list[float]], group: Hashable) -> float:
    """Largest distance of a group from the median of the others."""
    others = [value for other, values in logs.items() if other != group for value in values]
    return max(abs(value - statistics.median(others)) for value in logs[group])


def _rest(power: Power, runs: Sequence[PoweredRun]) -> tuple[dict[str, float], list[str]]:
    """Keys for the current between inferences."""
    idle, asleep, busy = [], [], []
    for run in runs:
        if run.idle_a is None or run.idle_a <= 0:
            continue
        share = run.idle_a * run.supply_v / run.power_w
        if share >= _BUSY:
            busy.append(share)
        elif share < _ASLEEP:
            asleep.append(run.idle_a)
        else:
            idle.append(_idle_ratio(power, run))
    values = {}
    if idle and power.idle_a_per_hz:
        values["idle_a_per_hz"] = power.idle_a_per_hz * statistics.median(idle)
        if power.idle_a:
            values["idle_a"] = power.idle_a * statistics.median(idle)
    elif idle:
        values["idle_a_per_hz"] = statistics.median(idle)
    if asleep:
        values["sleep_a"] = statistics.median(asleep)
    notes = []
    if busy and not values:
        notes.append(
            f"the current between inferences is {100 * statistics.median(busy):.0f} % of that "
            "while computing: the core does not rest there, and idle current is kept"
        )
    return values, notes


def _idle_ratio(power: Power, run: PoweredRun) -> float:
    """Measured over expected idle current; amperes for each Hz where nothing is expected."""
    assert run.idle_a is not None
    supply = power.with_supply(run.supply_v)
    expected_w = supply.idle_w(run.clock_hz)
    if expected_w and power.idle_a_per_hz:
        return run.idle_a * run.supply_v / expected_w
    return run.idle_a / supply.current_scale / run.clock_hz


def _percent(log_error: float) -> str:
    return f"{100 * math.expm1(log_error):.1f} %"
