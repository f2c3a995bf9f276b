"""Counted runs of single-operator models of our own, beside those that others counted.

``calibration/counted/tflm_models.zip`` holds the models, and the inputs they were given where an
operator's loops depend on data; ``tflm_operators.csv.gz`` what each operator executed, and
``tflm_cmsis_nn_operators.csv.gz`` the same in builds with CMSIS-NN; inputs on which only its loops
depend are in ``tflm_cmsis_nn_inputs.zip``, models counted in these builds alone, with their inputs,
in ``tflm_cmsis_nn_models.zip``. The models were drawn to vary what the shared ones leave alone:
ranks, broadcast shapes, odd extents.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from mcusim.calibration.counted import CountedRow
from mcusim.graph import Graph
from mcusim.instruction_mix import FIELDS
from mcusim.resources import data_path
from mcusim.tflite import read

__all__ = ["OWN_SOURCE", "own_models", "own_models_with_data", "own_rows", "own_sha256"]

OWN_SOURCE = "more models of our own, drawn at random, counted in the same way"

_ROWS, _MODELS = "tflm_operators.csv.gz", "tflm_models.zip"
_CMSIS_NN_ROWS, _CMSIS_NN_INPUTS = "tflm_cmsis_nn_operators.csv.gz", "tflm_cmsis_nn_inputs.zip"
_CMSIS_NN_MODELS = "tflm_cmsis_nn_models.zip"


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
    for file in (_MODELS, _CMSIS_NN_MODELS):
        with zipfile.ZipFile(data_path("calibration", "counted", file)) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".tflite"):
                    yield name.removesuffix(".tflite"), read(archive.read(name), name)


def own_models_with_data(only: Collection[str]) -> Iterator[tuple[str, Graph]]:
    """Models of some operators, their inputs holding what the counted runs were given.

    Args:
        only: operators whose loops depend on data.
    """
    folder = data_path("calibration", "counted")
    with ExitStack() as stack:
        files = (_MODELS, _CMSIS_NN_INPUTS, _CMSIS_NN_MODELS)
        archives = [stack.enter_context(zipfile.ZipFile(folder / file)) for file in files]
        homes = {name: archive for archive in archives for name in archive.namelist()}
        for name, graph in own_models():
            main = graph.main
            if main.operators[0].name not in only:
                continue
            given = {
                index: np.load(io.BytesIO(homes[f"{name}.in{k}.npy"].read(f"{name}.in{k}.npy")))
                for k, index in enumerate(main.inputs)
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
