"""From a recording to one inference: time and charge while a pin is high, and the idle between."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mcusim.calibration.importers.samples import Floats, Recording, Samples
from mcusim.calibration.importers.threshold import level_of
from mcusim.errors import InputError

__all__ = ["TracedRun", "traced_run"]

#: A step of time this many times the usual one is a gap in the recording.
_GAP = 10.0
#: Windows of one network repeat; beyond this ratio the pin marks different things.
_LARGEST_SPREAD = 2.0
#: A window of fewer samples is known too badly: one sample is 10 %.
_LEAST_SAMPLES = 10
#: Pulses this much shorter than the longest window are glitches of the wire or of start-up.
_GLITCH = 0.02
#: Less current than at rest by this much: the pin is low while the network runs.
_INVERTED = 0.9
#: A pin that changes more often does not mark inferences.
_MOST_EDGES = 1_000_000
#: Windows that only the current shows must be several, and alike.
_LEAST_BY_CURRENT, _SPREAD_BY_CURRENT = 3, 1.1


@dataclass(frozen=True)
class TracedRun:
    """One inference as a recording shows it: medians over the windows.

    Attributes:
        latency_s: time of one inference.
        charge_c: charge from the supply in that time.
        energy_j: energy from the supply in that time; None without a recorded voltage.
        supply_v: mean voltage in the windows; None without a recorded voltage.
        windows: how many windows were measured.
        inferences: in each window.
        spread: longest over shortest window, less 1.
        idle_a: current between windows; None where there is no time between them.
        idle_before_a: current before the first window; None where the recording starts later.
        idle_after_a: current after the last window; None where the recording ends earlier.
        left_out: windows with a gap in them, and pulses much shorter than the others.
        shown_by: pin, or the threshold of current.
    """

    latency_s: float
    charge_c: float
    energy_j: float | None
    supply_v: float | None
    windows: int
    inferences: int
    spread: float
    idle_a: float | None
    idle_before_a: float | None
    idle_after_a: float | None
    left_out: int
    shown_by: str

    @property
    def active_a(self) -> float:
        """Mean current of an inference."""
        return self.charge_c / self.latency_s

    def described(self) -> str:
        """What was found, in one line."""
        many = "1 window" if self.windows == 1 else f"{self.windows} windows"
        each = f" of {self.inferences} inferences" if self.inferences > 1 else ""
        said = (
            f"{many}{each} by {self.shown_by}: {self.latency_s * 1e3:.5g} ms an inference, "
            f"longest {100 * self.spread:.2g} % over shortest, {self.active_a * 1e3:.4g} mA"
        )
        if self.idle_a is not None:
            said += f", idle {self.idle_a * 1e3:.4g} mA"
        if self.idle_before_a is not None and self.idle_after_a is not None:
            said += f" (before {self.idle_before_a * 1e3:.4g}, after {self.idle_after_a * 1e3:.4g})"
        if self.left_out:
            said += f"; {self.left_out} with a gap in the recording, or far too short, left out"
        return said


def traced_run(recording: Recording, pin: str | None = None, inferences: int = 1) -> TracedRun:
    """Measure one inference: the pin is high while the network runs.

    Charge is the trapezoid of current over time from the first high sample to the last, which is
    held until the first low one.
    Without a pin that changes, windows are looked for in the current, and refused unless it has
    two clearly separate levels.

    Args:
        recording: at least one whole window.
        pin: the one that marks inferences; None for the one that changes.
        inferences: in each window.

    Raises:
        InputError: the recording is malformed, or does not show where inferences start and end.
    """
    tally = _Tally.of(recording.name, recording.samples())
    names = list(tally.edges)
    if pin is not None and pin not in names:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise InputError(f"{recording.name}: has no pin {pin!r}; {known}")
    changing = [name for name in names if len(tally.edges[name]) > 1]
    if pin is not None and pin not in changing:
        raise InputError(f"{recording.name}: pin {pin} never goes high and low again")
    if pin is None and len(changing) > 1:
        raise InputError(
            f"{recording.name}: pins {', '.join(changing)} change; name the one that is high "
            "while the network runs with --gpio"
        )
    if changing:
        chosen = pin or changing[0]
        return _run(recording.name, tally, chosen, f"pin {chosen}", inferences)
    return _run_by_current(recording, names, inferences)


def _run_by_current(recording: Recording, pins: Sequence[str], inferences: int) -> TracedRun:
    which = f"pin {pins[0]} never changes" if pins else "it has no pin"
    which = f"none of the pins {', '.join(pins)} changes" if len(pins) > 1 else which
    missing = (
        f"{recording.name}: {which}, and the current does not show by itself where an inference "
        "starts and ends; set a pin high while the network runs and record it"
    )
    level = level_of(recording.samples())
    if level is None:
        raise InputError(missing)
    tally = _Tally.of(recording.name, level.applied(recording.samples()))
    edges = tally.edges["current"]
    if len(edges) < 2 * _LEAST_BY_CURRENT:
        raise InputError(missing)
    shown_by = f"current above {level.high_a * 1e3:.3g} mA"
    try:
        found = _run(recording.name, tally, "current", shown_by, inferences)
    except InputError:
        raise InputError(missing) from None
    if found.windows < _LEAST_BY_CURRENT or found.spread > _SPREAD_BY_CURRENT - 1:
        raise InputError(missing)
    return found


@dataclass(frozen=True)
class _Edge:
    """A change of a pin, with what had passed until then.

    Somewhere between two samples the pin changed: what ends there holds its last sample until the
    next one (``held``), and what starts there starts at that one.
    """

    rises: bool
    time_s: float
    charge_c: float
    energy_j: float
    held_charge_c: float
    held_energy_j: float
    samples: int
    gaps: int

    def charge_since(self, start: _Edge) -> float:
        """Charge from another edge to this one."""
        return self.held_charge_c - start.charge_c

    def energy_since(self, start: _Edge) -> float:
        """Energy from another edge to this one."""
        return self.held_energy_j - start.energy_j


@dataclass
class _Tally:
    """Sums over a recording, and the edges of each pin; the samples themselves are not kept."""

    name: str
    edges: dict[str, list[_Edge]] = field(default_factory=dict)
    first: _Edge | None = None
    last: _Edge | None = None
    has_voltage: bool = False
    _before: Samples | None = None
    _step_s: float = 0.0

    @classmethod
    def of(cls, name: str, pieces: Iterator[Samples]) -> _Tally:
        tally = cls(name)
        for piece in pieces:
            if piece.time_s.size:
                tally._add(piece)
        if tally.last is None or tally.last.samples < 1:
            raise InputError(f"{name}: holds no samples")
        return tally

    def _add(self, piece: Samples) -> None:
        self.has_voltage = piece.voltage_v is not None
        if self._before is None:
            self.edges = {pin: [] for pin in piece.pins}
            self.first = self.last = _Edge(False, float(piece.time_s[0]), 0, 0, 0, 0, 0, 0)
            steps = np.diff(piece.time_s)
            self._step_s = float(np.median(steps[steps > 0])) if np.any(steps > 0) else 0.0
        else:
            piece = _joined(self._before, piece)
        assert self.last is not None
        sums = _Sums.of(piece, self._step_s)
        past = self.last

        def passed(index: int, rises: bool) -> _Edge:
            return _Edge(
                rises,
                float(piece.time_s[index]),
                past.charge_c + float(sums.charge_c[index]),
                past.energy_j + float(sums.energy_j[index]),
                past.charge_c + float(sums.held_charge_c[index]),
                past.energy_j + float(sums.held_energy_j[index]),
                past.samples + index,
                past.gaps + int(sums.gaps[index]),
            )

        for pin, levels in piece.pins.items():
            edges = self.edges[pin]
            for index in (np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist():
                edges.append(passed(index, bool(levels[index])))
            if len(edges) > _MOST_EDGES:
                raise InputError(f"{self.name}: pin {pin} changes more than {_MOST_EDGES:,} times")
        end = piece.time_s.size - 1
        self.last = passed(end, False)
        self._before = Samples(
            piece.time_s[end:],
            piece.current_a[end:],
            None if piece.voltage_v is None else piece.voltage_v[end:],
            {pin: levels[end:] for pin, levels in piece.pins.items()},
        )


@dataclass(frozen=True)
class _Sums:
    """What has passed from the first sample of a piece to each: (n,) each."""

    charge_c: Floats
    energy_j: Floats
    held_charge_c: Floats
    held_energy_j: Floats
    gaps: npt.NDArray[np.int64]

    @classmethod
    def of(cls, piece: Samples, step_s: float) -> _Sums:
        steps = np.diff(piece.time_s)
        current = piece.current_a
        power = current * (0.0 if piece.voltage_v is None else piece.voltage_v)
        is_gap = ~np.isfinite(power[1:] + power[:-1] + current[1:] + current[:-1])
        if step_s:
            is_gap |= steps > _GAP * step_s
        charge, held_charge = _integrals(current, steps, is_gap)
        energy, held_energy = _integrals(power, steps, is_gap)
        return cls(
            charge, energy, held_charge, held_energy, np.concatenate([[0], np.cumsum(is_gap)])
        )


def _integrals(
    values: Floats, steps: Floats, is_gap: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Trapezoids up to each sample, and the same with the sample before held for the last step."""
    trapezoids = np.where(is_gap, 0.0, steps * (values[1:] + values[:-1]) / 2)
    held = np.where(is_gap, 0.0, steps * values[:-1])
    whole = _running(trapezoids)
    return whole, whole + np.concatenate([[0.0], held - trapezoids])


