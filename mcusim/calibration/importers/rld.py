"""RocketLogger's recordings, ``.rld``, read by its own package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.calibration.importers.samples import Recording, Samples
from mcusim.errors import InputError

__all__ = ["open_rld"]

_SAMPLES_AT_ONCE = 1 << 19


def open_rld(path: Path, current: str | None = None) -> Recording:
    """Read a recording; the package holds the whole of it in memory.

    The low and the high range of a current are one channel, as its package merges them.

    Args:
        path: of the file.
        current: channel of current, where there are several.

    Raises:
        InputError: the package is missing, or the file is damaged or has no current.
    """
    try:
        from rocketlogger.data import RocketLoggerData
    except ImportError:
        raise InputError(
            f"{path.name}: reading RocketLogger's files needs the package rocketlogger: "
            "pip install 'mcusim[import]'"
        ) from None
    try:
        with warnings.catch_warnings():
            # A last block that is not whole is left out, and told of as a warning.
            warnings.simplefilter("ignore")
            data = RocketLoggerData(str(path))
            if any(name in data.get_channel_names() for name in ("I1L", "I2L")):
                data.merge_channels()
        units = dict(zip(data.get_channel_names(), data.get_unit(), strict=True))
    except InputError:
        raise
    except Exception as error:
        # Its own errors derive from Exception alone, and a damaged header raises any other.
        raise InputError(f"{path.name}: is a damaged .rld file ({_sentence(error)})") from None
    chosen = _current(path, [n for n, unit in units.items() if unit == "current"], current)
    voltages = [name for name, unit in units.items() if unit == "voltage"]
    pins = [name for name, unit in units.items() if unit == "binary"]
    # Which of several voltages is the supply's, nothing says.
    voltage = voltages[0] if len(voltages) == 1 else None
    return Recording(path.name, lambda: _pieces(path, data, chosen, voltage, pins))


def _current(path: Path, found: list[str], wanted: str | None) -> str:
    if wanted is not None:
        found = [name for name in found if name == wanted]
    if not found:
        raise InputError(f"{path.name}: has no channel {wanted or 'of current'}")
    if len(found) > 1:
        raise InputError(f"{path.name}: {', '.join(found)} are currents; name one with --current")
    return found[0]


def _pieces(
    path: Path, data: Any, current: str, voltage: str | None, pins: list[str]
) -> Iterator[Samples]:
    try:
        current_a, *others = (
            np.ravel(data.get_data([name])).astype(np.float64)
            for name in (current, *([voltage] if voltage else []), *pins)
        )
        rate_hz = float(data.get_header()["sample_rate"])
    except Exception as error:
        # As above: scales of a damaged header overflow only where values are asked for.
        raise InputError(f"{path.name}: is a damaged .rld file ({_sentence(error)})") from None
    voltage_v = others.pop(0) if voltage else None
    levels = {pin: values != 0 for pin, values in zip(pins, others, strict=True)}
    for start in range(0, current_a.size, _SAMPLES_AT_ONCE):
        part = slice(start, min(start + _SAMPLES_AT_ONCE, current_a.size))
        yield Samples(
            np.arange(part.start, part.stop) / rate_hz,
            current_a[part],
            None if voltage_v is None else voltage_v[part],
            {pin: values[part] for pin, values in levels.items()},
        )


def _sentence(error: Exception) -> str:
    return str(error).rstrip(".").splitlines()[0] if str(error) else type(error).__name__
