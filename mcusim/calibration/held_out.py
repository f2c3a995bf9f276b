"""Published runs predicted by fits that had not seen them, by how far they were from what was seen.

Distances, the nearest first: ``network``, the board was measured with the same software on other
networks of this kind; ``kind``, on networks of other kinds only; ``software``, with other software
only; ``board``, other boards of this core were measured; ``core``, only other cores were.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache

from scipy.stats import t as student_t

from mcusim.calibration.joint_fit import JointFit, fit_jointly
from mcusim.calibration.own_scales import alike, closed_runs, known_runs, log_error
from mcusim.calibration.power_fit import PoweredRun, PowerFit, fit_power, powered_runs
from mcusim.calibration.priced_runs import PricedRun
from mcusim.calibration.published import PublishedRun, published_runs

__all__ = [
    "DISTANCES",
    "Coverage",
    "HeldOut",
    "coverage",
    "energy_coverage",
    "half_width",
    "held_out_energy",
    "held_out_latency",
    "held_out_power",
    "new_group_half_width",
    "width_at",
    "width_of",
]

#: The nearest first.
DISTANCES = ("network", "kind", "software", "board", "core")

#: Of a board that was measured, the nearest first.
_ON_BOARD = ("network", "kind", "software")

_COVERAGE = 0.9


@dataclass(frozen=True)
class HeldOut:
    """A run and what a fit that had not seen it says of it.

    Attributes:
        run: as published.
        distance: of :data:`DISTANCES`.
        residual: logarithm of measured over predicted.
        group: what was left out with it.
    """

    run: PublishedRun
    distance: str
    residual: float
    group: Hashable


@cache
def held_out_latency() -> tuple[HeldOut, ...]:
    """Time of every known run at each distance; of closed ones where boards are left out.

    A closed run is compared with what the same software takes of the same network on other boards.
    """
    found = [
        *_left_out("network", lambda p: p.run.model),
        *_left_out("software", lambda p: (p.run.board, p.run.software)),
        *_left_out("board", lambda p: p.run.board, closed=True),
        *_left_out("core", lambda p: p.core, closed=True),
    ]
    return tuple(found)


def _left_out(
    distance: str, group_of: Callable[[PricedRun], Hashable], closed: bool = False
) -> list[HeldOut]:
    """Each group predicted by a fit without it."""
    known, others = known_runs(), closed_runs()
    found = []
    for group in dict.fromkeys(map(group_of, (*known, *others) if closed else known)):
        seen = [p for p in known if group_of(p) != group]
        seen_closed = [p for p in others if group_of(p) != group]
        fit = fit_jointly(seen, seen_closed, alike())
        for p in known:
            if group_of(p) == group and _is_at(distance, p, seen):
                at = _kind_distance(p, seen) if distance == "network" else distance
                found.append(HeldOut(p.run, at, log_error(fit, p), group))
        if closed:
            found += _left_out_closed(distance, group, group_of, fit, seen, seen_closed)
    return found


def _is_at(distance: str, run: PricedRun, seen: Sequence[PricedRun]) -> bool:
    """Whether the runs that are left are as near as the distance says, and no nearer."""
    same_board = [p for p in seen if p.run.board == run.run.board]
    if distance == "network":
        return any(p.run.software == run.run.software for p in same_board)
    if distance == "software":
        return bool(same_board)
    return True


def _kind_distance(run: PricedRun, seen: Sequence[PricedRun]) -> str:
    kinds = {
        p.kind for p in seen if (p.run.board, p.run.software) == (run.run.board, run.run.software)
    }
    return "network" if run.kind in kinds else "kind"


def _left_out_closed(
    distance: str,
    group: Hashable,
    group_of: Callable[[PricedRun], Hashable],
    fit: JointFit,
    seen: Sequence[PricedRun],
    seen_closed: Sequence[PricedRun],
) -> list[HeldOut]:
    """Closed runs of a group, by the factors that other boards show."""
    factors: dict[tuple[str, str], list[float]] = {}
    for p in seen_closed:
        factors.setdefault((p.run.runtime, p.run.model), []).append(log_error(fit, p))
    cores = {p.core for p in (*seen, *seen_closed)}
    found = []
    for p in closed_runs():
        others = factors.get((p.run.runtime, p.run.model))
        if group_of(p) != group or not others:
            continue
        at = distance if distance == "core" or p.core in cores else "core"
        if distance == "board" and at == "core":
            continue  # its core is left out as a whole, too
        found.append(HeldOut(p.run, at, log_error(fit, p) - sum(others) / len(others), group))
    return found


@cache
def held_out_power() -> tuple[HeldOut, ...]:
    """Power at the distances that power knows.

    Networks of one firmware draw the same within a few percent. Where a network is left out, each
    run counts; where firmware or a board is, each firmware counts once, by the median of its runs.
    """
    found: dict[Hashable, list[HeldOut]] = {}
    for run, held_out in _power_by_run():
        single = held_out.run if held_out.distance == "network" else _firmware(run)
        found.setdefault((held_out.distance, single), []).append(held_out)
    return tuple(sorted(own, key=lambda h: h.residual)[len(own) // 2] for own in found.values())


@cache
def _power_by_run() -> tuple[tuple[PoweredRun, HeldOut], ...]:
    """Power of every run that has one."""
    runs = powered_runs(published_runs())
    found: list[tuple[PoweredRun, HeldOut]] = []
    for run in runs:
        if run.run.model:
            seen = [r for r in runs if r.run.model != run.run.model]
            if any(_firmware(r) == _firmware(run) for r in seen):
                found.append((run, _power(fit_power(seen), run, "network", run.run.model)))
        others = [r for r in runs if _firmware(r) != _firmware(run)]
        if any(r.run.board == run.run.board for r in others):
            found.append((run, _power(fit_power(others), run, "software", _firmware(run))))
        rest = [r for r in runs if r.run.board != run.run.board]
        found.append((run, _power(fit_power(rest), run, "board", run.run.board)))
    return tuple(found)


def _firmware(run: PoweredRun) -> tuple[str, str]:
    return run.run.board, run.firmware


def _power(fit: PowerFit, run: PoweredRun, distance: str, group: Hashable) -> HeldOut:
    factor = fit.of(run.run.board, run.firmware)
    return HeldOut(run.run, distance, run.log_ratio - math.log(factor), group)


@cache
def held_out_energy() -> tuple[HeldOut, ...]:
    """Energy of the known runs that have one, time and power held out at the same distance."""
    powers = {(p.run, p.distance): p.residual for _, p in _power_by_run()}
    found = []
    for time in held_out_latency():
        run = time.run
        near = _power_distance(time.distance)
        power = powers.get((run, near))
        if run.status != "known" or not run.energy_j or not run.power_w or power is None:
            continue
        # The energy as published, against predicted time and power.
        own = math.log(run.energy_j / run.power_w / run.latency_s)
        found.append(HeldOut(run, time.distance, time.residual + power + own, time.group))
    return tuple(found)


def half_width(residuals: Sequence[float], *groupings: Sequence[Hashable]) -> float:
    """Half the width of a 90 % interval of the logarithm, from residuals held out.

    Conformal: with n residuals the ``ceil(0.9 (n + 1))``-th smallest in size; the largest, widened
    by what is missing to 90 %, below n = 9. That takes residuals for independent, which those of
    one firmware or network are not: it is never less than what a new group takes
    (:func:`new_group_half_width`).

    Args:
        residuals: logarithms of measured over predicted.
        groupings: each the groups of the residuals, in their order.
    """
    sizes = sorted(abs(residual) for residual in residuals)
    count = len(sizes)
    rank = math.ceil(_COVERAGE * (count + 1))
    single = sizes[rank - 1] if rank <= count else sizes[-1] * _COVERAGE * (count + 1) / count
    return max(single, *(new_group_half_width(residuals, groups) for groups in groupings), 0.0)


def new_group_half_width(residuals: Sequence[float], groups: Sequence[Hashable]) -> float:
    """Half the width of a 90 % interval of a residual in a group that was not seen.

    A residual is what its group shares and what is its own, both normal around zero; how far they
    spread is estimated by analysis of variance, and how well that is known by Satterthwaite's
    degrees of freedom: few groups of much in common widen it.

    Args:
        residuals: logarithms of measured over predicted.
        groups: of each.
    """
    by_group: dict[Hashable, list[float]] = {}
    for residual, group in zip(residuals, groups, strict=True):
        by_group.setdefault(group, []).append(residual)
    means = {group: statistics.fmean(own) for group, own in by_group.items()}
    within = [r - means[group] for group, own in by_group.items() for r in own]
    freedom = len(within) - len(by_group)
    own_variance = sum(r * r for r in within) / freedom if freedom else 0.0
    of_means = statistics.fmean(mean * mean for mean in means.values())
    # Of the variance of a group's mean, this share of its residuals' own is in it.
    share = statistics.fmean(1 / len(own) for own in by_group.values())
    if of_means <= share * own_variance:  # groups have nothing in common
        variance, known = statistics.fmean(r * r for r in residuals), float(len(residuals))
    else:
        rest = (1 - share) * own_variance
        variance = of_means + rest
        known = variance**2 / (of_means**2 / len(means) + (rest**2 / freedom if freedom else 0.0))
    return float(student_t.ppf((1 + _COVERAGE) / 2, known)) * math.sqrt(variance)


def width_at(rows: Sequence[HeldOut], distance: str) -> float:
    """Half width at a distance; on a measured board never less than at a nearer one.

    Args:
        rows: with some at the distance.
        distance: of :data:`DISTANCES`.
    """
    nearer = _ON_BOARD[: _ON_BOARD.index(distance) + 1] if distance in _ON_BOARD else (distance,)
    found = [[h for h in rows if h.distance == near] for near in nearer]
    return max(width_of(own) for own in found if own)


def width_of(rows: Sequence[HeldOut]) -> float:
    """Half width of rows at one distance, grouped by what was left out and by firmware."""
    return half_width(
        [h.residual for h in rows],
        [h.group for h in rows],
        [(h.run.board, h.run.software or h.run.published_as) for h in rows],
    )


@dataclass(frozen=True)
class Coverage:
    """How many runs lay within 90 % intervals from the runs of other groups.

    Attributes:
        distance: of the runs.
        inside: runs within.
        runs: all of them.
    """

    distance: str
    inside: int
    runs: int


def coverage(rows: Sequence[HeldOut]) -> tuple[Coverage, ...]:
    """Coverage by distance: each run's interval is from runs that were not left out with it."""
    return _covered(rows, lambda row: _width_without(rows, row, row.distance))


