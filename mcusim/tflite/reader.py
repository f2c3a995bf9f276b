"""From the bytes of a ``.tflite`` file to a Graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.errors import ModelError
from mcusim.graph import (
    Array,
    DType,
    Graph,
    Metadata,
    Operator,
    Options,
    OptionValue,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
)
from mcusim.tflite.buffers import Buffers
from mcusim.tflite.checks import check_graph
from mcusim.tflite.flatbuffer import DamageError, File, Table, quoted
from mcusim.tflite.schema import Kind, enum_names, fields

__all__ = ["load", "read"]

_IDENTIFIER = b"TFL3"

#: More dimensions than any kernel of any runtime takes.
_MAX_RANK = 8

#: No microcontroller addresses more, and TFLite Micro counts bytes in 32 bits.
_MAX_BYTES = 2**31 - 1


def load(path: str | Path) -> Graph:
    """Read a ``.tflite`` file.

    Args:
        path: the file; weights in external files are looked for beside it.

    Returns:
        The graph, called by the file's name.

    Raises:
        ModelError: the file cannot be read, is no TFLite model, or is damaged.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder; give the path of a .tflite file")
        if path.is_char_device():
            raise ModelError(f"{path}: is a device; give the path of a .tflite file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; give the path of a .tflite file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: cannot be read ({reason})") from None
    # A name that is no UTF-8 must not end up in a report.
    return read(content, os.fsencode(path.name).decode(errors="replace"), path.parent)


def read(content: bytes, name: str = "model", base: Path | None = None) -> Graph:
    """Read a model from the bytes of a ``.tflite`` file.

    Constants are views of ``content`` where they can be, all read-only. Ignored, as TFLite Micro
    ignores them: debug metadata, variant subtypes and custom quantization details.

    Args:
        content: the whole file.
        name: what to call the model in messages and reports.
        base: folder of external weight files.

    Returns:
        The graph.

    Raises:
        ModelError: no TFLite model, or a damaged one; the sentence names the place.
    """
    if not content:
        raise ModelError(f"{name}: is empty; a .tflite file was expected")
    if content[4:8] != _IDENTIFIER:
        raise ModelError(
            f"{name}: is no TFLite model; its bytes 4 to 7 would be {_IDENTIFIER!r}, "
            f"they are {content[4:8]!r}"
        )
    try:
        graph = _graph(File(bytes(content)), name, base)
        check_graph(graph)
    except DamageError as damage:
        raise ModelError(f"{name}: {damage}") from None
    return graph


def _graph(file: File, name: str, base: Path | None) -> Graph:
    model = file.root("Model")
    version = model.scalar("version")
    if version != 3:
        raise DamageError(f"schema version is {version}", "mcusim and TFLite Micro read version 3")
    codes = [_code(table) for table in model.tables("operator_codes", "operator code")]
    buffers = Buffers(file, model, base)
    subgraphs = model.tables("subgraphs", "subgraph")
    if not subgraphs:
        raise DamageError("the model has no subgraph")
    if len(subgraphs) == 1:
        subgraphs[0].label = ""
    return Graph(
        tuple(_subgraph(table, codes, buffers) for table in subgraphs),
        name,
        model.text("description"),
        version,
        Metadata(
            (table.text("name"), buffers.blob(table.scalar("buffer"), table))
            for table in model.tables("metadata", "metadata")
        ),
        tuple(_signature(table) for table in model.tables("signature_defs", "signature")),
        len(file.content) + buffers.external_bytes,
    )


def _code(table: Table) -> tuple[str, int, str]:
    """Name, version and custom name of an operator code."""
    number = max(table.scalar("builtin_code"), table.scalar("deprecated_builtin_code"))
    names = enum_names("BuiltinOperator")
    if number not in names:
        raise DamageError(f"{table.place()} is {number}, which is no operator of the schema")
    return names[number], table.scalar("version"), table.text("custom_code")


def _signature(table: Table) -> Signature:
    def names(field: str) -> tuple[tuple[str, int], ...]:
        maps = table.tables(field, field)
        return tuple((entry.text("name"), entry.scalar("tensor_index")) for entry in maps)

    return Signature(
        table.text("signature_key"),
        table.scalar("subgraph_index"),
        names("inputs"),
        names("outputs"),
    )


