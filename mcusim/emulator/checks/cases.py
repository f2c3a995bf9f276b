"""The layers that functions are called with: drawn at random, or those of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType

import numpy as np

from mcusim.emulator.checks import drawn_elements as elements
from mcusim.emulator.checks import drawn_products as products
from mcusim.emulator.checks.contract import Case
from mcusim.emulator.checks.drawing import Draw
from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph, Node
from mcusim.interpreter import run
from mcusim.runtimes import plan, select

__all__ = ["DRAWN", "drawn_cases", "kind_of", "model_cases", "rounded_once"]

_RUNTIME = "cmsis-nn"
_INT4, _INT8, _INT16 = DType.INT4, DType.INT8, DType.INT16


def _either_scale(draw: Draw) -> Graph:
    per_channel = draw.chance(0.5)
    return products.fully_connected(_INT8, per_channel=per_channel)(draw)


#: What draws the layers of each kind.
DRAWN: Mapping[str, Callable[[Draw], Graph]] = MappingProxyType(
    {
        "CONV_2D int8": products.conv_2d(_INT8),
        "CONV_2D int4": products.conv_2d(_INT8, _INT4),
        "CONV_2D int16": products.conv_2d(_INT16),
        "DEPTHWISE_CONV_2D int8": products.depthwise_conv_2d(_INT8),
        "DEPTHWISE_CONV_2D int4": products.depthwise_conv_2d(_INT8, _INT4),
        "DEPTHWISE_CONV_2D int16": products.depthwise_conv_2d(_INT16),
        "FULLY_CONNECTED int8": _either_scale,
        "FULLY_CONNECTED int8, one scale": products.fully_connected(_INT8),
        "FULLY_CONNECTED int8, a scale each": products.fully_connected(_INT8, per_channel=True),
        "FULLY_CONNECTED int4": products.fully_connected(_INT8, _INT4),
        "FULLY_CONNECTED int16": products.fully_connected(_INT16),
        "TRANSPOSE_CONV int8": products.transpose_conv,
        "BATCH_MATMUL int8": products.batch_matmul(_INT8),
        "BATCH_MATMUL int16": products.batch_matmul(_INT16),
        "SVDF, state of int8": products.svdf(_INT8),
        "SVDF, state of int16": products.svdf(_INT16),
        "UNIDIRECTIONAL_SEQUENCE_LSTM int8": products.lstm(_INT8),
        "UNIDIRECTIONAL_SEQUENCE_LSTM int16": products.lstm(_INT16),
        "ADD int8": elements.add(_INT8),
        "ADD int16": elements.add(_INT16),
        "MUL int8": elements.mul(_INT8),
        "MUL int16": elements.mul(_INT16),
        "MAXIMUM int8": elements.maximum,
        "MINIMUM int8": elements.minimum,
        "AVERAGE_POOL_2D int8": elements.average_pool_2d(_INT8),
        "AVERAGE_POOL_2D int16": elements.average_pool_2d(_INT16),
        "MAX_POOL_2D int8": elements.max_pool_2d(_INT8),
        "MAX_POOL_2D int16": elements.max_pool_2d(_INT16),
        "SOFTMAX int8": elements.softmax(_INT8, _INT8),
        "SOFTMAX int8 to int16": elements.softmax(_INT8, _INT16),
        "SOFTMAX int16": elements.softmax(_INT16, _INT16),
        "PAD int8": elements.pad,
        "TRANSPOSE int8": elements.transpose,
    }
)

#: Operators whose library has releases that compute some layers wrongly, in ways that mcusim
#: computes as well: such layers tell nothing of a build.
_WITH_DEFECTS = ("TRANSPOSE", "TRANSPOSE_CONV")


def drawn_cases(kind: str, core: str) -> Iterator[Case]:
    """Layers of a kind without end, always the same ones.

    Args:
        kind: a key of :data:`DRAWN`.
        core: such as ``"m4"``; the library's functions depend on it.
    """
    number = 0
    for seed in count():
        draw = Draw(sorted(DRAWN).index(kind), seed)
        graph = DRAWN[kind](draw)
        values = _values_of(graph.main.node(0), draw)
        try:
            case = _case(number, graph, graph.main.node(0), values, core)
        except UnsupportedOperatorError:
            continue  # a layer that TFLM refuses
        if case is not None:
            number += 1
            yield case


def model_cases(graph: Graph, core: str) -> Iterator[Case]:
    """The layers of a model, with what they compute from random inputs.

    Raises:
        UnsupportedOperatorError: the runtime refuses an operator.
        ModelError: the model is inconsistent.
    """
    draw = Draw(0)
    inputs = [draw.values(tensor.shape, tensor.dtype) for tensor in graph.inputs]
    tensors = run(graph, inputs, runtime=_RUNTIME, core=core, tensors=True).tensors
    for node in graph.main.nodes:
        if kind_of(node) is None or any(t is not None and t.is_variable for t in node.inputs):
            continue
        values = tuple(
            None
            if tensor is None
            else np.ascontiguousarray(
                tensor.data
                if tensor.data is not None
                else tensors[tensor.index].reshape(tensor.shape)
            )
            for tensor in node.inputs
        )
        case = _case(node.index, graph, node, values, core)
        if case is not None:
            yield case


def kind_of(node: Node) -> str | None:
    """The kind of an operator as :data:`DRAWN` has it; None for one without functions."""
    found = [t for t in node.inputs if t is not None]
    if not found:
        return None
    source = found[2] if node.name == "TRANSPOSE_CONV" and len(found) > 2 else found[0]
    kind = source.dtype.value
    weights = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1}.get(node.name)
    if weights is not None and node.input(weights).dtype is DType.INT4:
        kind = "int4"
    name = f"{node.name} {kind}"
    return name if name in DRAWN else None


def _values_of(node: Node, draw: Draw) -> tuple[Array | None, ...]:
    found: list[Array | None] = []
    for tensor in node.inputs:
        if tensor is None:
            found.append(None)
        elif tensor.data is not None:
            found.append(np.ascontiguousarray(tensor.data))
        else:
            found.append(np.ascontiguousarray(draw.values(tensor.shape, tensor.dtype)))
    return tuple(found)


def _case(
    number: int, graph: Graph, node: Node, values: tuple[Array | None, ...], core: str
) -> Case | None:
    """The case of an operator; None where releases of the library differ by a defect."""
    runtime = select(_RUNTIME, core)
    known = _with_data(node, values)
    calls = tuple(runtime.calls(known))
    if node.name in _WITH_DEFECTS and any(call.warnings for call in calls):
        return None
    layers = plan(graph, _RUNTIME, core=core).layers
    scratch = next(layer.scratch_bytes for layer in layers if layer.node.index == node.index)
    expected, kept = _computed(node, values, core, once=False)
    return Case(number, node, values, expected, kept, calls, scratch)


def rounded_once(case: Case, core: str) -> Array | None:
    """The output with ``CMSIS_NN_USE_SINGLE_ROUNDING``; None where there is no such build."""
    try:
        return _computed(case.node, case.values, core, once=True)[0]
    except (ModelError, UnsupportedOperatorError):
        return None


def _computed(
    node: Node, values: tuple[Array | None, ...], core: str, *, once: bool
) -> tuple[Array, dict[int, Array]]:
    kernel = select(_RUNTIME, core, once).bind(node)
    batched = [None if array is None else array[np.newaxis].copy() for array in values]
    with np.errstate(all="ignore"):
        output = kernel(batched)[0][0]
    kept = {
        position: np.asarray(batched[position])[0]
        for position, tensor in enumerate(node.inputs)
        if tensor is not None and tensor.is_variable
    }
    return np.ascontiguousarray(output.reshape(node.output().shape)), kept


def _with_data(node: Node, values: tuple[Array | None, ...]) -> Node:
    """The node as if its inputs were constants: counts of some kernels depend on them."""
    if node.name == "BATCH_MATMUL":
        return node  # a constant side is stored otherwise
    inputs = tuple(
        tensor
        if tensor is None or array is None or tensor.is_variable
        else replace(tensor, data=array)
        for tensor, array in zip(node.inputs, values, strict=True)
    )
    return replace(node, inputs=inputs)
