"""What a runtime computed, kept as a short text that a person can read and a later run be held to.

A snapshot holds a digest of each operator's constants and outputs, so it stays small and names the
operator whose bits changed. It depends on no version of mcusim: only on the model and the inputs.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcusim.errors import InputError
from mcusim.graph import Array, Graph, Node
from mcusim.interpreter import Interpreter

__all__ = ["Change", "OperatorRecord", "Snapshot", "read_snapshot", "take_snapshot"]

_SCHEMA = "mcusim/snapshot/1"
#: Values shown of each output, for people.
_SHOWN = 6
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OperatorRecord(_Table):
    """What one operator computed.

    Attributes:
        operator: the schema's name.
        tensor: name of its first output.
        dtype: element type of that output.
        shape: of that output, for one inference.
        reads: indices of the operators whose outputs it computes from.
        constants: digest of its weights and options.
        outputs: digest of all its outputs over all inferences.
        starts: first values of the first output.
    """

    operator: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    reads: tuple[int, ...]
    constants: _Digest
    outputs: _Digest
    starts: tuple[int | float | str, ...]


class Snapshot(_Table):
    """What a model computed from known inputs.

    Attributes:
        schema_name: name and version of this form.
        model: name of the model.
        runtime: that computed it.
        inferences: how many inputs.
        inputs: digest of the inputs.
        operators: one an operator of the main subgraph, in order.
    """

    schema_name: str = Field(alias="schema")
    model: str
    runtime: str
    inferences: int
    inputs: _Digest
    operators: tuple[OperatorRecord, ...]

    def to_toml(self) -> str:
        """The snapshot as a text; :func:`read_snapshot` reads it."""
        return "\n".join(_lines(self)) + "\n"

    def changes(self, now: Snapshot) -> tuple[Change, ...]:
        """Operators that compute something else now, in order.

        Raises:
            InputError: the other snapshot is of other inputs.
        """
        if self.inputs != now.inputs or self.inferences != now.inferences:
            raise InputError(
                f"{self.model}: the snapshot was recorded from other inputs ({self.inferences} "
                f"inferences, {self.inputs}) than these ({now.inferences}, {now.inputs})"
            )
        return tuple(_changes(self, now))


@dataclass(frozen=True)
class Change:
    """An operator that does not compute what was recorded.

    Attributes:
        index: position in the main subgraph.
        operator: the schema's name.
        tensor: name of its first output.
        why: what changed: the operator itself, its weights, its inputs or the model.
        is_cause: whether it changed by itself, not only because its inputs did.
    """

    index: int
    operator: str
    tensor: str
    why: str
    is_cause: bool


def take_snapshot(
    graph: Graph,
    inputs: Array | Sequence[object],
    *,
    runtime: str = "tflm",
    core: str = "m4",
    single_rounding: bool = False,
) -> Snapshot:
    """Run a model and record what each operator computes.

    Raises:
        InputError: inputs do not fit the model, or there is no such runtime or core.
        ModelError: the runtime cannot run the model.
    """
    interpreter = Interpreter(graph, runtime, core=core, single_rounding=single_rounding)
    tensors = interpreter.invoke(inputs, tensors=True).tensors
    given = [tensors[t.index] for t in graph.inputs]
    first = graph.inputs[0] if graph.inputs else None
    inferences = tensors[first.index].size // max(1, first.elements) if first else 1
    return Snapshot(
        schema=_SCHEMA,
        model=graph.name,
        runtime=runtime + (" rounding once" if single_rounding else ""),
        inferences=inferences,
        inputs=_digest(given),
        operators=tuple(_records(graph, tensors)),
    )


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        InputError: the file is no snapshot; names the place.
        OSError: it cannot be read.
    """
    try:
        found = Snapshot.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a snapshot ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {place}: {first['msg']}") from None
    if found.schema_name != _SCHEMA:
        raise InputError(f"{path}: is a {found.schema_name!r}, not a {_SCHEMA!r}")
    return found


