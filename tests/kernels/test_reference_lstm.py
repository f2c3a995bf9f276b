"""UNIDIRECTIONAL_SEQUENCE_LSTM against the TFLite Micro interpreter over several calls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import ModelError
from mcusim.graph import DType, Graph, Quantization, Tensor
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.lstm import LstmShape
from mcusim.tflite import write
from tests import oracles
from tests.kernels.agreement import assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.kernels.stateful import assert_sequences_agree, variable
from tests.oracles import activation, constant, quantized
from tests.shared import needs_shared

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32
EXTENT = st.integers(1, 5)
IN, WEIGHT, RECURRENT, HIDDEN = 0.02, 0.006, 0.005, 2.0**-7


def inputs_of(
    shape: LstmShape, dtype: DType, seed: int, cell_scale: float, hidden_zero: int
) -> list[Tensor | None]:
    """The 24 inputs of the operator, those of variants left out."""
    random = np.random.default_rng(seed)
    is_float = dtype is FLOAT32
    zero = 4 if dtype is INT8 else 0

    def kept(scale: float, zero_point: int = 0) -> Quantization | None:
        return None if is_float else quantized(scale, zero_point)

    def weights(extent: int, scale: float) -> Tensor:
        wanted = (shape.units, extent)
        if is_float:
            return constant(random.normal(0, 0.5, wanted).astype(np.float32))
        return constant(random.integers(-127, 128, wanted, np.int8), kept(scale))

    def bias() -> Tensor:
        drawn = random.normal(0, 0.5, shape.units)
        if is_float:
            return constant(drawn.astype(np.float32))
        stored = np.int32 if dtype is INT8 else np.int64
        return constant((drawn / (IN * WEIGHT)).astype(stored), kept(IN * WEIGHT))

    leading = (shape.steps, shape.batches) if shape.time_major else (shape.batches, shape.steps)
    state = (shape.batches, shape.units)
    hidden = activation(state, dtype, kept(HIDDEN, hidden_zero if dtype is INT8 else 0))
    cell = activation(state, FLOAT32 if is_float else INT16, kept(cell_scale))
    return [
        activation((*leading, shape.inputs), dtype, kept(IN, zero)),
        *(weights(shape.inputs, WEIGHT) for _ in range(4)),
        *(weights(shape.units, RECURRENT) for _ in range(4)),
        *[None] * 3,
        *(bias() for _ in range(4)),
        *[None] * 2,
        variable(hidden),
        variable(cell),
        *[None] * 4,
    ]


def lstm(
    shape: LstmShape,
    dtype: DType,
    seed: int,
    *,
    fused: str = "TANH",
    clip: float = 0.0,
    cell_scale: float = 2.0**-11,
    hidden_zero: int = 0,
    replaced: Mapping[int, Tensor | None] | None = None,
) -> Graph:
    """A model of one LSTM; some of its inputs may be replaced, by position."""
    inputs = inputs_of(shape, dtype, seed, cell_scale, hidden_zero)
    for position, tensor in (replaced or {}).items():
        inputs[position] = tensor
    source, hidden = inputs[0], inputs[18]
    assert source is not None
    assert hidden is not None
    output = activation((*source.shape[:2], shape.units), dtype, hidden.quantization)
    return model(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        inputs,
        [output],
        "UnidirectionalSequenceLSTMOptions",
        fused_activation_function=fused,
        cell_clip=clip,
        time_major=shape.time_major,
    )


@st.composite
def shapes(draw: st.DrawFn) -> LstmShape:
    return LstmShape(
        draw(st.integers(1, 3)), draw(EXTENT), draw(EXTENT), draw(EXTENT), draw(st.booleans())
    )


@settings(max_examples=50)
@given(
    shape=shapes(),
    dtype=st.sampled_from((INT8, INT16)),
    fused=st.sampled_from(("TANH", "TANH", "NONE")),
    clip=st.sampled_from((0.0, 0.3, 10.0)),
    power=st.integers(8, 15),
    hidden_zero=st.integers(-5, 5),
    seed=st.integers(0, 1 << 30),
)
def test_stored_sequences(
    shape: LstmShape,
    dtype: DType,
    fused: str,
    clip: float,
    power: int,
    hidden_zero: int,
    seed: int,
) -> None:
    graph = lstm(
        shape,
        dtype,
        seed,
        fused=fused,
        clip=clip,
        cell_scale=2.0**-power,
        hidden_zero=hidden_zero,
    )
    source = graph.inputs[0].shape
    seeds = np.random.default_rng(seed).integers(0, 1 << 30, (2, 3)).tolist()
    assert_sequences_agree(graph, [[values(s, source, dtype) for s in row] for row in seeds])


@settings(max_examples=20)
@given(shape=shapes(), clip=st.sampled_from((0.0, 0.3)), seed=st.integers(0, 1 << 30))
def test_float_sequences(shape: LstmShape, clip: float, seed: int) -> None:
    """Up to what another C library's exp and tanh make of it, step by step."""
    graph = lstm(shape, FLOAT32, seed, clip=clip)
    source = graph.inputs[0].shape
    calls = [[values(seed + c, source, FLOAT32)] for c in range(2)]
    interpreter = Interpreter(graph)
    for x, (theirs,) in zip(calls, oracles.tflm(write(graph), *calls), strict=True):
        (mine,) = interpreter.invoke(x).outputs
        np.testing.assert_allclose(mine, theirs.reshape(mine.shape), rtol=2e-6, atol=2e-7)


