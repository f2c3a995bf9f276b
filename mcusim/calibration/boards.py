"""A board made better by runs that were measured on it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from mcusim.boards import Board, half_width, load_board
from mcusim.calibration.bench_price import DEVICE, ExecutedBench
from mcusim.calibration.board_fit import TimeFit, fit_time, keep_time, percent
from mcusim.calibration.current_fit import CurrentFit, PoweredRun, fit_currents
from mcusim.calibration.doubts import (
    contradictions,
    fit_is_worse,
    is_confirmed,
    outlier_note,
    refusal,
    unusual,
)
from mcusim.calibration.measurements import Measurement, MeasurementFile, read_measurements
from mcusim.calibration.priced_measurements import (
    CalibrationLine,
    PricedMeasurement,
    start_parameters,
    unscaled_board,
)
from mcusim.errors import InputError

__all__ = ["BoardCalibration", "CalibrationLine", "CurrentFit", "calibrate"]

#: A board's file names so many networks, and lists so many runs.
_MOST_NAMES, _MOST_LINES = 6, 24


@dataclass(frozen=True)
class BoardCalibration:
    """A fit, what it changes and how good it is.

    Attributes:
        board: as it was.
        base: name or path of its file.
        source: the measured runs.
        fit: of times.
        current: of energies; None where none were measured.
        lines: one a run.
        refused: why the fit is not to be used; empty where it is.
        notes: what a user must know.
    """

    board: Board
    base: str
    source: MeasurementFile
    fit: TimeFit
    current: CurrentFit | None
    lines: tuple[CalibrationLine, ...]
    refused: str
    notes: tuple[str, ...]

    @property
    def is_of_layers(self) -> bool:
        """Whether layers of one network are all that was measured."""
        return len({line.measurement.model for line in self.lines}) == 1

    def toml(self, folder: str | Path = ".", day: date | None = None) -> str:
        """The board's file: what changed, over the base, with its evidence.

        Args:
            folder: where it will lie, for the path of a base that is a file.
            day: date to state; today when None.

        Raises:
            InputError: the fit was refused.
        """
        if self.refused:
            raise InputError(self.refused)
        base = self.base
        if base.endswith(".toml"):
            base = Path(os.path.relpath(base, folder)).as_posix()
        fit, count = self.fit, len(self.source.rows)
        names = list(dict.fromkeys(r.network for r in self.source.rows))
        more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
        models = ", ".join([*names[:_MOST_NAMES], *more])
        software = tuple(dict.fromkeys(line.software for line in self.lines))
        runs = "runs" if count > 1 else "run"
        by = f"fitted to {count} measured {runs}"
        text = [
            f"# {self.board.name}, {by} by `mcusim calibrate` on {day or date.today()}.",
            f"# Runs: {self.source.name}, SHA-256 {self.source.sha256}",
            *(f"# {' '.join(line.split())}" for line in self.report(_MOST_LINES)),
            f"base = {_quoted(base)}",
            f"calibrated = true    # {by}, {self.source.name}",
        ]
        kept = "kept: the runs do not tell it" if fit.fitted else "kept: the runs tell no better"
        fitted = {name: by if name in fit.fitted else kept for name in vars(fit.parameters)}
        width = "the core's spread: one network"
        if fit.left_out:
            width = "runs left out, conformal"
            if self.is_of_layers:
                width = "layers left out, and no less than networks left out on published boards"
        text += [
            "",
            "[calibration]",
            f"measured_on = {_quoted(f'{count} {runs} of {models}')}",
            f"runs = {count}    # rows of {self.source.name}",
            f"software = [{', '.join(map(_quoted, software))}]    # runtimes and builds measured",
            *(
                f"{name} = {getattr(fit.parameters, name):.6g}    # {fitted[name]}"
                for name in fitted
            ),
            *_bounds(fit.half_width, width),
            *self._kinds(),
        ]
        if self.current and self.current.values:
            plural = "energies" if self.current.runs > 1 else "energy"
            energies = f"fitted to {self.current.runs} measured {plural}"
            text += ["", "[power]"]
            text += [f"{k} = {v:.6g}    # {energies}" for k, v in self.current.values.items()]
            if "active_a_per_hz" in self.current.values:
                power = self.board.power
                volts = power.measured_at_v or power.supply_v
                through = power.measured_through or power.regulator
                # A current alone would be taken to be one at the file's own supply.
                text += [
                    f"measured_at_v = {volts:g}    # supply of the currents, as in the base",
                    f"measured_through = {_quoted(through)}    # regulator of the same",
                    *_bounds(self.current.half_width, energies),
                ]
        return "\n".join(text) + "\n"

    def _kinds(self) -> Iterator[str]:
        """Which families of operators took most of the time, by software."""
        by_software: dict[str, set[str]] = {}
        for line in self.lines:
            if line.family:
                by_software.setdefault(line.software, set()).add(line.family)
        if by_software:
            yield ""
            yield "[calibration.kinds]    # what took most of the time in the measured networks"
        for software, families in by_software.items():
            yield f"{_quoted(software)} = [{', '.join(map(_quoted, sorted(families)))}]"

    def report(self, most: int | None = None) -> tuple[str, ...]:
        """What was fitted, the residuals, the error on what was left out, and the interval.

        Args:
            most: of more runs than these only those that no parameter explains are listed.
        """
        fit, parameters = self.fit, vars(self.fit.parameters)
        start = vars(start_parameters(self.board))
        said = [
            f"fitted {name}: {start[name]:.4g} -> {parameters[name]:.4g}" for name in fit.fitted
        ]
        said += [f"kept {name}: {start[name]:.4g}" for name in start if name not in fit.fitted]
        is_long = most is not None and len(self.lines) > most
        for line in self.lines:
            if is_long and not line.is_outlier:
                continue
            run = line.measurement
            out = line.left_out_s
            left_out = f", left out {_error(out, run)}" if out is not None else ""
            layer = "" if run.layer is None else f" layer {run.layer}"
            mark = "; no parameter explains it" if line.is_outlier else ""
            said.append(
                f"{run.network}{layer}, {line.software}, {line.clock_hz / 1e6:g} MHz: "
                f"measured {run.latency_s * 1e3:.5g} ms, before {_error(line.before_s, run)}, "
                f"fitted {_error(line.after_s, run)}{left_out}{mark}"
            )
        if fit.error_after is None:
            said.append("one network: nothing can be left out, and the interval stays the core's")
        else:
            said.append(
                f"mean error on {'layers' if self.is_of_layers else 'networks'} left out: "
                f"{percent(fit.error_after)}, "
                f"before the fit {percent(fit.error_before)}"
            )
        bounds = self.board.core.uncalibrated
        said.append(
            f"90 % interval of measured over predicted time: {math.exp(-fit.half_width):.3g} to "
            f"{math.exp(fit.half_width):.3g}, uncalibrated {bounds.measured_over_predicted_low:g} "
            f"to {bounds.measured_over_predicted_high:g}"
        )
        for key, value in self.current.values.items() if self.current else ():
            before = getattr(self.board.power, key)
            was = "unknown" if before is None else f"{before:.4g}"
            assert self.current is not None
            energies = "1 energy" if (n := self.current.runs) == 1 else f"{n} energies"
            volts = f"{self.board.power.supply_v:g} V"
            if value == before:
                said.append(f"kept {key}: {was}, by {energies} at {volts}")
            else:
                said.append(f"fitted {key}: {was} -> {value:.4g}, from {energies} at {volts}")
        return (*said, *self.notes)


def calibrate(
    board: str | Path,
    measurements: str | Path | MeasurementFile,
    runtime: str = "tflm",
    build: str = "gcc-O3",
) -> BoardCalibration:
    """Fit the few parameters of a board that measured runs identify.

    Args:
        board: name of a board, or path of its file.
        measurements: path of a CSV file of runs, or the runs.
        runtime: of the rows that name none.
        build: of the rows that name none.

    Returns:
        The fit. Where it predicts networks left out worse than the board as it was, or cannot be
        told from a wrong setting, it says why it is refused.

    Raises:
        InputError: the file is malformed, or a run does not fit the board, its model or the
            units; names the line.
        BoardError: there is no such board, or its file is malformed.
    """
    if isinstance(measurements, MeasurementFile):
        source = measurements
    else:
        source = read_measurements(measurements)
    held = load_board(board)
    rows = tuple(
        replace(row, runtime=row.runtime or runtime, build=row.build or build)
        for row in source.rows
    )
    start = start_parameters(held)
    many = len({row.model for row in rows}) > 1
    executed = ExecutedBench(unscaled_board(held))
    found = [
        PricedMeasurement.executed(held, row, source.name, many, executed)
        if row.runtime == DEVICE
        else PricedMeasurement.of(held, row, source.name, many)
        for row in rows
    ]
    cycles = [priced.run for priced in found]
    # What is open in a build that was not counted is open until runs were left out.
    prior = max([_half_width(held), *(each.half_width or 0.0 for each in found)])
    fit = fit_time(cycles, start, prior)
    notes = []
    if fit.is_worse and is_confirmed(held, fit, rows):
        notes.append(f"{fit_is_worse(held, fit)}; the interval is what they are wrong by")
        fit = keep_time(cycles, start, prior)
    elif not fit.fitted:
        notes.append(
            f"{held.name} keeps its parameters: it is off by no more than networks differ by from "
            "one another"
        )
    if not many and fit.left_out:
        # What layers of one network are off by says little of another network.
        width = max(fit.half_width, half_width("latency", "network"))
        fit = replace(fit, half_width=width)
    lines = tuple(priced.line(fit, index, held, start) for index, priced in enumerate(found))
    notes += [outlier_note(source.name, lines[i]) for i in fit.outliers]
    notes += [*unusual(held, lines, prior), *contradictions(source.name, lines)]
    current = _current(held, found)
    if current:
        notes += [*_energy_notes(source.name, rows, current), *current.notes]
    notes += source.notes
    refused = refusal(held, fit, lines, prior)
    return BoardCalibration(held, str(board), source, fit, current, lines, refused, tuple(notes))


def _half_width(board: Board) -> float:
    bounds = board.core.uncalibrated
    return _half(bounds.measured_over_predicted_low, bounds.measured_over_predicted_high)


def _half(low: float, high: float) -> float:
    return math.log(high / low) / 2


def _current(board: Board, found: Sequence[PricedMeasurement]) -> CurrentFit | None:
    """Supply currents; None without energies."""
    power = board.power
    # The factors on power that the board ships with by software are forgotten by what is written.
    runs = [
        PoweredRun(
            priced.run.group,
            priced.clock_hz,
            row.energy_j / row.latency_s,
            row.supply_v or power.supply_v,
            row.idle_a,
        )
        for priced in found
        if (row := priced.measurement).energy_j is not None
    ]
    prior = _half(power.measured_over_predicted_low, power.measured_over_predicted_high)
    return fit_currents(power, runs, prior) if runs else None


def _energy_notes(file: str, rows: Sequence[Measurement], current: CurrentFit) -> Iterator[str]:
    with_energy = [row for row in rows if row.energy_j is not None]
    for index, ratio in current.outliers:
        row = with_energy[index]
        yield (
            f"{row.place(file)}: no current explains {row.network} drawing {ratio:.3g} times the "
            "fitted power; it is kept in the interval: check its energy, supply and what else "
            "the meter saw"
        )


def _bounds(width: float, evidence: str) -> tuple[str, str]:
    # Rounded outwards, so that no digit makes the interval narrower.
    low = math.floor(math.exp(-width) * 1e4) / 1e4
    high = math.ceil(math.exp(width) * 1e4) / 1e4
    return (
        f"measured_over_predicted_low = {low:.4f}    # {evidence}",
        f"measured_over_predicted_high = {high:.4f}    # {evidence}",
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _error(predicted_s: float, run: Measurement) -> str:
    return f"{100 * (predicted_s / run.latency_s - 1):+z.1f} %"
