"""Runs measured on a board: a table of them, or what an instrument or a benchmark recorded."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mcusim.boards import SUPPLY_V
from mcusim.calibration.importers import (
    Format,
    OfficialResult,
    TracedRun,
    format_of,
    open_trace,
    read_results,
    read_results_json,
    traced_run,
)
from mcusim.errors import InputError

__all__ = ["COLUMNS", "Measurement", "MeasurementFile", "RecordedWith", "read_measurements"]

#: Columns of a table. A time or a trace is needed; an empty cell takes the default of the command.
COLUMNS = (
    "model",
    "runtime",
    "build",
    "clock_hz",
    "weights",
    "latency_s",
    "latency_ms",
    "energy_j",
    "energy_mj",
    "supply_v",
    "layer",
    "trace",
    "inferences",
    "note",
)
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Measurement:
    """One run.

    Attributes:
        line: of the file, from 1; 0 outside a file.
        model: path of a ``.tflite`` file, or name of a network of the zoo.
        latency_s: time of one inference, or of one layer.
        runtime: None for the default.
        build: None for the default.
        clock_hz: None for the board's own.
        energy_j: from the supply in that time; None where it was not measured.
        supply_v: voltage that the energy was measured at; None for the board's own.
        idle_a: supply current while nothing runs; None where it was not measured.
        weights: memory that they lie in; None for flash.
        layer: index of the operator that was measured; None for the whole inference.
        note: anything, for people.
    """

    line: int
    model: str
    latency_s: float
    runtime: str | None = None
    build: str | None = None
    clock_hz: float | None = None
    energy_j: float | None = None
    layer: int | None = None
    note: str = ""
    supply_v: float | None = None
    idle_a: float | None = None
    weights: str | None = None

    @property
    def network(self) -> str:
        """Its name without a folder and an ending."""
        return Path(self.model).name.removesuffix(".tflite")

    def place(self, file: str) -> str:
        """Where it stands, for messages."""
        return f"{file}, line {self.line}" if self.line else file


@dataclass(frozen=True)
class MeasurementFile:
    """The runs of a file.

    Attributes:
        name: of the file.
        sha256: of its bytes, in hexadecimal digits.
        rows: in order.
        notes: how recordings were read, for people.
    """

    name: str
    sha256: str
    rows: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordedWith:
    """What a recording of current, or a result of a benchmark, does not tell.

    Attributes:
        model: path of a ``.tflite`` file, or name of a network of the zoo.
        clock_hz: of the core, and of rows of a table that name none; None for the board's own.
        supply_v: voltage of the supply; None where it is recorded, and energy is unknown else.
        inferences: while the pin is high once.
        pin: that is high while the network runs; None for the one that changes.
        current: column or channel of the supply's current, where there are several.
    """

    model: str | None = None
    clock_hz: float | None = None
    supply_v: float | None = None
    inferences: int = 1
    pin: str | None = None
    current: str | None = None


def read_measurements(path: str | Path, recorded: RecordedWith | None = None) -> MeasurementFile:
    """Read measured runs from a table, a recording of current, or results of MLPerf Tiny.

    What a file is, its content tells. Models and recordings that a table names by their path are
    looked for beside it. A folder is a submission to MLPerf Tiny.

    Args:
        path: of the file or folder.
        recorded: what a recording does not tell.

    Raises:
        InputError: the file cannot be read, or something in it is wrong; names the place.
    """
    path, recorded = Path(path), recorded or RecordedWith()
    found = format_of(path)
    if found is Format.RUNS:
        return _table(path, recorded)
    if found is Format.FOLDER:
        return _submission(path, recorded)
    if found in (Format.RESULTS, Format.RESULTS_JSON):
        row = _official(path, _results(path), recorded)
        return MeasurementFile(path.name, _sha256([path]), (row,))
    if recorded.model is None:
        raise InputError(f"{path.name}: is {found.value}; name the network in it with --model")
    run = _traced(path, recorded)
    row = _from_trace(0, recorded.model, run, recorded)
    return MeasurementFile(path.name, _sha256([path]), (row,), (f"{path.name}: {run.described()}",))


def _traced(path: Path, recorded: RecordedWith) -> TracedRun:
    return traced_run(open_trace(path, recorded.current), recorded.pin, recorded.inferences)


def _from_trace(line: int, model: str, run: TracedRun, recorded: RecordedWith) -> Measurement:
    supply_v = run.supply_v or recorded.supply_v
    return Measurement(
        line,
        model,
        run.latency_s,
        clock_hz=recorded.clock_hz,
        energy_j=run.charge_c * supply_v if run.energy_j is None and supply_v else run.energy_j,
        supply_v=supply_v,
        idle_a=run.idle_a,
    )


def _results(path: Path) -> OfficialResult:
    is_json = format_of(path) is Format.RESULTS_JSON
    return read_results_json(path) if is_json else read_results(path)


def _official(path: Path, result: OfficialResult, recorded: RecordedWith) -> Measurement:
    model = recorded.model or result.network
    if not model:
        raise InputError(f"{path.name}: does not tell the network; name it with --model")
    return Measurement(
        0,
        model,
        result.latency_s,
        clock_hz=recorded.clock_hz,
        energy_j=result.energy_j,
        supply_v=result.supply_v,
        note=f"MLPerf Tiny, {result.windows} windows",
    )


def _submission(folder: Path, recorded: RecordedWith) -> MeasurementFile:
    """Performance and energy of each network in a folder of results."""
    paths: list[Path] = []
    for mode in ("performance", "energy"):
        for place in sorted({*folder.glob(f"{mode}/"), *folder.glob(f"*/{mode}/")}):
            # The one in JSON tells the voltage too; it may be left out, or empty, as it is large.
            files = [place / "results.json", place / "results.txt"]
            paths += [file for file in files if file.is_file() and file.stat().st_size][:1]
    if not paths:
        raise InputError(
            f"{folder}: holds no results of MLPerf Tiny, such as kws/performance/results.txt"
        )
    rows, notes = [], []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            rows.append(_official(path, _results(path), recorded))
        except InputError as error:
            notes.append(f"{name} is left out: {error}")
    if not rows:
        raise InputError(f"{folder}: {notes[0]}")
    return MeasurementFile(folder.resolve().name, _sha256(paths), tuple(rows), tuple(notes))


def _sha256(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_HASHED_AT_ONCE):
                found.update(block)
    return found.hexdigest()


def _table(path: Path, recorded: RecordedWith) -> MeasurementFile:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file in UTF-8") from None
    notes: list[str] = []
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        _check_header(path.name, reader.fieldnames or ())
        rows = tuple(_row(path, reader.line_num, cells, recorded, notes) for cells in reader)
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: is not CSV ({error})") from None
    if not rows:
        raise InputError(f"{path.name}: holds no measured run")
    return MeasurementFile(path.name, hashlib.sha256(content).hexdigest(), rows, tuple(notes))


def _check_header(file: str, names: tuple[str, ...] | list[str] | object) -> None:
    found = [str(name).strip() for name in names] if isinstance(names, (list, tuple)) else []
    for name in found:
        if name not in COLUMNS:
            if ";" in name:
                raise InputError(
                    f"{file}, line 1: cells are separated by ';', where ',' is read; save it with "
                    "commas between cells and a point in numbers"
                )
            close = difflib.get_close_matches(name.lower(), COLUMNS, n=2, cutoff=0.75)
            hint = (
                f"did you mean {' or '.join(close)}?"
                if close
                else f"there are {', '.join(COLUMNS)}"
            )
            raise InputError(f"{file}, line 1: {name!r} is not a column; {hint}")
        if found.count(name) > 1:
            raise InputError(f"{file}, line 1: column {name} stands twice")
    if "model" not in found:
        raise InputError(f"{file}, line 1: column model is missing")
    if not {"latency_s", "latency_ms", "trace"} & set(found):
        alone = bool({"energy_j", "energy_mj"} & set(found))
        why = "; an energy tells a current only beside its time" if alone else ""
        raise InputError(f"{file}, line 1: column latency_s or latency_ms is missing{why}")


def _row(
    path: Path,
    line: int,
    cells: Mapping[str | None, object],
    recorded: RecordedWith,
    notes: list[str],
) -> Measurement:
    where = f"{path.name}, line {line}"
    if None in cells or None in cells.values():
        raise InputError(f"{where}: does not have as many cells as line 1 has columns")
    row = {str(name).strip(): str(cell).strip() for name, cell in cells.items()}
    if not row["model"]:
        raise InputError(f"{where}, column model: is empty")
    model = _model(path, row["model"])
    told = Measurement(
        line,
        model,
        _quantity(where, row, "latency_s", "latency_ms") or math.nan,
        row.get("runtime") or None,
        row.get("build") or None,
        _number(where, "clock_hz", row.get("clock_hz", "")) or recorded.clock_hz,
        _quantity(where, row, "energy_j", "energy_mj"),
        _layer(where, row.get("layer", "")),
        row.get("note", ""),
        _number(where, "supply_v", row.get("supply_v", "")),
        weights=row.get("weights") or None,
    )
    if told.supply_v is not None and not SUPPLY_V[0] <= told.supply_v <= SUPPLY_V[1]:
        raise InputError(f"{where}, column supply_v: {told.supply_v:g} V supplies no board")
    if row.get("trace"):
        return _with_trace(path, told, row, recorded, notes)
    if math.isnan(told.latency_s):
        raise InputError(f"{where}: latency_s or latency_ms must be given")
    return told


def _with_trace(
    path: Path,
    told: Measurement,
    row: Mapping[str, str],
    recorded: RecordedWith,
    notes: list[str],
) -> Measurement:
    """A row whose time and energy a recording beside the table tells."""
    where = f"{path.name}, line {told.line}"
    if not math.isnan(told.latency_s) or told.energy_j is not None:
        raise InputError(
            f"{where}: has a trace beside a time or an energy; leave one of them empty"
        )
    if told.layer is not None:
        raise InputError(f"{where}: a trace is of the whole inference, not of a layer")
    inferences = row.get("inferences") or str(recorded.inferences)
    if not inferences.isdecimal() or not int(inferences):
        raise InputError(
            f"{where}, column inferences: {inferences!r} is not how many are in a window"
        )
    settings = replace(
        recorded,
        inferences=int(inferences),
        supply_v=told.supply_v or recorded.supply_v,
    )
    try:
        run = _traced(path.parent / row["trace"], settings)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    notes.append(f"{row['trace']}: {run.described()}")
    found = _from_trace(told.line, told.model, run, settings)
    return replace(
        told,
        latency_s=found.latency_s,
        energy_j=found.energy_j,
        supply_v=found.supply_v,
        idle_a=found.idle_a,
    )


def _model(path: Path, model: str) -> str:
    if model.endswith(".tflite") or "/" in model or "\\" in model:
        return str(path.parent / model)
    return model


def _quantity(where: str, row: Mapping[str, str], whole: str, milli: str) -> float | None:
    base = _number(where, whole, row.get(whole, ""))
    thousandth = _number(where, milli, row.get(milli, ""))
    if base is not None and thousandth is not None:
        raise InputError(f"{where}: has both {whole} and {milli}; leave one of them empty")
    return thousandth / 1e3 if thousandth is not None else base


def _number(where: str, column: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}, column {column}: {text!r} is not a number above 0")
    return value


def _layer(where: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise InputError(f"{where}, column layer: {text!r} is not the index of an operator")
    return int(text)
