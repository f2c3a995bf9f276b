"""Counted calls of CMSIS-NN's functions of our own, beside those that others counted.

``calibration/counted/cmsis_nn_calls.zip`` holds what was called with what: ``cases.csv``, and the
tensors on which loops depend; ``cmsis_nn_calls.csv.gz`` what each call executed in each build, of
the Cortex-M55 in QEMU the total alone. They were drawn so that no cost is shown by one row alone:
shifts to the left, filters of one tap, several batches, int16, data of several kinds. In each of
the calls that others counted and recorded, the library so compiled executes exactly as many
instructions as they say, with MVE within two. ``cmsis_nn_calls_old`` is the same for the libraries
of 2020 to 2022, of which a row names the function that was called, too.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.calibration.library_rows import LibraryRow, library_build, library_case
from mcusim.graph import Array
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.cmsis_nn.contract import LibraryCase
from mcusim.resources import data_path

__all__ = ["OWN_CALLS", "OWN_OLD_CALLS", "own_calls", "own_calls_sha256"]

OWN_CALLS = "1,500 more calls of our own"
OWN_OLD_CALLS = "630 more calls of our own"

_NEWEST, _OLD = "cmsis_nn_calls", "cmsis_nn_calls_old"


def own_calls() -> list[LibraryRow]:
    """Every row: a call in a build, of the newest library and of the old ones."""
    return [row for name in (_NEWEST, _OLD) for row in _rows(name)]


def _rows(name: str) -> Iterator[LibraryRow]:
    cases = _cases(name)
    entries: dict[tuple[str, str], LibraryCase] = {}
    with gzip.open(_path(f"{name}.csv.gz"), "rt", newline="") as file:
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
    return {
        file: hashlib.sha256(_path(file).read_bytes()).hexdigest()
        for file in (f"{name}.csv.gz", f"{name}.zip")
    }
