"""The device kernels' plain C, built by the machine's own compiler and called through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.calibration.device_layers import DeviceLayer, flat
from mcusim.graph import Array
from mcusim.resources import data_path

__all__ = ["COMPILER", "run_on_host"]

COMPILER = shutil.which("cc") or shutil.which("gcc")

SOURCES = data_path("kernels", "device", "source")


def _structure(name: str, *fields: tuple[str, Any]) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


def _integers(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_int32) for name in names]


_POINTER = ctypes.c_void_p
_AXIS = _structure("Axis", *_integers(*"abcdef"))
_SCALING = _structure("Scaling", *_integers(*"abcdef"), ("multipliers", _POINTER), ("g", _POINTER))
_TWO = ctypes.c_int32 * 2

_STRUCTURES = {
    "convolution": _structure(
        "Convolution",
        *_integers("batches"),
        ("rows", _AXIS),
        ("columns", _AXIS),
        *_integers(*"abc"),
        ("scaling", _SCALING),
    ),
    "dense": _structure("Dense", *_integers(*"abc"), ("scaling", _SCALING)),
    "pooling": _structure(
        "Pooling", *_integers("batches"), ("rows", _AXIS), ("columns", _AXIS), *_integers(*"abc")
    ),
    "addition": _structure(
        "Addition",
        *_integers("elements"),
        ("offsets", _TWO),
        ("multipliers", _TWO),
        ("shifts", _TWO),
        *_integers(*"abcde"),
    ),
    "softmax": _structure("Softmax", *_integers(*"abcde")),
}


@cache
def _library() -> ctypes.CDLL:
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp(prefix="mcusim-device-"))
    path = folder / "kernels.so"
    sources = sorted(str(p) for p in SOURCES.glob("*.c") if p.name != "network.c")
    warnings = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
    flags = ("-std=c99", "-O2", "-shared", "-fPIC", *warnings)
    subprocess.run([COMPILER, *flags, *sources, "-o", str(path)], check=True)
    library = ctypes.CDLL(str(path))
    shutil.rmtree(folder)
    return library


def run_on_host(layer: DeviceLayer, inputs: Sequence[Array], output_bytes: int) -> Array:
    """The int8 outputs, flat, of a layer's function."""
    held: list[Array] = []

    def pointer(array: Array | None) -> ctypes.c_void_p:
        if array is None:
            return ctypes.c_void_p()
        held.append(np.ascontiguousarray(array))
        return ctypes.c_void_p(held[-1].ctypes.data)

    shape = _STRUCTURES[layer.structure]()
    _fill(shape, (pointer(v).value if isinstance(v, np.ndarray) else v for v in flat(layer.fields)))
    output = np.empty(output_bytes, np.int8)
    arguments = [ctypes.byref(shape), *(pointer(array) for array in inputs)]
    if layer.weights is not None:
        arguments += [pointer(layer.weights), pointer(layer.bias)]
    if layer.function == "mcusim_convolve_s8":
        arguments.append(pointer(np.empty(layer.column_bytes, np.int8)))
    getattr(_library(), layer.function)(*arguments, pointer(output))
    return held[-1]


def _fill(
    structure: ctypes.Structure | ctypes.Array[ctypes.c_int32], values: Iterator[Any]
) -> None:
    if isinstance(structure, ctypes.Array):
        for index in range(len(structure)):
            structure[index] = next(values)
        return
    for field in structure._fields_:
        inner = getattr(structure, field[0])
        if isinstance(inner, (ctypes.Structure, ctypes.Array)):
            _fill(inner, values)
        else:
            setattr(structure, field[0], next(values))
