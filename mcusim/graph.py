"""The network as mcusim holds it: immutable, complete, and readable in a debugger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import TypeAlias, TypeVar

from mcusim.errors import ModelError
from mcusim.tensor import Array, DType, Quantization, Tensor

__all__ = [
    "Array",
    "DType",
    "Graph",
    "Metadata",
    "Node",
    "Operator",
    "OptionValue",
    "Options",
    "Quantization",
    "Signature",
    "Subgraph",
    "Tensor",
    "once_a_node",
]

_Found = TypeVar("_Found")

OptionValue: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


class Options(Mapping[str, OptionValue]):
    """Options of an operator by the schema's field names; enumerated values by their names.

    >>> Options({"padding": "SAME", "stride_w": 2}).integer("stride_w")
    2
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, OptionValue] | None = None) -> None:
        self._values: dict[str, OptionValue] = dict(values or {})

    def __getitem__(self, name: str) -> OptionValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        # A NaN that the file holds must equal itself.
        return (
            isinstance(other, Options)
            and self.keys() == other.keys()
            and all(v == other[k] or (v != v and other[k] != other[k]) for k, v in self.items())
        )

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def __repr__(self) -> str:
        return "Options(" + ", ".join(f"{k}={v!r}" for k, v in self._values.items()) + ")"

    def integer(self, name: str, default: int = 0) -> int:
        """The option as an integer; ``default`` (the schema's own) when absent."""
        value = self._values.get(name, default)
        return value if isinstance(value, int) else default

    def real(self, name: str, default: float = 0.0) -> float:
        """The option as a float; ``default`` when absent."""
        value = self._values.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def flag(self, name: str, default: bool = False) -> bool:
        """The option as a truth value; ``default`` when absent."""
        return bool(self._values.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """The option as a string, such as an enumeration's name; ``default`` when absent."""
        value = self._values.get(name, default)
        return value if isinstance(value, str) else default

    def integers(self, name: str) -> tuple[int, ...]:
        """The option as a tuple of integers; empty when absent."""
        value = self._values.get(name, ())
        return tuple(int(item) for item in value) if isinstance(value, tuple) else ()


class Metadata(Mapping[str, bytes]):
    """Named blobs of a file, immutable."""

    __slots__ = ("_blobs",)

    def __init__(self, blobs: Mapping[str, bytes] | Iterable[tuple[str, bytes]] = ()) -> None:
        self._blobs: dict[str, bytes] = dict(blobs)

    def __getitem__(self, name: str) -> bytes:
        return self._blobs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)

    def __repr__(self) -> str:
        return "Metadata(" + ", ".join(f"{k}: {len(v)} bytes" for k, v in self.items()) + ")"


@dataclass(frozen=True)
class Operator:
    """An operator of a subgraph, its tensors by index (-1: an optional input left out).

    Attributes:
        name: builtin operator by the schema's name, or ``CUSTOM``.
        inputs: tensor indices.
        outputs: tensor indices.
        options: by the schema's field names.
        options_type: the schema's name of the options table, ``NONE`` when there is none.
        version: version of the operator code.
        custom_code: name of a custom operator.
        custom_options: its options, as the file's bytes.
        intermediates: tensor indices of intermediate results (LSTM).
        mutating_variable_inputs: which inputs the operator writes, as the file says.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options = field(default_factory=Options)
    options_type: str = "NONE"
    version: int = 1
    custom_code: str = ""
    custom_options: bytes = b""
    intermediates: tuple[int, ...] = ()
    mutating_variable_inputs: tuple[bool, ...] = ()

    def __repr__(self) -> str:
        name = f"CUSTOM {self.custom_code!r}" if self.custom_code else self.name
        options = f" {self.options}" if self.options else ""
        return f"<operator {name} {self.inputs} → {self.outputs}{options}>"


@dataclass(frozen=True)
class Node:
    """An operator with its tensors in place of their indices, as TFLM's ``TfLiteNode``.

    Attributes:
        index: position of the operator in its subgraph.
        operator: the operator.
        inputs: its inputs, None for one left out.
        outputs: its outputs.
        intermediates: its intermediate tensors.
    """

    index: int
    operator: Operator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    intermediates: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        lines = [f"<node {self.index} {self.name} {self.options}"]
        lines += [f"  in  {t}" for t in self.inputs]
        lines += [f"  out {t}" for t in self.outputs]
        return "\n".join(lines) + ">"

    @property
    def name(self) -> str:
        """Builtin operator by the schema's name."""
        return self.operator.name

    @property
    def options(self) -> Options:
        """Options of the operator."""
        return self.operator.options

    def input(self, position: int) -> Tensor:
        """An input that the operator cannot do without.

        Raises:
            ModelError: it is left out.
        """
        found = self.optional_input(position)
        if found is None:
            raise ModelError(f"operator {self.index} ({self.name}): input {position} is missing")
        return found

    def optional_input(self, position: int) -> Tensor | None:
        """An input, or None when it is left out or beyond the end."""
        return self.inputs[position] if position < len(self.inputs) else None

    def output(self, position: int = 0) -> Tensor:
        """An output.

        Raises:
            ModelError: there are fewer.
        """
        if position >= len(self.outputs):
            raise ModelError(f"operator {self.index} ({self.name}): output {position} is missing")
        return self.outputs[position]