def _records(graph: Graph, tensors: Mapping[int, Array]) -> Iterator[OperatorRecord]:
    writers: dict[int, int] = {}
    for node in graph.main.nodes:
        indices = [t.index for t in node.inputs if t is not None]
        reads = sorted({writers[index] for index in indices if index in writers})
        yield _record(node, tensors, reads)
        writers |= {t.index: node.index for t in node.outputs}


def _record(node: Node, tensors: Mapping[int, Array], reads: Sequence[int]) -> OperatorRecord:
    output = node.outputs[0] if node.outputs else None
    constants = [t.data for t in node.inputs if t is not None and t.data is not None]
    values = tensors[output.index].reshape(-1)[:_SHOWN].tolist() if output else []
    return OperatorRecord(
        operator=node.name,
        tensor=output.name if output else "",
        dtype=output.dtype.value if output else "",
        shape=output.shape if output else (),
        reads=tuple(reads),
        constants=_digest(constants, repr((sorted(node.options.items()), _scales(node)))),
        outputs=_digest([tensors[t.index] for t in node.outputs]),
        # TOML has infinities, but a person's diff shows a word as well.
        starts=tuple(v if np.isfinite(v) else str(v) for v in values),
    )


def _scales(node: Node) -> list[str]:
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    return [
        "" if (q := t.quantization) is None else f"{q.scales.tolist()} {q.zero_points.tolist()}"
        for t in tensors
    ]


def _digest(arrays: Sequence[Array], text: str = "") -> str:
    found = hashlib.sha256(text.encode())
    for array in arrays:
        found.update(f"{array.dtype.str}:{array.size}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _changes(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    a, b = before.operators, now.operators
    names = [[o.operator for o in operators] for operators in (a, b)]
    if names[0] != names[1]:
        at = next((i for i, (x, y) in enumerate(zip(*names, strict=False)) if x != y), None)
        at = min(map(len, names)) if at is None else at
        here = b[at] if at < len(b) else a[at]
        recorded = a[at].operator if at < len(a) else "nothing"
        runs = b[at].operator if at < len(b) else "nothing"
        yield Change(
            at,
            here.operator,
            here.tensor,
            f"the model has other operators: {recorded} was recorded here, {runs} runs now",
            True,
        )
        return
    changed: set[int] = set()
    for index, (old, new) in enumerate(zip(a, b, strict=True)):
        if old.outputs == new.outputs:
            continue
        others = [i for i in new.reads if i in changed]
        changed.add(index)
        if old.constants != new.constants:
            why = "its weights, options or quantization are not those recorded"
        elif others:
            why = f"it reads what operator {others[0]} computes otherwise"
        else:
            why = f"computes other bits from the same inputs and weights, {_values(old, new)}"
        is_cause = old.constants != new.constants or not others
        yield Change(index, new.operator, new.tensor, why, is_cause)


def _values(old: OperatorRecord, new: OperatorRecord) -> str:
    if old.starts == new.starts:
        return f"after the first {len(new.starts)} elements"
    was, is_now = (
        "[" + " ".join(v if isinstance(v, str) else f"{v:g}" for v in record.starts) + " …]"
        for record in (old, new)
    )
    return f"{is_now} where {was} was recorded"


def _lines(snapshot: Snapshot) -> Iterator[str]:
    yield "# What a model computed. To be recorded anew when that is meant to change."
    yield f"schema = {_text(snapshot.schema_name)}"
    yield f"model = {_text(snapshot.model)}"
    yield f"runtime = {_text(snapshot.runtime)}"
    yield f"inferences = {snapshot.inferences}"
    yield f"inputs = {_text(snapshot.inputs)}"
    for index, record in enumerate(snapshot.operators):
        yield ""
        yield f"[[operators]]   # {index}"
        for name, value in record:
            yield f"{name} = {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    # A JSON string is a TOML one, but for surrogates and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
