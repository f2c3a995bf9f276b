"""Calls of the real CMSIS-NN with the outputs that its compiled kernels gave."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from mcusim.graph import Array
from tests.shared import SHARED

__all__ = ["GoldenCase", "golden_cases", "old_cases"]

_FOLDER = SHARED / "golden" / "cmsis_nn"


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One recorded call.

    Attributes:
        id: name of the case.
        op: kind of call, such as ``"conv_s8"``.
        tag: what the case is about.
        params: arguments of the call, as ``cases.csv`` has them in ``params_json``.
        arrays: tensors by name; ``README.md`` of the folder says what each is.
    """

    id: str
    op: str
    tag: str
    params: dict[str, Any]
    arrays: dict[str, Array]

    def __str__(self) -> str:
        return f"{self.id}-{self.tag}"

    def output(self, single_rounding: bool = False) -> Array:
        """The recorded output; the single-rounding build's is recorded only where it differs."""
        if single_rounding and "y_single_rounding" in self.arrays:
            return self.arrays["y_single_rounding"]
        return self.arrays["y"]


def golden_cases(op: str) -> list[GoldenCase]:
    """Recorded calls of a kind, of the newest library; none where the folder is missing."""
    return _load(f"{op}.npz", "cases.csv")


def old_cases(op: str) -> list[GoldenCase]:
    """Recorded calls whose outputs differ in older generations: ``y_<generation>.<entry>``."""
    return _load(f"old_{op}.npz", "cases_old.csv")


@cache
def _load(archive: str, table: str) -> list[GoldenCase]:
    if not (_FOLDER / archive).is_file():
        return []
    with (_FOLDER / table).open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    arrays: dict[str, dict[str, Array]] = {}
    with np.load(_FOLDER / archive) as recorded:
        for key in recorded.files:
            case, _, name = key.partition(".")
            arrays.setdefault(case, {})[name] = recorded[key]
    return [
        GoldenCase(
            name, rows[name]["op"], rows[name]["tag"], json.loads(rows[name]["params_json"]), found
        )
        for name, found in sorted(arrays.items())
    ]