def _subgraph(table: Table, codes: list[tuple[str, int, str]], buffers: Buffers) -> Subgraph:
    return Subgraph(
        table.text("name"),
        tuple(_tensor(t, i, buffers) for i, t in enumerate(table.tables("tensors", "tensor"))),
        table.values("inputs"),
        table.values("outputs"),
        tuple(_operator(t, codes, buffers) for t in table.tables("operators", "operator")),
    )


def _operator(table: Table, codes: list[tuple[str, int, str]], buffers: Buffers) -> Operator:
    code = table.scalar("opcode_index")
    if code >= len(codes):
        raise DamageError(f"{table.place()}: has operator code {code} of {len(codes)}")
    name, version, custom_code = codes[code]
    table.label += f" ({name})"
    for union in ("builtin_options", "builtin_options2"):
        options_type, options = table.union(union)
        if options is not None:
            break
    return Operator(
        name,
        table.values("inputs"),
        table.values("outputs"),
        Options(_options(options) if options is not None else None),
        options_type,
        version,
        custom_code,
        buffers.custom_options(table),
        table.values("intermediates"),
        table.values("mutating_variable_inputs"),
    )


def _options(table: Table) -> dict[str, OptionValue]:
    """Every scalar, by the schema's default where absent; vectors and strings that are present."""
    values: dict[str, OptionValue] = {}
    for name, field in fields(table.name).items():
        if field.kind is Kind.SCALAR:
            values[name] = table.enum(name) if field.enum else table.scalar(name)
        elif table.has(name):
            values[name] = table.text(name) if field.kind is Kind.STRING else table.values(name)
    return values


def _tensor(table: Table, index: int, buffers: Buffers) -> Tensor:
    name = table.text("name")
    table.label += f" ({quoted(name)})"
    shape = table.values("shape")
    type_name = table.enum("type")
    try:
        dtype = DType(type_name)
    except ValueError:
        raise DamageError(
            f"{table.place()}: is of type {type_name}", "TFLite Micro has no kernel for it"
        ) from None
    _check_shape(table, shape, dtype)
    if table.has("sparsity"):
        raise DamageError(
            f"{table.place()}: is sparse, which TFLite Micro does not take", "convert without it"
        )
    buffer, data = buffers.constant(table, shape, dtype)
    return Tensor(
        index,
        name,
        shape,
        dtype,
        _quantization(table),
        data,
        table.scalar("is_variable"),
        buffer,
        table.values("shape_signature") if table.has("shape_signature") else None,
        table.scalar("has_rank"),
    )


def _check_shape(table: Table, shape: tuple[int, ...], dtype: DType) -> None:
    if len(shape) > _MAX_RANK:
        raise DamageError(
            f"{table.place()}: has {len(shape)} dimensions, no kernel takes over {_MAX_RANK}"
        )
    size = 1 if dtype in (DType.STRING, DType.VARIANT) else dtype.numpy.itemsize
    for extent in shape:
        if extent < 0:
            raise DamageError(f"{table.place()}: has a negative dimension in its shape {shape}")
        size *= extent
    if size > _MAX_BYTES:
        raise DamageError(
            f"{table.place()}: has shape {shape}, {size} bytes; 2 GiB is the most there can be"
        )


def _quantization(table: Table) -> Quantization | None:
    found = table.table("quantization")
    if found is None:
        return None
    scales = found.vector("scale")
    if scales is None or not scales.size:
        return None
    zero_points = _or_empty(found.vector("zero_point"), np.int64)
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise DamageError(f"{table.place()}: has a scale that is negative or not finite")
    if zero_points.size not in (0, 1, scales.size):
        raise DamageError(
            f"{table.place()}: has {zero_points.size} zero points for {scales.size} scales"
        )
    if (zero_points != zero_points.astype(np.int32)).any():
        raise DamageError(f"{table.place()}: has a zero point beyond 32 bits")
    return Quantization(
        scales,
        zero_points,
        found.scalar("quantized_dimension"),
        _or_empty(found.vector("min"), np.float32),
        _or_empty(found.vector("max"), np.float32),
    )


def _or_empty(array: Array | None, dtype: type[Any]) -> Array:
    return np.frombuffer(b"", dtype) if array is None else array
