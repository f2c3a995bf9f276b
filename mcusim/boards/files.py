"""Board and core files: found by name or path, laid over a base, checked, with clear errors."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mcusim.boards.board import Board
from mcusim.boards.core import Core
from mcusim.boards.fitted import fitted_values
from mcusim.boards.memory import Memory
from mcusim.boards.toml_origins import Origin, origins
from mcusim.errors import BoardError
from mcusim.resources import data_path

__all__ = ["BoardFile", "board_names", "load_board", "read_board_file", "without_fpu"]

_Model = TypeVar("_Model", bound=BaseModel)

_BOARDS = ("board_models",)
_CORES = ("board_models", "cores")
_PERIPHERALS = ("board_models", "peripherals")
_OVERRIDES = "core_overrides"
_QUOTES = "\"'"
_CURRENTS = ("active_a_per_hz", "active_a")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True)
class BoardFile:
    """A board with the place and the comment of each of its keys.

    Attributes:
        board: the board.
        origins: by dotted key, such as ``"flash.line_bytes"`` and ``"core.cycles.divide"``.
    """

    board: Board
    origins: Mapping[str, Origin]


@dataclass(frozen=True)
class _Content:
    file: str
    values: dict[str, Any]
    origins: dict[str, Origin]


def board_names() -> tuple[str, ...]:
    """Names of the boards that come with mcusim."""
    return _names(*_BOARDS)


def load_board(name: str | Path) -> Board:
    """Load a board.

    Args:
        name: of a board that comes with mcusim, or the path of a ``.toml`` file.

    Returns:
        The board.

    Raises:
        BoardError: there is none, or the file is malformed; names file, line and key.
    """
    return read_board_file(name).board


def read_board_file(name: str | Path) -> BoardFile:
    """Load a board as :func:`load_board` does, with where each of its numbers stands.

    Raises:
        BoardError: as :func:`load_board`.
    """
    content = _read(_find(name, "board", *_BOARDS), _BOARDS, ())
    core_name = content.values.get("core")
    if not isinstance(core_name, str):
        raise BoardError(_at(content, "core", "must be the name of a core, such as cortex-m4"))
    path = _found(content, "core", core_name, _CORES)
    core, core_origins = _core(path, _overrides(content), content)
    board = _validated(
        Board, _Content(content.file, content.values | {"core": core}, content.origins)
    )
    tables = _names(*_PERIPHERALS)
    if board.peripherals not in ("", *tables):
        hint = _hint(board.peripherals, tables)
        raise BoardError(_at(content, "peripherals", f"names no table of registers; {hint}"))
    inside = {f"core.{key}": origin for key, origin in core_origins.items()}
    return BoardFile(board, content.origins | inside)


def without_fpu(board: Board) -> Board:
    """The board as a build without floating-point instructions uses it.

    Raises:
        BoardError: the core that stands for it is not there.
    """
    path = _find(board.core.without_fpu, "core", *_CORES)
    content = _Content(f"{board.name}.toml", {}, {})
    return board.model_copy(update={"core": _core(path, board.core_overrides, content)[0]})


def _core(
    path: Path, overrides: Mapping[str, Any], board: _Content
) -> tuple[Core, dict[str, Origin]]:
    """A core's file under what a board changes of it."""
    content = _read(path, _CORES, ())
    # The same core with and without its FPU; microcontrollers' cores that were not measured share
    # what all of them have.
    name = path.stem.removesuffix("-soft")
    every = ("any-core",) if name.startswith("cortex-m") else ()
    fitted = fitted_values("cores", name, *every)
    content = _Content(
        content.file, _merged(content.values, fitted.values), content.origins | fitted.origins
    )
    core = _validated(Core, content)
    if not overrides:
        return core, content.origins
    above = {
        key.removeprefix(f"{_OVERRIDES}."): origin
        for key, origin in board.origins.items()
        if key.startswith(f"{_OVERRIDES}.")
    }
    merged = _Content(board.file, _merged(content.values, overrides), board.origins)
    return _validated(Core, merged, f"{_OVERRIDES}."), content.origins | above


def _overrides(content: _Content) -> Mapping[str, Any]:
    found = content.values.get(_OVERRIDES, {})
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        example = "tables of a core's file, such as [core_overrides.cycles]"
        raise BoardError(_at(content, _OVERRIDES, f"must hold {example}"))
    return found


def _names(*folder: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in data_path(*folder).glob("*.toml")))


def _find(name: str | Path, kind: str, *shipped: str) -> Path:
    """The file of a name, or the path itself."""
    text = str(name)
    if text.endswith(".toml") or "/" in text or "\\" in text or isinstance(name, Path):
        return Path(text)
    path = data_path(*shipped, f"{text}.toml")
    if path.is_file():
        return path
    raise BoardError(f"there is no {kind} {text!r}; {_hint(text, _names(*shipped))}")


