"""Flatbuffer tables by the schema's field names, every offset checked before it is followed."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from mcusim.graph import Array
from mcusim.tflite.schema import Field, enum_names, fields

__all__ = ["DamageError", "File", "Table", "quoted"]

_READ = {
    np.dtype(name): struct.Struct("<" + code)
    for name, code in {
        "bool": "?",
        "int8": "b",
        "uint8": "B",
        "int16": "h",
        "uint16": "H",
        "int32": "i",
        "uint32": "I",
        "int64": "q",
        "uint64": "Q",
        "float32": "f",
    }.items()
}
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_UINT16 = struct.Struct("<H")

#: Tables and vectors may be shared, so a small damaged file can describe an endless tree. A real
#: model comes near none of these limits.
_VISITS_PER_BYTE = 4
_MAX_TABLES = 100_000
_MAX_VALUES = 100_000

_LONGEST_NAME = 80


class DamageError(Exception):
    """The model is not what it should be.

    Args:
        problem: the place and what is wrong there.
        advice: what to do about it.
    """

    def __init__(self, problem: str, advice: str = "the file is damaged or was edited") -> None:
        super().__init__(f"{problem}; {advice}")


def quoted(name: str) -> str:
    """A name of the file as it stands in a message, cut when it is long."""
    return repr(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…")


class File:
    """The bytes of a flatbuffer and how much of it may still be visited."""

    __slots__ = ("_tables", "_visits", "content")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._visits = _VISITS_PER_BYTE * len(content) + 4096
        self._tables = _MAX_TABLES

    def root(self, table: str) -> Table:
        """The root table."""
        return Table(self, table, _UINT32.unpack_from(self.content)[0], None, "")

    def span(self, position: int, size: int, owner: Table, what: str) -> int:
        """``position``, once ``size`` bytes from there are found to lie in the file."""
        if not 0 <= position <= len(self.content) - size:
            raise DamageError(
                f"{owner.place(what)} lies at bytes {position} to {position + size}, "
                f"beyond the {len(self.content)} bytes of the file"
            )
        self._visits -= size
        if self._visits < 0:
            raise DamageError(f"{owner.place(what)} shares its bytes with too many others")
        return position

    def count_tables(self, number: int, owner: Table, what: str) -> None:
        """Note that ``number`` more tables are about to be read."""
        self._tables -= number
        if self._tables < 0:
            raise DamageError(f"{owner.place(what)} has {number} entries, too many for any model")


class Table:
    """One table of the file, read field by field.

    Raises:
        DamageError: an offset or length leads out of the file.
    """

    __slots__ = ("_fields", "_file", "_parent", "_position", "_slots", "label", "name")

    def __init__(self, file: File, name: str, position: int, parent: Table | None, label: str):
        self.name = name
        self._file = file
        self._fields = fields(name)
        self._position = position
        self._parent = parent
        self.label = label
        content = file.content
        file.span(position, 4, self, "")
        vtable = position - _INT32.unpack_from(content, position)[0]
        file.span(vtable, 4, self, "vtable")
        size = _UINT16.unpack_from(content, vtable)[0] & ~1
        file.span(vtable, max(size, 4), self, "vtable")
        self._slots = struct.unpack_from(f"<{size // 2}H", content, vtable)

    def place(self, what: str = "") -> str:
        """Where in the file this table, or a field of it, is: ``subgraph 1: tensor 5: name``."""
        labels = [what] if what else []
        table: Table | None = self
        while table is not None:
            if table.label:
                labels.append(table.label)
            table = table._parent
        return ": ".join(reversed(labels)) or "the model"

    def has(self, name: str) -> bool:
        """Whether the file gives the field."""
        return self._at(self._fields[name]) is not None

    def scalar(self, name: str) -> Any:
        """A scalar field, or the schema's default."""
        field = self._fields[name]
        position = self._at(field)
        if position is None:
            return field.default
        self._file.span(position, field.element.itemsize, self, name)
        return _READ[field.element].unpack_from(self._file.content, position)[0]

    def enum(self, name: str) -> str:
        """An enumerated field by the name of its value."""
        field = self._fields[name]
        number = self.scalar(name)
        names = enum_names(field.enum)
        if number not in names:
            raise DamageError(
                f"{self.place(name)} is {number}, which is no {field.enum} of the schema"
            )
        return names[number]

    def vector(self, name: str) -> Array | None:
        """A vector of scalars as a read-only view of the file; None when absent."""
        field = self._fields[name]
        found = self._vector(field, field.element.itemsize)
        if found is None:
            return None
        return np.frombuffer(self._file.content, field.element, found[1], found[0])

    def values(self, name: str) -> tuple[Any, ...]:
        """A vector of scalars as Python numbers; empty when absent."""
        field = self._fields[name]
        found = self._vector(field, field.element.itemsize)
        if found is None:
            return ()
        if found[1] > _MAX_VALUES:
            raise DamageError(f"{self.place(name)} has {found[1]} entries, too many for any model")
        code = _READ[field.element].format[1:]
        return struct.unpack_from(f"<{found[1]}{code}", self._file.content, found[0])

    def text(self, name: str) -> str:
        """A string; empty when absent. Bytes that are no UTF-8 appear escaped."""
        found = self._vector(self._fields[name], 1)
        if found is None:
            return ""
        start, length = found
        return self._file.content[start : start + length].decode("utf-8", "backslashreplace")

    def table(self, name: str) -> Table | None:
        """The table that a field refers to; None when absent."""
        field = self._fields[name]
        position = self._at(field)
        if position is None:
            return None
        return Table(self._file, field.table, self._follow(position, name), self, name)

    def tables(self, name: str, label: str) -> list[Table]:
        """A vector of tables, each called ``label`` and its number; empty when absent."""
        field = self._fields[name]
        found = self._vector(field, 4)
        if found is None:
            return []
        file = self._file
        start, length = found
        file.count_tables(length, self, name)
        offsets = struct.unpack_from(f"<{length}I", file.content, start)
        return [
            Table(file, field.table, start + 4 * i + offset, self, f"{label} {i}")
            for i, offset in enumerate(offsets)
        ]

    def union(self, name: str) -> tuple[str, Table | None]:
        """Name of the table that a union holds, ``NONE`` when it is empty, and the table."""
        field = self._fields[name]
        number = self.scalar(f"{name}_type")
        names = enum_names(field.enum)
        if number not in names:
            raise DamageError(
                f"{self.place(name)} is of type {number}, which is none of the schema"
            )
        position = self._at(field)
        if number == 0 or position is None:
            return names[number], None
        table = names[number]
        return table, Table(self._file, table, self._follow(position, name), self, name)

    def _at(self, field: Field) -> int | None:
        index = field.slot // 2
        if index >= len(self._slots) or not self._slots[index]:
            return None
        offset: int = self._slots[index]
        return self._position + offset

    def _follow(self, position: int, name: str) -> int:
        self._file.span(position, 4, self, name)
        target: int = position + _UINT32.unpack_from(self._file.content, position)[0]
        return target

    def _vector(self, field: Field, width: int) -> tuple[int, int] | None:
        """Start and length of a vector that lies in the file."""
        position = self._at(field)
        if position is None:
            return None
        start = self._file.span(self._follow(position, field.name), 4, self, field.name)
        length: int = _UINT32.unpack_from(self._file.content, start)[0]
        return self._file.span(start + 4, length * width, self, field.name), length
