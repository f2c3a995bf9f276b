"""Operators that join, cut and pick against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Tensor
from mcusim.interpreter import Interpreter
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, shapes, values
from tests.oracles import activation, constant, quantized

INT8, INT16, FLOAT32, INT32, INT64, BOOL = (
    DType.INT8,
    DType.INT16,
    DType.FLOAT32,
    DType.INT32,
    DType.INT64,
    DType.BOOL,
)
SEEDS = st.integers(0, 1 << 30)
FOUR_TYPES = (INT8, INT16, INT32, FLOAT32)


def resized(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])


@settings(max_examples=50)
@given(
    dtype=st.sampled_from((*FOUR_TYPES, INT64, BOOL)),
    shape=shapes(1, 5, 4),
    extents=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    first_is_constant=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_concatenation(
    dtype: DType,
    shape: tuple[int, ...],
    extents: list[int],
    first_is_constant: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    place = axis % len(shape)
    parts = [resized(shape, place, extent) for extent in extents]
    tensors = [activation(part, dtype) for part in parts]
    fixed = first_is_constant and len(parts) > 1
    if fixed:
        tensors[0] = constant(values(seed, parts[0], dtype))
    graph = model(
        "CONCATENATION",
        tensors,
        [activation(resized(shape, place, sum(extents)), dtype)],
        "ConcatenationOptions",
        axis=axis,
    )
    calls = [
        [values(seed + call + i, part, dtype) for i, part in enumerate(parts[fixed:])]
        for call in (1, 2)
    ]
    assert_agrees(graph, *calls)


@pytest.mark.parametrize(
    ("dtype", "scales", "activation_name", "reason"),
    [
        (INT8, (0.5, 0.25), "NONE", "differs from the output in scale"),
        (INT8, (0.5, 0.5), "RELU", "fused activation"),
        (DType.UINT8, (0.5, 0.5), "NONE", "the input is uint8"),
    ],
)
def test_concatenation_refuses(
    dtype: DType, scales: tuple[float, float], activation_name: str, reason: str
) -> None:
    graph = model(
        "CONCATENATION",
        [activation((2,), dtype, quantized(scale)) for scale in scales],
        [activation((4,), dtype, quantized(0.5))],
        "ConcatenationOptions",
        fused_activation_function=activation_name,
    )
    assert_both_refuse(graph, [values(0, (2,), dtype)] * 2, reason)


def test_more_than_ten_inputs_are_refused() -> None:
    graph = model(
        "CONCATENATION",
        [activation((1,), INT8)] * 11,
        [activation((11,), INT8)],
        "ConcatenationOptions",
    )
    assert_both_refuse(graph, [np.zeros(1, np.int8)] * 11, "more than 10")


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(FOUR_TYPES),
    shape=shapes(1, 4, 4),
    pieces=st.integers(1, 4),
    seed=SEEDS,
    data=st.data(),
)
def test_split(
    dtype: DType, shape: tuple[int, ...], pieces: int, seed: int, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    whole = resized(shape, axis % len(shape), shape[axis] * pieces)
    graph = model(
        "SPLIT",
        [constant(np.array(axis, np.int32)), activation(whole, dtype)],
        [activation(shape, dtype)] * pieces,
        "SplitOptions",
        num_splits=pieces,
    )
    assert_agrees(graph, [values(seed, whole, dtype)], [values(seed + 1, whole, dtype)])
    extents = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    whole = resized(shape, axis % len(shape), sum(extents))
    graph = model(
        "SPLIT_V",
        [
            activation(whole, dtype),
            constant(np.array(extents, np.int32)),
            constant(np.array(axis, np.int32)),
        ],
        [activation(resized(shape, axis % len(shape), e), dtype) for e in extents],
        "SplitVOptions",
        num_splits=len(extents),
    )
    assert_agrees(graph, [values(seed, whole, dtype)], [values(seed + 1, whole, dtype)])


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(FOUR_TYPES),
    shape=shapes(0, 4, 4),
    count=st.integers(1, 4),
    seed=SEEDS,
    data=st.data(),
)
def test_pack_and_unpack(
    dtype: DType, shape: tuple[int, ...], count: int, seed: int, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    place = axis % (len(shape) + 1)
    packed = (*shape[:place], count, *shape[place:])
    graph = model(
        "PACK",
        [activation(shape, dtype)] * count,
        [activation(packed, dtype)],
        "PackOptions",
        values_count=count,
        axis=axis,
    )
    calls = [[values(seed + c + i, shape, dtype) for i in range(count)] for c in (0, 10)]
    assert_agrees(graph, *calls)
    graph = model(
        "UNPACK",
        [activation(packed, dtype)],
        [activation(shape, dtype)] * count,
        "UnpackOptions",
        num=count,
        axis=axis,
    )
    assert_agrees(graph, [values(seed, packed, dtype)], [values(seed + 1, packed, dtype)])


@settings(max_examples=40)
@given(
    dtype=st.sampled_from((*FOUR_TYPES, BOOL)),
    shape=shapes(1, 5, 5),
    index=st.sampled_from((np.int32, np.int64)),
    computed=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_slice(
    dtype: DType,
    shape: tuple[int, ...],
    index: type[np.signedinteger],
    computed: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    starts = [data.draw(st.integers(0, extent - 1)) for extent in shape]
    sizes = [
        data.draw(st.sampled_from((-1, data.draw(st.integers(1, extent - start)))))
        for extent, start in zip(shape, starts, strict=True)
    ]
    output = [
        extent - start if size == -1 else size
        for extent, start, size in zip(shape, starts, sizes, strict=True)
    ]
    cut = [np.array(starts, index), np.array(sizes, index)]
    tensors = [
        activation((len(shape),), DType(c.dtype.name)) if computed else constant(c) for c in cut
    ]
    graph = model(
        "SLICE",
        [activation(shape, dtype), *tensors],
        [activation(output, dtype)],
        "SliceOptions",
    )
    more = cut if computed else []
    assert_agrees(
        graph, [values(seed, shape, dtype), *more], [values(seed + 1, shape, dtype), *more]
    )


def strided(
    shape: tuple[int, ...],
    cut: list[tuple[int, int, int]],
    masks: tuple[int, int, int],
    output: list[int],
    dtype: DType,
) -> list[Tensor | None]:
    return [
        activation(shape, dtype),
        *(constant(np.array(column, np.int32)) for column in zip(*cut, strict=True)),
    ]


@settings(max_examples=120)
@given(
    dtype=st.sampled_from((*FOUR_TYPES, BOOL)),
    shape=shapes(1, 4, 6),
    masks=st.tuples(*[st.integers(0, 15)] * 3),
    offset=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_strided_slice(
    dtype: DType,
    shape: tuple[int, ...],
    masks: tuple[int, int, int],
    offset: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    begin_mask, end_mask, shrink_mask = masks
    cut = [
        (
            data.draw(st.integers(-extent - 1, extent + 1)),
            data.draw(st.integers(-extent - 1, extent + 1)),
            data.draw(st.sampled_from((1, 1, 2, 3, -1, -2))),
        )
        for extent in shape
    ]
    output = []
    for axis, (extent, (begin, end, stride)) in enumerate(zip(shape, cut, strict=True)):
        first = None if begin_mask >> axis & 1 else begin
        last = None if end_mask >> axis & 1 else end
        if shrink_mask >> axis & 1:
            start = slice(first, None, stride).indices(extent)[0]
            # Beyond the end or backwards, TFLM writes nothing: its output is what was there.
            assume(start < extent and stride > 0)
            continue
        output.append(len(range(*slice(first, last, stride).indices(extent))))
    assume(all(output))
    graph = model(
        "STRIDED_SLICE",
        strided(shape, cut, masks, output, dtype),
        [activation(output, dtype)],
        "StridedSliceOptions",
        begin_mask=begin_mask,
        end_mask=end_mask,
        shrink_axis_mask=shrink_mask,
        offset=offset,
    )
    assert_agrees(graph, [values(seed, shape, dtype)], [values(seed + 1, shape, dtype)])


@pytest.mark.parametrize(
    ("shape", "output", "reason"),
    [((4,), (3,), r"the output is \(3,\)"), ((1, 1, 1, 1, 4), (1, 1, 1, 1, 2), "more than 4")],
)
def test_strided_slice_refuses(
    shape: tuple[int, ...], output: tuple[int, ...], reason: str
) -> None:
    cut = [(0, 1, 1)] * (len(shape) - 1) + [(0, 2, 1)]
    graph = model(
        "STRIDED_SLICE",
        strided(shape, cut, (0, 0, 0), list(output), INT8),
        [activation(output, INT8)],
        "StridedSliceOptions",
    )
    assert_both_refuse(graph, [values(0, shape, INT8)], reason)


@settings(max_examples=50)
@given(
    dtype=st.sampled_from((INT8, FLOAT32)),
    shape=shapes(1, 4, 4),
    position_shape=shapes(0, 3, 4),
    computed=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_gather(
    dtype: DType,
    shape: tuple[int, ...],
    position_shape: tuple[int, ...],
    computed: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    place = axis % len(shape)
    batch = data.draw(st.integers(0, min(place, len(position_shape))))
    position_shape = shape[:batch] + position_shape[batch:]
    assume(computed or position_shape)
    output = (*shape[:place], *position_shape[batch:], *shape[place + 1 :])
    picks = [
        np.random.default_rng(seed + c).integers(0, shape[place], position_shape, np.int32)
        for c in (0, 1)
    ]
    graph = model(
        "GATHER",
        [
            activation(shape, dtype),
            activation(position_shape, INT32) if computed else constant(picks[0]),
        ],
        [activation(output, dtype)],
        "GatherOptions",
        axis=axis,
        batch_dims=batch,
    )
    calls = [[values(seed + c, shape, dtype), *([picks[c]] if computed else [])] for c in (0, 1)]
    assert_agrees(graph, *calls)


@settings(max_examples=40)
@given(
    dtype=st.sampled_from((INT8, FLOAT32)),
    shape=shapes(1, 4, 4),
    leading=shapes(0, 2, 3),
    seed=SEEDS,
    data=st.data(),
)
def test_gather_nd(
    dtype: DType, shape: tuple[int, ...], leading: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    depth = data.draw(st.integers(1, len(shape)))
    random = np.random.default_rng(seed)
    picks = [random.integers(0, shape[:depth], (*leading, depth), dtype=np.int32) for _ in range(2)]
    graph = model(
        "GATHER_ND",
        [activation(shape, dtype), activation((*leading, depth), INT32)],
        [activation((*leading, *shape[depth:]), dtype)],
        "GatherNdOptions",
    )
    assert_agrees(
        graph, [values(seed, shape, dtype), picks[0]], [values(seed + 1, shape, dtype), picks[1]]
    )


def test_an_index_out_of_bounds_is_refused() -> None:
    graph = model(
        "GATHER_ND",
        [activation((2, 3), INT8), activation((1, 2), INT32)],
        [activation((1,), INT8)],
        "GatherNdOptions",
    )
    x = values(0, (2, 3), INT8)
    assert_both_refuse(graph, [x, np.array([[2, 0]], np.int32)], "out of bounds")
    # Only the place in memory is checked: one beyond the first row is the second row's start.
    assert_agrees(graph, [x, np.array([[0, 3]], np.int32)])


def test_a_position_out_of_range_is_an_error() -> None:
    """TFLM reads whatever lies there; mcusim says so instead."""
    graph = model(
        "GATHER",
        [activation((3,), INT8), activation((1,), INT32)],
        [activation((1,), INT8)],
        "GatherOptions",
    )
    with pytest.raises(UnsupportedOperatorError, match=r"GATHER.*not among the 3"):
        Interpreter(graph).invoke([np.zeros(3, np.int8), np.array([3], np.int32)])


@pytest.mark.parametrize("name", ["GATHER", "GATHER_ND"])
def test_gathering_int16_is_refused(name: str) -> None:
    graph = model(
        name,
        [activation((3,), INT16), activation((1,), INT32)],
        [activation((1,) if name == "GATHER" else (), INT16)],
        "GatherOptions" if name == "GATHER" else "GatherNdOptions",
    )
    assert_both_refuse(graph, [np.zeros(3, np.int16), np.zeros(1, np.int32)], "int16")
