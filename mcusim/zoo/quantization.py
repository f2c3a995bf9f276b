"""Post-training quantization of float32 networks to int8, by ranges seen on calibration inputs.

The rules are TFLite's quantization specification: activations asymmetric per tensor with zero
representable, weights symmetric in [-127, 127], per channel for convolutions and per tensor for
FULLY_CONNECTED, biases int32 at the product of the input's and the weights' scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mcusim.errors import ModelError
from mcusim.graph import Array, DType, Graph, Node, Quantization, Subgraph, Tensor
from mcusim.interpreter import Interpreter

__all__ = ["Ranges", "activation_ranges", "quantized"]

#: Smallest and largest value of each computed tensor of the main subgraph, by index.
Ranges = Mapping[int, tuple[float, float]]

#: Operators whose output keeps the quantization of their first input.
_SAME_AS_INPUT = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "RESHAPE", "PAD"})

#: Output scales that the operator itself prescribes.
_PRESCRIBED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}

#: Axis of the weights that per-channel scales run along.
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}

_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})

_QUANTIZABLE = _WEIGHTED | _SAME_AS_INPUT | {"ADD", "SOFTMAX", "LOGISTIC", "TANH"}


def activation_ranges(graph: Graph, inputs: Iterable[Array]) -> dict[int, tuple[float, float]]:
    """The calibration pass: run a one-input float32 network and note each tensor's range.

    Args:
        graph: a float32 network with one input.
        inputs: float32 arrays of the input's shape.

    Returns:
        Smallest and largest value of each computed tensor, by index.
    """
    interpreter = Interpreter(graph)
    ranges: dict[int, tuple[float, float]] = {}
    for array in inputs:
        values = interpreter.invoke(array, tensors=True).tensors
        for tensor in graph.main.tensors:
            if tensor.is_constant:
                continue
            low, high = float(values[tensor.index].min()), float(values[tensor.index].max())
            before = ranges.get(tensor.index, (low, high))
            ranges[tensor.index] = (min(low, before[0]), max(high, before[1]))
    return ranges


def quantized(graph: Graph, ranges: Ranges) -> Graph:
    """The int8 form of a float32 network, its inputs and outputs int8 too.

    Args:
        graph: a network of one subgraph out of convolutions, dense layers, pooling, ADD, RESHAPE
            and the activations SOFTMAX, LOGISTIC and TANH.
        ranges: of every computed tensor, see :func:`activation_ranges`.

    Returns:
        The quantized network, tensors and operators in the same places.

    Raises:
        ModelError: an operator that these rules do not cover, or a tensor without a range.
    """
    main = graph.main
    tensors = {t.index: t for t in main.tensors}
    for index in main.inputs:
        tensors[index] = _activation(tensors[index], ranges)
    for node in main.nodes:
        if node.name not in _QUANTIZABLE:
            raise ModelError(
                f"{graph.name}: operator {node.index} ({node.name}): no quantization rule; the "
                f"rules cover {', '.join(sorted(_QUANTIZABLE))}"
            )
        _quantize(node, tensors, ranges)
    subgraph = Subgraph(
        main.name, tuple(tensors[i] for i in sorted(tensors)), main.inputs, main.outputs,
        main.operators,
    )  # fmt: skip
    return replace(graph, subgraphs=(subgraph,), model_bytes=0)


def _quantize(node: Node, tensors: dict[int, Tensor], ranges: Ranges) -> None:
    source = tensors[node.input(0).index]
    output = node.output()
    if node.name in _WEIGHTED:
        weights = _weights(node.input(1), _CHANNEL_AXIS.get(node.name))
        tensors[weights.index] = weights
        bias = node.optional_input(2)
        if bias is not None:
            tensors[bias.index] = _bias(bias, source, weights)
    if node.name in _SAME_AS_INPUT:
        tensors[output.index] = replace(output, dtype=DType.INT8, quantization=source.quantization)
    elif node.name in _PRESCRIBED:
        scale, zero_point = _PRESCRIBED[node.name]
        tensors[output.index] = replace(
            output, dtype=DType.INT8, quantization=_per_tensor(scale, zero_point)
        )
    else:
        tensors[output.index] = _activation(output, ranges)


def _activation(tensor: Tensor, ranges: Ranges) -> Tensor:
    if tensor.index not in ranges:
        raise ModelError(f"tensor {tensor.index} ({tensor.name!r}) has no calibrated range")
    low, high = ranges[tensor.index]
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    zero_point = int(np.clip(round(-128 - low / float(scale)), -128, 127))
    return replace(tensor, dtype=DType.INT8, quantization=_per_tensor(float(scale), zero_point))


def _weights(tensor: Tensor, axis: int | None) -> Tensor:
    data = _constant(tensor)
    across = tuple(i for i in range(data.ndim) if i != axis)
    largest = np.abs(data).max(axis=across if axis is not None else None, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    values = np.clip(np.rint(data / scales), -127, 127).astype(np.int8)
    values.setflags(write=False)
    flat = scales.reshape(-1)
    quantization = Quantization(flat, np.zeros(flat.size, np.int64), axis or 0)
    return replace(tensor, dtype=DType.INT8, quantization=quantization, data=values)


def _bias(tensor: Tensor, source: Tensor, weights: Tensor) -> Tensor:
    assert weights.quantization is not None
    scales = np.float32(source.scale) * weights.quantization.scales
    limit = np.iinfo(np.int32)
    values = np.clip(np.rint(_constant(tensor) / scales.astype(np.float64)), limit.min, limit.max)
    data = values.astype(np.int32)
    data.setflags(write=False)
    quantization = Quantization(scales, np.zeros(scales.size, np.int64))
    return replace(tensor, dtype=DType.INT32, quantization=quantization, data=data)


def _constant(tensor: Tensor) -> npt.NDArray[np.float64]:
    if tensor.data is None:
        raise ModelError(f"tensor {tensor.index} ({tensor.name!r}) is no constant, as weights are")
    return tensor.data.astype(np.float64)


def _per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))
