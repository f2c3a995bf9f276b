"""One SQLite file with a row for each point of a sweep; what is in it survives being killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType

from mcusim import __version__
from mcusim.errors import InputError

__all__ = ["Limits", "Row", "Store"]

#: Marks the file as ours: "mcSw".
_APPLICATION = 0x6D635377
#: Layout of the table.
_LAYOUT = 1
#: How long to wait for another program that writes into the same file.
_PATIENCE_S = 10.0
#: Variables that one statement may have in every SQLite.
_MOST_VARIABLES = 500


@dataclass(frozen=True)
class Row:
    """A point and what it takes.

    Attributes:
        key: canonical JSON of everything that decides the result, with digests of the contents of
            model and board.
        model: the model as it was named.
        board: the board.
        runtime: the software that runs it.
        build: compiler and flag.
        clock_hz: clock of the core.
        placement: JSON: where code, weights, arena and stack lie.
        error: the sentence with which the point was refused; empty, or the figures are None.
        untrained: whether the model is a description without weights.
        latency_s: time of an inference.
        latency_low_s: low end of its 90 % interval.
        latency_high_s: high end.
        energy_j: energy of an inference.
        energy_low_j: low end of its 90 % interval.
        energy_high_j: high end.
        macs: multiply-accumulates.
        arena_bytes: the tensor arena; None where the runtime does not tell.
        ram_bytes: arena and variables; None where the runtime does not tell.
        flash_bytes: model, runtime and kernels.
        fits: whether board's RAM and flash hold it.
        unpriced: layers that nothing prices: time and energy lack them.
    """

    key: str
    model: str
    board: str
    runtime: str
    build: str
    clock_hz: float
    placement: str
    error: str = ""
    untrained: bool | None = None
    latency_s: float | None = None
    latency_low_s: float | None = None
    latency_high_s: float | None = None
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    macs: int | None = None
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    fits: bool | None = None
    unpriced: int | None = None


@dataclass(frozen=True)
class Limits:
    """What rows must keep to; None for no limit. A figure that is unknown keeps to none."""

    latency_s: float | None = None
    energy_j: float | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    board: str | None = None


_TYPES = {"str": "TEXT", "float": "REAL", "int": "INTEGER", "bool": "INTEGER"}
_COLUMNS = tuple(field.name for field in fields(Row))


def _definition() -> str:
    columns = []
    for column in fields(Row):
        name, _, optional = str(column.type).partition(" | ")
        null = "" if optional else " NOT NULL"
        columns.append(f"{column.name} {_TYPES[name]}{null}")
    return f"CREATE TABLE points ({', '.join(columns)}, PRIMARY KEY (key)) WITHOUT ROWID"


class Store:
    """The file of a sweep. Several sweeps may write into one at a time.

    Args:
        path: where it lies.
        create: make it where there is none; otherwise it is only read.

    Raises:
        InputError: it is another program's, damaged, locked, or cannot be written.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        if not create and not path.is_file():
            raise InputError(f"{path}: there is no such file")
        with self._in_a_sentence():
            self._database = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
            try:
                if create:
                    self._begin()
                self._check()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave one file behind, unless another program still writes into it."""
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA busy_timeout = 0")
            self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.close()

    def known(self, keys: Sequence[str]) -> set[str]:
        """Which of some keys have a row."""
        found: set[str] = set()
        with self._in_a_sentence():
            for start in range(0, len(keys), _MOST_VARIABLES):
                part = keys[start : start + _MOST_VARIABLES]
                marks = ", ".join("?" * len(part))
                rows = self._database.execute(
                    f"SELECT key FROM points WHERE key IN ({marks})", part
                )
                found.update(key for (key,) in rows)
        return found

    def add(self, rows: Collection[Row]) -> None:
        """Write rows, all or none; those of a key that is there already are left out.

        Raises:
            InputError: the disk is full, or the file is locked or damaged.
        """
        marks = ", ".join("?" * len(_COLUMNS))
        with self._in_a_sentence(), self._transaction():
            self._database.executemany(
                f"INSERT OR IGNORE INTO points VALUES ({marks})", map(astuple, rows)
            )

    def count(self, where: str = "1") -> int:
        """Rows of which an SQL condition holds."""
        with self._in_a_sentence():
            found = self._database.execute(f"SELECT count(*) FROM points WHERE {where}").fetchone()
        return int(found[0])

    def rows(self, limits: Limits | None = None) -> list[Row]:
        """Rows without errors that fit their boards and keep to limits, the fastest first.

        Args:
            limits: without, every row of the file, by key.
        """
        if limits is None:
            return self._selected("1 ORDER BY key", [])
        bounds = {
            "latency_s": limits.latency_s,
            "energy_j": limits.energy_j,
            "ram_bytes": limits.ram_bytes,
            "flash_bytes": limits.flash_bytes,
        }
        given = {name: limit for name, limit in bounds.items() if limit is not None}
        conditions = ["error = ''", "fits", "unpriced = 0", *(f"{name} <= ?" for name in given)]
        values: list[str | float] = list(given.values())
        if limits.board is not None:
            conditions.append("board = ?")
            values.append(limits.board)
        return self._selected(f"{' AND '.join(conditions)} ORDER BY latency_s, key", values)

    def _selected(self, condition: str, values: Sequence[str | float]) -> list[Row]:
        with self._in_a_sentence():
            found = self._database.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM points WHERE {condition}", values
            ).fetchall()
        return [_row(columns) for columns in found]

    def _begin(self) -> None:
        """Make the table in an empty file."""
        is_new = not self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        if not is_new or application:
            self._check()
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            # Another sweep may have begun the same file meanwhile.
            if self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return
            self._database.execute(_definition())
            self._database.execute("CREATE TABLE written_by (version TEXT NOT NULL)")
            self._database.execute("INSERT INTO written_by VALUES (?)", (__version__,))
            self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._database.execute(f"PRAGMA user_version = {_LAYOUT}")

    def _check(self) -> None:
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            raise InputError(f"{self._path}: not a file of mcusim sweep")
        (layout,) = self._database.execute("PRAGMA user_version").fetchone()
        (version,) = self._database.execute("SELECT version FROM written_by").fetchone()
        if layout != _LAYOUT or version != __version__:
            raise InputError(
                f"{self._path}: written by mcusim {version}, whose predictions may differ from "
                f"those of {__version__}; sweep into another file"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _in_a_sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise InputError(f"{self._path}: {_said(error)}") from None


def _said(error: sqlite3.Error) -> str:
    said = str(error)
    if "locked" in said:
        return "another program has locked it"
    if "full" in said:
        return "the disk is full; the same command goes on once there is room"
    if "not a database" in said:
        return "not a file of mcusim sweep"
    if "malformed" in said or "no such" in said:
        return "damaged"
    if "readonly" in said or "unable to open" in said:
        return "cannot be opened or written"
    return said


def _row(columns: Sequence[str | float | None]) -> Row:
    said = dict(zip(_COLUMNS, columns, strict=True))
    for name in ("untrained", "fits"):
        if said[name] is not None:
            said[name] = bool(said[name])
    return Row(**said)  # type: ignore[arg-type]
