"""What TFLite Micro refuses of a model before its kernels look at their operators.

An estimate and a run both take a model's operators from here, in one order, so that both refuse the
same model with the same sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Node, Subgraph, Tensor
from mcusim.kernels.reference.control_flow import called_subgraphs
from mcusim.runtimes.arena import offline_offsets
from mcusim.runtimes.selection import Runtime

__all__ = ["MOST_TENSOR_BYTES", "accepted_nodes"]

#: The largest RAM beside a Cortex-M that we know of, the SDRAM of NXP's i.MX RT1170 EVK (its user
#: manual, "SDRAM"): no computed tensor is larger.
MOST_TENSOR_BYTES = 64 << 20

#: More nested calls than this is no program for a microcontroller.
_MOST_NESTED = 32

#: ``TfLiteTypeSizeOf`` has no size for them.
_WITHOUT_SIZE = (DType.STRING, DType.VARIANT)


def accepted_nodes(graph: Graph, runtime: Runtime) -> Iterator[tuple[int, Node]]:
    """Operators of all subgraphs in the order in which TFLM prepares them.

    Each comes once it has passed the checks that need no kernel; what the kernel then says of it
    comes before what is wrong with later operators.

    Args:
        graph: the model.
        runtime: what runs it.

    Yields:
        Index of the subgraph, and the operator.

    Raises:
        UnsupportedOperatorError: the runtime itself would refuse an operator.
        ModelError: the graph is inconsistent, or no device holds it.
    """
    if not graph.subgraphs:
        raise ModelError("it has no subgraph")
    for index, subgraph in enumerate(graph.subgraphs):
        _check_indices(index, subgraph)
    _require_no_cycle(graph)
    for index, subgraph in enumerate(graph.subgraphs):
        for tensor in subgraph.tensors:
            _check_memory(index, tensor)
    offline_offsets(graph)
    for index, subgraph in enumerate(graph.subgraphs):
        for node in _ordered(index, subgraph):
            _check_tensors(node)
            if not runtime.supports(node.name):
                lacking = f"mcusim has no kernel for it in runtime {runtime.name}"
                if runtime.library is not None:
                    lacking = f"runtime {runtime.name} has no kernel for it"
                raise UnsupportedOperatorError(
                    f"operator {node.index} ({node.operator.custom_code or node.name}): {lacking}"
                )
            yield index, node


def _check_indices(index: int, subgraph: Subgraph) -> None:
    """Refuse what refers to tensors that are not there; a file's reader did that already."""
    count = len(subgraph.tensors)
    for what, indices in (("input", subgraph.inputs), ("output", subgraph.outputs)):
        for i in indices:
            if not 0 <= i < count:
                raise ModelError(f"subgraph {index}: its {what} is tensor {i}, there are {count}")
    for number, operator in enumerate(subgraph.operators):
        wrong = [i for i in operator.inputs if not -1 <= i < count]
        wrong += [i for i in operator.outputs if not 0 <= i < count]
        wrong += [i for i in operator.intermediates if not -1 <= i < count]
        if wrong:
            raise ModelError(
                f"operator {number} ({operator.name}) refers to tensor {wrong[0]}, "
                f"there are {count}"
            )


def _check_memory(subgraph: int, tensor: Tensor) -> None:
    where = f"subgraph {subgraph}: tensor {tensor.index} ({tensor.name!r})"
    if tensor.is_variable and tensor.is_constant:
        raise ModelError(f"{where} is a variable with a value, which TFLite Micro ignores")
    if tensor.dtype in _WITHOUT_SIZE:
        raise ModelError(
            f"{where} is of type {tensor.dtype.value}, for which TFLite Micro has no size"
        )
    if not tensor.is_constant and tensor.bytes > MOST_TENSOR_BYTES:
        raise ModelError(
            f"{where} of shape {tensor.shape} takes {tensor.bytes:,} bytes; no microcontroller "
            f"has more than {MOST_TENSOR_BYTES:,} bytes of RAM"
        )


def _ordered(index: int, subgraph: Subgraph) -> Iterator[Node]:
    """Operators, each after those that compute what it reads."""
    known = {t.index for t in subgraph.tensors if t.is_constant or t.is_variable or not t.elements}
    known.update(subgraph.inputs)
    for node in subgraph.nodes:
        for tensor in node.inputs:
            if tensor is not None and tensor.index not in known:
                raise ModelError(
                    f"operator {node.index} ({node.name}) reads tensor {tensor.index} "
                    f"({tensor.name!r}), which nothing computes before it"
                )
        known.update(t.index for t in node.outputs)
        yield node
    missing = [i for i in subgraph.outputs if i not in known]
    if missing:
        raise ModelError(f"subgraph {index}: nothing computes its output, tensor {missing[0]}")


def _check_tensors(node: Node) -> None:
    for tensor in node.outputs:
        if tensor.is_constant:
            raise ModelError(
                f"operator {node.index} ({node.name}): output {tensor.name!r} is a constant"
            )
        if tensor.shape != (0,) and any(extent <= 0 for extent in tensor.shape):
            raise UnsupportedOperatorError(
                f"operator {node.index} ({node.name}): output {tensor.name!r} has the dynamic "
                f"shape {tensor.shape}; TFLite Micro has no dynamic tensors"
            )
    for tensor in node.intermediates:
        if tensor.elements:
            raise UnsupportedOperatorError(
                f"operator {node.index} ({node.name}): intermediate tensor {tensor.name!r} has "
                f"{tensor.elements} elements; TFLite Micro takes only empty ones"
            )


def _require_no_cycle(graph: Graph) -> None:
    """Raise ModelError where a subgraph runs itself, through others or not."""
    calls = [{i for n in s.nodes for i in called_subgraphs(n)} for s in graph.subgraphs]
    done: set[int] = set()

    def visit(index: int, path: frozenset[int]) -> None:
        if index in path:
            raise ModelError(f"subgraph {index} runs itself without end")
        if len(path) > _MOST_NESTED:
            raise ModelError(f"subgraphs run each other more than {_MOST_NESTED} deep")
        if index in done or not 0 <= index < len(calls):
            return
        for called in calls[index]:
            visit(called, path | {index})
        done.add(index)

    for index in range(len(calls)):
        visit(index, frozenset())
