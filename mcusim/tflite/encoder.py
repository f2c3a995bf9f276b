"""Flatbuffer tables from nested dictionaries, by the schema's field names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from mcusim.errors import ModelError
from mcusim.tflite.schema import Field, Kind, enum_numbers, fields

__all__ = ["encode"]

#: Where a vector must start in the file, for those that the schema aligns further than elements.
_ALIGNMENT = {"data": 16}


def encode(table: str, values: Mapping[str, Any], identifier: bytes) -> bytes:
    """A flatbuffer whose root is ``table``.

    Args:
        table: name of the schema's table.
        values: a scalar, enumeration's name, string, sequence or array of scalars, dictionary,
            list of dictionaries or pair (table, dictionary) of a union, by field.
        identifier: the four bytes that name the format.

    Raises:
        ModelError: a field or an enumeration's name that the schema lacks.
        TypeError: a value of the wrong type or beyond its range.
    """
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, table, values), file_identifier=identifier)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, table: str, values: Mapping[str, Any]) -> int:
    known = fields(table)
    for name in values:
        if name not in known:
            raise ModelError(f"{table} has no field {name!r}, it has {', '.join(known) or 'none'}")
    scalars: list[tuple[Field, Any]] = []
    references: list[tuple[Field, int]] = []
    for name, value in values.items():
        field = known[name]
        if field.kind is Kind.SCALAR:
            scalars.append((field, _number(field.enum, value) if field.enum else value))
        elif field.kind is Kind.UNION:
            union_type, content = value
            kind = known[f"{name}_type"]
            scalars.append((kind, _number(field.enum, union_type)))
            references.append((field, _table(builder, union_type, content)))
        else:
            references.append((field, _reference(builder, field, value)))
    builder.StartObject(max((f.slot for f in known.values()), default=2) // 2 - 1)
    for field, number in scalars:
        prepend = getattr(builder, f"Prepend{field.element.name.capitalize()}Slot")
        prepend(_index(field), number, field.default)
    for field, offset in references:
        builder.PrependUOffsetTRelativeSlot(_index(field), offset, 0)
    return int(builder.EndObject())


def _index(field: Field) -> int:
    return field.slot // 2 - 2


def _number(enum: str, name: str) -> int:
    numbers = enum_numbers(enum)
    if name not in numbers:
        raise ModelError(f"{enum} has no {name!r}, it has {', '.join(numbers)}")
    return numbers[name]


def _reference(builder: flatbuffers.Builder, field: Field, value: Any) -> int:
    if field.kind is Kind.STRING:
        return int(builder.CreateString(value))
    if field.kind is Kind.TABLE:
        return _table(builder, field.table, value)
    if field.kind is Kind.VECTOR:
        return _vector(builder, field, value)
    offsets = [_table(builder, field.table, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, field: Field, value: Any) -> int:
    content = np.ascontiguousarray(value, field.element).tobytes()
    width = field.element.itemsize
    builder.StartVector(width, len(content) // width, _ALIGNMENT.get(field.name, width))
    head = builder.head - len(content)
    builder.Bytes[head : builder.head] = content
    builder.head = head
    return int(builder.EndVector())
