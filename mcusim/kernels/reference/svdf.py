"""SVDF: a convolution over time in two small steps; its memory of past features is a variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from mcusim.kernels.reference.checks import refuse, require, supported
from mcusim.kernels.reference.dense import accumulate

__all__ = [
    "KERNELS",
    "SvdfParameters",
    "SvdfShape",
    "SvdfTurns",
    "stored_parameters",
    "svdf_mirror",
    "trips",
]


@dataclass(frozen=True)
class SvdfShape:
    """Shape of an SVDF.

    Attributes:
        batches: rows of the input.
        inputs: elements of a row.
        filters: features of a row: ``units * rank``.
        memory: how many steps of each feature are kept.
        rank: filters of a unit.
    """

    batches: int
    inputs: int
    filters: int
    memory: int
    rank: int

    @property
    def units(self) -> int:
        """Outputs of a row."""
        return self.filters // self.rank

    @classmethod
    def of(cls, node: Node) -> SvdfShape:
        """Shape of a node, refused where the library refuses it.

        Raises:
            UnsupportedOperatorError: shapes do not fit each other.

        Source: ``PrepareSvdf``.
        """
        require(len(node.inputs) == 5, node, f"has {len(node.inputs)} inputs, not 5")
        require(len(node.outputs) == 1, node, f"has {len(node.outputs)} outputs, not 1")
        shapes = [node.input(i).shape for i in (0, 1, 2, 4)] + [node.output().shape]
        names = ("input", "weights", "weights of time", "state", "output")
        for extents, what in zip(shapes, names, strict=True):
            require(len(extents) == 2, node, f"the {what} has shape {extents}, not two dimensions")
        source, feature, time, state, output = shapes
        rank = node.options.integer("rank")
        require(rank > 0 and feature[0] % rank == 0, node, f"{feature[0]} filters of rank {rank}")
        shape = cls(source[0], source[1], feature[0], time[1], rank)
        wanted = {
            "weights": (feature, (shape.filters, shape.inputs)),
            "weights of time": (time, (shape.filters, shape.memory)),
            "state": (state, (shape.batches, shape.memory * shape.filters)),
            "output": (output, (shape.batches, shape.units)),
        }
        for what, (actual, expected) in wanted.items():
            require(actual == expected, node, f"the {what} has shape {actual}, not {expected}")
        bias = node.optional_input(3)
        require(
            bias is None or bias.shape[:1] == (shape.units,), node, "the bias has another length"
        )
        require(node.input(4).is_variable, node, "the state is no variable tensor")
        return shape


@dataclass(frozen=True)
class SvdfParameters:
    """Quantization of an SVDF.

    Attributes:
        feature: multiplier and shift from features to the state.
        result: multiplier and shift from the state's sums to the output.
        input_zero_point: of the input.
        state_zero_point: of the state.
        output_zero_point: of the output.
        state: type of the state and of the weights of time.
    """

    feature: tuple[int, int]
    result: tuple[int, int]
    input_zero_point: int
    state_zero_point: int
    output_zero_point: int
    state: DType


def _prepare(node: Node) -> Binder:
    """Source: ``PrepareSvdf`` and ``EvalSvdf``."""
    if node.input(0).dtype is not DType.FLOAT32:
        return partial(_bind_stored, *stored_parameters(node))
    shape = _checked(node)
    time, bias, state = (node.input(i) for i in (2, 3, 4))
    for tensor, what in ((time, "weights of time"), (state, "state"), (bias, "bias")):
        supported(node, tensor, (DType.FLOAT32,), what)
    return partial(_bind_float, node, shape)


def _checked(node: Node) -> SvdfShape:
    """What all types have in common."""
    shape = SvdfShape.of(node)
    if node.optional_input(3) is None:
        refuse(node, "there is no bias, which TFLite Micro reads all the same")
    dtype = supported(node, node.input(0), (DType.FLOAT32, DType.INT8), "input")
    supported(node, node.input(1), (dtype,), "weights tensor")
    supported(node, node.output(), (dtype,), "output")
    return shape


def stored_parameters(node: Node) -> tuple[SvdfShape, SvdfParameters]:
    """Shape and quantization of an SVDF of stored values.

    Raises:
        UnsupportedOperatorError: the library refuses the node.

    Effective scales are those of the interpreter: device builds of August 2026 compute them in
    float32.
    """
    shape = _checked(node)
    source, feature, time, bias, state = (node.input(i) for i in range(5))
    output = node.output()
    supported(node, bias, (DType.INT32,), "bias")
    state_type = supported(node, time, (DType.INT16, DType.INT8), "weights of time")
    supported(node, state, (state_type,), "state")
    sum_scale = np.float64(state.scale) * time.scale
    require(
        abs(bias.scale - float(sum_scale)) < 1e-5,
        node,
        f"the bias has scale {bias.scale:g}, state times weights of time {sum_scale:g}",
    )
    with np.errstate(all="ignore"):
        first = np.float64(source.scale) * feature.scale / np.float64(state.scale)
        second = sum_scale / np.float64(output.scale)
    parameters = SvdfParameters(
        quantize_multiplier(float(first)),
        quantize_multiplier(float(second)),
        source.zero_point,
        state.zero_point,
        output.zero_point,
        state_type,
    )
    return shape, parameters


def _shifted(state: Array, shape: SvdfShape) -> Array:
    """The memory moved on by a step, ``(inferences, batches, filters, memory)``; last one open."""
    memory = state.reshape(len(state), shape.batches, shape.filters, shape.memory)
    return np.concatenate([memory[..., 1:], memory[..., :1]], axis=-1)


def _bind_stored(shape: SvdfShape, parameters: SvdfParameters) -> BoundKernel:
    """Source: ``EvalIntegerSvdfReference``."""
    limits = np.iinfo(parameters.state.numpy)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, feature, time, bias, state = _all(inputs)
        memory = _shifted(state, shape)
        products = accumulate(x, feature, None, -parameters.input_zero_point, 0)
        features = multiply_by_quantized_multiplier(products.astype(np.int32), *parameters.feature)
        clamped = np.clip(features, limits.min, limits.max) + np.int32(parameters.state_zero_point)
        memory[..., -1] = clamped.astype(memory.dtype)
        state[...] = memory.reshape(state.shape)
        centred = memory.astype(np.int64) - parameters.state_zero_point
        sums = (centred * time[:, np.newaxis].astype(np.int64)).sum(axis=-1)
        totals = sums.reshape(*sums.shape[:2], shape.units, shape.rank).sum(axis=-1)
        wrapped = (totals + bias[:, np.newaxis]).astype(np.int32)
        scaled = multiply_by_quantized_multiplier(wrapped, *parameters.result).astype(np.int64)
        return [np.clip(scaled + parameters.output_zero_point, -128, 127).astype(np.int8)]

    return run


def _bind_float(node: Node, shape: SvdfShape) -> BoundKernel:
    """Source: ``EvalFloatSvdfReference``."""
    from mcusim.kernels.compiled.dense import dot_products

    activation = node.options.text("fused_activation_function", "NONE")
    infinity = np.float32(np.inf)
    no_bias = np.zeros((1, shape.filters), np.float32)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, feature, time, bias, state = _all(inputs)
        memory = _shifted(state, shape)
        features = np.empty((len(state), shape.batches, shape.filters), np.float32)
        columns = np.ascontiguousarray(feature.swapaxes(1, 2))
        dot_products(np.ascontiguousarray(x), columns, no_bias, -infinity, infinity, features)
        memory[..., -1] = features
        state[...] = memory.reshape(state.shape)
        sums = np.zeros(memory.shape[:-1], np.float32)
        for step in range(shape.memory):
            sums += time[:, np.newaxis, :, step] * memory[..., step]
        ranked = sums.reshape(*sums.shape[:2], shape.units, shape.rank)
        total = np.zeros(ranked.shape[:-1], np.float32) + bias[:, np.newaxis]
        for position in range(shape.rank):
            total += ranked[..., position]
        return [_activated(activation, total)]

    return run


def _activated(activation: str, x: npt.NDArray[np.float32]) -> Array:
    """Source: ``ActivationValFloat``."""
    if activation == "RELU":
        return np.fmax(np.float32(0), x)
    if activation == "RELU_N1_TO_1":
        return np.fmax(np.float32(-1), np.fmin(x, np.float32(1)))
    if activation == "RELU6":
        return np.fmax(np.float32(0), np.fmin(x, np.float32(6)))
    if activation == "TANH":
        return np.tanh(x.astype(np.float64)).astype(np.float32)
    if activation == "SIGN_BIT":
        return np.signbit(x).astype(np.float32)
    return x


def _all(inputs: Sequence[Array | None]) -> list[Array]:
    return [array for array in inputs if array is not None]


@dataclass
class SvdfTurns:
    """Turns of the loops of an SVDF.

    Attributes:
        moved: elements of the state that move on by a step.
        filters: features computed.
        feature_products: products of an input with a weight.
        time_products: products of the state with a weight of time.
        units: elements of the output.
    """

    moved: int = 0
    filters: int = 0
    feature_products: int = 0
    time_products: int = 0
    units: int = 0


def svdf_mirror(
    shape: SvdfShape,
    parameters: SvdfParameters,
    x: Array,
    feature: Array,
    time: Array,
    bias: Array,
    state: Array,
) -> tuple[Array, Array, SvdfTurns]:
    """SVDF of stored values, loop by loop as the library computes it.

    Args:
        shape: the shape.
        parameters: the quantization.
        x: int8, shape ``(batches, inputs)``.
        feature: int8, shape ``(filters, inputs)``.
        time: int8 or int16, shape ``(filters, memory)``.
        bias: int32, shape ``(units,)``.
        state: int8 or int16, shape ``(batches, memory * filters)``.

    Returns:
        The output, the new state, and the turns of the loops.

    Source: ``EvalIntegerSvdfReference``.
    """
    turns = SvdfTurns()
    memory = shape.memory
    values = state.ravel().tolist()
    for i in range(len(values) - 1):
        turns.moved += 1
        values[i] = values[i + 1]
    limits = np.iinfo(state.dtype)
    position = memory - 1
    for batch in range(shape.batches):
        for row in range(shape.filters):
            turns.filters += 1
            total = 0
            for column in range(shape.inputs):
                turns.feature_products += 1
                total += int(feature[row, column]) * (
                    int(x[batch, column]) - parameters.input_zero_point
                )
            scaled = int(multiply_by_quantized_multiplier(total, *parameters.feature))
            clamped = min(max(scaled, int(limits.min)), int(limits.max))
            values[position] = parameters.state_zero_point + clamped
            position += memory
    out = np.empty((shape.batches, shape.units), np.int8)
    for batch in range(shape.batches):
        for unit in range(shape.units):
            turns.units += 1
            total = int(bias[unit])
            for row in range(unit * shape.rank, (unit + 1) * shape.rank):
                for step in range(memory):
                    turns.time_products += 1
                    value = values[(batch * shape.filters + row) * memory + step]
                    total += int(time[row, step]) * (value - parameters.state_zero_point)
            scaled = int(multiply_by_quantized_multiplier(total, *parameters.result))
            out[batch, unit] = min(max(scaled + parameters.output_zero_point, -128), 127)
    return out, np.array(values, state.dtype).reshape(state.shape), turns


def trips(shape: SvdfShape, floating: bool = False, clamped: bool = False) -> dict[str, float]:
    """Loop trip counts of an SVDF; the first batch is part of the call.

    Each element of the state is moved once and multiplied once. ``memmove`` moves floats, which
    stay aligned, 16 bytes a turn and then word by word, fewer than 16 bytes one by one.
    """
    filters = shape.batches * shape.filters
    moved = 4 * (filters * shape.memory - 1) if floating else 0
    few = moved < 16
    return {
        "call": 1,
        "next_batch": shape.batches - 1,
        "filter": filters,
        "feature_product": filters * shape.inputs,
        "time_product": filters * shape.memory,
        "unit": shape.batches * shape.units,
        "unit.clamped": shape.batches * shape.units if clamped else 0,
        "moved.block16": 0 if few else moved // 16,
        "moved.word": 0 if few else moved % 16 // 4,
        "moved.byte": moved if few else 0,
    }


def _call(node: Node) -> KernelCall:
    is_float = node.input(0).dtype is DType.FLOAT32
    clamped = is_float and node.options.text("fused_activation_function", "NONE") != "NONE"
    levels = trips(SvdfShape.of(node), is_float, clamped)
    kind = "Float" if is_float else f"Int{node.input(2).dtype.bits}"
    return KernelCall(
        f"Eval{kind}SvdfReference",
        f"reference/svdf_{'float32' if is_float else 'int8'}",
        levels,
        macs=int(levels["feature_product"] + levels["time_product"]),
    )


KERNELS: tuple[Kernel, ...] = (Kernel("SVDF", _prepare, _call),)
