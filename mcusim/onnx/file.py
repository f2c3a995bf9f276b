"""An .onnx file as plain nodes and numpy arrays, with the ``onnx`` package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import Array

__all__ = ["OnnxModel", "OnnxNode", "parse"]

_Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Array

#: Extents that a file leaves open are the number of images in a batch.
_OPEN_EXTENT = 1


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """A node of the file's graph.

    Attributes:
        index: position in the file.
        operator: such as ``"Conv"``.
        name: the file's, often empty.
        inputs: names of values; empty for one left out.
        outputs: names of values.
        attributes: by name.
    """

    index: int
    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, _Attribute]

    @property
    def place(self) -> str:
        """What to call it in a message."""
        return f"node {self.index} ({self.operator}{f' {self.name!r}' if self.name else ''})"

    def integer(self, name: str, default: int) -> int:
        """An attribute as an integer."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute as integers."""
        value = self.attributes.get(name, default)
        return tuple(int(v) for v in value) if isinstance(value, tuple) else default

    def real(self, name: str, default: float) -> float:
        """An attribute as a float."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def text(self, name: str, default: str) -> str:
        """An attribute as a string."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, str) else default

    def refuse(self, unless: bool, why: str) -> None:
        """Raise UnsupportedOperatorError with the node's place, unless the condition holds."""
        if not unless:
            raise UnsupportedOperatorError(f"{self.place}: {why}")


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A file.

    Attributes:
        nodes: in order of execution.
        constants: initializers and Constant nodes by name.
        inputs: names and shapes, what the file leaves open set to 1.
        outputs: names.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]


def parse(path: Path) -> OnnxModel:
    """Read a file.

    Raises:
        ModelError: it cannot be read, is no ONNX model, or the ``onnx`` package is missing.
    """
    try:
        import onnx
        from onnx import numpy_helper

        damage: type[Exception] = import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise ModelError(
            f"{path}: reading .onnx files takes the onnx package: pip install 'mcusim[onnx]'"
        ) from None
    try:
        graph = onnx.load(path).graph
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except (damage, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX model ({error})") from None
    if not graph.node:
        raise ModelError(f"{path}: not an ONNX model, or one without nodes")
    try:
        return _model(graph, onnx.helper.get_attribute_value, numpy_helper.to_array)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: a tensor or an attribute is damaged ({error})") from None


def _model(
    graph: Any, value_of: Callable[[Any], Any], to_array: Callable[[Any], Array]
) -> OnnxModel:
    """The graph of a file, given what the ``onnx`` package decodes it with."""
    constants = {c.name: np.asarray(to_array(c)) for c in graph.initializer}
    nodes: list[OnnxNode] = []
    for index, node in enumerate(graph.node):
        attributes = {a.name: _attribute(value_of(a), to_array) for a in node.attribute}
        value = attributes.get("value")
        if node.op_type == "Constant" and isinstance(value, np.ndarray):
            constants[node.output[0]] = value
            continue
        nodes.append(
            OnnxNode(
                index, node.op_type, node.name, tuple(node.input), tuple(node.output), attributes
            )
        )
    inputs = tuple(
        (
            i.name,
            tuple(d.dim_value or _OPEN_EXTENT for d in i.type.tensor_type.shape.dim),
        )
        for i in graph.input
        if i.name not in constants
    )
    return OnnxModel(tuple(nodes), constants, inputs, tuple(o.name for o in graph.output))


def _attribute(value: Any, to_array: Callable[[Any], Array]) -> _Attribute:
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "raw_data"):
        return np.asarray(to_array(value))
    try:
        return tuple(value)
    except TypeError:
        return str(value)
