"""Operators of one element against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import InputError
from mcusim.graph import Array, DType, Graph, Quantization
from mcusim.interpreter import Interpreter
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.elementwise_models import assert_within_one_unit, floats, quantizations
from tests.oracles import activation, quantized

INT8, INT16, INT32, FLOAT32, BOOL = (
    DType.INT8,
    DType.INT16,
    DType.INT32,
    DType.FLOAT32,
    DType.BOOL,
)
EXACT = ("ABS", "NEG", "SQRT", "RSQRT", "SQUARE", "ROUND", "FLOOR", "CEIL")
BY_LIBM = ("EXP", "LOG", "SIN", "COS")


def one(
    name: str,
    shape: tuple[int, ...],
    dtype: DType,
    source: Quantization | None = None,
    output: Quantization | None = None,
) -> Graph:
    return model(name, [activation(shape, dtype, source)], [activation(shape, dtype, output)])


def every(dtype: DType) -> Array:
    limits = np.iinfo(dtype.numpy)
    return np.arange(limits.min, limits.max + 1).astype(dtype.numpy)


@settings(max_examples=60)
@given(st.sampled_from(EXACT), st.integers(0, 2**32))
def test_floats_are_exact(name: str, seed: int) -> None:
    assert_agrees(one(name, (3, 70), FLOAT32), [floats(seed, (3, 70))])


@settings(max_examples=40)
@given(st.sampled_from(BY_LIBM), st.integers(0, 2**32))
def test_floats_of_the_c_library_are_neighbours(name: str, seed: int) -> None:
    assert_within_one_unit(one(name, (300,), FLOAT32), floats(seed, (300,)))


@settings(max_examples=40)
@given(st.data(), st.sampled_from((INT8, INT16)), st.booleans())
def test_every_magnitude(data: st.DataObject, dtype: DType, same: bool) -> None:
    source = data.draw(quantizations(dtype))
    output = source if same else data.draw(quantizations(dtype))
    array = every(dtype)
    assert_agrees(one("ABS", array.shape, dtype, source, output), [array])


def test_the_magnitude_of_a_plain_int16_wraps() -> None:
    array = np.array([-32768, -32767, -1, 0, 32767], np.int16)
    assert_agrees(one("ABS", (5,), INT16), [array])


@settings(max_examples=40)
@given(st.data(), st.sampled_from((INT8, INT16)))
def test_every_inverse_square_root(data: st.DataObject, dtype: DType) -> None:
    source = data.draw(quantizations(dtype))
    output = data.draw(quantizations(dtype, least=1e-5))
    array = np.maximum(every(dtype), source.zero_point).astype(dtype.numpy)
    assert_agrees(one("RSQRT", array.shape, dtype, source, output), [array])


def test_a_square_root_of_less_than_zero_stops_the_call() -> None:
    graph = one("RSQRT", (2,), INT8, quantized(0.1, 5), quantized(0.1))
    with pytest.raises(InputError, match=r"RSQRT.* below zero"):
        Interpreter(graph).invoke([np.array([5, 4], np.int8)])


def test_not() -> None:
    assert_agrees(one("LOGICAL_NOT", (2, 9), BOOL), [values(1, (2, 9), BOOL)])


@pytest.mark.parametrize("name", [*EXACT[1:3], *BY_LIBM, "ROUND", "FLOOR", "CEIL", "LOGICAL_NOT"])
def test_other_types_are_refused(name: str) -> None:
    assert_both_refuse(one(name, (2,), INT32), [np.ones(2, np.int32)], "int32")


@pytest.mark.parametrize("name", ["ABS", "RSQRT"])
def test_int8_needs_a_quantization(name: str) -> None:
    assert_both_refuse(one(name, (2,), INT8), [np.ones(2, np.int8)], "quantization")
