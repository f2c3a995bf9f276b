"""Tables of the accuracy page: every published run beside what a fit without it predicts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from mcusim.boards import half_width
from mcusim.calibration.closed_fit import ClosedHeldOut, closed_left_out, closed_widths
from mcusim.calibration.held_out import (
    Coverage,
    HeldOut,
    coverage,
    energy_coverage,
    held_out_energy,
    held_out_latency,
    held_out_power,
)
from mcusim.calibration.measured_layers import WHOLE, MeasuredLayer, measured_layers
from mcusim.calibration.own_scales import board_fits, joint_fit, known_runs, log_error
from mcusim.calibration.published import PublishedRun, published_runs

__all__ = [
    "closed_table",
    "coverage_table",
    "elsewhere_table",
    "energy_table",
    "errors",
    "fits_table",
    "heim_table",
    "known_table",
    "layers_table",
    "mean",
    "ordered_rows",
    "orderings",
    "percent",
    "table",
    "unpriced_table",
]

#: Runs that differ by less need not be told apart.
_DIFFERENT = math.log(1.1)
_NEAR = ("network", "kind")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> Iterator[str]:
    """A Markdown table whose last columns are numbers.

    Args:
        head: titles.
        rows: cells.
        numbers: how many columns are aligned to the right.
    """
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * (len(head) - numbers) + "--:|" * numbers
    for row in rows:
        yield f"| {' | '.join(row)} |"


def percent(residual: float) -> str:
    """Predicted against measured, from the logarithm of measured over predicted."""
    return f"{100 * math.expm1(-residual):+z.1f} %"


def errors(rows: Iterable[HeldOut]) -> list[float]:
    """Absolute relative errors of predictions."""
    return [abs(math.expm1(-h.residual)) for h in rows]


def known_table() -> Iterator[str]:
    """Every run whose binary is known, predicted by fits that had not seen it."""
    near = {h.run: h for h in held_out_latency() if h.distance in _NEAR}
    away = {h.run: h for h in held_out_latency() if h.distance == "board"}
    head = ["board", "network", "software", "published ms"]
    head += ["network unseen ms", "90 %", "error", "board unseen ms", "90 %", "error", "fitted"]
    rows = []
    for p in known_runs():
        run = p.run
        cells = [run.board, run.model, run.software, _ms(run.latency_s)]
        cells += [*_predicted(near.get(run)), *_predicted(away[run])]
        rows.append([*cells, percent(log_error(joint_fit(), p))])
    return table(head, rows, 8)


def _predicted(found: HeldOut | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    predicted_s = found.run.latency_s / math.exp(found.residual)
    width = half_width("latency", found.distance)
    return _ms(predicted_s), _between(predicted_s, width, found.residual), percent(found.residual)


def _between(predicted: float, width: float, residual: float) -> str:
    """The interval; marked where the measurement lies outside."""
    low, high = predicted * math.exp(-width), predicted * math.exp(width)
    mark = "" if abs(residual) <= width else " **out**"
    return f"{_ms(low)} to {_ms(high)}{mark}"


def fits_table() -> Iterator[str]:
    """Each board's fit, and what it was worth on what was left out."""
    rows = []
    for fit in board_fits():
        scales = joint_fit().boards[fit.board]
        known = sum(p.run.status == "known" for p in fit.runs)
        rows.append(
            [
                fit.board,
                str(known),
                str(len(fit.runs) - known),
                f"{scales.time_scale:.3f}",
                f"{scales.fetch_wait_scale:.2f}",
                f"{scales.constant_wait_scale:.2f}",
                f"{100 * math.expm1(fit.before):.1f} %",
                f"{100 * math.expm1(fit.after):.1f} %",
                "its core's: own runs make it no better" if fit.refused else "own",
            ]
        )
    head = ("board", "known runs", "closed runs", "time", "fetch waits", "constant waits")
    return table((*head, "error before", "after", "scales"), rows, 0)


