"""Counted calls of CMSIS-NN's functions of our own, beside those that others counted.

``calibration/counted/cmsis_nn_calls.zip`` holds what was called with what: ``cases.csv``, and the
tensors on which loops depend; ``cmsis_nn_calls.csv.gz`` what each call executed in each build, of
the Cortex-M55 in QEMU the total alone. They were drawn so that no cost is shown by one row alone:
shifts to the left, filters of one tap, several batches, int16, data of several kinds. In each of
the calls that others counted and recorded, the library so compiled executes exactly as many
instructions as they say, with MVE within two. ``cmsis_nn_calls_old`` is the same for the libraries
of 2020 to 2022, of which a row names the function that was called, too.

``cmsis_nn_calls_gcc9.csv.xz`` holds what the calls of 2020's library that TensorFlow 2.2.0 makes
execute as GCC 9.3.0 compiles them with the flags of mbed-os, libraries of C and the compiler those
of 12.2.1; ``cmsis_nn_glue_gcc9.csv.gz`` what its lite/micro executes around such calls, in models
of one operator.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import lzma
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from mcusim.calibration.library_rows import LibraryRow, library_build, library_case
from mcusim.graph import Array
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase, profile_name
from mcusim.kernels.contract import KernelCall
from mcusim.resources import data_path

__all__ = [
    "GCC9_CALLS",
    "OWN_CALLS",
    "OWN_OLD_CALLS",
    "GlueRow",
    "gcc9_sha256",
    "glue_rows",
    "own_calls",
    "own_calls_sha256",
]

OWN_CALLS = "1,500 more calls of our own"
OWN_OLD_CALLS = "630 more calls of our own"
GCC9_CALLS = (
    "builds gcc9 counted in executed binaries of gcc 9.3.0 with the flags of mbed-os, newlib and "
    "libgcc of arm-none-eabi-gcc 12.2.1: calls of our own alone, and single operators of "
    "TensorFlow 2.2.0's lite/micro"
)

_NEWEST, _OLD = "cmsis_nn_calls", "cmsis_nn_calls_old"
_GCC9, _GLUE = "cmsis_nn_calls_gcc9.csv.xz", "cmsis_nn_glue_gcc9.csv.gz"
_OF_2020 = Configuration("dsp", "2020")


@dataclass(frozen=True, eq=False)
class GlueRow:
    """What TFLM of 2020 executed around the library for one operator, as GCC 9 compiles it.

    Attributes:
        name: of the case, such as ``"conv_2d_003"``.
        build: ``"<core>.<build>"``.
        calls: what it ran, of TFLM alone.
        vector: float64, shape ``(len(FIELDS),)``: instructions by class, the library's left out.
    """

    name: str
    build: str
    calls: tuple[KernelCall, ...]
    vector: npt.NDArray[np.float64]


def own_calls() -> list[LibraryRow]:
    """Every row: a call in a build, of the newest library and of the old ones."""
    named = ((_NEWEST, f"{_NEWEST}.csv.gz"), (_OLD, f"{_OLD}.csv.gz"), (_OLD, _GCC9))
    return [row for cases, counts in named for row in _rows(cases, counts)]


def glue_rows() -> Iterator[GlueRow]:
    """What TFLM of 2020 executes around the library in each build of GCC 9."""
    with _opened(_GLUE) as file:
        for row in csv.DictReader(file):
            counts = json.loads(row["counts"])
            yield GlueRow(
                row["case"],
                row["build"],
                tuple(
                    KernelCall(function, profile_name(function, _OF_2020), turns)
                    for function, turns in json.loads(row["calls"]).items()
                ),
                np.array([float(counts.get(field, 0)) for field in FIELDS]),
            )


def _opened(name: str) -> IO[str]:
    path = _path(name)
    if path.suffix == ".xz":
        return lzma.open(path, "rt", newline="")
    return gzip.open(path, "rt", newline="")


def _rows(name: str, counts: str) -> Iterator[LibraryRow]:
    cases = _cases(name)
    entries: dict[tuple[str, str], LibraryCase] = {}
    with _opened(counts) as file:
        for row in csv.DictReader(file):
            build, configuration = library_build(row["build"])
            key = (row["id"], row.get("entry", ""))
            case = entries.setdefault(key, replace(cases[row["id"]], entry=key[1]))
            yield LibraryRow(case, configuration, build, _counts(row), row["functions"])


def _path(name: str) -> Path:
    return data_path("calibration", "counted", name)


def _counts(row: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """By class, or the total where classes were not counted."""
    if not row[FIELDS[0]]:
        return np.array([float(row["total"])])
    return np.array([float(row[field]) for field in FIELDS])


def _cases(name: str) -> dict[str, LibraryCase]:
    arrays: dict[str, dict[str, Array]] = defaultdict(dict)
    with zipfile.ZipFile(_path(f"{name}.zip")) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                case, array = member.removesuffix(".npy").split(".")
                arrays[case][array] = np.load(io.BytesIO(archive.read(member)))
        text = archive.read("cases.csv").decode()
    return {
        row["id"]: library_case(row, arrays[row["id"]]) for row in csv.DictReader(io.StringIO(text))
    }


def own_calls_sha256(old: bool = False) -> dict[str, str]:
    """Hashes of the files, for the record of what was fitted.

    Args:
        old: of the old libraries' calls, not of the newest's.
    """
    name = _OLD if old else _NEWEST
    return _sha256(f"{name}.csv.gz", f"{name}.zip")


def gcc9_sha256() -> dict[str, str]:
    """The same of the files of what GCC 9 compiled."""
    return _sha256(_GCC9, _GLUE)


def _sha256(*files: str) -> dict[str, str]:
    return {file: hashlib.sha256(_path(file).read_bytes()).hexdigest() for file in files}
