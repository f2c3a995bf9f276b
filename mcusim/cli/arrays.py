"""Arrays in ``.npy`` and ``.npz`` files: inputs of a model in, its outputs out."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mcusim.cli.output_files import write_whole
from mcusim.errors import InputError
from mcusim.graph import Array

__all__ = ["described", "load_inputs", "load_named", "load_outputs", "save_outputs"]

#: What NumPy and the modules under it raise of damaged files.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

#: Arrays up to this size are shown whole.
_SHOWN = 20


def load_inputs(path: Path, names: Sequence[str]) -> list[Array]:
    """Load the inputs of a model.

    Args:
        path: a ``.npy`` file with the only input, or a ``.npz`` file with all, by the inputs' names
            or, under any other names, in their order.
        names: the model's inputs.

    Returns:
        An array for each input that the file holds.

    Raises:
        InputError: the file does not hold arrays.
        OSError: it cannot be read.
    """
    return load_named(path, names, ())[0]


def load_named(
    path: Path, names: Sequence[str], further: Collection[str]
) -> tuple[list[Array], dict[str, Array]]:
    """Load the inputs of a model, and arrays that are none.

    Args:
        path: as for :func:`load_inputs`.
        names: the model's inputs.
        further: names of arrays that are no inputs.

    Returns:
        An array for each input, and the further ones that the file holds by name.

    Raises:
        InputError: the file does not hold arrays.
        OSError: it cannot be read.
    """
    arrays = _arrays(path)
    others = {key: arrays.pop(key) for key in set(further) & set(arrays) - set(names)}
    if set(arrays) >= set(names):
        return [arrays[name] for name in names], others
    if len(arrays) != len(names):
        raise InputError(
            f"{path}: holds {_counted(arrays, 'array')}, the model takes {_counted(names, 'input')}"
        )
    return list(arrays.values()), others


def load_outputs(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Load what a model computed, such as :func:`save_outputs` saves.

    Args:
        path: a ``.npy`` file with the only output, or a ``.npz`` file of tensors by name; as many
            arrays as there are outputs, none of which has the name of one, are these in order.
        names: the model's outputs.

    Returns:
        Arrays by the names of tensors.

    Raises:
        InputError: the file does not hold arrays.
        OSError: it cannot be read.
    """
    arrays = _arrays(path)
    if len(arrays) == len(names) and not set(arrays) & set(names):
        return dict(zip(names, arrays.values(), strict=True))
    return arrays


def _arrays(path: Path) -> dict[str, Array]:
    """Arrays of a file by name; the only one of a ``.npy`` file has none."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {key: loaded[key] for key in loaded.files}
    except _DAMAGE as error:
        # What is no array NumPy takes for a pickle, and says how to load that at one's own risk.
        why = "" if "pickle" in str(error) else f" ({error})"
        raise InputError(f"{path}: is not a .npy or .npz file of numbers{why}") from None


def _counted(names: Collection[str], what: str) -> str:
    listed = f" ({', '.join(names)})" if any(names) else ""
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}{listed}"


def save_outputs(path: Path, names: Sequence[str], outputs: Sequence[Array]) -> None:
    """Save outputs: a single one as ``.npy`` when the path says so, else all as ``.npz`` by name.

    Raises:
        InputError: several outputs do not go into a ``.npy`` file.
        OSError: the file cannot be written.
    """
    if path.suffix == ".npy":
        if len(outputs) != 1:
            raise InputError(f"{path}: {len(outputs)} outputs need a .npz file")
        write_whole(path, lambda file: np.save(file, outputs[0]))
        return
    unique = names if len(set(names)) == len(names) else [f"{i}" for i in range(len(names))]
    arrays: dict[str, Any] = dict(zip(unique, outputs, strict=True))

    def write(file: BinaryIO) -> None:
        np.savez(file, **arrays)

    write_whole(path, write)


def described(array: Array) -> str:
    """An array in a line: its values when they are few, else how they lie."""
    shape = "x".join(map(str, array.shape)) or "scalar"
    if array.size <= _SHOWN:
        values = " ".join(f"{value:g}" for value in array.reshape(-1).tolist())
        return f"{array.dtype} {shape}: {values}"
    return f"{array.dtype} {shape}: {array.min():g} to {array.max():g}"
