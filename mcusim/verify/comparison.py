"""Runs a model under two runtimes and compares every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Graph, Node
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference.control_flow import CONTROL_FLOW
from mcusim.runtimes import Runtime, select
from mcusim.verify.ways import Way, ways

__all__ = ["Difference", "Verification", "random_inputs", "verify"]

_Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """An operator that computes other bits from the same inputs, and its first such element.

    Attributes:
        index: position of the operator in the main subgraph.
        operator: the schema's name.
        tensor: name of the output.
        elements: elements of it over all inferences.
        differing: how many of them this operator makes different by itself.
        largest: largest difference among these.
        inference: the inference of the first one.
        element: its index in the tensor.
        value: what the runtime under test computes there.
        other: what the other runtime computes.
        kernel: function that computes it under test.
        other_kernel: function of the other runtime.
        way: how the runtime under test comes to its value; None where that is not known.
        other_way: how the other runtime comes to its value.
        warnings: what is known to go wrong in either function.
    """

    index: int
    operator: str
    tensor: str
    elements: int
    differing: int
    largest: float
    inference: int
    element: tuple[int, ...]
    value: float
    other: float
    kernel: str
    other_kernel: str
    way: Way | None
    other_way: Way | None
    warnings: tuple[str, ...]

    @property
    def why(self) -> str:
        """The step that makes the difference, in words."""
        if self.way is None or self.other_way is None:
            known = "; ".join(self.warnings)
            return known or "no known order of sums and roundings gives both values"
        if self.way.accumulator != self.other_way.accumulator:
            return (
                f"other sums: {self.way.sums or 'as the operator asks'}, against "
                f"{self.other_way.sums or 'as the operator asks'}"
            )
        return f"the same sum, {self.way.step}, against {self.other_way.step}"


@dataclass(frozen=True)
class Verification:
    """What comparing two runtimes found.

    Attributes:
        model: name of the model.
        runtime: the runtime under test.
        against: the other one.
        inferences: how many inputs were run.
        operators: operators of the main subgraph.
        differences: operators that differ from the same inputs, in order.
        carried: indices of operators that differ only because their inputs do.
        outputs_equal: whether the model's outputs are equal.
    """

    model: str
    runtime: str
    against: str
    inferences: int
    operators: int
    differences: tuple[Difference, ...]
    carried: tuple[int, ...]
    outputs_equal: bool

    @property
    def equal(self) -> bool:
        """Whether every tensor has the same bits under both."""
        return not self.differences and not self.carried


def random_inputs(graph: Graph, inferences: int = 8, seed: int = 0) -> list[Array]:
    """Inputs over the whole range of each integer type, and normal floats.

    Args:
        graph: the model.
        inferences: how many independent inputs.
        seed: of the random numbers.

    Returns:
        An array for each input, with a leading axis of ``inferences``.
    """
    random = np.random.default_rng(seed)
    arrays: list[Array] = []
    for tensor in graph.inputs:
        shape = (inferences, *tensor.shape)
        if tensor.dtype is DType.BOOL:
            arrays.append(random.integers(0, 2, shape).astype(np.bool_))
        elif tensor.dtype.numpy.kind == "f":
            arrays.append(random.normal(0, 1, shape).astype(tensor.dtype.numpy))
        else:
            limits = np.iinfo(tensor.dtype.numpy)
            arrays.append(
                random.integers(limits.min, limits.max, shape, tensor.dtype.numpy, endpoint=True)
            )
    return arrays


def verify(
    graph: Graph,
    inputs: Array | Sequence[object] | None = None,
    *,
    runtime: str = "cmsis-nn",
    against: str = "tflm",
    core: str = "m4",
    single_rounding: bool = False,
) -> Verification:
    """Compare every tensor of a model under two runtimes, and explain what differs.

    Each operator whose output differs is run again by both runtimes on the same inputs, those of
    ``against``: what differs then, the operator itself makes different.

    Args:
        graph: the model.
        inputs: as for :meth:`mcusim.Interpreter.invoke`; :func:`random_inputs` when None.
        runtime: the runtime under test.
        against: the other one.
        core: the device's core.
        single_rounding: the CMSIS-NN under test is built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Raises:
        InputError: inputs do not fit the model, or there is no such runtime or core.
        ModelError: a runtime cannot run the model.
    """
    mine, theirs = select(runtime, core, single_rounding), select(against, core)
    given = random_inputs(graph) if inputs is None else inputs
    first = Interpreter(graph, runtime, core=core, single_rounding=single_rounding)
    second = Interpreter(graph, against, core=core)
    tensors = _batched(graph, first.invoke(given, tensors=True).tensors)
    others = _batched(graph, second.invoke(given, tensors=True).tensors)
    inferences = max((len(array) for array in tensors.values()), default=1)
    differences, carried = [], []
    for node in graph.main.nodes:
        indices = [t.index for t in node.outputs]
        if all(_same(tensors[i], others[i]).all() for i in indices):
            continue
        found = _difference(node, mine, theirs, others)
        if found is None:
            carried.append(node.index)
        else:
            differences.append(found)
    return Verification(
        graph.name,
        mine.name + (" rounding once" if single_rounding else ""),
        theirs.name,
        inferences,
        len(graph.main.nodes),
        tuple(differences),
        tuple(carried),
        all(_same(tensors[t.index], others[t.index]).all() for t in graph.outputs),
    )


def _batched(graph: Graph, tensors: Mapping[int, Array]) -> dict[int, Array]:
    """Tensors with their leading axis of inferences."""
    shapes = [t.shape for t in graph.main.tensors]
    return {i: a.reshape(-1, *shapes[i]) if a.size else a for i, a in tensors.items()}


def _same(a: Array, b: Array) -> _Bits:
    """Where two arrays have the same bits."""
    if a.dtype.kind == "f":
        unsigned = np.dtype(f"u{a.dtype.itemsize}")
        a, b = np.ascontiguousarray(a).view(unsigned), np.ascontiguousarray(b).view(unsigned)
    equal: _Bits = a == b
    return equal


def _difference(
    node: Node, mine: Runtime, theirs: Runtime, tensors: Mapping[int, Array]
) -> Difference | None:
    """What an operator makes different by itself; None if nothing."""
    if node.name in CONTROL_FLOW or any(t is not None and t.is_variable for t in node.inputs):
        return None
    inputs = [None if t is None else _input(tensors[t.index], t.is_constant) for t in node.inputs]
    with np.errstate(all="ignore"):
        values, others = mine.bind(node)(inputs), theirs.bind(node)(inputs)
    for tensor, value, other in zip(node.outputs, values, others, strict=True):
        differs = ~_same(value, other)
        if not differs.any():
            continue
        at = tuple(int(i) for i in np.argwhere(differs)[0])
        single = [None if a is None else a[min(at[0], len(a) - 1)] for a in inputs]
        found = ways(node, single, at[1:])
        calls = (*mine.calls(node), *theirs.calls(node))
        apart = np.abs(value.astype(np.float64) - other.astype(np.float64))
        return Difference(
            index=node.index,
            operator=node.name,
            tensor=tensor.name,
            elements=value.size,
            differing=int(differs.sum()),
            largest=float(np.nanmax(apart)),
            inference=at[0],
            element=at[1:],
            value=value[at].item(),
            other=other[at].item(),
            kernel=next(iter(mine.calls(node))).kernel,
            other_kernel=next(iter(theirs.calls(node))).kernel,
            way=_way_to(value[at].item(), found),
            other_way=_way_to(other[at].item(), found),
            warnings=tuple(dict.fromkeys(w for call in calls for w in call.warnings)),
        )
    return None


def _input(array: Array, is_constant: bool) -> Array:
    return array[:1] if is_constant else array


def _way_to(value: float, found: Sequence[Way]) -> Way | None:
    return next((way for way in found if way.value == value), None)
