"""Counted calls of CMSIS-NN's functions of our own, beside those that others counted.

``calibration/counted/cmsis_nn_calls.zip`` holds what was called with what: ``cases.csv``, and the
tensors on which loops depend; ``cmsis_nn_calls.csv.gz`` what each call executed in each build, of
the Cortex-M55 in QEMU the total alone. They were drawn so that no cost is shown by one row alone:
shifts to the left, filters of one tap, several batches, int16, data of several kinds. In each of
the calls that others counted and recorded, the library so compiled executes exactly as many
instructions as they say, with MVE within two.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mcusim.calibration.library_rows import LibraryRow, library_build
from mcusim.graph import Array
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.cmsis_nn.contract import LibraryCase
from mcusim.resources import data_path

__all__ = ["OWN_CALLS", "own_calls", "own_calls_sha256"]

OWN_CALLS = "1,500 more calls of our own"

_ROWS, _CASES = "cmsis_nn_calls.csv.gz", "cmsis_nn_calls.zip"


def own_calls() -> list[LibraryRow]:
    """Every row: a call in a build."""
    cases = _cases()
    with gzip.open(data_path("calibration", "counted", _ROWS), "rt", newline="") as file:
        return [
            LibraryRow(
                cases[row["id"]],
                configuration,
                build,
                _counts(row),
                row["functions"],
            )
            for row in csv.DictReader(file)
            for build, configuration in [library_build(row["build"])]
        ]


def _counts(row: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """By class, or the total where classes were not counted."""
    if not row[FIELDS[0]]:
        return np.array([float(row["total"])])
    return np.array([float(row[field]) for field in FIELDS])


def _cases() -> dict[str, LibraryCase]:
    arrays: dict[str, dict[str, Array]] = defaultdict(dict)
    with zipfile.ZipFile(data_path("calibration", "counted", _CASES)) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                case, array = name.removesuffix(".npy").split(".")
                arrays[case][array] = np.load(io.BytesIO(archive.read(name)))
        text = archive.read("cases.csv").decode()
    return {
        row["id"]: LibraryCase(
            row["id"],
            row["op"],
            json.loads(row["params_json"]),
            row["has_bias"] != "0",
            arrays=arrays[row["id"]],
        )
        for row in csv.DictReader(io.StringIO(text))
    }


def own_calls_sha256() -> dict[str, str]:
    """Hashes of the files, for the record of what was fitted."""
    return {
        name: hashlib.sha256(data_path("calibration", "counted", name).read_bytes()).hexdigest()
        for name in (_ROWS, _CASES)
    }
