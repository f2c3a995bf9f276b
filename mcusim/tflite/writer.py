"""From a Graph to the bytes of a ``.tflite`` file."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcusim.errors import ModelError
from mcusim.graph import Array, DType, Graph, Operator, Signature, Subgraph, Tensor
from mcusim.tflite.buffers import packed_int4
from mcusim.tflite.encoder import encode
from mcusim.tflite.schema import enum_numbers

__all__ = ["write"]

#: Operator codes from here on do not fit the deprecated field, which then holds this number.
_FIRST_LARGE_CODE = 127

_Values = dict[str, Any]


def write(graph: Graph) -> bytes:
    """Write a graph as a ``.tflite`` file.

    Tensors of one ``Tensor.buffer`` share it in the file; constants without one (buffer 0, which
    is empty by convention) get one of their own. External weights are embedded.

    Args:
        graph: what to write; ``name`` and ``model_bytes`` are no part of a file.

    Returns:
        The bytes, ready for any TFLite runtime; :func:`~mcusim.tflite.read` gives an equal graph.

    Raises:
        ModelError: an operator, option or type that the schema lacks, a value that does not fit
            its field, or constants that disagree with their tensor.
    """
    try:
        return encode("Model", _model(graph), identifier=b"TFL3")
    except (ModelError, struct.error, TypeError, OverflowError) as error:
        raise ModelError(f"{graph.name}: cannot be written: {error}") from None


def _model(graph: Graph) -> _Values:
    codes: dict[tuple[str, int, str], int] = {}
    buffers = _Buffers(graph)
    subgraphs = [_subgraph(s, codes, buffers) for s in graph.subgraphs]
    metadata = [
        {"name": name, "buffer": buffers.append(blob)} for name, blob in graph.metadata.items()
    ]
    return {
        "version": graph.version,
        "operator_codes": [_code(*code) for code in codes],
        "subgraphs": subgraphs,
        "description": graph.description,
        "buffers": [{"data": np.frombuffer(d, np.uint8)} if d else {} for d in buffers.contents],
        "metadata": metadata,
        "signature_defs": [_signature(s) for s in graph.signatures],
    }


def _code(name: str, version: int, custom_code: str) -> _Values:
    numbers = enum_numbers("BuiltinOperator")
    if name not in numbers:
        raise ModelError(f"{name} is no operator of the schema")
    return {
        "deprecated_builtin_code": min(numbers[name], _FIRST_LARGE_CODE),
        "builtin_code": numbers[name],
        "version": version,
    } | ({"custom_code": custom_code} if custom_code else {})


def _subgraph(
    subgraph: Subgraph, codes: dict[tuple[str, int, str], int], buffers: _Buffers
) -> _Values:
    return {
        "name": subgraph.name,
        "tensors": [_tensor(t, buffers) for t in subgraph.tensors],
        "inputs": subgraph.inputs,
        "outputs": subgraph.outputs,
        "operators": [_operator(o, codes) for o in subgraph.operators],
    }


def _operator(operator: Operator, codes: dict[tuple[str, int, str], int]) -> _Values:
    code = (operator.name, operator.version, operator.custom_code)
    values: _Values = {
        "opcode_index": codes.setdefault(code, len(codes)),
        "inputs": operator.inputs,
        "outputs": operator.outputs,
    }
    if operator.intermediates:
        values["intermediates"] = operator.intermediates
    if operator.mutating_variable_inputs:
        values["mutating_variable_inputs"] = operator.mutating_variable_inputs
    if operator.custom_options:
        values["custom_options"] = np.frombuffer(operator.custom_options, np.uint8)
    if operator.options_type != "NONE":
        first = operator.options_type in enum_numbers("BuiltinOptions")
        union = "builtin_options" if first else "builtin_options2"
        values[union] = (operator.options_type, operator.options)
    elif operator.options:
        raise ModelError(f"{operator.name} has options but no options_type")
    return values


def _tensor(tensor: Tensor, buffers: _Buffers) -> _Values:
    values: _Values = {
        "shape": tensor.shape,
        "type": tensor.dtype.value,
        "buffer": buffers.index(tensor),
        "name": tensor.name,
        "is_variable": tensor.is_variable,
        "has_rank": tensor.has_rank,
    }
    if tensor.shape_signature is not None:
        values["shape_signature"] = tensor.shape_signature
    quantization = tensor.quantization
    if quantization is not None:
        values["quantization"] = {
            "scale": quantization.scales,
            "zero_point": quantization.zero_points,
            "quantized_dimension": quantization.axis,
        }
        for name, array in (("min", quantization.minimum), ("max", quantization.maximum)):
            if array.size:
                values["quantization"][name] = array
    return values


def _signature(signature: Signature) -> _Values:
    def maps(entries: Sequence[tuple[str, int]]) -> list[Mapping[str, Any]]:
        return [{"name": name, "tensor_index": index} for name, index in entries]

    return {
        "signature_key": signature.key,
        "subgraph_index": signature.subgraph,
        "inputs": maps(signature.inputs),
        "outputs": maps(signature.outputs),
    }


class _Buffers:
    """The file's buffers, filled as tensors come by; the first stays empty."""

    def __init__(self, graph: Graph) -> None:
        numbers = [t.buffer for s in graph.subgraphs for t in s.tensors]
        self.contents = [b""] * (max(numbers, default=0) + 1)

    def append(self, content: bytes) -> int:
        self.contents.append(content)
        return len(self.contents) - 1

    def index(self, tensor: Tensor) -> int:
        if tensor.data is None:
            return tensor.buffer
        content = _content(tensor, tensor.data)
        if tensor.buffer == 0 and content:
            return self.append(content)
        if self.contents[tensor.buffer] not in (b"", content):
            raise ModelError(f"{tensor!r}: buffer {tensor.buffer} holds another tensor's data")
        self.contents[tensor.buffer] = content
        return tensor.buffer


def _content(tensor: Tensor, data: Array) -> bytes:
    if tensor.dtype in (DType.STRING, DType.VARIANT):
        return data.tobytes()
    if data.shape != tensor.shape or data.dtype != tensor.dtype.numpy:
        raise ModelError(f"{tensor!r}: its data is {data.dtype} of shape {data.shape}")
    if tensor.dtype is DType.INT4:
        return packed_int4(data)
    return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
