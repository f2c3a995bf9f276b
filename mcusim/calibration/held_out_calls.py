"""Errors of single calls of CMSIS-NN that were kept out of the fits of its profiles.

``calibration/counted/cmsis_nn_held_out.csv.gz`` holds one a call and a build, as the fits left them
that wrote the profiles; those of calls of our own are not among them.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcusim.calibration.library_fit import LibraryFit
from mcusim.resources import data_path

__all__ = ["HeldOutCall", "held_out_calls", "merge_held_out", "of_fits"]

_FILE = "cmsis_nn_held_out.csv.gz"
_COLUMNS = ("generation", "build", "kind", "id", "error", "error_unknown")
#: Kinds of counted runs that are no single calls of the library, and calls of our own.
_OTHERS = ("TFLM ", "network ", "own ", "legacy ")


@dataclass(frozen=True)
class HeldOutCall:
    """A call in a build, kept out of the fit.

    Attributes:
        generation: year of the library.
        build: ``"<core>.<build>"``.
        kind: what was called, such as ``"conv_s8"``.
        id: name of the call.
        error: of the total, relative, signed, its data known where they were recorded.
        error_unknown: the same without them.
    """

    generation: str
    build: str
    kind: str
    id: str
    error: float
    error_unknown: float


def of_fits(results: Iterable[tuple[str, LibraryFit]]) -> list[HeldOutCall]:
    """Single calls among the rows of fits, each with its generation beside it."""
    return [
        HeldOutCall(generation, fit.build, row.kind, row.id, float(error), float(unknown))
        for generation, fit in results
        for row, error, unknown in zip(
            fit.observations, fit.errors_on_data, fit.errors, strict=True
        )
        if not row.kind.startswith(_OTHERS) and row.kind.endswith(("_s8", "_s16"))
    ]


def held_out_calls() -> list[HeldOutCall]:
    """What the file holds; nothing without one."""
    path = data_path("calibration", "counted", _FILE)
    if not path.is_file():
        return []
    with gzip.open(path, "rt", newline="") as file:
        return [
            HeldOutCall(
                row["generation"],
                row["build"],
                row["kind"],
                row["id"],
                float(row["error"]),
                float(row["error_unknown"]),
            )
            for row in csv.DictReader(file)
        ]


def merge_held_out(found: Sequence[HeldOutCall]) -> None:
    """Write calls to the file, in place of those of the same kinds and builds."""
    replaced = {(call.generation, call.build, call.kind) for call in found}
    kept = [c for c in held_out_calls() if (c.generation, c.build, c.kind) not in replaced]
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for call in sorted([*kept, *found], key=lambda c: (c.generation, c.build, c.kind, c.id)):
        errors = (f"{call.error:.5f}", f"{call.error_unknown:.5f}")
        rows.writerow([call.generation, call.build, call.kind, call.id, *errors])
    with (
        data_path("calibration", "counted", _FILE).open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file,
    ):
        file.write(text.getvalue().encode())
