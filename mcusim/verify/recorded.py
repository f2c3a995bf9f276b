"""Compares what a runtime computes with outputs that were recorded, on a device or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mcusim.errors import InputError
from mcusim.graph import Array, Graph, Node, Tensor
from mcusim.interpreter import Interpreter
from mcusim.runtimes import Runtime, select
from mcusim.verify.comparison import batched, explained, inputs_of, same_bits, stands_alone
from mcusim.verify.findings import Difference, Verification

__all__ = ["verify_recorded"]

_UNTOLD = "what it computes from was not recorded: an operator before it may make the difference"


def verify_recorded(
    graph: Graph,
    inputs: Array | Sequence[object],
    recorded: Mapping[str, Array],
    *,
    runtime: str = "cmsis-nn",
    core: str = "m4",
    single_rounding: bool = False,
) -> Verification:
    """Compare a runtime's tensors with recorded ones, and explain what differs.

    Where an operator's inputs were recorded too, it is run on these: what differs then, the
    operator itself makes different.

    Args:
        graph: the model.
        inputs: from which the recorded tensors were computed.
        recorded: arrays by the names of tensors, usually the model's outputs; with the leading axis
            of inferences when the inputs have it.
        runtime: the runtime under test.
        core: the device's core.
        single_rounding: CMSIS-NN is built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Raises:
        InputError: inputs or recorded arrays do not fit the model, or there is no such runtime.
        ModelError: the runtime cannot run the model.
    """
    mine = select(runtime, core, single_rounding)
    interpreter = Interpreter(graph, runtime, core=core, single_rounding=single_rounding)
    tensors = batched(graph, interpreter.invoke(inputs, tensors=True).tensors)
    inferences = max((len(array) for array in tensors.values()), default=1)
    others = _by_index(graph, recorded, inferences)
    known = dict(others)
    for tensor in graph.main.tensors:
        if tensor.is_constant or tensor.index in graph.main.inputs:
            known[tensor.index] = tensors[tensor.index]
    differences, carried = [], []
    for node in graph.main.nodes:
        differing = [
            i
            for i, t in enumerate(node.outputs)
            if t.index in others and not same_bits(tensors[t.index], others[t.index]).all()
        ]
        if not differing:
            continue
        found = _difference(node, differing, mine, tensors, known)
        if found is None:
            carried.append(node.index)
        else:
            differences.append(found)
    return Verification(
        graph.name,
        mine.name + (" rounding once" if single_rounding else ""),
        "recorded tensors",
        inferences,
        len(graph.main.nodes),
        tuple(differences),
        tuple(carried),
        all(
            same_bits(tensors[t.index], others[t.index]).all()
            for t in graph.outputs
            if t.index in others
        ),
    )


def _difference(
    node: Node,
    differing: Sequence[int],
    mine: Runtime,
    tensors: Mapping[int, Array],
    known: Mapping[int, Array],
) -> Difference | None:
    if stands_alone(node) and all(t is None or t.index in known for t in node.inputs):
        inputs = inputs_of(node, known)
        with np.errstate(all="ignore"):
            values = mine.bind(node)(inputs)
        for output, tensor in enumerate(node.outputs):
            other = known.get(tensor.index)
            if other is not None and not same_bits(values[output], other).all():
                return explained(node, output, inputs, values[output], other, mine, None)
        return None
    output = differing[0]
    index = node.outputs[output].index
    found = explained(
        node, output, inputs_of(node, tensors), tensors[index], known[index], mine, None
    )
    return found if found.other_way else replace(found, warnings=(*found.warnings, _UNTOLD))


def _by_index(graph: Graph, recorded: Mapping[str, Array], inferences: int) -> dict[int, Array]:
    computed = {t.name: t for node in graph.main.nodes for t in node.outputs}
    if not recorded:
        raise InputError(f"{graph.name}: nothing was recorded")
    found = {}
    for name, array in recorded.items():
        if name not in computed:
            raise InputError(f"{graph.name}: computes no tensor {name!r} that was recorded")
        found[computed[name].index] = _shaped(graph, computed[name], array, inferences)
    return found


def _shaped(graph: Graph, tensor: Tensor, array: Array, inferences: int) -> Array:
    array = np.asarray(array)
    shapes = [(inferences, *tensor.shape), *([tensor.shape] if inferences == 1 else [])]
    if array.dtype != tensor.dtype.numpy or array.shape not in shapes:
        raise InputError(
            f"{graph.name}: tensor {tensor.name!r} was recorded as {array.dtype} "
            f"{list(array.shape)}, the model computes {tensor.dtype.numpy} {list(shapes[0])}"
        )
    return array.reshape(shapes[0])
