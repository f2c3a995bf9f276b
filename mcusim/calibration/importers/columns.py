"""Which column of a recorded table is what, and in which unit: from its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mcusim.errors import InputError

__all__ = ["Column", "Columns", "columns_of", "is_time"]

_TIME = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_CURRENT = {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9}
_VOLTAGE = {"v": 1.0, "mv": 1e-3, "uv": 1e-6}
#: Names of columns by what they hold.
_TIME_NAMES = re.compile(r"^(time|timestamp|t|elapsed)\b")
_CURRENT_NAMES = re.compile(r"^(current|i|main current|supply current)\b|\bcurrent$")
_VOLTAGE_NAMES = re.compile(r"^(voltage|v|vdd|supply)\b|\bvoltage$")
_PIN_NAMES = re.compile(r"^(gpio?|gpi|pin|digital|trigger|trig|d|di|dio|logic|marker|sync)\b")
#: One column with a character for each pin, as Nordic's Power Profiler writes it; older versions
#: call it ``Bits``, the last pin first.
_JOINED_PINS = re.compile(r"^([a-z]+)(\d+)-\1?(\d+)$", re.IGNORECASE)
_UNIT = re.compile(r"^(?P<name>.*?)\s*(?:[(\[]\s*(?P<braced>[^)\]]*?)\s*[)\]]|_(?P<bare>[a-z]+))$")


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        index: from 0.
        name: as the header writes it.
        scale: what turns its numbers into seconds, amperes or volts.
    """

    index: int
    name: str
    scale: float


@dataclass(frozen=True)
class Columns:
    """What the columns of a recorded table hold.

    Attributes:
        time: when.
        current: from the supply.
        voltage: of the supply; None where it was not recorded.
        pins: indices of columns of 0 and 1, by name.
        joined: index of the column that holds a character for each pin, and their names.
    """

    time: Column
    current: Column
    voltage: Column | None
    pins: dict[str, int]
    joined: tuple[int, tuple[str, ...]] | None


def columns_of(file: str, line: int, header: Sequence[str], current: str | None = None) -> Columns:
    """Find the columns of a table of samples.

    Args:
        file: its name, for messages.
        line: of the header, for messages.
        header: the names, with units: ``Current(uA)``, ``current_a``, ``Time [ms]``.
        current: name of the column of current, where several hold one.

    Raises:
        InputError: a column is missing, has no unit, or stands twice.
    """
    where = f"{file}, line {line}"
    times, currents, voltages = [], [], []
    pins: dict[str, int] = {}
    joined = None
    for index, title in enumerate(header):
        name, unit = _split(title)
        if unit in _TIME and _TIME_NAMES.match(name):
            times.append(Column(index, title, _TIME[unit]))
        elif unit in _CURRENT:
            currents.append(Column(index, title, _CURRENT[unit]))
        elif unit in _VOLTAGE:
            voltages.append(Column(index, title, _VOLTAGE[unit]))
        elif match := _JOINED_PINS.match(title):
            prefix, first, last = match[1], int(match[2]), int(match[3])
            if last < first or last - first > 31:
                raise InputError(f"{where}: {title!r} is no range of pins")
            joined = index, tuple(f"{prefix}{i}" for i in range(first, last + 1))
        elif name == "bits":
            joined = index, tuple(f"D{i}" for i in reversed(range(8)))
        elif not unit and (_TIME_NAMES.match(name) or _CURRENT_NAMES.search(name)):
            raise InputError(
                f"{where}: column {title!r} has no unit; write {name}_{_example(name)}"
            )
        elif not unit and _PIN_NAMES.match(name.rstrip("0123456789[] ") or name):
            if title in pins:
                raise InputError(f"{where}: column {title} stands twice")
            pins[title] = index
    if current is not None:
        currents = [column for column in currents if column.name == current]
    time = _one(where, "time", times, "such as time_s or Timestamp(ms)")
    found = _one(where, "current", currents, "such as current_a or Current(uA)")
    if len(voltages) > 1:
        raise InputError(f"{where}: {_names(voltages)} are voltages; keep that of the supply")
    return Columns(time, found, voltages[0] if voltages else None, pins, joined)


def is_time(title: str) -> bool:
    """Whether a column is named like one of time, with or without its unit."""
    return _TIME_NAMES.match(_split(title)[0]) is not None


def _split(title: str) -> tuple[str, str]:
    """Name and unit of a column, both in small letters; the unit may be empty."""
    text = title.strip().lower().replace("µ", "u").replace("μ", "u")
    match = _UNIT.match(text)
    if not match:
        return text, ""
    unit = match["braced"] if match["braced"] is not None else match["bare"]
    if match["bare"] and unit not in _TIME | _CURRENT | _VOLTAGE:
        return text, ""
    return match["name"], unit


def _example(name: str) -> str:
    return "s" if _TIME_NAMES.match(name) else "a"


def _one(where: str, what: str, found: Sequence[Column], example: str) -> Column:
    if not found:
        raise InputError(f"{where}: no column of {what} with its unit, {example}")
    if len(found) > 1:
        hint = "; name one with --current" if what == "current" else ""
        raise InputError(f"{where}: {_names(found)} are columns of {what}{hint}")
    return found[0]


def _names(columns: Sequence[Column]) -> str:
    return " and ".join(repr(column.name) for column in columns)