def _running(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _joined(before: Samples, piece: Samples) -> Samples:
    voltage = None
    if before.voltage_v is not None and piece.voltage_v is not None:
        voltage = np.concatenate([before.voltage_v, piece.voltage_v])
    return Samples(
        np.concatenate([before.time_s, piece.time_s]),
        np.concatenate([before.current_a, piece.current_a]),
        voltage,
        {pin: np.concatenate([before.pins[pin], levels]) for pin, levels in piece.pins.items()},
    )


def _run(name: str, tally: _Tally, pin: str, shown_by: str, inferences: int) -> TracedRun:
    edges = tally.edges[pin]
    highs = [(a, b) for a, b in pairwise(edges) if a.rises]
    if not highs:
        raise InputError(
            f"{name}: {shown_by} shows no whole inference: it must go high and low again"
        )
    whole = [(a, b) for a, b in highs if a.gaps == b.gaps]
    if not whole:
        raise InputError(f"{name}: the recording has a gap in every window of {shown_by}")
    longest = max(b.time_s - a.time_s for a, b in whole)
    whole = [(a, b) for a, b in whole if b.time_s - a.time_s >= _GLITCH * longest]
    times = [b.time_s - a.time_s for a, b in whole]
    samples = statistics.median(b.samples - a.samples for a, b in whole)
    if samples < _LEAST_SAMPLES:
        raise InputError(
            f"{name}: {shown_by} is high for {samples:g} samples only; sample faster, or run "
            "several inferences in each window and say how many with --inferences"
        )
    if max(times) > _LARGEST_SPREAD * min(times):
        raise InputError(
            f"{name}: windows of {shown_by} take {min(times) * 1e3:.4g} to "
            f"{max(times) * 1e3:.4g} ms; record one network at a time"
        )
    latency_s = statistics.median(times) / inferences
    energy_j = statistics.median(b.energy_since(a) for a, b in whole) / inferences
    charge_c = statistics.median(b.charge_since(a) for a, b in whole) / inferences
    if charge_c <= 0:
        raise InputError(f"{name}: no current flows while {shown_by} is high")
    assert tally.first is not None and tally.last is not None
    before, between, after = _idle(tally.first, edges, tally.last)
    lows = [*before, *between, *after]
    if lows and charge_c / latency_s < _INVERTED * statistics.median(lows):
        raise InputError(
            f"{name}: less current flows while {shown_by} is high than while it is low; set it "
            "high while the network runs"
        )
    return TracedRun(
        latency_s,
        charge_c,
        energy_j if tally.has_voltage else None,
        energy_j / charge_c if tally.has_voltage else None,
        len(whole),
        inferences,
        max(times) / min(times) - 1,
        statistics.median(lows) if lows else None,
        before[0] if before else None,
        after[0] if after else None,
        len(highs) - len(whole),
        shown_by,
    )


def _idle(
    first: _Edge, edges: Sequence[_Edge], last: _Edge
) -> tuple[list[float], list[float], list[float]]:
    """Mean currents while low: before the first window, between windows, after the last."""
    before = _means([(first, edges[0])] if edges[0].rises else [])
    between = _means([(a, b) for a, b in pairwise(edges) if not a.rises])
    after = _means([] if edges[-1].rises else [(edges[-1], last)])
    return before, between, after


def _means(lows: Sequence[tuple[_Edge, _Edge]]) -> list[float]:
    return [
        b.charge_since(a) / (b.time_s - a.time_s)
        for a, b in lows
        if b.samples - a.samples >= _LEAST_SAMPLES and b.time_s > a.time_s and a.gaps == b.gaps
    ]
