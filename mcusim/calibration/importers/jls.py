"""Joulescope's recordings, ``.jls``, read by the vendor's package pyjls."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.calibration.importers.samples import Recording, Samples
from mcusim.errors import InputError

__all__ = ["open_jls"]

_SAMPLES_AT_ONCE = 1 << 19
#: Start of the file: what it is, its length once it is closed, and its version.
_HEADER = struct.Struct("<16sQI")
_MAGIC = b"jlsfmt\r\n \n \x1a"
#: Fixed sampling rate, as the format numbers the types of signals.
_FIXED_RATE = 0


@dataclass(frozen=True)
class _Signal:
    """A signal of fixed rate; its first sample has the number ``offset``: signals start apart."""

    id: int
    name: str
    rate_hz: float
    offset: int
    length: int
    is_packed: bool


@dataclass(frozen=True)
class _Signals:
    """The signals that are read."""

    current: _Signal
    voltage: _Signal | None
    pins: tuple[_Signal, ...]


def open_jls(path: Path, current: str | None = None) -> Recording:
    """Open a recording; it is read in pieces.

    Args:
        path: of the file.
        current: name of the signal of current, where there are several.

    Raises:
        InputError: pyjls is missing, or the file is damaged or has no current.
    """
    with _opened(path) as reader:
        signals = _chosen(path, list(reader.signals.values()), current)
    return Recording(path.name, lambda: _pieces(path, signals))


def _opened(path: Path) -> Any:
    try:
        import pyjls
    except ImportError:
        raise InputError(
            f"{path.name}: reading Joulescope's files needs pyjls: pip install 'mcusim[import]'"
        ) from None
    _check_whole(path)
    # Its C library tells of damage on the log too, which Python prints where nobody handles it.
    logging.getLogger("pyjls.c").addHandler(logging.NullHandler())
    try:
        return pyjls.Reader(str(path))
    except (RuntimeError, ValueError, OSError):
        raise InputError(f"{path.name}: is a damaged .jls file") from None


def _check_whole(path: Path) -> None:
    """Refuse a file that was not closed: pyjls would repair it, and so change it, on reading."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise InputError(f"{path.name}: is no .jls file of version 2")
    _, length, _ = _HEADER.unpack(head)
    if length != path.stat().st_size:
        raise InputError(
            f"{path.name}: is cut short, or was not closed; open it in Joulescope's own program, "
            "which repairs it"
        )


def _chosen(path: Path, found: list[Any], current: str | None) -> _Signals:
    currents, voltages, pins = [], [], []
    for entry in found:
        if entry.signal_type != _FIXED_RATE or not entry.sample_rate or not entry.length:
            continue
        is_packed = _is_bit(entry)
        signal = _Signal(
            entry.signal_id,
            entry.name,
            float(entry.sample_rate),
            entry.sample_id_offset,
            entry.length,
            is_packed,
        )
        if is_packed:
            pins.append(signal)
        elif entry.units == "A":
            currents.append(signal)
        elif entry.units == "V":
            voltages.append(signal)
    if current is not None:
        currents = [signal for signal in currents if signal.name == current]
    if not currents:
        raise InputError(f"{path.name}: has no signal {current or 'of current'} in amperes")
    if len(currents) > 1:
        names = ", ".join(signal.name for signal in currents)
        raise InputError(f"{path.name}: {names} are currents; name one with --current")
    if len(voltages) > 1:
        voltages = [signal for signal in voltages if signal.name == "voltage"]
    return _Signals(currents[0], voltages[0] if len(voltages) == 1 else None, tuple(pins))


def _is_bit(entry: Any) -> bool:
    import pyjls

    # The low half of the word holds the type, the high half a fixed point's position.
    return bool(entry.data_type & 0xFFFF == pyjls.DataType.U1 & 0xFFFF)


def _pieces(path: Path, signals: _Signals) -> Iterator[Samples]:
    rate_hz, length = signals.current.rate_hz, signals.current.length
    with _opened(path) as reader:
        for start in range(0, length, _SAMPLES_AT_ONCE):
            count = min(_SAMPLES_AT_ONCE, length - start)
            times = np.arange(start, start + count) / rate_hz
            try:
                voltage = None
                if signals.voltage is not None:
                    voltage = _read(reader, signals.voltage, signals.current, start, count)
                yield Samples(
                    times,
                    _read(reader, signals.current, signals.current, start, count),
                    voltage,
                    {
                        pin.name: _read(reader, pin, signals.current, start, count) > 0
                        for pin in signals.pins
                    },
                )
            except (RuntimeError, ValueError, OSError):
                raise InputError(
                    f"{path.name}: is damaged {start / rate_hz:.3g} s after its start"
                ) from None


def _read(reader: Any, signal: _Signal, clock: _Signal, start: int, count: int) -> Any:
    """Values of a signal at samples of the current; each value stays until the next one."""
    wanted = clock.offset + np.arange(start, start + count)
    if signal.rate_hz != clock.rate_hz:
        wanted = (wanted * (signal.rate_hz / clock.rate_hz)).astype(np.int64)
    wanted = np.clip(wanted - signal.offset, 0, signal.length - 1)
    first, last = int(wanted[0]), int(wanted[-1])
    values = reader.fsr(signal.id, first, last - first + 1)
    if signal.is_packed:
        values = np.unpackbits(values, bitorder="little")
    return np.asarray(values, np.float64)[wanted - first]
