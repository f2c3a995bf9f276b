"""Counted runs of single-operator models of our own, beside those that others counted.

``calibration/counted/tflm_models.zip`` holds the models, and the inputs they were given where an
operator's loops depend on data; ``tflm_operators.csv.gz`` what each operator executed, and
``tflm_cmsis_nn_operators.csv.gz`` the same in builds with CMSIS-NN; inputs on which only its loops
depend are in ``tflm_cmsis_nn_inputs.zip``. The models were drawn to vary what the shared ones leave
alone: ranks, broadcast shapes, odd extents.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from mcusim.calibration.counted import CountedRow
from mcusim.graph import Graph
from mcusim.instruction_mix import FIELDS
from mcusim.resources import data_path
from mcusim.tflite import read

__all__ = ["OWN_SOURCE", "own_models", "own_models_with_data", "own_rows", "own_sha256"]

OWN_SOURCE = "1,838 more models of our own, drawn at random, counted in the same way"

_ROWS, _MODELS = "tflm_operators.csv.gz", "tflm_models.zip"
_CMSIS_NN_ROWS, _CMSIS_NN_INPUTS = "tflm_cmsis_nn_operators.csv.gz", "tflm_cmsis_nn_inputs.zip"


def own_rows(kernels: str = "ref") -> list[CountedRow]:
    """Every row: a model in a build.

    Args:
        kernels: ``"ref"``, or ``"cmsis"`` for the builds of TFLM with CMSIS-NN.
    """
    name = _CMSIS_NN_ROWS if kernels == "cmsis" else _ROWS
    with gzip.open(data_path("calibration", "counted", name), "rt", newline="") as file:
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


def own_models() -> Iterator[tuple[str, Graph]]:
    """The models by id."""
    with zipfile.ZipFile(data_path("calibration", "counted", _MODELS)) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".tflite"):
                yield name.removesuffix(".tflite"), read(archive.read(name), name)


def own_models_with_data(only: Collection[str]) -> Iterator[tuple[str, Graph]]:
    """Models of some operators, their inputs holding what the counted runs were given.

    Args:
        only: operators whose loops depend on data.
    """
    folder = data_path("calibration", "counted")
    with (
        zipfile.ZipFile(folder / _MODELS) as archive,
        zipfile.ZipFile(folder / _CMSIS_NN_INPUTS) as more,
    ):
        here = frozenset(archive.namelist())
        for name, graph in own_models():
            main = graph.main
            if main.operators[0].name not in only:
                continue
            source = archive if f"{name}.in0.npy" in here else more
            given = {
                index: np.load(io.BytesIO(source.read(f"{name}.in{k}.npy")))
                for k, index in enumerate(main.inputs)
            }
            tensors = tuple(replace(t, data=given.get(t.index, t.data)) for t in main.tensors)
            yield name, replace(graph, subgraphs=(replace(main, tensors=tensors),))


def own_sha256(kernels: str = "ref") -> dict[str, str]:
    """Hashes of the files, for the record of what was fitted.

    Args:
        kernels: ``"ref"``, or ``"cmsis"`` to name the builds of TFLM with CMSIS-NN, too.
    """
    more = (_CMSIS_NN_ROWS, _CMSIS_NN_INPUTS) if kernels == "cmsis" else ()
    return {
        name: hashlib.sha256(data_path("calibration", "counted", name).read_bytes()).hexdigest()
        for name in (_ROWS, _MODELS, *more)
    }
