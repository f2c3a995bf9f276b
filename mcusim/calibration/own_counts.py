"""Counted runs of single-operator models of our own, beside those that others counted.

``calibration/counted/tflm_models.tar.xz`` holds the models, and the inputs they were given where an
operator's loops depend on data; ``tflm_operators.csv.xz`` what each operator executed, and
``tflm_cmsis_nn_operators.csv.gz`` the same in builds with CMSIS-NN; inputs on which only its loops
depend are in ``tflm_cmsis_nn_inputs.zip``, models counted in these builds alone, with their inputs,
in ``tflm_cmsis_nn_models.zip``. The models were drawn to vary what the shared ones leave
alone: ranks, broadcast shapes, odd extents. ``tflm_typical.csv.xz`` holds, of the shared models and
most of ours, what an operator executes on the mean over random inputs, which is what a prediction
for typical data claims.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import IO

import numpy as np

from mcusim.calibration.counted import CountedRow
from mcusim.graph import Graph
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.reference.elementwise_call import DATA_DEPENDENT
from mcusim.resources import data_path
from mcusim.tflite import read

__all__ = [
    "OWN_SOURCE",
    "MeanCount",
    "mean_counts",
    "on_the_mean",
    "own_models",
    "own_models_with_data",
    "own_rows",
    "own_sha256",
]

OWN_SOURCE = "more models of our own, drawn at random, counted in the same way"

_ROWS, _MODELS = "tflm_operators.csv.xz", "tflm_models.tar.xz"
_CMSIS_NN_ROWS, _CMSIS_NN_INPUTS = "tflm_cmsis_nn_operators.csv.gz", "tflm_cmsis_nn_inputs.zip"
_CMSIS_NN_MODELS = "tflm_cmsis_nn_models.zip"
_MEANS = "tflm_typical.csv.xz"


@dataclass(frozen=True)
class MeanCount:
    """A model in a build over random inputs, spread evenly over their type.

    Attributes:
        total: instructions, the mean over the runs.
        deviation: standard deviation of a run.
        runs: how many.
    """

    total: float
    deviation: float
    runs: int


def mean_counts() -> dict[tuple[str, str], MeanCount]:
    """What models execute on typical data, by id and build, where it depends on data."""
    with lzma.open(data_path("calibration", "counted", _MEANS), "rt", newline="") as file:
        return {
            (row["id"], row["build"]): MeanCount(
                float(row["total"]), float(row["deviation"]), int(row["runs"])
            )
            for row in csv.DictReader(file)
        }


def on_the_mean(
    rows: Iterable[CountedRow], means: Mapping[tuple[str, str], MeanCount]
) -> Iterator[CountedRow]:
    """Rows with what their models execute on the mean over random inputs, where that was counted.

    For kernels without a loop level that tells what data do: one count of a small tensor is far
    from what the kernel executes typically.

    Args:
        rows: single counts.
        means: over random inputs, by id and build.
    """
    for row in rows:
        mean = means.get((row.id, row.build))
        if mean is None or row.operator in DATA_DEPENDENT:
            yield row
        else:
            yield replace(row, vector=row.vector * (mean.total / row.total))


def own_rows(kernels: str = "ref") -> list[CountedRow]:
    """Every row: a model in a build.

    Args:
        kernels: ``"ref"``, or ``"cmsis"`` for the builds of TFLM with CMSIS-NN.
    """
    with _opened_rows(kernels) as file:
        return [
            CountedRow(
                row["id"],
                row["operator"],
                row["build"],
                np.array([float(row[field]) for field in FIELDS]),
                top_functions=row.get("top_functions", ""),
            )
            for row in csv.DictReader(file)
        ]


def _opened_rows(kernels: str) -> IO[str]:
    folder = data_path("calibration", "counted")
    if kernels == "cmsis":
        return gzip.open(folder / _CMSIS_NN_ROWS, "rt", newline="")
    return lzma.open(folder / _ROWS, "rt", newline="")


@cache
def _models_and_inputs() -> dict[str, bytes]:
    """Files of all archives, by name."""
    folder = data_path("calibration", "counted")
    files: dict[str, bytes] = {}
    with tarfile.open(folder / _MODELS) as archive:
        found = ((member.name, archive.extractfile(member)) for member in archive)
        files |= {name: file.read() for name, file in found if file is not None}
    for name in (_CMSIS_NN_INPUTS, _CMSIS_NN_MODELS):
        with zipfile.ZipFile(folder / name) as zipped:
            files |= {member: zipped.read(member) for member in zipped.namelist()}
    return files


def own_models() -> Iterator[tuple[str, Graph]]:
    """The models by id."""
    for name, content in sorted(_models_and_inputs().items()):
        if name.endswith(".tflite"):
            yield name.removesuffix(".tflite"), read(content, name)


def own_models_with_data(only: Collection[str]) -> Iterator[tuple[str, Graph]]:
    """Models of some operators, their inputs holding what the counted runs were given.

    Args:
        only: operators whose loops depend on data; inputs on which none does are not kept.
    """
    files = _models_and_inputs()
    for name, graph in own_models():
        main = graph.main
        if main.operators[0].name in only:
            places = {index: f"{name}.in{k}.npy" for k, index in enumerate(main.inputs)}
            given = {
                index: np.load(io.BytesIO(files[place]))
                for index, place in places.items()
                if place in files
            }
            tensors = tuple(replace(t, data=given.get(t.index, t.data)) for t in main.tensors)
            yield name, replace(graph, subgraphs=(replace(main, tensors=tensors),))


def own_sha256(kernels: str = "ref") -> dict[str, str]:
    """Hashes of the files, for the record of what was fitted.

    Args:
        kernels: ``"ref"``, or ``"cmsis"`` to name the builds of TFLM with CMSIS-NN, too.
    """
    more = (_CMSIS_NN_ROWS, _CMSIS_NN_INPUTS, _CMSIS_NN_MODELS) if kernels == "cmsis" else ()
    return {
        name: hashlib.sha256(data_path("calibration", "counted", name).read_bytes()).hexdigest()
        for name in (_ROWS, _MODELS, *more)
    }
