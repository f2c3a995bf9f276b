"""SVDF against the TFLite Micro interpreter over several calls, and its views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph, Quantization, Tensor
from mcusim.interpreter import Interpreter
from mcusim.kernels.fixed_point import quantize_multiplier
from mcusim.kernels.reference.svdf import SvdfParameters, SvdfShape, svdf_mirror, trips
from tests.kernels.agreement import assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.kernels.stateful import assert_sequences_agree, variable
from tests.oracles import activation, constant, quantized
from tests.shared import needs_shared

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32
EXTENT = st.integers(1, 6)
IN, FEATURE, STATE, TIME, OUT = 0.02, 0.005, 0.0007, 0.0002, 0.03


def svdf(
    shape: SvdfShape,
    state: DType,
    seed: int,
    fused: str = "NONE",
    output_scale: float = OUT,
    state_zero: int = 0,
) -> Graph:
    """A model of one SVDF: float32, or int8 with a state of int8 or int16."""
    is_float = state is FLOAT32
    dtype = FLOAT32 if is_float else INT8

    def kept(scale: float, zero_point: int = 0) -> Quantization | None:
        return None if is_float else quantized(scale, zero_point)

    bias = values(seed + 2, (shape.units,), FLOAT32)
    stored_bias = bias if is_float else (bias * 1000).astype(np.int32)
    feature = values(seed, (shape.filters, shape.inputs), dtype)
    time = values(seed + 1, (shape.filters, shape.memory), state)
    return model(
        "SVDF",
        [
            activation((shape.batches, shape.inputs), dtype, kept(IN, 3)),
            constant(feature, kept(FEATURE)),
            constant(time, kept(TIME)),
            constant(stored_bias, kept(STATE * TIME)),
            variable(
                activation(
                    (shape.batches, shape.memory * shape.filters), state, kept(STATE, state_zero)
                )
            ),
        ],
        [activation((shape.batches, shape.units), dtype, kept(output_scale, -5))],
        "SVDFOptions",
        rank=shape.rank,
        fused_activation_function=fused,
    )


@st.composite
def shapes(draw: st.DrawFn) -> SvdfShape:
    rank = draw(st.integers(1, 3))
    filters = rank * draw(EXTENT)
    return SvdfShape(draw(st.integers(1, 2)), draw(EXTENT), filters, draw(EXTENT), rank)


@settings(max_examples=80)
@given(
    shape=shapes(),
    state=st.sampled_from((INT8, INT16, FLOAT32)),
    fused=st.sampled_from(("NONE", "RELU", "RELU6", "RELU_N1_TO_1")),
    output_scale=st.sampled_from((0.0005, 0.02, 0.5)),
    state_zero=st.sampled_from((0, 4)),
    seed=st.integers(0, 1 << 30),
)
def test_sequences(
    shape: SvdfShape,
    state: DType,
    fused: str,
    output_scale: float,
    state_zero: int,
    seed: int,
) -> None:
    graph = svdf(shape, state, seed, fused, output_scale, state_zero)
    dtype = FLOAT32 if state is FLOAT32 else INT8
    random = np.random.default_rng(seed)
    seeds = random.integers(0, 1 << 30, (2, 3)).tolist()
    source = (shape.batches, shape.inputs)
    assert_sequences_agree(graph, [[values(s, source, dtype) for s in row] for row in seeds])


def replaced(graph: Graph, position: int, tensor: Tensor) -> Graph:
    """The same model with another tensor as one of the inputs."""
    node = graph.main.node(0)
    inputs = list(node.inputs)
    inputs[position] = tensor
    return model("SVDF", inputs, node.outputs, "SVDFOptions", rank=node.options.integer("rank"))


@pytest.mark.parametrize(
    ("position", "tensor", "reason"),
    [
        (3, constant(np.zeros(2, np.int32), quantized(0.5)), "the bias has scale 0.5"),
        (3, constant(np.zeros(3, np.int32), quantized(STATE * TIME)), "the bias has another"),
        (4, activation((1, 8), INT16, quantized(STATE)), "the state is no variable"),
        (4, variable(activation((1, 9), INT16, quantized(STATE))), r"\(1, 9\), not \(1, 8\)"),
        (1, constant(np.zeros((2, 3), np.float32)), "the weights tensor is float32, not int8"),
        (2, constant(np.zeros((2, 4), np.int32), quantized(TIME)), "of time is int32"),
    ],
)
def test_svdf_refuses(position: int, tensor: Tensor, reason: str) -> None:
    graph = replaced(svdf(SvdfShape(1, 3, 2, 4, 1), INT16, 0), position, tensor)
    inputs = [np.zeros(t.shape, t.dtype.numpy) for t in graph.inputs]
    assert_both_refuse(graph, inputs, reason)


@pytest.mark.parametrize("state", [INT8, INT16])
def test_mirror_loops_and_results(state: DType) -> None:
    shape = SvdfShape(2, 5, 6, 3, 2)
    graph = svdf(shape, state, 1)
    node = graph.main.node(0)
    source, feature_scale, memory_scale, time_scale, result = (
        float(np.float32(scale)) for scale in (IN, FEATURE, STATE, TIME, OUT)
    )
    parameters = SvdfParameters(
        quantize_multiplier(source * feature_scale / memory_scale),
        quantize_multiplier(memory_scale * time_scale / result),
        3,
        0,
        -5,
        state,
    )
    feature, time, bias = (node.input(i).data for i in (1, 2, 3))
    assert feature is not None
    assert time is not None
    assert bias is not None
    memory = np.zeros((2, 18), state.numpy)
    interpreter = Interpreter(graph)
    for call in range(3):
        x = values(call, (2, 5), INT8)
        mirrored, memory, turns = svdf_mirror(shape, parameters, x, feature, time, bias, memory)
        np.testing.assert_array_equal(mirrored, interpreter.invoke(x).outputs[0])
        levels = trips(shape)
        assert turns.moved == levels["time_product"] - 1
        assert (turns.filters, turns.feature_products, turns.time_products, turns.units) == (
            levels["filter"],
            levels["feature_product"],
            levels["time_product"],
            levels["unit"],
        )


@needs_shared
def test_recorded_outputs() -> None:
    assert assert_golden("svdf") == 14
