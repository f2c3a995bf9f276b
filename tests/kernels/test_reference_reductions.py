"""Reductions against the TFLite Micro interpreter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, shapes, values
from tests.oracles import activation, constant, quantized

INT8, INT16, FLOAT32, INT32 = DType.INT8, DType.INT16, DType.FLOAT32, DType.INT32


@st.composite
def reductions(draw: st.DrawFn, name: str) -> tuple[Graph, int]:
    """A reduction over any axes, negative and repeated ones too."""
    types = (INT8, INT16, FLOAT32) if name in ("MEAN", "SUM") else (INT8, FLOAT32)
    dtype = draw(st.sampled_from(types))
    shape = draw(shapes())
    rank = len(shape)
    axes = draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=rank))
    keep = draw(st.booleans())
    reduced = {axis % rank for axis in axes}
    output = tuple(
        1 if axis in reduced else extent
        for axis, extent in enumerate(shape)
        if keep or axis not in reduced
    )
    scales = draw(st.tuples(*[st.floats(2**-10, 2.0, width=32)] * 2))
    zeros = draw(st.tuples(*[st.integers(-128, 127)] * 2))
    if name.startswith("REDUCE"):
        scales, zeros = (scales[0],) * 2, (zeros[0],) * 2
    quantizations = [
        None if dtype is FLOAT32 else quantized(s, z) for s, z in zip(scales, zeros, strict=True)
    ]
    graph = model(
        name,
        [activation(shape, dtype, quantizations[0]), constant(np.array(axes, np.int32))],
        [activation(output, dtype, quantizations[1])],
        "ReducerOptions",
        keep_dims=keep,
    )
    return graph, draw(st.integers(0, 1 << 30))


@pytest.mark.parametrize("name", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
@settings(max_examples=40)
@given(data=st.data())
def test_reductions(name: str, data: st.DataObject) -> None:
    graph, seed = data.draw(reductions(name))
    x = graph.inputs[0]
    special = name.startswith("REDUCE") and x.dtype is FLOAT32
    assert_agrees(
        graph, [values(seed, x.shape, x.dtype, special)], [values(seed + 1, x.shape, x.dtype)]
    )


def test_a_mean_of_many_sums_floats_one_after_the_other() -> None:
    graph = model(
        "MEAN",
        [activation((1, 32, 32, 3), FLOAT32), constant(np.array([1, 2], np.int32))],
        [activation((1, 3), FLOAT32)],
        "ReducerOptions",
    )
    assert_agrees(graph, [values(5, (1, 32, 32, 3), FLOAT32) * np.float32(1e3)])


def test_a_sum_that_overflows_int32_wraps() -> None:
    graph = model(
        "SUM",
        [
            activation((70000,), INT16, quantized(1.0, -32768)),
            constant(np.array([0], np.int32)),
        ],
        [activation((1,), INT16, quantized(65536.0))],
        "ReducerOptions",
        keep_dims=True,
    )
    assert_agrees(graph, [np.full(70000, 32767, np.int16)])


def test_axes_may_be_computed() -> None:
    graph = model(
        "MEAN",
        [activation((3, 3), FLOAT32), activation((1,), INT32)],
        [activation((3,), FLOAT32)],
        "ReducerOptions",
    )
    x = values(1, (3, 3), FLOAT32)
    assert_agrees(graph, [x, np.array([0], np.int32)], [x, np.array([1], np.int32)])


@pytest.mark.parametrize(
    ("name", "dtype", "reason"),
    [
        ("MEAN", INT32, "the input is int32"),
        ("SUM", INT32, "the input is int32"),
        ("REDUCE_MAX", INT16, "the input is int16"),
    ],
)
def test_refused_types(name: str, dtype: DType, reason: str) -> None:
    graph = model(
        name,
        [activation((2, 3), dtype, quantized(1.0)), constant(np.array([1], np.int32))],
        [activation((2,), dtype, quantized(1.0))],
        "ReducerOptions",
    )
    assert_both_refuse(graph, [values(0, (2, 3), dtype)], reason)


def test_a_maximum_does_not_rescale() -> None:
    graph = model(
        "REDUCE_MAX",
        [activation((2, 3), INT8, quantized(1.0)), constant(np.array([1], np.int32))],
        [activation((2,), INT8, quantized(0.5))],
        "ReducerOptions",
    )
    assert_both_refuse(graph, [values(0, (2, 3), INT8)], "differ in scale")


@settings(max_examples=60)
@given(
    largest=st.booleans(),
    dtype=st.sampled_from((INT8, FLOAT32)),
    shape=shapes(),
    axis=st.integers(-4, 3),
    seed=st.integers(0, 1 << 30),
)
def test_arguments_of_extremes(
    largest: bool, dtype: DType, shape: tuple[int, ...], axis: int, seed: int
) -> None:
    axis = axis % len(shape) - (len(shape) if axis < 0 else 0)
    rest = tuple(e for i, e in enumerate(shape) if i != axis % len(shape))
    name, options = ("ARG_MAX", "ArgMaxOptions") if largest else ("ARG_MIN", "ArgMinOptions")
    graph = model(
        name,
        [activation(shape, dtype), constant(np.array([axis], np.int32))],
        [activation(rest, INT32)],
        options,
        output_type="int32",
    )
    first = values(seed, shape, dtype, special=True)
    # Few distinct values make ties.
    ties = (values(seed + 1, shape, INT8) % 3).astype(dtype.numpy)
    assert_agrees(graph, [first], [ties])


def test_a_first_nan_stays_the_maximum() -> None:
    graph = model(
        "ARG_MAX",
        [activation((3,), FLOAT32), constant(np.array(0, np.int32))],
        [activation((), INT32)],
        "ArgMaxOptions",
    )
    nan, infinity = np.nan, np.inf
    assert_agrees(
        graph,
        [np.array([nan, 1, 2], np.float32)],
        [np.array([-infinity, nan, -infinity], np.float32)],
        [np.array([1, nan, 2], np.float32)],
    )


@settings(max_examples=60)
@given(
    dtype=st.sampled_from((INT8, FLOAT32)),
    shape=shapes(),
    axis=st.integers(-4, 3),
    exclusive=st.booleans(),
    reverse=st.booleans(),
    scales=st.tuples(st.floats(2**-10, 2.0, width=32), st.floats(2**-10, 2.0, width=32)),
    zeros=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    seed=st.integers(0, 1 << 30),
)
def test_running_sums(
    dtype: DType,
    shape: tuple[int, ...],
    axis: int,
    exclusive: bool,
    reverse: bool,
    scales: tuple[float, float],
    zeros: tuple[int, int],
    seed: int,
) -> None:
    axis = axis % len(shape) - (len(shape) if axis < 0 else 0)
    quantizations = [
        None if dtype is FLOAT32 else quantized(s, z) for s, z in zip(scales, zeros, strict=True)
    ]
    graph = model(
        "CUMSUM",
        [activation(shape, dtype, quantizations[0]), constant(np.array(axis, np.int32))],
        [activation(shape, dtype, quantizations[1])],
        "CumsumOptions",
        exclusive=exclusive,
        reverse=reverse,
    )
    assert_agrees(graph, [values(seed, shape, dtype)], [values(seed + 1, shape, dtype)])


def test_running_sums_of_other_types_are_refused() -> None:
    graph = model(
        "CUMSUM",
        [activation((4,), INT32), constant(np.array(0, np.int32))],
        [activation((4,), INT32)],
        "CumsumOptions",
    )
    assert_both_refuse(graph, [np.arange(4, dtype=np.int32)], "the input is int32")


def test_reduced_elements_are_those_of_the_axes() -> None:
    """A fact of the mean's definition, apart from any runtime."""
    shape = (2, 3, 4)
    graph = model(
        "MEAN",
        [activation(shape, INT8, quantized(1.0)), constant(np.array([0, 2], np.int32))],
        [activation((3,), INT8, quantized(1.0))],
        "ReducerOptions",
    )
    x = np.arange(math.prod(shape), dtype=np.int8).reshape(shape)
    assert_agrees(graph, [x])