def energy_table() -> Iterator[str]:
    """Every known run with a measured energy."""
    near = {h.run: h for h in held_out_energy() if h.distance in _NEAR}
    other = {h.run: h for h in held_out_energy() if h.distance == "software"}
    away = {h.run: h for h in held_out_energy() if h.distance == "board"}
    head = ["board", "network", "software", "published mJ"]
    head += ["network unseen", "firmware unseen", "board unseen"]
    rows = []
    for run in dict.fromkeys(h.run for h in held_out_energy()):
        assert run.energy_j is not None
        cells = [run.board, run.model, run.software, f"{run.energy_j * 1e3:,.4g}"]
        by_distance = (near.get(run), other.get(run), away.get(run))
        rows.append([*cells, *("" if h is None else percent(h.residual) for h in by_distance)])
    return table(head, rows, 4)


def coverage_table() -> Iterator[str]:
    """Runs inside 90 % intervals that come from other runs, by quantity and distance."""
    rows = []
    for name, found in (
        ("latency", coverage(held_out_latency())),
        ("power", coverage(held_out_power())),
        ("energy", energy_coverage()),
    ):
        every = Coverage("all", sum(c.inside for c in found), sum(c.runs for c in found))
        for one in (*found, every):
            width = ""
            if one is not every and name != "energy":
                width = f"±{100 * math.expm1(half_width(name, one.distance)):.0f} %"
            share = f"{100 * one.inside / one.runs:.0f} %"
            rows.append([name, one.distance, str(one.runs), str(one.inside), share, width])
    return table(("of", "distance", "runs", "inside", "share", "width"), rows, 4)


def layers_table() -> Iterator[str]:
    """Every layer and network that no fit has seen."""
    rows = []
    for layer in measured_layers():
        inside = layer.low <= layer.cycles <= layer.high
        between = f"{layer.low:,.0f} to {layer.high:,.0f}{'' if inside else ' **out**'}"
        name = f"{layer.network}, {layer.operator}"
        cells = [layer.source, layer.board, name, f"{layer.cycles:,.0f}"]
        rows.append([*cells, f"{layer.predicted:,.0f}", between, percent(layer.residual)])
    head = ("source", "priced as", "layer", "published cycles", "predicted", "90 %", "error")
    return table(head, rows, 4)


def elsewhere_table() -> Iterator[str]:
    """What no fit has seen, source by source: how many, median and mean errors, how many inside."""
    by_source: dict[tuple[str, str, bool], list[MeasuredLayer]] = {}
    for layer in measured_layers():
        key = layer.source, layer.board, layer.operator == WHOLE
        by_source.setdefault(key, []).append(layer)
    rows = []
    for (source, board, whole), of in by_source.items():
        residuals = [layer.residual for layer in of]
        inside = sum(layer.low <= layer.cycles <= layer.high for layer in of)
        size = 100 * statistics.mean(abs(math.exp(-r) - 1) for r in residuals)
        cells = [source, board, f"{len(of)} {'network' if whole else 'layer'}{'s' * (len(of) > 1)}"]
        rows.append([*cells, percent(statistics.median(residuals)), f"{size:.1f} %", str(inside)])
    head = ("source", "priced as", "what", "median error", "mean of their sizes", "inside 90 %")
    return table(head, rows, 3)


def closed_table() -> Iterator[str]:
    """Every run of a closed runtime, its network and its board left out."""
    found: dict[PublishedRun, dict[str, ClosedHeldOut]] = {}
    for h in closed_left_out():
        found.setdefault(h.run.run, {})[h.distance] = h
    widths = {name: of["half_width"] for name, of in closed_widths().items()}
    rows = []
    for run, by_distance in sorted(found.items(), key=lambda item: _order(item[0])):
        cells = [run.runtime, run.board, run.model, _ms(run.latency_s)]
        for distance in ("network", "board"):
            cells += _of_closed(by_distance.get(distance), widths[distance])
        rows.append(cells)
    head = ("runtime", "board", "network", "published ms", "network unseen ms", "90 %", "error")
    return table((*head, "board unseen ms", "90 %", "error"), rows, 7)


def _of_closed(found: ClosedHeldOut | None, width: float) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    predicted_s = found.run.run.latency_s / math.exp(found.residual)
    between = _between(predicted_s, width, found.residual)
    return _ms(predicted_s), between, percent(found.residual)


