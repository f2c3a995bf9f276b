"""Tables of time and current as text, those of Nordic's Power Profiler among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.calibration.importers.columns import Columns, columns_of, is_time
from mcusim.calibration.importers.samples import Recording, Samples
from mcusim.errors import InputError

__all__ = ["is_trace_header", "open_trace_csv"]

#: What is in memory at once.
_BLOCK_BYTES = 4 << 20
#: The header and the first samples.
_HEAD_BYTES = 1 << 16
_DELIMITERS = "\t;,"
#: Digits of a decimal, or a word such as ``false``.
_PIN_BYTES = 8
_LEVELS = {
    **dict.fromkeys(("0", "0.0", "false", "low", "-", "x", ""), False),
    **dict.fromkeys(("1", "1.0", "true", "high"), True),
}


@dataclass(frozen=True)
class _Layout:
    """How a file is written."""

    first_line: int
    offset: int
    delimiter: str
    decimal_comma: bool
    width: int
    columns: Columns


def is_trace_header(text: str) -> bool:
    """Whether the first lines of a file are those of a table of time and current."""
    header = next((line for line in text.splitlines() if _is_content(line)), "")
    cells = [cell.strip().strip('"') for cell in header.split(_delimiter(header))]
    return len(cells) > 1 and any(is_time(cell) for cell in cells)


def open_trace_csv(path: Path, current: str | None = None) -> Recording:
    """Open a table of samples; it is read in pieces.

    The first line names the columns with their units. Tab, semicolon and comma part the cells; a
    comma is a decimal point where something else parts them.

    Args:
        path: of the file.
        current: column of current, where several hold one.

    Raises:
        InputError: the header does not say what the columns are.
    """
    layout = _layout(path, current)
    return Recording(path.name, lambda: _pieces(path, layout))


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _delimiter(header: str) -> str:
    return next((sign for sign in _DELIMITERS if sign in header), ",")


def _layout(path: Path, current: str | None) -> _Layout:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    line, offset = 1, 0
    for raw in head.splitlines(keepends=True):
        if _is_content(_text(path, raw, line)):
            break
        line, offset = line + 1, offset + len(raw)
    else:
        raise InputError(f"{path.name}: has no line that names its columns")
    if not raw.endswith((b"\n", b"\r")):
        raise InputError(f"{path.name}: holds no samples")
    header = _text(path, raw, line).strip().lstrip("\ufeff")
    delimiter = _delimiter(header)
    titles = [title.strip().strip('"') for title in header.split(delimiter)]
    columns = columns_of(path.name, line, titles, current)
    return _Layout(line + 1, offset + len(raw), delimiter, delimiter != ",", len(titles), columns)


def _text(path: Path, raw: bytes, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return raw.decode("cp1252")  # a micro sign, as spreadsheets on Windows write it
        except UnicodeDecodeError:
            raise InputError(f"{path.name}, line {line}: is not text") from None


def _pieces(path: Path, layout: _Layout) -> Iterator[Samples]:
    line, last_s = layout.first_line, -np.inf
    with path.open("rb") as file:
        file.seek(layout.offset)
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if not newline and len(rest) > _HEAD_BYTES:
                raise InputError(f"{path.name}, line {line}: is too long for a row of samples")
            if not newline:
                continue
            if not whole.strip():
                line += whole.count(b"\n") + 1
                continue
            piece = _samples(path, layout, whole, line)
            last_s = _check_order(path, whole, line, piece, last_s)
            yield piece
            line += whole.count(b"\n") + 1
        if rest.strip():
            piece = _samples(path, layout, rest, line)
            _check_order(path, rest, line, piece, last_s)
            yield piece


def _samples(path: Path, layout: _Layout, block: bytes, line: int) -> Samples:
    rows = [row for row in block.splitlines() if row.strip()]
    if layout.decimal_comma:
        rows = [row.replace(b",", b".") for row in rows]
    columns = layout.columns
    numbers = [columns.time, columns.current]
    numbers += [columns.voltage] if columns.voltage else []
    texts = dict(columns.pins)
    width = max(_PIN_BYTES, len(columns.joined[1]) if columns.joined else 0)
    if columns.joined:
        texts["joined"] = columns.joined[0]
    fields = [(f"n{i}", "f8") for i, _ in enumerate(numbers)]
    fields += [(f"p{i}", f"S{width}") for i, _ in enumerate(texts)]
    try:
        table = np.loadtxt(
            rows,
            np.dtype(fields),
            delimiter=layout.delimiter,
            usecols=[column.index for column in numbers] + list(texts.values()),
            comments=None,
            quotechar='"',
            ndmin=1,
        )
    except ValueError:
        raise _bad_row(path, layout, block, line) from None
    scaled = [table[f"n{i}"] * column.scale for i, column in enumerate(numbers)]
    if not all(np.isfinite(values).all() for values in scaled):
        raise _bad_row(path, layout, block, line)
    pins: dict[str, npt.NDArray[np.bool_]] = {}
    for i, (name, index) in enumerate(texts.items()):
        cells = table[f"p{i}"]
        if columns.joined and index == columns.joined[0]:
            pins |= _joined_levels(columns.joined[1], cells, width)
        else:
            pins[name] = _levels(path, name, cells, line)
    return Samples(scaled[0], scaled[1], scaled[2] if columns.voltage else None, pins)


def _levels(
    path: Path, name: str, cells: npt.NDArray[np.bytes_], line: int
) -> npt.NDArray[np.bool_]:
    high: npt.NDArray[np.bool_] = cells == b"1"
    if (high | (cells == b"0")).all():
        return high
    words, where = np.unique(cells, return_inverse=True)
    levels = []
    for word in words.tolist():
        text = word.decode("ascii", "replace").strip().lower()
        if text not in _LEVELS:
            raise InputError(
                f"{path.name}, near line {line}: {text!r} in column {name} is neither 0 nor 1"
            )
        levels.append(_LEVELS[text])
    found: npt.NDArray[np.bool_] = np.array(levels)[where]
    return found


def _joined_levels(
    names: tuple[str, ...], cells: npt.NDArray[np.bytes_], width: int
) -> dict[str, npt.NDArray[np.bool_]]:
    signs = np.ascontiguousarray(cells).view("S1").reshape(-1, width)
    return {name: signs[:, i] == b"1" for i, name in enumerate(names)}


def _check_order(path: Path, block: bytes, line: int, piece: Samples, last_s: float) -> float:
    times = piece.time_s
    if not times.size:
        return last_s
    falls = np.flatnonzero(np.diff(times, prepend=last_s) < 0)
    if falls.size:
        row = _row_lines(block, line)[int(falls[0])]
        raise InputError(f"{path.name}, line {row}: time goes back to {times[falls[0]]:.9g} s")
    return float(times[-1])


def _row_lines(block: bytes, line: int) -> list[int]:
    return [line + i for i, row in enumerate(block.splitlines()) if row.strip()]


def _bad_row(path: Path, layout: _Layout, block: bytes, line: int) -> InputError:
    """The first row that is no sample, in one sentence."""
    columns = layout.columns
    numbers = [columns.time, columns.current, *([columns.voltage] if columns.voltage else [])]
    for i, raw in enumerate(block.splitlines()):
        where = f"{path.name}, line {line + i}"
        if not raw.strip():
            continue
        cells = raw.decode("utf-8", "replace").split(layout.delimiter)
        if len(cells) < layout.width:
            return InputError(f"{where}: has {len(cells)} cells under {layout.width} columns")
        for column in numbers:
            text = cells[column.index].strip().strip('"')
            try:
                value = float(text.replace(",", ".") if layout.decimal_comma else text)
            except ValueError:
                value = np.nan
            if not np.isfinite(value):
                return InputError(f"{where}, column {column.name}: {text[:40]!r} is not a number")
    return InputError(f"{path.name}, near line {line}: is not a table of samples")
