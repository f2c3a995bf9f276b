"""Runs a model under two runtimes and compares every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Graph, Node
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference.control_flow import CONTROL_FLOW
from mcusim.runtimes import Runtime, select
from mcusim.verify.findings import Difference, Verification
from mcusim.verify.ways import Way, ways

__all__ = [
    "batched",
    "explained",
    "inputs_of",
    "random_inputs",
    "same_bits",
    "stands_alone",
    "verify",
]

_Bits = npt.NDArray[np.bool_]


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
    tensors = batched(graph, first.invoke(given, tensors=True).tensors)
    others = batched(graph, second.invoke(given, tensors=True).tensors)
    inferences = max((len(array) for array in tensors.values()), default=1)
    differences, carried = [], []
    for node in graph.main.nodes:
        indices = [t.index for t in node.outputs]
        if all(same_bits(tensors[i], others[i]).all() for i in indices):
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
        all(same_bits(tensors[t.index], others[t.index]).all() for t in graph.outputs),
    )


def batched(graph: Graph, tensors: Mapping[int, Array]) -> dict[int, Array]:
    """Tensors with their leading axis of inferences."""
    shapes = [t.shape for t in graph.main.tensors]
    return {i: a.reshape(-1, *shapes[i]) if a.size else a for i, a in tensors.items()}


def same_bits(a: Array, b: Array) -> _Bits:
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
    if not stands_alone(node):
        return None
    inputs = inputs_of(node, tensors)
    with np.errstate(all="ignore"):
        values, others = mine.bind(node)(inputs), theirs.bind(node)(inputs)
    for output, (value, other) in enumerate(zip(values, others, strict=True)):
        if not same_bits(value, other).all():
            return explained(node, output, inputs, value, other, mine, theirs)
    return None


def stands_alone(node: Node) -> bool:
    """Whether an operator's outputs follow from its inputs, without a state or other subgraphs."""
    return node.name not in CONTROL_FLOW and not any(
        t is not None and t.is_variable for t in node.inputs
    )


def inputs_of(node: Node, tensors: Mapping[int, Array]) -> list[Array | None]:
    """What an operator computes from, as its kernel takes it; None for what is left out."""
    return [
        None if t is None else (tensors[t.index][:1] if t.is_constant else tensors[t.index])
        for t in node.inputs
    ]


def explained(
    node: Node,
    output: int,
    inputs: Sequence[Array | None],
    value: Array,
    other: Array,
    mine: Runtime,
    theirs: Runtime | None,
) -> Difference:
    """The first element in which two values of an output differ, and how each comes about.

    Args:
        node: the operator.
        output: which of its outputs.
        inputs: from which it computes, with a leading axis of inferences.
        value: what the runtime under test computes, with that axis.
        other: what it is compared with.
        mine: the runtime under test.
        theirs: the other runtime; None for what was recorded.
    """
    differs = ~same_bits(value, other)
    at = tuple(int(i) for i in np.argwhere(differs)[0])
    single = [None if a is None else a[min(at[0], len(a) - 1)] for a in inputs]
    found = ways(node, single, at[1:])
    mine_calls = tuple(mine.calls(node))
    other_calls = () if theirs is None else tuple(theirs.calls(node))
    apart = np.abs(value.astype(np.float64) - other.astype(np.float64))
    return Difference(
        index=node.index,
        operator=node.name,
        tensor=node.outputs[output].name,
        elements=value.size,
        differing=int(differs.sum()),
        largest=float(np.nanmax(apart)),
        inference=at[0],
        element=at[1:],
        value=value[at].item(),
        other=other[at].item(),
        kernel=mine_calls[0].kernel,
        other_kernel=other_calls[0].kernel if other_calls else "",
        way=_way_to(value[at].item(), found),
        other_way=_way_to(other[at].item(), found),
        warnings=tuple(dict.fromkeys(w for c in (*mine_calls, *other_calls) for w in c.warnings)),
    )


def _way_to(value: float, found: Sequence[Way]) -> Way | None:
    return next((way for way in found if way.value == value), None)
