"""Control flow and resource variables: operators that need the interpreter, not only arrays.

Each runs for one inference at a time: a batch of independent inferences is a batch of machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, Protocol, TypeAlias

import numpy as np

from mcusim.errors import ModelError
from mcusim.graph import Array, DType, Graph, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.memory_copy import ALIGNED_LEVELS, copy_trips
from mcusim.kernels.reference.checks import refuse, require

__all__ = [
    "CONTROL_FLOW",
    "KERNELS",
    "MOST_TURNS",
    "Machine",
    "Resources",
    "Step",
    "called_subgraphs",
    "prepare",
]

#: Turns of a WHILE after which it is taken to have no end; it keeps only the last turn's tensors.
MOST_TURNS = 1_000_000

#: The options that name a subgraph which an operator runs, by operator.
_SUBGRAPH_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "WHILE": ("cond_subgraph_index", "body_subgraph_index"),
    "IF": ("then_subgraph_index", "else_subgraph_index"),
    "CALL_ONCE": ("init_subgraph_index",),
}


class Machine(Protocol):
    """What control flow needs of the interpreter that runs it: the memory of one inference."""

    @property
    def variables(self) -> dict[int, Array]:
        """Values of the resource variables by identifier."""

    @property
    def called(self) -> set[tuple[int, int]]:
        """The CALL_ONCE operators that ran, as subgraph and operator."""

    def run_subgraph(self, index: int, inputs: Sequence[Array]) -> list[Array]:
        """Run a subgraph on arrays with a leading axis of one inference."""


#: An operator ready to run: takes the machine and the inputs, returns the outputs.
Step: TypeAlias = Callable[[Machine, Sequence[Array | None]], Sequence[Array]]


@dataclass
class Resources:
    """Resource variables of a model, filled while its operators are prepared in order.

    Attributes:
        names: container (None when the file has none) and shared name, by identifier.
        handles: identifiers by subgraph and tensor that holds the handle.
        initial: value after a reset by identifier; what nothing assigns to has none.
    """

    names: list[tuple[str | None, str]] = field(default_factory=list)
    handles: dict[tuple[int, int], int] = field(default_factory=dict)
    initial: dict[int, Array] = field(default_factory=dict)

    def identifier(self, container: str | None, shared_name: str) -> int:
        """Identifier of a variable, a new one for a name not seen before."""
        for identifier, (known, name) in enumerate(self.names):
            if name == shared_name and container in (None, known):
                return identifier
        self.names.append((container, shared_name))
        return len(self.names) - 1


def called_subgraphs(node: Node) -> Iterator[int]:
    """Indices of the subgraphs that a control flow operator may run."""
    for option in _SUBGRAPH_OPTIONS.get(node.name, ()):
        yield node.options.integer(option)


def prepare(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    """Check a control flow operator as its Prepare does, and return what runs it.

    Args:
        node: WHILE, IF, CALL_ONCE, VAR_HANDLE, READ_VARIABLE or ASSIGN_VARIABLE.
        graph: the model.
        subgraph: index of the subgraph that the operator is in.
        resources: the resource variables that operators before this one named.

    Raises:
        UnsupportedOperatorError: TFLM refuses the operator.
    """
    for index in called_subgraphs(node):
        require(
            0 <= index < len(graph.subgraphs),
            node,
            f"it runs subgraph {index} of {len(graph.subgraphs)}",
        )
    return CONTROL_FLOW[node.name](node, graph, subgraph, resources)


def _prepare_while(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    condition, body = called_subgraphs(node)
    ins = [node.input(i) for i in range(len(node.inputs))]
    _require_fit(node, ins, _inputs(graph, condition), "inputs of its condition")
    _require_fit(node, ins, _inputs(graph, body), "inputs of its body")
    _require_fit(node, ins, node.outputs, "outputs")
    _require_fit(node, node.outputs, _outputs(graph, body), "outputs of its body")
    require(bool(graph.subgraphs[condition].outputs), node, "its condition has no output")

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        state = [a for a in inputs if a is not None]
        turns = 0
        while machine.run_subgraph(condition, state)[0].reshape(-1)[0]:
            if turns >= MOST_TURNS:
                raise ModelError(
                    f"operator {node.index} (WHILE): its condition still holds after {turns:,} "
                    "turns; a device would never leave it"
                )
            state = machine.run_subgraph(body, state)
            turns += 1
        return [a.reshape(1, *t.shape) for a, t in zip(state, node.outputs, strict=True)]

    return run


def _prepare_if(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    condition = node.input(0)
    require(
        condition.dtype is DType.BOOL and condition.elements == 1,
        node,
        f"its condition is {condition.elements} elements of {condition.dtype.value}, not one bool",
    )
    then_branch, else_branch = called_subgraphs(node)
    ins = [node.input(i) for i in range(1, len(node.inputs))]
    for branch, name in ((then_branch, "then"), (else_branch, "else")):
        _require_fit(node, ins, _inputs(graph, branch), f"inputs of its {name} branch")
        _require_fit(node, node.outputs, _outputs(graph, branch), f"outputs of its {name} branch")

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        test, *rest = (a for a in inputs if a is not None)
        branch = then_branch if test.reshape(-1)[0] else else_branch
        results = machine.run_subgraph(branch, rest)
        return [a.reshape(1, *t.shape) for a, t in zip(results, node.outputs, strict=True)]

    return run


def _prepare_call_once(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    require(not node.inputs and not node.outputs, node, "it has inputs or outputs")
    (initializer,) = called_subgraphs(node)
    require(not graph.subgraphs[initializer].inputs, node, f"subgraph {initializer} takes inputs")
    key = (subgraph, node.index)

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        if key not in machine.called:
            machine.run_subgraph(initializer, ())
            machine.called.add(key)
        return ()

    return run


def _prepare_var_handle(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    output = node.output()
    require(
        not node.inputs
        and len(node.outputs) == 1
        and output.elements == 1
        and output.dtype in (DType.RESOURCE, DType.INT32),
        node,
        f"it makes one handle from nothing, not {output.elements} elements of {output.dtype.value}",
    )
    container = node.options.text("container") if "container" in node.options else None
    identifier = resources.identifier(container, node.options.text("shared_name"))
    resources.handles[subgraph, output.index] = identifier
    handle = np.broadcast_to(np.int32(identifier), (1, *output.shape))

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        return (handle,)

    return run


def _prepare_read(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    require(len(node.inputs) == 1 and len(node.outputs) == 1, node, "it takes one handle")
    output = node.output()

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        value = _variable(node, machine, inputs[0])
        if value.nbytes != output.bytes:
            refuse(node, f"the variable has {value.nbytes} bytes, the output {output.bytes}")
        return (value.copy().view(output.dtype.numpy).reshape(1, *output.shape),)

    return run


def _prepare_assign(node: Node, graph: Graph, subgraph: int, resources: Resources) -> Step:
    require(len(node.inputs) == 2 and not node.outputs, node, "it takes a handle and a value")
    handle, value = node.input(0), node.input(1)
    require(
        handle.dtype in (DType.RESOURCE, DType.INT32) and handle.elements == 1,
        node,
        f"its handle is {handle.elements} elements of {handle.dtype.value}",
    )
    identifier = resources.handles.get((subgraph, handle.index))
    if identifier is not None and identifier not in resources.initial:
        # TFLM fills the bytes of any type with the low byte of the zero point.
        fill = np.uint8(value.zero_point & 0xFF)
        resources.initial[identifier] = np.broadcast_to(fill, value.bytes)

    def run(machine: Machine, inputs: Sequence[Array | None]) -> Sequence[Array]:
        memory, given = _variable(node, machine, inputs[0]), inputs[1]
        if given is None or given.nbytes != memory.nbytes:
            refuse(node, f"the variable has {memory.nbytes} bytes, the value another number")
        memory[:] = np.ascontiguousarray(given).reshape(-1).view(np.uint8)
        return ()

    return run


#: How each of the operators is prepared.
CONTROL_FLOW: Mapping[str, Callable[[Node, Graph, int, Resources], Step]] = {
    "WHILE": _prepare_while,
    "IF": _prepare_if,
    "CALL_ONCE": _prepare_call_once,
    "VAR_HANDLE": _prepare_var_handle,
    "READ_VARIABLE": _prepare_read,
    "ASSIGN_VARIABLE": _prepare_assign,
}


def _variable(node: Node, machine: Machine, handle: Array | None) -> Array:
    """Bytes of the variable that a handle names, as an array that can be written."""
    identifier = -1 if handle is None else int(handle.reshape(-1)[0])
    found = machine.variables.get(identifier)
    if found is None:
        refuse(node, f"resource variable {identifier} has no memory: nothing assigns to it")
    return found


def _inputs(graph: Graph, index: int) -> list[Tensor]:
    subgraph = graph.subgraphs[index]
    return [subgraph.tensors[i] for i in subgraph.inputs]


def _outputs(graph: Graph, index: int) -> list[Tensor]:
    subgraph = graph.subgraphs[index]
    return [subgraph.tensors[i] for i in subgraph.outputs]


def _require_fit(node: Node, own: Sequence[Tensor], other: Sequence[Tensor], what: str) -> None:
    """Refuse where TFLM cannot copy tensors of the operator to those of a subgraph."""
    fit = len(own) == len(other) and all(
        a.dtype is b.dtype and a.bytes == b.bytes for a, b in zip(own, other, strict=True)
    )
    require(fit, node, f"the {what} do not match its own in number, type or size")


def _prepare(node: Node) -> Binder:
    return partial(_bind, node)


def _bind(node: Node) -> BoundKernel:
    def run(inputs: Sequence[Array | None]) -> NoReturn:
        raise ModelError(f"operator {node.index} ({node.name}) runs only inside an interpreter")

    return run


def _call(node: Node) -> KernelCall:
    """The operator alone: memcpy to and from tensors of other subgraphs or of variables."""
    name = "".join(word.capitalize() for word in node.name.split("_"))
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    trips = {"call": 1.0, "dimension": float(sum(len(t.shape) for t in tensors))}
    copies = copy_trips([(t.bytes, 0, 0) for t in tensors], ALIGNED_LEVELS)
    return KernelCall(f"{name}Eval", f"reference/{node.name.lower()}_int8", trips | copies)


KERNELS: tuple[Kernel, ...] = tuple(Kernel(name, _prepare, _call) for name in CONTROL_FLOW)
