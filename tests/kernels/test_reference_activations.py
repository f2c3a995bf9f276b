"""RELU, LEAKY_RELU, PRELU, ELU, HARD_SWISH, LOGISTIC and TANH against TFLite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph, Quantization
from mcusim.kernels.reference.logistic import input_radius
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.elementwise_models import (
    assert_within_one_unit,
    broadcast_shapes,
    floats,
    quantizations,
)
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized
from tests.shared import needs_shared

INT8, INT16, INT32, FLOAT32 = DType.INT8, DType.INT16, DType.INT32, DType.FLOAT32
EVERY_INT8 = np.arange(-128, 128).astype(np.int8)
EVERY_INT16 = np.arange(-32768, 32768).astype(np.int16)


def one(
    name: str,
    shape: tuple[int, ...],
    dtype: DType,
    source: Quantization | None = None,
    output: Quantization | None = None,
    alpha: float | None = None,
) -> Graph:
    options = {} if alpha is None else {"alpha": alpha}
    return model(
        name,
        [activation(shape, dtype, source)],
        [activation(shape, dtype, output)],
        "NONE" if alpha is None else "LeakyReluOptions",
        **options,
    )


@settings(max_examples=40)
@given(
    st.sampled_from(("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH")),
    st.floats(-2, 2, width=32),
    st.integers(0, 2**32),
)
def test_floats_are_exact(name: str, alpha: float, seed: int) -> None:
    graph = one(name, (4, 50), FLOAT32, alpha=alpha if name == "LEAKY_RELU" else None)
    assert_agrees(graph, [floats(seed, (4, 50))])


@settings(max_examples=40)
@given(st.sampled_from(("ELU", "LOGISTIC", "TANH")), st.integers(0, 2**32))
def test_floats_of_the_c_library_are_neighbours(name: str, seed: int) -> None:
    assert_within_one_unit(one(name, (500,), FLOAT32), floats(seed, (500,)))


@settings(max_examples=80)
@given(
    st.sampled_from(("RELU", "RELU6", "LEAKY_RELU", "ELU", "HARD_SWISH")),
    quantizations(INT8),
    quantizations(INT8),
    st.floats(-2, 2, width=32),
)
def test_every_int8(name: str, source: Quantization, output: Quantization, alpha: float) -> None:
    # The library refuses a HARD_SWISH that scales up.
    assume(name != "HARD_SWISH" or source.scale < 127 * output.scale)
    graph = one(name, (256,), INT8, source, output, alpha if name == "LEAKY_RELU" else None)
    assert_agrees(graph, [EVERY_INT8])


@settings(max_examples=30)
@given(
    st.sampled_from(("RELU", "RELU6", "LEAKY_RELU")),
    quantizations(INT16),
    quantizations(INT16),
    st.floats(-2, 2, width=32),
)
def test_every_int16(name: str, source: Quantization, output: Quantization, alpha: float) -> None:
    graph = one(name, (65536,), INT16, source, output, alpha if name == "LEAKY_RELU" else None)
    assert_agrees(graph, [EVERY_INT16])


@settings(max_examples=40)
@given(st.sampled_from(("LOGISTIC", "TANH")), quantizations(INT8))
def test_every_int8_of_the_sigmoids(name: str, source: Quantization) -> None:
    output = quantized(1 / 256, -128) if name == "LOGISTIC" else quantized(1 / 128)
    assert_agrees(one(name, (256,), INT8, source, output), [EVERY_INT8])


@settings(max_examples=25)
@given(st.sampled_from(("LOGISTIC", "TANH")), quantizations(INT16, 2.0**-15, 2.0**-8))
def test_every_int16_of_the_sigmoids(name: str, source: Quantization) -> None:
    graph = one(name, (65536,), INT16, source, quantized(2.0**-15))
    assert_agrees(graph, [EVERY_INT16])


@settings(max_examples=60)
@given(
    st.data(),
    st.sampled_from((INT8, INT16, FLOAT32)),
    broadcast_shapes(operands=1, rank=4),
    st.integers(0, 2**32),
)
def test_slopes_broadcast(
    data: st.DataObject,
    dtype: DType,
    drawn: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]],
    seed: int,
) -> None:
    (shape,), _ = drawn
    assume(shape)
    kept = data.draw(st.integers(1, len(shape)))
    slope = tuple(data.draw(st.sampled_from((1, n))) for n in shape[len(shape) - kept :])
    slope_type = FLOAT32 if dtype is FLOAT32 else INT8
    scales = [None if t is FLOAT32 else data.draw(quantizations(t)) for t in (dtype, slope_type)]
    output = None if dtype is FLOAT32 else data.draw(quantizations(dtype))
    inputs = [activation(shape, dtype, scales[0]), activation(slope, slope_type, scales[1])]
    graph = model("PRELU", inputs, [activation(shape, dtype, output)])
    draw = floats if dtype is FLOAT32 else lambda seed, s: values(seed, s, dtype)
    draw_slope = floats if dtype is FLOAT32 else lambda seed, s: values(seed, s, INT8)
    assert_agrees(graph, [draw(seed, shape), draw_slope(seed + 1, slope)])


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (one("RELU", (2,), INT32), "int32"),
        (one("RELU", (2,), INT16, quantized(0.1, 1), quantized(0.1)), "zero points"),
        (one("RELU6", (2,), INT32), "int32"),
        (one("LEAKY_RELU", (2,), INT32, alpha=0.5), "int32"),
        (one("ELU", (2,), INT16, quantized(0.1), quantized(0.1)), "int16"),
        (one("HARD_SWISH", (2,), INT16, quantized(0.1), quantized(0.1)), "int16"),
        (one("HARD_SWISH", (2,), INT8, quantized(1.0), quantized(0.001)), "below"),
        (one("LOGISTIC", (2,), INT32), "int32"),
        (one("LOGISTIC", (2,), INT8, quantized(0.1), quantized(1 / 256)), "zero point is 0"),
        (one("LOGISTIC", (2,), INT16, quantized(0.1, 1), quantized(2.0**-15)), "zero points"),
        (one("TANH", (2,), INT16, quantized(0.1), quantized(2.0**-14)), "2\\^-15"),
        (one("TANH", (2,), DType.UINT8), "uint8"),
    ],
    ids=lambda case: case.main.operators[0].name if isinstance(case, Graph) else "",
)
def test_refusals(graph: Graph, reason: str) -> None:
    inputs = [np.ones(2, tensor.dtype.numpy) for tensor in graph.inputs]
    assert_both_refuse(graph, inputs, reason)


def test_the_radius_is_where_the_fixed_point_input_ends() -> None:
    # 15 in Q4.27, brought back by the power of two that the scale is written with.
    assert input_radius(0.05) == 240
    assert input_radius(0.2) == 60


@needs_shared
@pytest.mark.parametrize(
    "stem", ["relu", "relu6", "leaky_relu", "prelu", "hard_swish", "logistic", "tanh"]
)
def test_recorded_outputs(stem: str) -> None:
    assert assert_golden(stem) > 10


@pytest.mark.parametrize("x", [-6.2957506, -8.483324, 2.0297873, 4.286308, -5.7227187])
def test_logistic_rounds_exp_as_the_c_library_does(x: float) -> None:
    """Here exp is one unit from the nearest float, and the quotient came out two units off."""
    graph, array = one("LOGISTIC", (1,), FLOAT32), np.array([x], np.float32)
    assert_agrees(graph, [array])
