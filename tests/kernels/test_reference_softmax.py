"""SOFTMAX and LOG_SOFTMAX against the TFLite Micro interpreter, and their views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import ModelError
from mcusim.graph import Array, DType, Graph, Node, Quantization
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.softmax import softmax_mirror
from mcusim.kernels.reference.softmax_call import typical_near
from mcusim.kernels.reference.softmax_scaling import InputScaling
from mcusim.tflite import write
from tests import oracles
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized
from tests.shared import needs_shared

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32
SEEDS = st.integers(0, 1 << 30)
SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)

#: Quantization of the output that the library asks for, by types of input and output.
OUTPUTS = {
    (INT8, INT8): quantized(1 / 256, -128),
    (INT8, INT16): quantized(1 / 65536, -32768),
    (INT16, INT16): quantized(1 / 32768),
}


def softmax(
    shape: tuple[int, ...],
    source: DType,
    output: DType,
    scale: float,
    beta: float = 1.0,
    zero_point: int = 0,
    out_quantization: Quantization | None = None,
) -> Graph:
    return model(
        "SOFTMAX",
        [activation(shape, source, quantized(scale, zero_point))],
        [activation(shape, output, out_quantization or OUTPUTS.get((source, output)))],
        "SoftmaxOptions",
        beta=beta,
    )


@settings(max_examples=120)
@given(
    types=st.sampled_from(list(OUTPUTS)),
    shape=SHAPES,
    scale=st.floats(2**-12, 2.0, width=32),
    beta=st.sampled_from((1.0, 0.5, 3.0)),
    zero_point=st.integers(-128, 127),
    seed=SEEDS,
)
def test_stored_rows(
    types: tuple[DType, DType],
    shape: tuple[int, ...],
    scale: float,
    beta: float,
    zero_point: int,
    seed: int,
) -> None:
    source, output = types
    zero_point = zero_point if source is INT8 else 0
    scale = scale if source is INT8 else scale / 256
    graph = softmax(shape, source, output, scale, beta, zero_point)
    assert_agrees(graph, [values(seed, shape, source)], [values(seed + 1, shape, source)])


@settings(max_examples=10)
@given(depth=st.integers(100, 200), scale=st.floats(2**-6, 0.5, width=32), seed=SEEDS)
def test_long_stored_rows(depth: int, scale: float, seed: int) -> None:
    for source, output in OUTPUTS:
        own = scale if source is INT8 else scale / 256
        graph = softmax((2, depth), source, output, own)
        assert_agrees(graph, [values(seed, (2, depth), source)])


def distance(mine: Array, theirs: Array) -> int:
    """Largest difference in units in the last place."""
    keys = [
        np.where(
            a.view(np.int32) < 0, -(1 << 31) - a.view(np.int32).astype(np.int64), a.view(np.int32)
        )
        for a in (mine, theirs)
    ]
    return int(np.abs(keys[0] - keys[1]).max(initial=0))


@settings(max_examples=60)
@given(
    name=st.sampled_from(("SOFTMAX", "LOG_SOFTMAX")),
    shape=SHAPES,
    spread=st.sampled_from((0.1, 4.0, 80.0)),
    seed=SEEDS,
)
def test_float_rows(name: str, shape: tuple[int, ...], spread: float, seed: int) -> None:
    """Where the library calls exp and log, another C library may round another way."""
    options = "SoftmaxOptions" if name == "SOFTMAX" else "LogSoftmaxOptions"
    given = {"beta": 1.0} if name == "SOFTMAX" else {}
    graph = model(
        name, [activation(shape, FLOAT32)], [activation(shape, FLOAT32)], options, **given
    )
    x = np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)
    (mine,) = Interpreter(graph).invoke(x).outputs
    ((theirs,),) = oracles.tflm(write(graph), [x])
    assert distance(mine, theirs.reshape(mine.shape)) <= 1 + shape[-1] // 4


@settings(max_examples=80)
@given(
    shape=SHAPES,
    scale=st.floats(2**-10, 1.0, width=32),
    zero_point=st.integers(-128, 127),
    seed=SEEDS,
)
def test_stored_log_rows(shape: tuple[int, ...], scale: float, zero_point: int, seed: int) -> None:
    graph = model(
        "LOG_SOFTMAX",
        [activation(shape, INT8, quantized(scale, zero_point))],
        [activation(shape, INT8, quantized(16 / 256, 127))],
        "LogSoftmaxOptions",
    )
    assert_agrees(graph, [values(seed, shape, INT8)], [values(seed + 1, shape, INT8)])


@pytest.mark.parametrize(
    ("source", "output", "quantization", "reason"),
    [
        (INT8, INT8, quantized(1 / 128, -128), "scale is 0.0078125, not 1/256"),
        (INT8, INT8, quantized(1 / 256, 0), "the output's zero point is 0, not -128"),
        (INT8, INT16, quantized(1 / 32768, -32768), "scale is 3.05176e-05, not 1.52588e-05"),
        (INT16, INT8, quantized(1 / 256, -128), "the output is int8, not int16"),
        (INT16, INT16, quantized(1 / 65536, 0), "scale is 1.52588e-05, not 3.05176e-05"),
        (DType.UINT8, DType.UINT8, quantized(1 / 256, 0), "the input is uint8"),
    ],
)
def test_softmax_refuses(
    source: DType, output: DType, quantization: Quantization, reason: str
) -> None:
    graph = softmax((1, 4), source, output, 0.1, out_quantization=quantization)
    assert_both_refuse(graph, [np.zeros((1, 4), source.numpy)], reason)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "reason"),
    [
        (INT8, 1 / 256, 127, "scale is 0.00390625, not 16/256"),
        (INT8, 16 / 256, 0, "the output's zero point is 0, not 127"),
        (INT16, 16 / 256, 0, "the input is int16"),
    ],
)
def test_log_softmax_refuses(dtype: DType, scale: float, zero_point: int, reason: str) -> None:
    graph = model(
        "LOG_SOFTMAX",
        [activation((1, 4), dtype, quantized(0.1))],
        [activation((1, 4), dtype, quantized(scale, zero_point))],
        "LogSoftmaxOptions",
    )
    assert_both_refuse(graph, [np.zeros((1, 4), dtype.numpy)], reason)


def test_many_equal_inputs_stop_the_library() -> None:
    """A share of 1/512 needs more bits than TFLite Micro's check allows; it aborts there."""
    graph = softmax((1, 512), INT8, INT8, 0.1)
    with pytest.raises(ModelError, match=r"softmax: operator 0 \(SOFTMAX\): so many inputs"):
        Interpreter(graph).invoke(np.zeros((1, 512), np.int8))


