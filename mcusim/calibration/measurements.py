"""Runs measured on a board, as a CSV file holds them."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcusim.errors import InputError

__all__ = ["COLUMNS", "Measurement", "MeasurementFile", "read_measurements"]

#: Columns of the file. A time is needed; an empty cell takes the default of the command.
COLUMNS = (
    "model",
    "runtime",
    "build",
    "clock_hz",
    "latency_s",
    "latency_ms",
    "energy_j",
    "energy_mj",
    "layer",
    "note",
)


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


@dataclass(frozen=True)
class MeasurementFile:
    """The runs of a file.

    Attributes:
        name: of the file.
        sha256: of its bytes, in hexadecimal digits.
        rows: in order.
    """

    name: str
    sha256: str
    rows: tuple[Measurement, ...]


def read_measurements(path: str | Path) -> MeasurementFile:
    """Read measured runs; models with a path are looked for beside the file.

    Raises:
        InputError: the file cannot be read, or a cell is wrong; names line and column.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        _check_header(path.name, reader.fieldnames or ())
        rows = tuple(_row(path, reader.line_num, cells) for cells in reader)
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: is not CSV ({error})") from None
    if not rows:
        raise InputError(f"{path.name}: holds no measured run")
    return MeasurementFile(path.name, hashlib.sha256(content).hexdigest(), rows)


def _check_header(file: str, names: tuple[str, ...] | list[str] | object) -> None:
    found = [str(name).strip() for name in names] if isinstance(names, (list, tuple)) else []
    for name in found:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COLUMNS)}"
            raise InputError(f"{file}, line 1: {name!r} is not a column; {hint}")
        if found.count(name) > 1:
            raise InputError(f"{file}, line 1: column {name} stands twice")
    if "model" not in found:
        raise InputError(f"{file}, line 1: column model is missing")
    if not {"latency_s", "latency_ms"} & set(found):
        raise InputError(f"{file}, line 1: column latency_s or latency_ms is missing")


def _row(path: Path, line: int, cells: Mapping[str | None, object]) -> Measurement:
    where = f"{path.name}, line {line}"
    if None in cells or None in cells.values():
        raise InputError(f"{where}: does not have as many cells as line 1 has columns")
    row = {str(name).strip(): str(cell).strip() for name, cell in cells.items()}
    latency_s = _quantity(where, row, "latency_s", "latency_ms")
    if latency_s is None:
        raise InputError(f"{where}: latency_s or latency_ms must be given")
    if not row["model"]:
        raise InputError(f"{where}, column model: is empty")
    return Measurement(
        line,
        _model(path, row["model"]),
        latency_s,
        row.get("runtime") or None,
        row.get("build") or None,
        _number(where, "clock_hz", row.get("clock_hz", "")),
        _quantity(where, row, "energy_j", "energy_mj"),
        _layer(where, row.get("layer", "")),
        row.get("note", ""),
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
