"""A recording of any instrument, opened by its format."""

from __future__ import annotations

from pathlib import Path

from mcusim.calibration.importers.formats import Format, format_of
from mcusim.calibration.importers.jls import open_jls
from mcusim.calibration.importers.ppk2 import open_ppk2
from mcusim.calibration.importers.rld import open_rld
from mcusim.calibration.importers.samples import Recording
from mcusim.calibration.importers.trace_csv import open_trace_csv
from mcusim.errors import InputError

__all__ = ["TRACES", "open_trace"]

#: Formats that hold samples over time.
TRACES = (Format.TRACE, Format.PPK2, Format.JLS, Format.RLD)


def open_trace(path: Path, current: str | None = None) -> Recording:
    """Open a recording of current over time.

    Args:
        path: of the file.
        current: column, signal or channel of current, where there are several.

    Raises:
        InputError: it is no recording, or damaged, or the package that reads it is missing.
    """
    match format_of(path):
        case Format.TRACE:
            return open_trace_csv(path, current)
        case Format.PPK2:
            return open_ppk2(path)
        case Format.JLS:
            return open_jls(path, current)
        case Format.RLD:
            return open_rld(path, current)
        case other:
            raise InputError(f"{path.name}: is {other.value}, not a recording of current over time")
