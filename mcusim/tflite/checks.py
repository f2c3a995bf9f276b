"""What must hold of a graph before anything may be computed from it."""

from __future__ import annotations

from collections.abc import Iterable

from mcusim.graph import Graph, Operator, Subgraph, Tensor
from mcusim.tflite.flatbuffer import DamageError, quoted

__all__ = ["check_graph"]

#: More nested calls than this is no program for a microcontroller.
_MAX_DEPTH = 32

#: Steps of a window; the kernels hold them in 16 bits.
_STEPS = (
    "stride_w",
    "stride_h",
    "dilation_w_factor",
    "dilation_h_factor",
    "filter_width",
    "filter_height",
)

#: What the inputs of the operators with per-channel weights are called in messages.
_ROLES = {
    "CONV_2D": ("the input has", "the weights have", "the bias has"),
    "DEPTHWISE_CONV_2D": ("the input has", "the weights have", "the bias has"),
    "FULLY_CONNECTED": ("the input has", "the weights have", "the bias has"),
    "TRANSPOSE_CONV": ("the shape has", "the weights have", "the input has", "the bias has"),
}


def check_graph(graph: Graph) -> None:
    """Check indices, the order of operators, steps of windows, scales, and calls of subgraphs.

    Raises:
        DamageError: an index leads nowhere, a tensor is used before it is computed, a window's
            step is absurd, scales do not fit a shape, or subgraphs call each other in a circle.
    """
    several = len(graph.subgraphs) > 1
    for number, subgraph in enumerate(graph.subgraphs):
        prefix = f"subgraph {number}: " if several else ""
        _check_order(subgraph, prefix)
        _check_scales(subgraph, prefix)
    _check_calls(graph)
    _check_signatures(graph)


def _check_order(subgraph: Subgraph, prefix: str) -> None:
    count = len(subgraph.tensors)
    _check_indices(subgraph.inputs, count, 0, prefix, "the inputs")
    _check_indices(subgraph.outputs, count, 0, prefix, "the outputs")
    known = [t.is_constant or t.is_variable or not t.elements for t in subgraph.tensors]
    writer: dict[int, str] = {}
    for index in subgraph.inputs:
        known[index] = True
        writer[index] = "an input of the subgraph"
    for number, operator in enumerate(subgraph.operators):
        where = f"{prefix}operator {number} ({operator.name}): "
        _check_indices(operator.inputs, count, -1, where, "its inputs")
        _check_indices(operator.outputs, count, 0, where, "its outputs")
        _check_indices(operator.intermediates, count, -1, where, "its intermediates")
        for name in _STEPS:
            if not 0 <= operator.options.integer(name) < 2**15:
                raise DamageError(
                    f"{where}{name} is {operator.options.integer(name)}, "
                    "kernels take no more than 32767"
                )
        for index in operator.inputs:
            if index >= 0 and not known[index]:
                raise DamageError(
                    f"{where}input tensor {_named(subgraph.tensors[index])} "
                    "is computed by no operator before it"
                )
        for index in operator.outputs:
            tensor = subgraph.tensors[index]
            before = "a constant" if tensor.is_constant else writer.get(index)
            if before:
                raise DamageError(f"{where}output tensor {_named(tensor)} is already {before}")
            known[index] = True
            writer[index] = f"the output of operator {number}"
    for index in subgraph.outputs:
        if not known[index]:
            raise DamageError(
                f"{prefix}output tensor {_named(subgraph.tensors[index])} "
                "is computed by no operator"
            )


def _named(tensor: Tensor) -> str:
    return f"{tensor.index} ({quoted(tensor.name)})"


def _check_indices(indices: Iterable[int], count: int, low: int, where: str, what: str) -> None:
    for index in indices:
        if not low <= index < count:
            raise DamageError(f"{where}{what} refer to tensor {index}, there are {count}")


def _check_scales(subgraph: Subgraph, prefix: str) -> None:
    for tensor in subgraph.tensors:
        quantization = tensor.quantization
        if quantization is None or not quantization.is_per_channel:
            continue
        scales, axis, shape = quantization.scales.size, quantization.axis, tensor.shape
        if shape == (scales,) and axis > 0:
            # Converters of 2020 gave a depthwise layer's bias its filter's dimension, as in TFLM's
            # person_detect.tflite; kernels do not read it.
            continue
        if not 0 <= axis < len(shape):
            raise DamageError(
                f"{prefix}{_holder(subgraph, tensor)} {scales} scales along dimension {axis}, "
                f"its shape is {shape}"
            )
        if scales != shape[axis]:
            raise DamageError(
                f"{prefix}{_holder(subgraph, tensor)} {scales} scales for {shape[axis]} channels"
            )


def _holder(subgraph: Subgraph, tensor: Tensor) -> str:
    """The tensor by its part in the first operator that takes it, with its verb."""
    for number, operator in enumerate(subgraph.operators):
        if tensor.index in operator.inputs:
            position = operator.inputs.index(tensor.index)
            roles = _ROLES.get(operator.name, ())
            role = roles[position] if position < len(roles) else f"input {position} has"
            return f"operator {number} ({operator.name}): {role}"
    return f"tensor {_named(tensor)} has"


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
    calls: list[tuple[int, ...]] = []
    for number, subgraph in enumerate(graph.subgraphs):
        callees: dict[int, None] = {}
        for index, operator in enumerate(subgraph.operators):
            for callee in _called(operator):
                if not 0 <= callee < count:
                    raise DamageError(
                        f"subgraph {number}: operator {index} ({operator.name}): "
                        f"calls subgraph {callee}, there are {count}"
                    )
                callees[callee] = None
        calls.append(tuple(callees))
    done: set[int] = set()
    for start in range(count):
        _follow_calls(calls, done, (start,))


def _follow_calls(calls: list[tuple[int, ...]], done: set[int], chain: tuple[int, ...]) -> None:
    """Follow every chain of calls from the end of ``chain``, each subgraph once."""
    if len(chain) > _MAX_DEPTH:
        raise DamageError(f"subgraphs call each other more than {_MAX_DEPTH} deep")
    for callee in calls[chain[-1]]:
        if callee in chain:
            circle = " → ".join(map(str, (*chain[chain.index(callee) :], callee)))
            raise DamageError(f"subgraphs call each other in a circle ({circle})")
        if callee not in done:
            _follow_calls(calls, done, (*chain, callee))
    done.add(chain[-1])


def _check_signatures(graph: Graph) -> None:
    for signature in graph.signatures:
        where = f"signature {quoted(signature.key)}: "
        if signature.subgraph >= len(graph.subgraphs):
            raise DamageError(
                f"{where}is of subgraph {signature.subgraph}, there are {len(graph.subgraphs)}"
            )
        count = len(graph.subgraphs[signature.subgraph].tensors)
        entries = (*signature.inputs, *signature.outputs)
        _check_indices((index for _, index in entries), count, 0, where, "its entries")