def once_a_node(compute: Callable[[Node], _Found]) -> Callable[[Node], _Found]:
    """Make a function of a node remember what it found, as a cached property of the node does."""
    name = f"{compute.__module__}.{compute.__qualname__}"

    @wraps(compute)
    def known(node: Node) -> _Found:
        remembered = vars(node)
        if name not in remembered:
            remembered[name] = compute(node)
        found: _Found = remembered[name]
        return found

    return known


@dataclass(frozen=True)
class Subgraph:
    """A function of the model: tensors and the operators that compute them, in order."""

    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]

    def node(self, index: int) -> Node:
        """Operator ``index`` with its tensors."""
        operator = self.operators[index]
        return Node(
            index,
            operator,
            tuple(self.tensors[i] if i >= 0 else None for i in operator.inputs),
            tuple(self.tensors[i] for i in operator.outputs),
            tuple(self.tensors[i] for i in operator.intermediates if i >= 0),
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All operators with their tensors, in order of execution."""
        return tuple(self.node(index) for index in range(len(self.operators)))

    def __repr__(self) -> str:
        return (
            f"<subgraph {self.name!r}: {len(self.operators)} operators, "
            f"{len(self.tensors)} tensors>"
        )


@dataclass(frozen=True)
class Signature:
    """A named entry point: names of inputs and outputs to tensor indices of a subgraph."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole model.

    Attributes:
        subgraphs: the first is the main one.
        name: what to call it in messages and reports: file name or zoo name.
        description: the file's own.
        version: schema version.
        metadata: named blobs of the file, such as an offline memory plan.
        signatures: named entry points.
        model_bytes: size of the flatbuffer (with external buffers), in bytes; 0 when never written.
    """

    subgraphs: tuple[Subgraph, ...]
    name: str = "model"
    description: str = ""
    version: int = 3
    metadata: Mapping[str, bytes] = field(default_factory=Metadata)
    signatures: tuple[Signature, ...] = ()
    model_bytes: int = 0

    @property
    def main(self) -> Subgraph:
        """The subgraph that runs first."""
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs of the main subgraph."""
        return tuple(self.main.tensors[i] for i in self.main.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Outputs of the main subgraph."""
        return tuple(self.main.tensors[i] for i in self.main.outputs)

    def __post_init__(self) -> None:
        if not isinstance(self.metadata, Metadata):
            object.__setattr__(self, "metadata", Metadata(self.metadata))

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same network; name and size of the file do not count."""
        return isinstance(other, Graph) and (
            self.subgraphs == other.subgraphs
            and self.description == other.description
            and self.version == other.version
            and dict(self.metadata) == dict(other.metadata)
            and self.signatures == other.signatures
        )

    def __hash__(self) -> int:
        return hash(self.subgraphs)

    def __repr__(self) -> str:
        operators = sum(len(s.operators) for s in self.subgraphs)
        return f"<graph {self.name!r}: {len(self.subgraphs)} subgraphs, {operators} operators>"
