"""LSTM of CMSIS-NN: its loops, and where it differs from TFLM's reference kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mcusim.graph import DType
from mcusim.interpreter import Interpreter
from mcusim.kernels.cmsis_nn import KERNELS
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.lstm_mirror import Lstm
from mcusim.kernels.cmsis_nn.lstm_trips import lstm_trips
from mcusim.kernels.reference.lstm import LstmShape
from tests.kernels.agreement import values
from tests.kernels.single_operators import assert_golden
from tests.kernels.test_reference_lstm import lstm, shapes
from tests.shared import needs_shared


@needs_shared
def test_lstm_layers_equal_tflite_micro() -> None:
    assert assert_golden("unidirectional_sequence_lstm", "cmsis-nn") == 14


@settings(max_examples=25, deadline=None)
@given(
    shape=shapes(),
    dtype=st.sampled_from([DType.INT8, DType.INT16]),
    simd=st.sampled_from(get_args(Simd)),
    fused=st.sampled_from(["TANH", "NONE"]),
    clip=st.sampled_from([0.0, 0.5]),
)
def test_the_loops_compute_the_fast_paths_outputs_in_as_many_turns(
    shape: LstmShape, dtype: DType, simd: Simd, fused: str, clip: float
) -> None:
    graph = lstm(shape, dtype, 3, fused=fused, clip=clip)
    node = graph.main.node(0)
    mirror = Lstm(node, simd)
    x = values(5, graph.inputs[0].shape, dtype)
    bound = KERNELS[node.name].bind(node, Configuration(simd))
    inputs = [None if t is None else t.data for t in node.inputs]
    inputs[0] = x[np.newaxis]
    (fast,) = bound(inputs)
    assert_array_equal(mirror.run(x), fast[0])
    for function in lstm_trips(shape, dtype, simd):
        expected = {level: count for level, count in function.trips.items() if count}
        counted = {k: v for k, v in mirror.turns[function.function].items() if v}
        assert counted == expected, function.function


def test_a_second_call_starts_anew() -> None:
    """The reference kernel goes on from its variables, the library's glue does not write them."""
    graph = lstm(LstmShape(1, 2, 3, 4, False), DType.INT8, 1)
    x = values(2, graph.inputs[0].shape, DType.INT8)
    library, reference = Interpreter(graph, "cmsis-nn"), Interpreter(graph)
    first = library.invoke(x).outputs[0]
    assert_array_equal(first, reference.invoke(x).outputs[0])
    assert_array_equal(library.invoke(x).outputs[0], first)
    assert (reference.invoke(x).outputs[0] != first).any()
    (call, *_) = KERNELS["UNIDIRECTIONAL_SEQUENCE_LSTM"].calls(graph.main.node(0), Configuration())
    assert any("zero" in warning for warning in call.warnings)


@pytest.mark.parametrize("time_major", [False, True])
def test_the_first_step_multiplies_with_no_hidden_state(time_major: bool) -> None:
    shape = LstmShape(2, 3, 4, 4, time_major)
    trips = {t.function: t.trips for t in lstm_trips(shape, DType.INT8, "dsp")}
    steps = 3 if time_major else 6
    first = 1 if time_major else 2
    gate = trips["arm_nn_lstm_calculate_gate_s8_s16"]
    assert gate == {"call": 4 * steps, "hidden": 4 * (steps - first)}
    longer = replace(shape, steps=4)
    more = {t.function: t.trips for t in lstm_trips(longer, DType.INT8, "dsp")}
    name = "arm_nn_vec_mat_mul_result_acc_s8_s16"
    assert more[name]["call"] - trips[name]["call"] == 8 * (1 if time_major else 2)
