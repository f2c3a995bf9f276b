"""Quantities with their units, as the command line takes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import click

__all__ = ["charge", "duration", "frequency", "number", "places", "rest", "size", "voltage"]

#: A plain number below this is no clock in Hz.
_LEAST_PLAIN_HZ = 1000
_FREQUENCIES = {"ghz": 1e9, "mhz": 1e6, "khz": 1e3, "hz": 1.0, "": 1.0}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_CHARGES = {"mah": 1e-3, "ah": 1.0}
_ENERGIES = {"mwh": 3.6, "wh": 3600.0, "kj": 1e3, "j": 1.0}
_VOLTAGES = {"mv": 1e-3, "v": 1.0, "": 1.0}
_SIZES = {"kib": 1024.0, "mib": 1048576.0, "kb": 1e3, "mb": 1e6, "b": 1.0, "": 1.0}
_CURRENTS = {"na": 1e-9, "ua": 1e-6, "ma": 1e-3, "a": 1.0}
_NUMBER_AND_UNIT = re.compile(r"\s*(?P<number>[-+0-9.eE]*[0-9.])\s*(?P<unit>[a-zA-Zµμ]*)\s*")


def frequency(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A frequency in Hz, or with its unit: ``80000000``, ``80MHz``."""
    if text is None:
        return None
    number, unit = _parsed(text, _FREQUENCIES, "a frequency such as 80MHz")
    if not unit and 0 < number < _LEAST_PLAIN_HZ:
        raise click.BadParameter(f"{text} has no unit; did you mean {number:g}MHz?")
    return number * _FREQUENCIES[unit]


def duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A time with its unit, in seconds: ``1s``, ``250ms``, ``5min``, ``1h``."""
    if text is None:
        return None
    number, unit = _parsed(text, _TIMES, "a time such as 1s or 250ms")
    return _positive(text, number * _TIMES[unit])


def charge(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[float, float] | None:
    """Charge of a battery in ampere-hours, or energy in joules: one of the two, the other 0."""
    if text is None:
        return None
    number, unit = _parsed(text, {**_CHARGES, **_ENERGIES}, "a battery such as 220mAh or 2.5Wh")
    if unit in _CHARGES:
        return _positive(text, number * _CHARGES[unit]), 0.0
    return 0.0, _positive(text, number * _ENERGIES[unit])


def voltage(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A voltage in V, or with its unit: ``3``, ``3V``, ``1800mV``."""
    if text is None:
        return None
    number, unit = _parsed(text, _VOLTAGES, "a voltage such as 3V")
    return _positive(text, number * _VOLTAGES[unit])


def places(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str] | None:
    """What lies where: ``weights=sdram``, several with commas or by several options."""
    found: dict[str, str] = {}
    for text in (part for whole in texts for part in whole.split(",")):
        what, equals, where = (part.strip() for part in text.partition("="))
        if not (what and equals and where):
            raise click.BadParameter(f"{text!r} is not a placement such as weights=ram")
        found[what] = where
    return found or None


def rest(ctx: click.Context, param: click.Parameter, text: str | None) -> str | float | None:
    """How a board rests: ``sleep``, ``idle``, or a current in amperes."""
    if text is None or text.lower() in ("sleep", "idle"):
        return text and text.lower()
    number, unit = _parsed(text, _CURRENTS, "sleep, idle, or a current such as 2uA")
    if number < 0:
        raise click.BadParameter(f"{text} is below 0")
    return number * _CURRENTS[unit]


def size(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """A size in bytes, or with its unit: ``65536``, ``64KiB``, ``320kB``."""
    if text is None:
        return None
    number, unit = _parsed(text, _SIZES, "a size such as 64KiB")
    return int(_positive(text, number * _SIZES[unit]))


def number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A number that is one: every limit lets NaN pass."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not a number")
    return value


def _parsed(text: str, units: Mapping[str, float], example: str) -> tuple[float, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    unit = match["unit"].lower().replace("µ", "u").replace("μ", "u") if match else ""
    try:
        number = float(match["number"]) if match else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(f"{text!r} is not {example}")
    if unit not in units:
        if not unit:
            raise click.BadParameter(f"{text} has no unit; give {example}")
        raise click.BadParameter(f"{text!r} is not {example}")
    return number, unit


def _positive(text: str, value: float) -> float:
    if value <= 0:
        raise click.BadParameter(f"{text} is not above 0")
    return value
