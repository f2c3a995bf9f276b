"""What kind of file measurements come in, told by what is in it."""

from __future__ import annotations

import enum
from pathlib import Path

from mcusim.calibration.importers.mlperf import is_result_text
from mcusim.calibration.importers.trace_csv import is_trace_header
from mcusim.errors import InputError

__all__ = ["Format", "format_of"]

_HEAD_BYTES = 1 << 16
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class Format(enum.Enum):
    """Kinds of files."""

    RUNS = "a table of measured runs"
    TRACE = "a table of time and current"
    PPK2 = "a session of Nordic's Power Profiler"
    JLS = "a recording of Joulescope"
    RLD = "a recording of RocketLogger"
    RESULTS = "results of MLPerf Tiny"
    RESULTS_JSON = "results of MLPerf Tiny in JSON"
    FOLDER = "a submission to MLPerf Tiny"


def format_of(path: Path) -> Format:
    """Tell the format of a file; what nothing else fits is taken for a table of runs.

    Raises:
        InputError: the file cannot be read, is empty, or is compressed.
    """
    try:
        if path.is_dir():
            return Format.FOLDER
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise InputError(f"{path.name}: is empty")
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise InputError(f"{path.name}: is compressed with {name}; unpack it first")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path.name}: is text in UTF-16; save it as UTF-8")
    if head.startswith(b"jlsfmt") or path.suffix == ".jls":
        return Format.JLS
    if head.startswith(b"%RLD") or path.suffix == ".rld":
        return Format.RLD
    if head.startswith(b"PK") or path.suffix == ".ppk2":
        return Format.PPK2
    return _format_of_text(head.decode("utf-8-sig", "replace"))


def _format_of_text(text: str) -> Format:
    if text.lstrip().startswith(("[", "{")):
        return Format.RESULTS_JSON
    first = next((line for line in text.splitlines() if line.strip()), "")
    cells = {cell.strip().strip('"') for cell in first.split(",")}
    if "model" in cells:
        return Format.RUNS
    if is_trace_header(text):
        return Format.TRACE
    return Format.RESULTS if is_result_text(text) else Format.RUNS
