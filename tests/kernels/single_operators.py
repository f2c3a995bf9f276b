"""Single-operator models with the outputs that the TFLite Micro interpreter gave for them."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import PurePosixPath

import numpy as np

from mcusim.graph import Array, Graph
from mcusim.interpreter import Interpreter
from mcusim.tflite import read
from tests.kernels.agreement import bits
from tests.shared import SHARED

__all__ = ["assert_golden", "golden_names"]

_FOLDER = SHARED / "golden" / "tflm"


@cache
def _members() -> dict[str, str]:
    if not _FOLDER.is_dir():
        return {}
    with zipfile.ZipFile(_FOLDER / "single_operators.zip") as archive:
        names = archive.namelist()
    return {PurePosixPath(n).stem: n for n in names if n.endswith(".tflite")}


def golden_names(*stems: str) -> list[str]:
    """Names of the models of some operators, such as ``"softmax"``."""
    return sorted(n for n in _members() if n.rsplit("_", 2)[0] in stems)


def assert_golden(stem: str, runtime: str = "tflm") -> int:
    """All models of an operator give the recorded outputs, bit for bit; returns how many."""
    names = golden_names(stem)
    with (
        zipfile.ZipFile(_FOLDER / "single_operators.zip") as archive,
        np.load(_FOLDER / "single_operators.npz") as arrays,
    ):
        for name in names:
            graph = read(archive.read(_members()[name]))
            _assert_outputs(name, graph, arrays, runtime)
    return len(names)


def _assert_outputs(name: str, graph: Graph, arrays: np.lib.npyio.NpzFile, runtime: str) -> None:
    inputs = [
        arrays[f"{name}.in{position}"].reshape(tensor.shape)
        for position, tensor in enumerate(graph.inputs)
    ]
    outputs = Interpreter(graph, runtime).invoke(inputs).outputs
    for position, mine in enumerate(outputs):
        theirs: Array = arrays[f"{name}.out{position}"].reshape(mine.shape)
        np.testing.assert_array_equal(bits(mine), bits(theirs), err_msg=name)
