"""What must hold of a graph before anything may be computed from it."""

from __future__ import annotations

from collections.abc import Iterable

from mcusim.errors import ModelError
from mcusim.graph import Graph, Operator, Subgraph

__all__ = ["check_graph"]

_DAMAGED = "the file is damaged or was edited"

#: More nested calls than this is no program for a microcontroller.
_MAX_DEPTH = 32


def check_graph(graph: Graph) -> None:
    """Check indices, the order of operators, and calls of subgraphs.

    Raises:
        ModelError: an index leads nowhere, a tensor is used before it is computed, or subgraphs
            call each other in a circle.
    """
    for number, subgraph in enumerate(graph.subgraphs):
        prefix = f"{graph.name}: "
        if len(graph.subgraphs) > 1:
            prefix += f"subgraph {number}: "
        _check_order(subgraph, prefix)
    _check_calls(graph)
    _check_signatures(graph)


def _check_order(subgraph: Subgraph, prefix: str) -> None:
    count = len(subgraph.tensors)
    _check_indices(subgraph.inputs, count, 0, prefix, "the subgraph's inputs")
    _check_indices(subgraph.outputs, count, 0, prefix, "the subgraph's outputs")
    known = [t.is_constant or t.is_variable or not t.elements for t in subgraph.tensors]
    writer: dict[int, str] = {}
    for index in subgraph.inputs:
        known[index] = True
        writer[index] = "an input of the graph"
    for number, operator in enumerate(subgraph.operators):
        where = f"{prefix}operator {number} ({operator.name}): "
        _check_indices(operator.inputs, count, -1, where, "its inputs")
        _check_indices(operator.outputs, count, 0, where, "its outputs")
        _check_indices(operator.intermediates, count, -1, where, "its intermediates")
        for index in operator.inputs:
            if index >= 0 and not known[index]:
                name = subgraph.tensors[index].name
                raise ModelError(
                    f"{where}input tensor {index} ({name!r}) is computed by no operator before; "
                    f"{_DAMAGED}"
                )
        for index in operator.outputs:
            tensor = subgraph.tensors[index]
            before = "a constant" if tensor.is_constant else writer.get(index)
            if before:
                raise ModelError(
                    f"{where}output tensor {index} ({tensor.name!r}) is already {before}; "
                    f"{_DAMAGED}"
                )
            known[index] = True
            writer[index] = f"the output of operator {number}"
    for index in subgraph.outputs:
        if not known[index]:
            name = subgraph.tensors[index].name
            raise ModelError(
                f"{prefix}output tensor {index} ({name!r}) is computed by no operator; {_DAMAGED}"
            )


def _check_indices(indices: Iterable[int], count: int, low: int, where: str, what: str) -> None:
    for index in indices:
        if not low <= index < count:
            raise ModelError(
                f"{where}{what} refer to tensor {index}, there are {count}; {_DAMAGED}"
            )


def _called(operator: Operator) -> list[int]:
    """Subgraphs that an operator calls: every option that the schema names so."""
    named = [
        value
        for name, value in operator.options.items()
        if (name.endswith("subgraph_index") or name == "subgraph") and isinstance(value, int)
    ]
    return [*named, *operator.options.integers("called_computations")]


def _check_calls(graph: Graph) -> None:
    count = len(graph.subgraphs)
    calls: list[list[int]] = []
    for number, subgraph in enumerate(graph.subgraphs):
        callees: dict[int, None] = {}
        for index, operator in enumerate(subgraph.operators):
            for callee in _called(operator):
                if not 0 <= callee < count:
                    raise ModelError(
                        f"{graph.name}: subgraph {number}: operator {index} ({operator.name}) "
                        f"calls subgraph {callee}, there are {count}; {_DAMAGED}"
                    )
                callees[callee] = None
        calls.append(list(callees))
    done: set[int] = set()
    for start in range(count):
        _check_chain(graph.name, calls, done, [start])


def _check_chain(name: str, calls: list[list[int]], done: set[int], chain: list[int]) -> None:
    """Follow every chain of calls from the end of ``chain``, each subgraph once."""
    if len(chain) > _MAX_DEPTH:
        raise ModelError(f"{name}: subgraphs call each other more than {_MAX_DEPTH} deep")
    for callee in calls[chain[-1]]:
        if callee in chain:
            circle = " → ".join(map(str, [*chain[chain.index(callee) :], callee]))
            raise ModelError(
                f"{name}: subgraphs call each other in a circle ({circle}); {_DAMAGED}"
            )
        if callee not in done:
            _check_chain(name, calls, done, [*chain, callee])
    done.add(chain[-1])


def _check_signatures(graph: Graph) -> None:
    for signature in graph.signatures:
        where = f"{graph.name}: signature {signature.key!r}"
        if signature.subgraph >= len(graph.subgraphs):
            raise ModelError(
                f"{where} is of subgraph {signature.subgraph}, there are {len(graph.subgraphs)}; "
                f"{_DAMAGED}"
            )
        count = len(graph.subgraphs[signature.subgraph].tensors)
        entries = (*signature.inputs, *signature.outputs)
        _check_indices((index for _, index in entries), count, 0, f"{where}: ", "its tensors")