def heim_table(name: str) -> Iterator[str]:
    """The rows of a table of Heim et al. (2021), beside what is predicted with the network unseen.

    Args:
        name: such as ``"table 5.8"``.
    """
    near = {_same(h.run): h for h in held_out_latency() if h.distance in _NEAR}
    away = {_same(h.run): h for h in held_out_latency() if h.distance == "board"}
    rows = []
    for run in published_runs():
        if run.file != "heim_2021.csv" or not run.source.endswith(name):
            continue
        alone = _same(run) not in near
        found = (away if alone else near).get(_same(run))
        published = _ms(run.latency_s) if run.latency_s == run.latency_s else "-"
        cells = [run.board, run.model, run.published_as, published]
        if found is None:
            rows.append([*cells, "", "", "", run.reason])
            continue
        predicted_s = found.run.latency_s / math.exp(found.residual)
        width = half_width("latency", found.distance)
        between = _between(predicted_s, width, math.log(run.latency_s / predicted_s))
        error = percent(math.log(run.latency_s / predicted_s))
        said = "board unseen: no other network ran there with this software" if alone else ""
        rows.append([*cells, _ms(predicted_s), between, error, said])
    head = ("board", "network", "as published", "published ms", "predicted ms", "90 %", "error")
    return table((*head, "note"), rows, 0)


def _same(run: PublishedRun) -> tuple[str, str, str]:
    """What two rows of the same run have in common."""
    return run.board, run.model, run.software


def ordered_rows(energy: bool = False) -> list[HeldOut]:
    """What boards are ordered by: known runs with their network unseen, closed ones likewise."""
    if not energy:
        known = [h for h in held_out_latency() if h.distance in _NEAR]
        return [*known, *map(_as_held_out, _closed_unseen())]
    known = [h for h in held_out_energy() if h.distance in _NEAR]
    powers = {h.run: h.residual for h in held_out_power() if h.distance == "network"}
    closed = [
        HeldOut(h.run.run, h.distance, h.residual + powers[h.run.run], "")
        for h in _closed_unseen()
        if h.run.run.energy_j and h.run.run in powers
    ]
    return [*known, *closed]


def _closed_unseen() -> list[ClosedHeldOut]:
    return [h for h in closed_left_out() if h.distance == "network"]


def _as_held_out(found: ClosedHeldOut) -> HeldOut:
    return HeldOut(found.run.run, found.distance, found.residual, "")


def _order(run: PublishedRun) -> tuple[str, str, str, int]:
    return run.runtime, run.board, run.model, run.line


def unpriced_table() -> Iterator[str]:
    """Every run that nothing prices, and the runs that are not used."""
    rows = [
        [
            run.status,
            run.board,
            run.model or "",
            run.published_as,
            _ms(run.latency_s) if run.latency_s == run.latency_s else "",
            run.reason,
        ]
        for run in published_runs()
        if run.status not in ("known", "closed")
    ]
    rows.sort(key=lambda row: (row[0], row[5], row[1]))
    return table(("status", "board", "network", "published as", "ms", "why"), rows, 0)


def orderings(rows: Sequence[HeldOut], energy: bool = False) -> tuple[int, int, list[str]]:
    """Pairs of boards that a network orders, and which of them are predicted the other way.

    Args:
        rows: predictions of runs, one a run.
        energy: whether energies are ordered, not times.

    Returns:
        Pairs that differ by more than 10 %, how many are ordered rightly, the others in words.
    """
    pairs, right, wrong = 0, 0, []
    for one, other in combinations(rows, 2):
        if one.run.model != other.run.model or one.run.board == other.run.board:
            continue
        if one.run.software != other.run.software:
            continue
        measured = math.log(_value(one.run, energy) / _value(other.run, energy))
        if abs(measured) < _DIFFERENT:
            continue
        pairs += 1
        if (measured - one.residual + other.residual) * measured > 0:
            right += 1
        else:
            wrong.append(f"{one.run.model}: {one.run.board} and {other.run.board}")
    return pairs, right, wrong


def _value(run: PublishedRun, energy: bool) -> float:
    return (run.energy_j or math.nan) if energy else run.latency_s


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:.4g}"


def mean(values: Sequence[float]) -> float:
    """Mean of errors; zero without any."""
    return statistics.fmean(values) if values else 0.0