def _hint(text: str, names: tuple[str, ...]) -> str:
    """What a name that is none was meant to be, or what there is."""
    close = difflib.get_close_matches(text.lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"


def _found(content: _Content, key: str, name: str, shipped: tuple[str, ...]) -> Path:
    """The file that a key of another one names, relative to it or by name."""
    try:
        return Path(content.file).parent / _find(name, key, *shipped)
    except BoardError as error:
        raise BoardError(_at(content, key, f"names nothing: {error}")) from None


def _read(
    path: Path,
    shipped: tuple[str, ...],
    below: tuple[Path, ...],
    over: Mapping[str, Any] | None = None,
) -> _Content:
    """The values of a file over those of its base, with the place of each.

    Args:
        path: of the file.
        shipped: folder of the files that come with mcusim.
        below: files that inherit from this one.
        over: what they say.
    """
    try:
        if path.is_char_device():
            raise BoardError(f"{path}: is a device, not a .toml file")
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a mark
        values = tomllib.loads(text)
    except FileNotFoundError:
        raise BoardError(f"{path}: there is no such file") from None
    except OSError as error:
        raise BoardError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BoardError(f"{path}: is not a text file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(_not_toml(path, str(error))) from None
    except RecursionError:
        raise BoardError(f"{path}: nests its values too deep") from None
    values.setdefault("name", path.stem)
    found = origins(text, path.name)
    content = _Content(str(path), values, found)
    # A board that comes with mcusim was not measured where another was that it resembles.
    own = path == data_path(*_BOARDS, path.name) and path.parent not in [b.parent for b in below]
    if own:
        fitted = fitted_values("boards", path.stem)
        others = _measured_otherwise(over or {}, values)
        kept = {key: value for key, value in fitted.values.items() if key not in others}
        places = {k: o for k, o in fitted.origins.items() if k.partition(".")[0] not in others}
        content = _Content(str(path), _merged(values, kept), content.origins | places)
    elif "calibration" in _measured_otherwise(over or {}, values) and "calibration" in values:
        del values["calibration"]
        values["calibrated"] = False
    base = content.values.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise BoardError(_at(content, "base", "must be the name or the path of a file"))
    base_path = _found(content, "base", base, shipped)
    if not base_path.exists():
        raise BoardError(_at(content, "base", f"names {base}, and there is no such file"))
    if base_path.resolve() in [file.resolve() for file in (*below, path)]:
        raise BoardError(_at(content, "base", "leads back to this file"))
    under = _read(base_path, shipped, (*below, path), _merged(content.values, over or {}))
    if "calibration" in content.values:
        under = _without_software(under)
    _forget_supply(under.values, content.values)
    return _Content(
        str(path), _merged(under.values, content.values), under.origins | content.origins
    )


def _not_toml(path: Path, reason: str) -> str:
    said = _AT_LINE.search(reason)
    place, what = (f"{path}, line {said[1]}", reason[: said.start()]) if said else (path, reason)
    return f"{place}: is not TOML: {what.strip()}"


def _measured_otherwise(over: Mapping[str, Any], under: Mapping[str, Any]) -> tuple[str, ...]:
    """What was fitted to another core, memory or current than those of the files above."""
    core = _differs(over, under, "core") or _differs(over, under, "core_overrides")
    memory = core or _differs(over, under, "flash", ("bytes",))
    power = over.get("power")
    current = core or (isinstance(power, dict) and any(key in power for key in _CURRENTS))
    return (*(("calibrated", "calibration") if memory else ()), *(("power",) if current else ()))


def _differs(
    over: Mapping[str, Any], under: Mapping[str, Any], key: str, but: tuple[str, ...] = ()
) -> bool:
    """Whether a value, or any of a table's but some, is another one than below."""
    if key not in over:
        return False
    one, other = over[key], under.get(key)
    if not isinstance(one, dict):
        return bool(one != other)
    held = other if isinstance(other, dict) else {}
    return any(value != held.get(name) for name, value in one.items() if name not in but)


def _forget_supply(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """A current of its own is meant at the file's own supply, not at that of its base."""
    power, own = under.get("power"), over.get("power")
    if isinstance(power, dict) and isinstance(own, dict) and "active_a_per_hz" in own:
        for key in ("measured_at_v", "measured_through"):
            power.pop(key, None)


def _without_software(content: _Content) -> _Content:
    """A base without what its runs say of software: the runs of the file above it are others."""
    held = content.values.get("calibration")
    if not isinstance(held, dict):
        return content
    kept = {key: value for key, value in held.items() if key not in ("kinds", "power_scale")}
    return _Content(content.file, content.values | {"calibration": kept}, content.origins)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        held = result.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            result[key] = _merged(held, value)
        else:
            result[key] = value
    return result


def _validated(model: type[_Model], content: _Content, above: str = "") -> _Model:
    """The values as a model; ``above`` is what stands before their keys in the file."""
    try:
        found = model.model_validate(content.values)
    except ValidationError as error:
        # An unknown key explains the missing one that it was meant to be, so it comes first.
        details = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
        raise BoardError(_sentence(model, content, details, above)) from None
    for key, given, held in _converted(content.values, found.model_dump()):
        wish = "true or false" if isinstance(held, bool) else "a number"
        raise BoardError(_at(content, above + key, f"must be {wish}, not {given!r}"))
    return found


def _converted(given: Any, held: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Words and truths that were read as numbers, and numbers as truths, with what they became."""
    if isinstance(given, dict) and isinstance(held, dict):
        for name in given.keys() & held.keys():
            yield from _converted(given[name], held[name], f"{key}.{name}" if key else name)
    elif isinstance(given, list) and isinstance(held, tuple):
        for one, other in zip(given, held, strict=True):
            yield from _converted(one, other, key)
    elif type(given) is not type(held) and (
        isinstance(given, bool | str) or (isinstance(held, bool) and isinstance(given, int | float))
    ):
        yield key, given, held


def _sentence(model: type[BaseModel], content: _Content, error: ErrorDetails, above: str) -> str:
    key = above + ".".join(part for part in error["loc"] if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        known = [above + name for name in _keys(model)]
        table = key.split(".")[:2]
        if table[0] == "memory" and len(table) == 2:
            known += [".".join((*table, name)) for name in Memory.model_fields]
        if "." not in key.removeprefix(above):
            # A table without its values is meant for a table.
            known = list(dict.fromkeys(name.rpartition(".")[0] or name for name in known))
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        return _at(content, key, f"is not a key{hint}")
    if key.startswith("regions."):
        return _at(content, key, "must be an address and a size, such as [0x2000_0000, 131_072]")
    if key == "power.supply_range_v" and error["type"] != "value_error":
        return _at(content, key, "must be the lowest and the highest, such as [1.71, 3.6]")
    if len(error["loc"]) > key.removeprefix(above).count(".") + 1 or error["type"] == "tuple_type":
        return _at(content, key, "must be pairs such as [[16_000_000, 0], [32_000_000, 1]]")
    if error["type"] == "missing":
        return _at(content, key, "is missing")
    if error["type"] == "value_error":
        return _said(content, key, str(error["ctx"]["error"]))
    if error["type"] == "too_short":
        return _at(content, key, "must not be empty")
    if error["type"] in ("model_type", "dict_type", "mapping_type"):
        return _at(content, key, f"must be a table, not {error['input']!r}")
    wish = error["msg"].replace("Input should be", "must be").partition(",")[0]
    return _at(content, key, f"{wish}, not {error['input']!r}")


def _at(content: _Content, key: str, message: str) -> str:
    """An error sentence that begins with the file and, where it is known, the line."""
    at = key
    while at and at not in content.origins:
        at = at.rpartition(".")[0]
    origin = content.origins.get(at)
    if not key:
        origin = _named_in(message, content)
    place = _place(content, origin)
    return f"{place}: `{key}` {message}" if key else f"{place}: {message}"


def _place(content: _Content, origin: Origin | None) -> str:
    """The file and, where it is known, the line."""
    if origin is None:
        return content.file
    same = origin.file == Path(content.file).name
    return f"{content.file if same else origin.file}, line {origin.line}"


def _said(content: _Content, table: str, message: str) -> str:
    """What a rule says of keys of a table, at the line of that which the file itself sets."""
    if not table:
        return _at(content, "", message)
    origin = _named_in(message, content, f"{table}.")
    first, _, rest = message.partition(" ")
    key = f"{table}.{first.strip(_QUOTES)}"
    if origin is None or key not in content.origins:
        return _at(content, table, message)
    return f"{_place(content, origin)}: `{key}` {rest}"


def _named_in(message: str, content: _Content, table: str = "") -> Origin | None:
    """Where a key stands that a message names: the file's own, before one of its base."""
    words = [f"{table}{word.strip(_QUOTES)}" for word in message.split()]
    named = [content.origins[word] for word in words if word in content.origins]
    return min(named, key=lambda origin: origin.file != Path(content.file).name, default=None)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of the values in a model's tables."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if tables:
            yield from _keys(tables[0], f"{prefix}{name}.")
        else:
            yield prefix + name
