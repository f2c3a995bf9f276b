"""The network as mcusim holds it: immutable, complete, and readable in a debugger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.errors import ModelError

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
]

Array: TypeAlias = npt.NDArray[Any]
OptionValue: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself when nobody can write to it, otherwise a copy that nobody can."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


class DType(Enum):
    """Element type of a tensor, by the schema's name in lower case."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"
    RESOURCE = "resource"
    VARIANT = "variant"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type that holds one element: int8 for packed int4, int32 for a resource handle.

        Raises:
            ModelError: the type has no array form (string, variant).
        """
        held = {"int4": "int8", "resource": "int32"}.get(self.value, self.value)
        if held in ("string", "variant"):
            raise ModelError(f"tensors of type {self.value} have no array form")
        return np.dtype(held)

    @property
    def bits(self) -> int:
        """Size of one element in a buffer, in bits."""
        return 4 if self is DType.INT4 else 8 * self.numpy.itemsize

    def bytes_of(self, elements: int) -> int:
        """Size of ``elements`` packed elements, in bytes."""
        return (elements * self.bits + 7) // 8


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real value = scale * (stored value - zero point).

    Attributes:
        scales: float32, one for the tensor or one for each slice along ``axis``.
        zero_points: int64, as many as ``scales``, or one for all.
        axis: dimension that per-channel scales run along.
        minimum: float32 range recorded by the converter, often empty; runtimes ignore it.
        maximum: float32, likewise.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int = 0
    minimum: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    maximum: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        for name in ("scales", "zero_points", "minimum", "maximum"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    @property
    def is_per_channel(self) -> bool:
        """Whether each slice along ``axis`` has a scale of its own."""
        return self.scales.size > 1

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantization (the first of a per-channel one)."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantization (the first of a per-channel one)."""
        return int(self.zero_points[0]) if self.zero_points.size else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantization) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        # By bytes: a NaN in a recorded range must equal itself.
        arrays = (self.scales, self.zero_points, self.minimum, self.maximum)
        return (self.axis, *(array.tobytes() for array in arrays))

    def __repr__(self) -> str:
        if not self.scales.size:
            return "Quantization(no scales)"
        if not self.is_per_channel:
            return f"Quantization(scale={self.scale:.9g}, zero_point={self.zero_point})"
        low, high = self.scales.min(), self.scales.max()
        return f"Quantization({self.scales.size} scales {low:.3g}…{high:.3g}, axis={self.axis})"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a subgraph.

    Attributes:
        index: position in the subgraph's tensors.
        name: name in the file, for people.
        shape: dimensions; ``()`` for a scalar.
        dtype: element type.
        quantization: None for a tensor without scales.
        data: constant value, read-only, of ``shape`` (int4 unpacked to int8); None when computed.
        is_variable: keeps its value between calls.
        buffer: index of the file's buffer that holds ``data``; tensors may share one.
        shape_signature: shape with -1 for free dimensions, when the file has one.
        has_rank: the schema's flag that tells a scalar from an unknown rank.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    quantization: Quantization | None = None
    data: Array | None = None
    is_variable: bool = False
    buffer: int = 0
    shape_signature: tuple[int, ...] | None = None
    has_rank: bool = False

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", _frozen(self.data))

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def bytes(self) -> int:
        """Size in memory, in bytes."""
        return self.dtype.bytes_of(self.elements)

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the value."""
        return self.data is not None

    @property
    def scale(self) -> float:
        """Per-tensor scale; 0 where TFLM sees none, which is also where zero points are missing."""
        quantization = self.quantization
        if quantization is None or not (quantization.scales.size and quantization.zero_points.size):
            return 0.0
        return quantization.scale

    @property
    def zero_point(self) -> int:
        """Per-tensor zero point; 0 where there is none."""
        return self.quantization.zero_point if self.quantization else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        if (self.data is None) != (other.data is None):
            return False
        return (
            self._identity() == other._identity()
            and self.quantization == other.quantization
            and (
                self.data is None
                or other.data is None
                or self.data.tobytes() == other.data.tobytes()
            )
        )

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return (
            self.index,
            self.name,
            self.shape,
            self.dtype,
            self.is_variable,
            self.buffer,
            self.shape_signature,
            self.has_rank,
        )

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        kind = "constant " if self.is_constant else "variable " if self.is_variable else ""
        scale = f" {self.quantization}" if self.quantization else ""
        name = self.name if len(self.name) <= 40 else "…" + self.name[-39:]
        return f"<{kind}tensor {self.index} {name!r} {self.dtype.value} {shape}{scale}>"


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

    @property
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
