"""Arguments of a function as a TOML file describes them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.errors import InputError

__all__ = ["CallFile", "load_call_file"]

_TYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)
#: More than any microcontroller has.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class CallFile:
    """One call.

    Attributes:
        arguments: them.
        returns: numpy's name of the type that the function returns; None for nothing.
        buffers: arrays by name, as they are before the call.
    """

    arguments: tuple[Argument, ...]
    returns: str | None
    buffers: Mapping[str, npt.NDArray[np.generic]]


def load_call_file(path: str | Path) -> CallFile:
    """Read a file with the tables ``buffers`` and ``arguments`` and the key ``returns``.

    A buffer has a ``type`` and a ``shape``, and ``values``, a ``file`` (.npy, beside the TOML file)
    or ``random`` bounds (with ``seed``); without any of these it is zero. An argument is a table of
    one key: a type with its value, ``buffer`` with the name of one, ``pointer`` or ``struct`` with
    a list of members, or ``null``.

    Raises:
        InputError: it cannot be read, or does not say what a call needs; names the place.
    """
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not TOML: {error}") from None
    unknown = set(content) - {"returns", "buffers", "arguments"}
    if unknown:
        raise InputError(
            f"{path}: `{sorted(unknown)[0]}` is not a key; there are returns, buffers, arguments"
        )
    returns = content.get("returns", "int32")
    if returns not in (*_TYPES, "none"):
        raise InputError(f"{path}: `returns` is none or one of {', '.join(_TYPES)}")
    tables = content.get("buffers", {})
    listed = content.get("arguments", [])
    if not isinstance(tables, dict) or not isinstance(listed, list):
        raise InputError(f"{path}: buffers are tables, and arguments a list of tables")
    buffers = {name: _buffer(file, name, table) for name, table in tables.items()}
    arguments = tuple(
        _argument(f"{path}: argument {number}", table, buffers)
        for number, table in enumerate(listed)
    )
    return CallFile(arguments, None if returns == "none" else returns, buffers)


def _buffer(file: Path, name: str, table: Any) -> npt.NDArray[np.generic]:
    place = f"{file}: buffer `{name}`"
    if not isinstance(table, dict) or table.get("type") not in _TYPES:
        raise InputError(f"{place}: needs a `type`, one of {', '.join(_TYPES)}")
    unknown = set(table) - {"type", "shape", "values", "file", "random"}
    if unknown:
        raise InputError(f"{place}: `{sorted(unknown)[0]}` is not a key")
    kind = np.dtype(table["type"])
    shape = table.get("shape")
    if shape is not None and not (
        isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
    ):
        raise InputError(f"{place}: a `shape` is a list of positive numbers")
    elements = 1
    for extent in shape or ():
        elements *= extent
    if elements * kind.itemsize > _MOST_BYTES:
        raise InputError(f"{place}: is larger than {_MOST_BYTES >> 20} MiB")
    values = _values(place, file, table, kind, shape)
    if shape is not None and values.size != elements:
        raise InputError(f"{place}: holds {values.size:,} values, its shape {elements:,}")
    return values.reshape(shape) if shape is not None else values


def _values(
    place: str, file: Path, table: Mapping[str, Any], kind: np.dtype[Any], shape: Any
) -> npt.NDArray[np.generic]:
    if "values" in table:
        try:
            given = np.asarray(table["values"])
            values = given.astype(kind)
        except (ValueError, TypeError, OverflowError):
            raise InputError(f"{place}: `values` are not {kind} numbers") from None
        if kind.kind in "iu" and given.size and not np.array_equal(values, given):
            raise InputError(f"{place}: `values` do not fit into {kind}")
        return values
    if "file" in table:
        return _loaded(place, file.parent / str(table["file"]), kind)
    if shape is None:
        raise InputError(f"{place}: needs a `shape`, `values` or a `file`")
    if "random" in table:
        bounds = table["random"]
        try:
            generator = np.random.default_rng(bounds.get("seed", 0))
            low, high = bounds["low"], bounds["high"]
            if kind.kind == "f":
                drawn = np.asarray(generator.uniform(low, high, shape))
            else:
                drawn = np.asarray(generator.integers(low, high, shape, kind, endpoint=True))
            return drawn.astype(kind)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise InputError(f"{place}: `random` has a low and a high that {kind} holds") from None
    return np.zeros(shape, kind)


def _loaded(place: str, path: Path, kind: np.dtype[Any]) -> npt.NDArray[np.generic]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{place}: {path} is larger than {_MOST_BYTES >> 20} MiB")
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{place}: {path} cannot be read ({error.strerror})") from None
    except (ValueError, EOFError):
        raise InputError(f"{place}: {path} is not a .npy file") from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype != kind:
        raise InputError(f"{place}: {path} does not hold {kind}")
    return loaded


def _argument(place: str, table: Any, buffers: Mapping[str, npt.NDArray[np.generic]]) -> Argument:
    if not isinstance(table, dict) or len(table) != 1:
        raise InputError(f"{place}: is a table of one key, such as {{int32 = 5}}")
    ((key, value),) = table.items()
    if key in ("struct", "pointer"):
        members = _members(place, value, buffers)
        return members if key == "struct" else Pointer(members)
    if key == "buffer":
        if value not in buffers:
            raise InputError(f"{place}: there is no buffer {value!r}")
        return buffers[value]
    if key == "null":
        return None
    if key not in _TYPES:
        raise InputError(
            f"{place}: `{key}` is not buffer, pointer, struct, null or one of {', '.join(_TYPES)}"
        )
    kind = np.dtype(key)
    try:
        if kind.kind in "iu" and type(value) is not int:
            raise ValueError
        return kind.type(value)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{place}: {value!r} is no {key}") from None


def _members(place: str, value: Any, buffers: Mapping[str, npt.NDArray[np.generic]]) -> Struct:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{place}: a struct is a list of members")
    return Struct(
        tuple(_argument(f"{place}, member {n}", member, buffers) for n, member in enumerate(value))
    )
