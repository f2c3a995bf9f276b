"""Supply currents of a board from measured energies and from recordings of its current."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.boards import Power
from mcusim.calibration.board_fit import (
    between_networks,
    conformal_half_width,
    firm_share,
    is_as_published,
    percent,
    unexplained,
)

__all__ = ["CurrentFit", "PoweredRun", "fit_currents"]

#: Clocks that are this far apart tell the part of the current that does not depend on them.
_APART = 1.5
#: Two parts must take this share of the error on networks left out.
_WORTH = 0.2
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
    """

    group: Hashable
    clock_hz: float
    power_w: float
    supply_v: float
    idle_a: float | None = None


@dataclass(frozen=True)
class CurrentFit:
    """Supply currents from measured energies.

    Attributes:
        values: keys of the board's table ``power``, with what was fitted.
        half_width: of the logarithm's 90 % interval of active power.
        runs: how many tell an energy.
        notes: what could not be used, and why.
        outliers: indices of the runs whose power no current explains, and how many times the
            fitted power it is.
    """

    values: dict[str, float]
    half_width: float
    runs: int
    notes: tuple[str, ...] = ()
    outliers: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class _Active:
    """Active current: a part that does not depend on the clock, and one that does."""

    active_a: float
    active_a_per_hz: float

    def log_ratio(self, power: Power, run: PoweredRun) -> float:
        """Logarithm of measured over expected power."""
        current_a = self.active_a + self.active_a_per_hz * run.clock_hz
        return math.log(_current(power, run) / current_a)


def fit_currents(power: Power, runs: Sequence[PoweredRun], half_width: float) -> CurrentFit:
    """Fit the active current, and the one between inferences where it was recorded.

    One factor scales both parts of the active current; it is the median over the runs. Where runs
    at several clocks show it by a fifth of the error on networks left out, both parts are fitted.
    The current between inferences is told by its share of the active one: a core that waits with
    its clock running, one that sleeps, or one that is busy waiting, which tells nothing.

    Args:
        power: of the board.
        runs: at least one.
        half_width: of the logarithm's 90 % interval of active power, before any run.

    Returns:
        The fit; without a value where networks left out speak against it, and with the one of
        before where the board was as near to the energies as published networks are.
    """
    before = _Active(power.active_a or 0.0, power.active_a_per_hz)
    fitted, values, notes = _factor(power, runs, before), {}, []
    is_right = False
    if len({run.group for run in runs}) > 1:
        sizes = _left_out(power, runs, before, _factor)
        if _has_clocks(runs):
            by_clock = _left_out(power, runs, before, _line)
            if statistics.fmean(by_clock) < (1 - _WORTH) * statistics.fmean(sizes):
                fitted, sizes = _line(power, runs, before), by_clock
        as_it_was = list(_by_group(power, runs, before).values())
        kept = statistics.fmean(as_it_was)
        if statistics.fmean(sizes) > kept + 1e-9:
            notes.append(
                "active_a_per_hz is kept: fitted to the other networks, energies left out are "
                f"wrong by {percent(statistics.fmean(sizes))}, without a fit by {percent(kept)}"
            )
            fitted = before
            is_right = is_as_published(kept, "power")
            sizes = as_it_was if is_right else []
        if sizes:
            half_width = conformal_half_width(sizes, half_width)
    if not notes or is_right:
        values["active_a_per_hz"] = fitted.active_a_per_hz
        if fitted.active_a or power.active_a:
            values["active_a"] = fitted.active_a
    rest, said = _rest(power, runs)
    ratios = np.array([fitted.log_ratio(power, run) for run in runs])
    outliers = tuple((at, math.exp(ratios[at])) for at in sorted(unexplained(ratios)))
    return CurrentFit(values | rest, half_width, len(runs), (*notes, *said), outliers)


def _current(power: Power, run: PoweredRun) -> float:
    """Measured current, as the board's file would state it."""
    supply = power.with_supply(run.supply_v)
    return run.power_w / (supply.supply_v * supply.current_scale)


def _factor(power: Power, runs: Sequence[PoweredRun], before: _Active) -> _Active:
    """Both parts by one factor, no further than what networks differ by allows."""
    ratios = [before.log_ratio(power, run) for run in runs]
    middle = statistics.median(ratios)
    strangers = unexplained(np.array(ratios))
    groups: dict[Hashable, list[float]] = {}
    for index, (run, ratio) in enumerate(zip(runs, ratios, strict=True)):
        if index not in strangers:
            groups.setdefault(run.group, []).append(ratio - middle)
    scatter = [statistics.fmean(each) for each in groups.values()]
    factor = math.exp(middle * firm_share(middle, scatter, between_networks("power")))
    return _Active(before.active_a * factor, before.active_a_per_hz * factor)


def _line(power: Power, runs: Sequence[PoweredRun], before: _Active) -> _Active:
    """Both parts by least squares of relative errors; one factor where a part is below 0."""
    if not _has_clocks(runs):
        return _factor(power, runs, before)
    currents = np.array([_current(power, run) for run in runs])
    clocks = np.array([run.clock_hz for run in runs])
    rows = np.stack([1 / currents, clocks / currents], axis=1)
    constant, per_hz = np.linalg.lstsq(rows, np.ones(len(runs)))[0].tolist()
    if constant < 0 or per_hz <= 0:
        return _factor(power, runs, before)
    return _Active(constant, per_hz)


def _has_clocks(runs: Sequence[PoweredRun]) -> bool:
    clocks = [run.clock_hz for run in runs]
    return max(clocks) >= _APART * min(clocks)


def _left_out(
    power: Power,
    runs: Sequence[PoweredRun],
    before: _Active,
    fit: Callable[[Power, Sequence[PoweredRun], _Active], _Active],
) -> list[float]:
    """Largest error of each group under the fit of the others."""
    sizes = []
    for group in dict.fromkeys(run.group for run in runs):
        found = fit(power, [run for run in runs if run.group != group], before)
        left_out = [run for run in runs if run.group == group]
        sizes.append(_by_group(power, left_out, found)[group])
    return sizes


def _by_group(power: Power, runs: Sequence[PoweredRun], found: _Active) -> dict[Hashable, float]:
    """Largest error of each group."""
    sizes: dict[Hashable, float] = {}
    for run in runs:
        size = abs(found.log_ratio(power, run))
        sizes[run.group] = max(size, sizes.get(run.group, 0.0))
    return sizes


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
