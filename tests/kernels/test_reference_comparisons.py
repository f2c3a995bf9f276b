"""Comparisons, logic and SELECT_V2 against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph
from mcusim.interpreter import Interpreter
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.elementwise_models import broadcast_shapes, floats, quantizations
from tests.oracles import activation, quantized

INT8, INT16, INT32, INT64 = DType.INT8, DType.INT16, DType.INT32, DType.INT64
FLOAT32, BOOL = DType.FLOAT32, DType.BOOL
ORDERS = ("GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")


def close_values(seed: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """Values among which equal ones are common."""
    if dtype is FLOAT32:
        return floats(seed, shape).round()
    array = values(seed, shape, dtype)
    return array if dtype in (BOOL, INT8) else (array % 4).astype(dtype.numpy)


@settings(max_examples=120)
@given(
    st.data(),
    st.sampled_from(("EQUAL", "NOT_EQUAL", *ORDERS, "LOGICAL_AND", "LOGICAL_OR")),
    broadcast_shapes(),
    st.integers(0, 2**32),
)
def test_two_operands(
    data: st.DataObject,
    name: str,
    drawn: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]],
    seed: int,
) -> None:
    shapes, out = drawn
    numbers = (FLOAT32, INT32, INT64, INT8)
    types = (BOOL,) if name.startswith("LOGICAL") else numbers
    dtype = data.draw(st.sampled_from((*types, BOOL) if "EQUAL" in name[:9] else types))
    if name in ORDERS and dtype is BOOL:
        dtype = INT8
    scales = [data.draw(quantizations(INT8, 1e-3, 0.99)) if dtype is INT8 else None] * 2
    if dtype is INT8 and data.draw(st.booleans()):
        scales[1] = data.draw(quantizations(INT8, 1e-3, 0.99))
    tensors = [activation(s, dtype, q) for s, q in zip(shapes, scales, strict=True)]
    graph = model(name, tensors, [activation(out, BOOL)])
    assert_agrees(graph, [close_values(seed + i, s, dtype) for i, s in enumerate(shapes)])


@settings(max_examples=80)
@given(
    st.sampled_from((FLOAT32, INT8, INT16)),
    broadcast_shapes(operands=3),
    st.integers(0, 2**32),
)
def test_selection(
    dtype: DType,
    drawn: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]],
    seed: int,
) -> None:
    shapes, out = drawn
    types = (BOOL, dtype, dtype)
    tensors = [activation(s, t) for s, t in zip(shapes, types, strict=True)]
    graph = model("SELECT_V2", tensors, [activation(out, dtype)], "SelectV2Options")
    draws = enumerate(zip(shapes, types, strict=True))
    inputs = [floats(seed, s) if t is FLOAT32 else values(seed + i, s, t) for i, (s, t) in draws]
    assert_agrees(graph, inputs)


def compared(name: str, dtype: DType, scale: float | None = None) -> Graph:
    q = quantized(scale) if scale else None
    return model(name, [activation((2,), dtype, q)] * 2, [activation((2,), BOOL)])


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (compared("EQUAL", INT16), "int16"),
        (compared("LESS", BOOL), "bool"),
        (compared("LESS_EQUAL", INT16), "int16"),
    ],
)
def test_refusals(graph: Graph, reason: str) -> None:
    inputs = [np.ones(2, tensor.dtype.numpy) for tensor in graph.inputs]
    assert_both_refuse(graph, inputs, reason)


def test_a_scale_of_one_is_refused_where_the_library_aborts() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"EQUAL.* between 0 and 1"):
        Interpreter(compared("EQUAL", INT8, scale=1.0))


def test_int16_is_not_greater_for_want_of_multipliers() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"GREATER.* never sets"):
        Interpreter(compared("GREATER", INT16, scale=0.5))