@pytest.mark.parametrize("output", [INT8, INT16])
@pytest.mark.parametrize("scale", [0.05, 0.9])
def test_mirror_loops_and_results(output: DType, scale: float) -> None:
    graph = softmax((3, 6), INT8, output, scale)
    x = values(4, (3, 6), INT8)
    scaling = InputScaling.of(float(np.float32(scale)), 1.0)
    mirrored, turns = softmax_mirror(x, scaling, output)
    np.testing.assert_array_equal(mirrored, Interpreter(graph).invoke(x).outputs[0])
    trips = KERNELS["SOFTMAX"].call(graph.main.node(0)).trips
    assert turns.rows == trips["row"]
    near = x.max(axis=1, keepdims=True) - x.astype(int) <= -scaling.least_difference
    assert turns.exponentials == near.sum()
    exact = KERNELS["SOFTMAX"].call(with_data(graph, x)).trips
    assert turns.exponentials == exact["exponential"] - (x.size - turns.exponentials) / 20


def test_typical_nearness_is_the_mean_over_random_rows() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (4000, 10))
    counted = (x.max(axis=1, keepdims=True) - x <= 0.1).sum(axis=1).mean() - 1
    assert typical_near(10, 0.1) == pytest.approx(counted, rel=0.05)


def with_data(graph: Graph, x: Array) -> Node:
    """The operator with its input known, as a constant."""
    node = graph.main.node(0)
    return replace(node, inputs=(replace(node.input(0), data=x),))


@pytest.mark.parametrize(("scale", "warned"), [(0.05, False), (0.9, True)])
def test_typical_turns_are_the_mean_over_data(scale: float, warned: bool) -> None:
    call = KERNELS["SOFTMAX"].call
    graph = softmax((200, 8), INT8, INT8, scale)
    typical = call(graph.main.node(0))
    assert bool(typical.warnings) == warned
    exact = call(with_data(graph, values(0, (200, 8), INT8)))
    for level in ("exponential", "negative"):
        assert typical.trips[level] == pytest.approx(exact.trips[level], rel=0.1)


def test_turns_of_known_floats() -> None:
    """Below the largest by nothing, 0.2, 1 and 5: the four ranges of the C library's expf."""
    graph = softmax((2, 4), FLOAT32, FLOAT32, 1.0)
    row = [1.0, 0.8, 0.0, -4.0]
    trips = KERNELS["SOFTMAX"].call(with_data(graph, np.array([row, row], np.float32))).trips
    assert trips == {"call": 1, "row": 2, "near": 2, "middle": 2, "far": 2}


@needs_shared
def test_recorded_outputs() -> None:
    assert assert_golden("softmax") == 28