def energy_coverage() -> tuple[Coverage, ...]:
    """Coverage of energies, whose interval is that of time and of power, as squares add.

    As for power, each firmware counts once where firmware or a board is left out.
    """

    def width(row: HeldOut) -> float:
        power = _power_distance(row.distance)
        return math.hypot(
            _width_without(held_out_latency(), row, row.distance),
            _width_without(held_out_power(), row, power),
        )

    found: dict[Hashable, list[HeldOut]] = {}
    for row in held_out_energy():
        near = row.distance in ("network", "kind")
        single = row.run if near else (row.run.board, row.run.software)
        found.setdefault((row.distance, single), []).append(row)
    middle = [sorted(own, key=lambda h: h.residual)[len(own) // 2] for own in found.values()]
    return _covered(middle, width)


def _covered(rows: Sequence[HeldOut], width: Callable[[HeldOut], float]) -> tuple[Coverage, ...]:
    found = []
    for distance in DISTANCES:
        own = [h for h in rows if h.distance == distance]
        inside = sum(abs(row.residual) <= width(row) for row in own)
        if own:
            found.append(Coverage(distance, inside, len(own)))
    return tuple(found)


def _width_without(rows: Sequence[HeldOut], row: HeldOut, distance: str) -> float:
    """Half width from other groups; where all were left out together, from other runs."""
    own = [h for h in rows if h.distance == distance]
    rest = [h for h in own if h.group != row.group]
    rest = rest or [h for h in own if h.run != row.run]
    return width_at([*rest, *(h for h in rows if h.distance != distance)], distance)


def _power_distance(distance: str) -> str:
    """Power knows no kinds of networks."""
    return "network" if distance == "kind" else distance
