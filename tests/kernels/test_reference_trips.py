"""Trip counts of reductions and data movement against the library's loops, walked in Python."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference import KERNELS
from tests.kernels.agreement import model, shapes
from tests.oracles import activation, constant, quantized

INT8, INT32 = DType.INT8, DType.INT32


def call(name: str, *arguments: object, **options: object) -> KernelCall:
    graph = model(name, *arguments, **options)  # type: ignore[arg-type]
    return KERNELS[name].call(graph.main.node(0))


def walk_reduce(x: np.ndarray, axes: list[int]) -> tuple[Counter[str], dict[int, int]]:
    """``reference_ops::Reduce`` with ``ReducedOutputOffset`` and ``NextIndex``: turns and sums."""
    turns: Counter[str] = Counter()
    sums: dict[int, int] = {}
    rank, flat = x.ndim, x.reshape(-1)
    index = [0] * rank
    place = 0
    while True:
        turns["element"] += 1
        offset = 0
        for dimension in range(rank):
            turns["element.dimension"] += 1
            is_axis = False
            for axis in axes:
                turns["element.axis"] += 1
                if axis == dimension:
                    is_axis = True
                    break
            if not is_axis:
                turns["element.kept"] += 1
                offset = offset * x.shape[dimension] + index[dimension]
        sums[offset] = sums.get(offset, 0) + int(flat[place])
        place += 1
        for dimension in reversed(range(rank)):
            if index[dimension] + 1 < x.shape[dimension]:
                index[dimension] += 1
                break
            index[dimension] = 0
            turns["element.wrap"] += dimension > 0
        else:
            return turns, sums


@settings(max_examples=60)
@given(shape=shapes(1, 4, 4), data=st.data())
def test_reductions_turn_as_the_library_does(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = data.draw(
        st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True)
    )
    kept = [e for axis, e in enumerate(shape) if axis not in axes]
    x = np.arange(math.prod(shape)).reshape(shape)
    turns, sums = walk_reduce(x, axes)
    np.testing.assert_array_equal(
        [sums[i] for i in range(len(sums))], x.sum(axis=tuple(axes)).reshape(-1)
    )
    found = call(
        "MEAN",
        [activation(shape, INT8, quantized(1.0)), constant(np.array(axes, np.int32))],
        [activation(kept, INT8, quantized(1.0))],
        "ReducerOptions",
    ).trips
    assert found["output"] == len(sums)
    for level in ("element", "element.dimension", "element.axis", "element.kept", "element.wrap"):
        assert found[level] == turns[level], level
    assert found["element.last_reduced"] == x.size * (len(shape) - 1 in axes)


@settings(max_examples=60)
@given(shape=shapes(1, 4, 4), data=st.data())
def test_padding_tells_elements_where_the_library_does(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    pairs = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    output = tuple(a + n + b for n, (a, b) in zip(shape, pairs, strict=True))
    five = (1,) * (5 - len(shape)) + output
    edges = [(0, 0)] * (5 - len(shape)) + pairs
    turns: Counter[str] = Counter()
    for index in product(*map(range, five)):
        # Behind the input's depth an element of an outer padding is written without a look.
        place = "element" if index[4] < five[4] - edges[4][1] else "far"
        for axis, (before, after) in enumerate(edges):
            side = (
                "below"
                if index[axis] < before
                else "beyond"
                if index[axis] >= five[axis] - after
                else ""
            )
            if side:
                turns[f"{place if axis < 4 else 'element'}.{side}_{axis}"] += 1
                break
        else:
            turns["element.copied"] += 1
    found = call(
        "PAD",
        [activation(shape, INT8), constant(np.array(pairs, np.int32))],
        [activation(output, INT8)],
        "PadOptions",
    ).trips
    told = {level: n for level, n in found.items() if level.startswith(("element.", "far."))}
    assert {level: n for level, n in told.items() if n} == dict(turns)
    assert turns["element.copied"] == math.prod(shape)


@settings(max_examples=40)
@given(shape=shapes(2, 4, 5), data=st.data())
def test_transposition_calls_itself_as_the_library_does(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    output = [shape[axis] for axis in order]
    turns: Counter[str] = Counter()

    def walk(depth: int) -> None:
        if depth == len(output) - 1:
            turns["row"] += 1
            turns["element"] += output[depth]
            return
        turns["node"] += depth > 0
        for _ in range(output[depth]):
            walk(depth + 1)

    walk(0)
    found = call(
        "TRANSPOSE",
        [activation(shape, INT8), constant(np.array(order, np.int32))],
        [activation(output, INT8)],
        "TransposeOptions",
    ).trips
    for level in ("row", "node", "element"):
        assert found[level] == turns[level], level
    assert found["element.strided"] == (turns["element"] if order[-1] != len(shape) - 1 else 0)


def test_joining_copies_each_input_once_for_each_outer_index() -> None:
    trips = call(
        "CONCATENATION",
        [activation((4, 3), INT8), activation((4, 64), INT8)],
        [activation((4, 67), INT8)],
        "ConcatenationOptions",
        axis=1,
    ).trips
    assert (trips["outer"], trips["segment"]) == (4, 8)
    # Beside five shapes: the first copy of all, and the last, to 3 * 67 + 3 = 204, start at words.
    assert trips["copy.aligned"] == 5 + 2
    assert trips["copy.unaligned"] == 3
    assert trips["copy.bytewise"] == 3 * 64 + 3 * 3


@pytest.mark.parametrize(
    ("extent", "out_extent", "align", "turns"),
    [(4, 8, False, 0), (4, 6, False, 6), (6, 12, False, 1), (5, 9, True, 0), (13, 5, True, 0)],
)
def test_soft_division_ends_when_nothing_is_left(
    extent: int, out_extent: int, align: bool, turns: int
) -> None:
    trips = call(
        "RESIZE_NEAREST_NEIGHBOR",
        [activation((1, extent, 1, 1), INT8), constant(np.array([out_extent, 1], np.int32))],
        [activation((1, out_extent, 1, 1), INT8)],
        "ResizeNearestNeighborOptions",
        align_corners=align,
    ).trips
    assert trips["coordinate.division_turn"] == turns * out_extent


def test_the_largest_so_far_is_rarely_beaten() -> None:
    """In random order the i-th value is a new maximum once in i times."""
    trips = call(
        "ARG_MAX",
        [activation((1, 4), INT8), constant(np.array([1], np.int32))],
        [activation((1,), INT32)],
        "ArgMaxOptions",
    ).trips
    orders = list(permutations(range(4)))
    moves = sum(sum(p[i] > max(p[:i]) for i in range(1, 4)) for p in orders) / len(orders)
    assert trips["element.moves"] == pytest.approx(moves)
