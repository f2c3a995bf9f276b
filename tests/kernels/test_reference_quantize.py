"""QUANTIZE, DEQUANTIZE and CAST against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph, Quantization
from mcusim.kernels.reference import KERNELS
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.elementwise_models import floats, quantizations
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, constant, quantized
from tests.shared import needs_shared

INT8, INT16, INT32, INT64 = DType.INT8, DType.INT16, DType.INT32, DType.INT64
UINT8, UINT32, FLOAT32, BOOL = DType.UINT8, DType.UINT32, DType.FLOAT32, DType.BOOL
QUANTIZES = [
    *((FLOAT32, t) for t in (INT8, INT16)),
    *((INT32, t) for t in (INT8, INT16)),
    *((INT16, t) for t in (INT8, INT16, INT32)),
    *((INT8, t) for t in (INT8, UINT8, INT16, INT32)),
    (UINT8, INT8),
]


def one(
    name: str,
    source: DType,
    output: DType,
    scale: Quantization | None = None,
    result: Quantization | None = None,
    shape: tuple[int, ...] = (2, 150),
) -> Graph:
    return model(name, [activation(shape, source, scale)], [activation(shape, output, result)])


def drawn(seed: int, dtype: DType, shape: tuple[int, ...] = (2, 150)) -> Array:
    return floats(seed, shape) if dtype is FLOAT32 else values(seed, shape, dtype)


@settings(max_examples=150)
@given(st.data(), st.sampled_from(QUANTIZES), st.integers(0, 2**32))
def test_quantize(data: st.DataObject, types: tuple[DType, DType], seed: int) -> None:
    source, output = types
    scale = None if source is FLOAT32 else data.draw(quantizations(source))
    graph = one("QUANTIZE", source, output, scale, data.draw(quantizations(output)))
    assert_agrees(graph, [drawn(seed, source)])


@settings(max_examples=40)
@given(st.data(), st.sampled_from((INT8, INT16, UINT8)), st.integers(0, 2**32))
def test_dequantize(data: st.DataObject, source: DType, seed: int) -> None:
    graph = one("DEQUANTIZE", source, FLOAT32, data.draw(quantizations(source)))
    assert_agrees(graph, [drawn(seed, source)])


@settings(max_examples=100)
@given(
    st.sampled_from((INT8, INT16, INT32, UINT32, FLOAT32, BOOL)),
    st.sampled_from((INT8, INT16, INT32, UINT32, FLOAT32, BOOL)),
    st.integers(0, 2**32),
)
def test_cast(source: DType, output: DType, seed: int) -> None:
    assert_agrees(one("CAST", source, output), [drawn(seed, source)])


def test_half_steps_are_rounded_away_from_zero() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997], np.float32)
    graph = one("QUANTIZE", FLOAT32, INT8, None, quantized(1.0), (7,))
    assert_agrees(graph, [halves])


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (one("QUANTIZE", FLOAT32, INT32, None, quantized(0.1)), "int32"),
        (one("QUANTIZE", FLOAT32, INT8), "no quantization"),
        (one("QUANTIZE", UINT8, INT16, quantized(0.1), quantized(0.1)), "int16"),
        (one("QUANTIZE", FLOAT32, INT8, None, quantized([0.1, 0.2], 0)), "per channel"),
        (one("DEQUANTIZE", INT32, FLOAT32, quantized(0.1)), "int32"),
        (one("CAST", INT64, INT32), "int64"),
        (one("CAST", FLOAT32, UINT8), "uint8"),
    ],
)
def test_refusals(graph: Graph, reason: str) -> None:
    inputs = [np.ones(tensor.shape, tensor.dtype.numpy) for tensor in graph.inputs]
    assert_both_refuse(graph, inputs, reason)


@needs_shared
@pytest.mark.parametrize("stem", ["quantize", "dequantize"])
def test_recorded_outputs(stem: str) -> None:
    assert assert_golden(stem) > 10


def test_products_of_dequantize_end_early_for_zero_and_powers_of_two() -> None:
    """1.25 times 1.5 is less than 2 and is shifted, 1.25 times 1.75 is not."""
    stored = np.array([0, 1, -64, 3, 7, -7], np.int8)
    graph = model(
        "DEQUANTIZE", [constant(stored, quantized(1.25))], [activation((6,), DType.FLOAT32)]
    )
    trips = KERNELS["DEQUANTIZE"].call(graph.main.node(0)).trips
    levels = ("zero", "power", "whole", "shifted")
    assert [round(trips[level], 9) for level in levels] == [1, 2, 2, 1]
