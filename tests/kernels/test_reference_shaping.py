"""Operators that reshape, permute, repeat or fill against the TFLite Micro interpreter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, shapes, values
from tests.oracles import activation, constant

INT8, INT16, FLOAT32, INT32, INT64 = (
    DType.INT8,
    DType.INT16,
    DType.FLOAT32,
    DType.INT32,
    DType.INT64,
)
SEEDS = st.integers(0, 1 << 30)


@settings(max_examples=25)
@given(
    dtype=st.sampled_from((INT8, INT16, INT32, FLOAT32)),
    shape=shapes(),
    cut=st.integers(0, 3),
    seed=SEEDS,
)
def test_reshape(dtype: DType, shape: tuple[int, ...], cut: int, seed: int) -> None:
    output = (math.prod(shape[:cut]), math.prod(shape[cut:]))
    graph = model(
        "RESHAPE",
        [activation(shape, dtype), constant(np.array(output, np.int32))],
        [activation(output, dtype)],
        "ReshapeOptions",
        new_shape=output,
    )
    assert_agrees(graph, [values(seed, shape, dtype)], [values(seed + 1, shape, dtype)])


def test_reshape_keeps_the_number_of_elements() -> None:
    graph = model("RESHAPE", [activation((2, 3), INT8)], [activation((7,), INT8)])
    assert_both_refuse(graph, [values(0, (2, 3), INT8)], "6 elements do not fit")


@settings(max_examples=25)
@given(
    dtype=st.sampled_from((INT8, INT16, FLOAT32)),
    shape=st.lists(st.sampled_from((1, 1, 2, 3)), min_size=1, max_size=5).map(tuple),
    named=st.booleans(),
    data=st.data(),
)
def test_squeeze_and_its_opposite(
    dtype: DType, shape: tuple[int, ...], named: bool, data: st.DataObject
) -> None:
    ones = [axis for axis, extent in enumerate(shape) if extent == 1]
    picked = tuple(data.draw(st.lists(st.sampled_from(ones), max_size=3))) if ones else ()
    dropped = set(picked) if named and picked else set(ones)
    output = tuple(e for axis, e in enumerate(shape) if axis not in dropped)
    graph = model(
        "SQUEEZE",
        [activation(shape, dtype)],
        [activation(output, dtype)],
        "SqueezeOptions",
        squeeze_dims=picked if named else (),
    )
    assert_agrees(graph, [values(1, shape, dtype)])
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    place = axis % (len(shape) + 1)
    expanded = (*shape[:place], 1, *shape[place:])
    graph = model(
        "EXPAND_DIMS",
        [activation(shape, dtype), constant(np.array(axis, np.int32))],
        [activation(expanded, dtype)],
        "ExpandDimsOptions",
    )
    assert_agrees(graph, [values(1, shape, dtype)])


def test_expand_dims_of_int32_is_refused() -> None:
    graph = model(
        "EXPAND_DIMS",
        [activation((2,), INT32), constant(np.array(0, np.int32))],
        [activation((1, 2), INT32)],
        "ExpandDimsOptions",
    )
    assert_both_refuse(graph, [np.arange(2, dtype=np.int32)], "the input is int32")


@settings(max_examples=40)
@given(
    dtype=st.sampled_from((INT8, INT16, FLOAT32)),
    shape=shapes(1, 5, 4),
    seed=SEEDS,
    data=st.data(),
)
def test_transpose(dtype: DType, shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    graph = model(
        "TRANSPOSE",
        [activation(shape, dtype), constant(np.array(order, np.int32))],
        [activation([shape[axis] for axis in order], dtype)],
        "TransposeOptions",
    )
    assert_agrees(graph, [values(seed, shape, dtype)], [values(seed + 1, shape, dtype)])


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [((2, 3), INT32, "the input is int32"), ((1, 1, 1, 1, 1, 2), INT8, "more than 5")],
)
def test_transpose_refuses(shape: tuple[int, ...], dtype: DType, reason: str) -> None:
    graph = model(
        "TRANSPOSE",
        [activation(shape, dtype), constant(np.arange(len(shape), dtype=np.int32))],
        [activation(shape, dtype)],
        "TransposeOptions",
    )
    assert_both_refuse(graph, [values(0, shape, dtype)], reason)


@settings(max_examples=15)
@given(shape=shapes(1, 5), dtype=st.sampled_from((INT8, FLOAT32, INT64)))
def test_shape(shape: tuple[int, ...], dtype: DType) -> None:
    graph = model(
        "SHAPE", [activation(shape, dtype)], [activation((len(shape),), INT32)], "ShapeOptions"
    )
    assert_agrees(graph, [values(0, shape, dtype)])


@settings(max_examples=40)
@given(
    dtype=st.sampled_from((INT8, INT16, INT32, INT64, FLOAT32)),
    target=shapes(1, 5, 4),
    index=st.sampled_from((np.int32, np.int64)),
    data=st.data(),
)
def test_broadcast_to(
    dtype: DType, target: tuple[int, ...], index: type[np.signedinteger], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(1, len(target)))
    shape = tuple(data.draw(st.sampled_from((1, extent))) for extent in target[-kept:])
    graph = model(
        "BROADCAST_TO",
        [activation(shape, dtype), constant(np.array(target, index))],
        [activation(target, dtype)],
        "BroadcastToOptions",
    )
    assert_agrees(graph, [values(3, shape, dtype)], [values(4, shape, dtype)])


@settings(max_examples=30)
@given(
    target=shapes(1, 5, 6),
    index=st.sampled_from((INT32, INT64)),
    data=st.data(),
)
def test_broadcast_args(target: tuple[int, ...], index: DType, data: st.DataObject) -> None:
    ones = data.draw(st.tuples(*[st.sampled_from((0, 1, 2))] * len(target)))
    pair = [
        np.array([1 if one == side else e for e, one in zip(target, ones, strict=True)])
        for side in (1, 2)
    ]
    short = pair[1][data.draw(st.integers(0, len(target) - 1)) :]
    graph = model(
        "BROADCAST_ARGS",
        [activation((len(target),), index), activation((len(short),), index)],
        [activation((len(target),), index)],
    )
    both = [a.astype(index.numpy) for a in (pair[0], short)]
    assert_agrees(graph, both, [both[0], np.ones_like(both[1])])


@settings(max_examples=20)
@given(dtype=st.sampled_from((INT8, INT32, FLOAT32)), shape=shapes(), seed=SEEDS)
def test_fill(dtype: DType, shape: tuple[int, ...], seed: int) -> None:
    graph = model(
        "FILL",
        [constant(np.array(shape, np.int32)), activation((), dtype)],
        [activation(shape, dtype)],
        "FillOptions",
    )
    assert_agrees(graph, [values(seed, (), dtype)], [values(seed + 1, (), dtype)])


def test_fill_with_int16_is_refused() -> None:
    graph = model(
        "FILL",
        [constant(np.array([2], np.int32)), activation((), INT16)],
        [activation((2,), INT16)],
        "FillOptions",
    )
    assert_both_refuse(graph, [np.array(1, np.int16)], "the value is int16")


@settings(max_examples=15)
@given(dtype=st.sampled_from((INT8, INT32, INT64, FLOAT32)), shape=shapes())
def test_zeros_like(dtype: DType, shape: tuple[int, ...]) -> None:
    graph = model(
        "ZEROS_LIKE", [activation(shape, dtype)], [activation(shape, dtype)], "ZerosLikeOptions"
    )
    assert_agrees(graph, [values(0, shape, dtype)])


def test_zeros_like_int16_is_refused() -> None:
    graph = model(
        "ZEROS_LIKE", [activation((2,), INT16)], [activation((2,), INT16)], "ZerosLikeOptions"
    )
    assert_both_refuse(graph, [np.zeros(2, np.int16)], "the input is int16")