SHAPE = LstmShape(2, 3, 4, 5, False)


@pytest.mark.parametrize(
    ("position", "tensor", "reason"),
    [
        (1, None, "input 1 is missing"),
        (9, constant(np.zeros(5, np.int8), quantized(1.0)), "input 9 is given: peephole"),
        (2, constant(np.zeros((5, 3), np.int8), quantized(1.0)), r"input 2 is \(5, 3\)"),
        (2, constant(np.zeros((5, 4), np.float32)), "input 2 is float32, not int8"),
        (12, constant(np.zeros(4, np.int32), quantized(1.0)), r"input 12 is \(4,\)"),
        (18, activation((2, 5), INT8, quantized(HIDDEN)), "a state is no variable"),
        (19, variable(activation((2, 5), INT8, quantized(1.0))), "the cell state is int8"),
        (18, variable(activation((2, 5), INT16, quantized(HIDDEN))), "the hidden state is int16"),
    ],
)
def test_lstm_refuses(position: int, tensor: Tensor | None, reason: str) -> None:
    graph = lstm(SHAPE, INT8, 0, replaced={position: tensor})
    inputs = [np.zeros(t.shape, t.dtype.numpy) for t in graph.inputs]
    if "missing" in reason:
        assert oracles.tflm_refuses(write(graph), inputs)
        with pytest.raises(ModelError, match=reason):
            Interpreter(graph)
        return
    assert_both_refuse(graph, inputs, reason)


def test_turns_of_the_loops() -> None:
    """A batch of two sequences runs one after the other, or step by step when time is first."""
    call = KERNELS["UNIDIRECTIONAL_SEQUENCE_LSTM"].call
    first = call(lstm(SHAPE, INT8, 0).main.node(0))
    assert first.macs == 4 * 2 * 3 * 5 * (4 + 5)
    assert first.trips["step"] == 6
    time_major = LstmShape(2, 3, 4, 5, True)
    assert call(lstm(time_major, INT8, 0).main.node(0)).trips["step"] == 3


def test_states_of_floats_are_zero_at_first() -> None:
    """Of three steps of two sequences one each multiplies five units by five zeros, four times."""
    call = KERNELS["UNIDIRECTIONAL_SEQUENCE_LSTM"].call(lstm(SHAPE, FLOAT32, 0).main.node(0))
    assert call.trips["recurrent_product.of_zero"] == 4 * 2 * 5 * 5
    assert call.trips["recurrent_product"] == 2 * call.trips["recurrent_product.of_zero"]
    assert (call.trips["unit.from_zero"], call.trips["unit"]) == (2 * 5, 2 * 2 * 5)
    assert call.macs == 4 * 2 * 3 * 5 * (4 + 5)


@needs_shared
def test_recorded_outputs() -> None:
    assert assert_golden("unidirectional_sequence_lstm") == 14
