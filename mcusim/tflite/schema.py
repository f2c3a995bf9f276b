"""The tables of the TFLite schema as data, read off the generated classes of package ``tflite``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
import tflite

__all__ = ["Field", "Kind", "enum_names", "enum_numbers", "fields"]


_UINT8 = np.dtype(np.uint8)
_UINT32 = np.dtype(np.uint32)
_UINT64 = np.dtype(np.uint64)


class Kind(Enum):
    """What a field of a table holds."""

    SCALAR = "scalar"
    VECTOR = "vector of scalars"
    STRING = "string"
    STRINGS = "vector of strings"
    TABLE = "table"
    TABLES = "vector of tables"
    UNION = "union"


@dataclass(frozen=True)
class Field:
    """One field of a schema table.

    Attributes:
        name: the schema's name, in snake case.
        slot: position in the table's vtable, in bytes.
        kind: what it holds.
        element: type of the scalar, or of one element of the vector.
        default: the schema's default of a scalar.
        table: table that it refers to.
        enum: enumeration that a scalar is from; the enumeration of the tables of a union.
    """

    name: str
    slot: int
    kind: Kind
    element: np.dtype[Any] = _UINT8
    default: bool | int | float = 0
    table: str = ""
    enum: str = ""


#: Enumerated fields by name: the generated classes hand out their numbers only.
_ENUMS = {
    "algorithm": "RngAlgorithm",
    "builtin_options": "BuiltinOptions",
    "builtin_options2": "BuiltinOptions2",
    "combiner": "CombinerType",
    "compare_type": "StablehloComparisonType",
    "comparison_direction": "StablehloComparisonDirection",
    "details": "QuantizationDetails",
    "fused_activation_function": "ActivationFunctionType",
    "idx_out_type": "TensorType",
    "in_data_type": "TensorType",
    "kernel_type": "LSTMKernelType",
    "key_dtype": "TensorType",
    "mode": "MirrorPadMode",
    "out_data_type": "TensorType",
    "out_type": "TensorType",
    "output_type": "TensorType",
    "padding": "Padding",
    "quantized_bias_type": "TensorType",
    "reduce_function": "ReduceWindowFunction",
    "value_dtype": "TensorType",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}

#: What the released package lacks of schema 3d (2026), and the one accessor that it has changed by
#: hand: ``builtin_code``, which it reads from the deprecated field.
_NEWER: Mapping[str, tuple[Field, ...]] = {
    "OperatorCode": (Field("builtin_code", 10, Kind.SCALAR, np.dtype(np.int32)),),
    "Tensor": (Field("external_buffer", 24, Kind.SCALAR, _UINT32),),
    "Model": (
        Field("external_buffer_groups", 20, Kind.TABLES, table="ExternalBufferGroup"),
        Field("external_buffers", 22, Kind.TABLES, table="ExternalBuffer"),
    ),
    "ExternalBufferGroup": (Field("name", 4, Kind.STRING),),
    "ExternalBuffer": (
        Field("id", 4, Kind.SCALAR, _UINT32),
        Field("group", 6, Kind.SCALAR, _UINT32),
        Field("offset", 8, Kind.SCALAR, _UINT64),
        Field("length", 10, Kind.SCALAR, _UINT64),
        Field("packing", 12, Kind.STRING),
    ),
}


@cache
def fields(table: str) -> Mapping[str, Field]:
    """Fields of a schema table by name, in the order of the schema."""
    found = {field.name: field for field in _NEWER.get(table, ())}
    try:
        module = import_module(f"{tflite.__name__}.{table}")
    except ModuleNotFoundError:
        return MappingProxyType(found)
    adder = f"{table}Add"
    for function in vars(module):
        accessor = function.removeprefix(adder)
        # The type of a union is read with the union.
        if function.startswith(adder) and hasattr(getattr(module, table), accessor):
            field = _probe(getattr(module, table), accessor)
            found.setdefault(field.name, field)
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: item[1].slot)))


@cache
def enum_names(enum: str) -> Mapping[int, str]:
    """Names of an enumeration by number; those of element types in lower case, as in DType."""
    members = vars(getattr(import_module(f"{tflite.__name__}.{enum}"), enum))
    lower = enum == "TensorType"
    return MappingProxyType(
        {
            number: name.lower() if lower else name
            for name, number in members.items()
            # Python 3.13 keeps a class's line number among its attributes.
            if isinstance(number, int) and not name.startswith("_")
        }
    )


@cache
def enum_numbers(enum: str) -> Mapping[str, int]:
    """Numbers of an enumeration by name."""
    return MappingProxyType({name: number for number, name in enum_names(enum).items()})


class _Probe:
    """Stands in for a flatbuffer table and notes what a generated accessor asks of it."""

    Bytes = b""
    Pos = 0

    def __init__(self, present: bool) -> None:
        self.present = present
        self.slot = 0
        self.flags: Any = None
        self.kind: Kind | None = None

    def Offset(self, slot: int) -> int:  # noqa: N802
        self.slot = slot
        return 4 if self.present else 0

    def Get(self, flags: Any, _position: int) -> int:  # noqa: N802
        self.flags = flags
        return 0

    def String(self, _position: int) -> bytes:  # noqa: N802
        self.kind = Kind.STRING
        return b""

    def Union(self, _target: Any, _position: int) -> None:  # noqa: N802
        self.kind = Kind.UNION

    def Vector(self, position: int) -> int:  # noqa: N802
        return position

    def Indirect(self, position: int) -> int:  # noqa: N802
        return position


def _probe(table: type, accessor: str) -> Field:
    method = getattr(table, accessor)
    is_vector = method.__code__.co_argcount == 2
    index = (0,) if is_vector else ()
    view: Any = table()
    view._tab = probe = _Probe(present=True)
    result = method(view, *index)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", accessor).lower()
    if probe.kind is Kind.UNION:
        return Field(name, probe.slot, Kind.UNION, enum=_ENUMS[name])
    if probe.kind is Kind.STRING:
        return Field(name, probe.slot, Kind.STRINGS if is_vector else Kind.STRING)
    if probe.flags is None:
        kind = Kind.TABLES if is_vector else Kind.TABLE
        return Field(name, probe.slot, kind, table=type(result).__name__)
    element = np.dtype(probe.flags.name).newbyteorder("<")
    if is_vector:
        return Field(name, probe.slot, Kind.VECTOR, element)
    view._tab = _Probe(present=False)
    enum = _ENUMS.get(name, "")
    if name == "type" and element.itemsize == 1:
        enum = "LSHProjectionType" if table.__name__ == "LSHProjectionOptions" else "TensorType"
    return Field(name, probe.slot, Kind.SCALAR, element, method(view), enum=enum)
