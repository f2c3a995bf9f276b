"""Sessions that Nordic's Power Profiler saves, ``.ppk2``: a zip archive of frames of six bytes.

Layout, as the Power Profiler app documents it: ``metadata.json`` with the samples a second, and
``session.raw`` with a little-endian float32 in microamperes and two bits for each of eight pins
(0 none, 1 low, 2 high, 3 both) a sample.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcusim.calibration.importers.samples import Recording, Samples
from mcusim.errors import InputError

__all__ = ["open_ppk2"]

_FRAME = np.dtype([("current_ua", "<f4"), ("pins", "<u2")])
_FRAMES_AT_ONCE = 1 << 19
_PINS = 8
#: What reading a damaged archive raises: its lengths may lead before its start, too.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
_HIGH = 2
#: Metadata is a few lines; more is no session.
_MOST_METADATA_BYTES = 1 << 20


def open_ppk2(path: Path) -> Recording:
    """Open a saved session; it is unpacked in pieces.

    Raises:
        InputError: it is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = archive.getinfo("metadata.json")
            archive.getinfo("session.raw")
            if about.file_size > _MOST_METADATA_BYTES:
                raise InputError(f"{path.name}: metadata.json in it is too long")
            metadata = json.loads(archive.read(about))
        rate_hz = float(metadata["metadata"]["samplesPerSecond"])
    except _DAMAGED:
        raise InputError(f"{path.name}: is a damaged .ppk2 file") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path.name}: is no session of the Power Profiler: it holds no session.raw with its "
            "samples a second"
        ) from None
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise InputError(f"{path.name}: cannot have {rate_hz:g} samples a second")
    return Recording(path.name, lambda: _pieces(path, rate_hz))


def _pieces(path: Path, rate_hz: float) -> Iterator[Samples]:
    start = 0
    try:
        with zipfile.ZipFile(path) as archive, archive.open("session.raw") as file:
            while block := file.read(_FRAMES_AT_ONCE * _FRAME.itemsize):
                frames = np.frombuffer(block[: len(block) - len(block) % _FRAME.itemsize], _FRAME)
                yield Samples(
                    np.arange(start, start + frames.size) / rate_hz,
                    frames["current_ua"].astype(np.float64) * 1e-6,
                    None,
                    {f"D{i}": (frames["pins"] >> (2 * i)) & 3 == _HIGH for i in range(_PINS)},
                )
                start += frames.size
    except _DAMAGED:
        raise InputError(f"{path.name}: is a damaged .ppk2 file") from None
