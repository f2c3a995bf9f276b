"""L2_NORMALIZATION against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, shapes, values
from tests.kernels.elementwise_models import quantizations
from tests.oracles import activation, quantized

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32


def normalization(
    shape: tuple[int, ...], dtype: DType, zero_point: int = 0, fused: str = "NONE"
) -> Graph:
    source = None if dtype is FLOAT32 else quantized(0.1, zero_point)
    output = None if dtype is FLOAT32 else quantized(1 / 128)
    return model(
        "L2_NORMALIZATION",
        [activation(shape, dtype, source)],
        [activation(shape, dtype, output)],
        "L2NormOptions",
        fused_activation_function=fused,
    )


@settings(max_examples=60)
@given(shapes(extent=40, most=3), quantizations(INT8), st.integers(0, 2**32))
def test_int8(shape: tuple[int, ...], scale: object, seed: int) -> None:
    zero_point = int(getattr(scale, "zero_point", 0))
    assert_agrees(normalization(shape, INT8, zero_point), [values(seed, shape, INT8)])


@settings(max_examples=60)
@given(shapes(extent=40, most=3), st.integers(-30, 15), st.integers(0, 2**32))
def test_floats(shape: tuple[int, ...], magnitude: int, seed: int) -> None:
    array = values(seed, shape, FLOAT32) * np.float32(10.0**magnitude)
    assert_agrees(normalization(shape, FLOAT32), [array])


def test_rows_of_zeros_and_of_one_unit() -> None:
    rows = np.array([[0, 0, 0], [1, 0, 0], [-1, 1, 0], [127, -128, 127]], np.int8)
    assert_agrees(normalization((4, 3), INT8), [rows])
    assert_agrees(normalization((4, 3), FLOAT32), [rows.astype(np.float32)])


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (normalization((2, 2), INT16), "int16"),
        (normalization((1, 1, 1, 1, 2), FLOAT32), "5 dimensions"),
        (normalization((2, 2), FLOAT32, fused="RELU"), "RELU"),
    ],
)
def test_refusals(graph: Graph, reason: str) -> None:
    inputs = [np.ones(tensor.shape, tensor.dtype.numpy) for tensor in graph.inputs]
    assert_both_refuse(graph, inputs, reason)
