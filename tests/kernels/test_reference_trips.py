"""Trip counts of reductions and data movement against the library's loops, walked in Python."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.fixed_point import quantize_multiplier
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.elementwise_call import scaling_carries, typical_values
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
    assert found["axis.compared"] == sum(range(len(axes)))


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
    image = len(shape) == 4 and edges[1] == edges[4] == (0, 0)
    written = 0
    for index in product(*map(range, five)):
        hidden = any(
            not edges[axis][0] <= index[axis] < five[axis] - edges[axis][1] for axis in (0, 1)
        )
        written += hidden or index[4] >= five[4] - edges[4][1]
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
                level = f"{side}_{axis}"
                turns[
                    f"image.{level}" if image else f"{place if axis < 4 else 'element'}.{level}"
                ] += 1
                break
        else:
            turns["image.copied" if image else "element.copied"] += 1
    found = call(
        "PAD",
        [activation(shape, INT8), constant(np.array(pairs, np.int32))],
        [activation(output, INT8)],
        "PadOptions",
    ).trips
    frame = {"image.row", "image.column"}
    told = {
        level: n
        for level, n in found.items()
        if level.startswith(("element.", "far.", "image.")) and level not in frame
    }
    assert {level: n for level, n in told.items() if n} == dict(turns)
    assert turns["element.copied"] + turns["image.copied"] == math.prod(shape)
    # What memset writes of bytes: columns of outer padding, and what is far of the others.
    filled = 16 * found["fill.block16"] + 4 * found["fill.word"] + found["fill.byte"]
    assert filled == written


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
    rows = [found[level] for level in ("row", "row.of_matrix", "row.of_three")]
    assert sorted(rows) == [0, 0, turns["row"]]
    assert found["node"] == turns["node"]
    # Elements lie apart where dimensions behind theirs in the input hold more than one.
    apart = math.prod(shape[order[-1] + 1 :]) > 1
    assert found["element.strided" if apart else "element"] == turns["element"]
    assert found["element" if apart else "element.strided"] == 0


@pytest.mark.parametrize(
    ("shape", "rows", "blocks", "rest"),
    [
        ((3, 28), "short", {}, {}),
        ((3, 29), "wide", {"block": 9}, {"rest": 15}),
        ((3, 53), "wide.longer", {"block.longer": 6, "block.odd": 12}, {"rest.longer": 5}),
    ],
)
def test_long_rows_of_bytes_are_transposed_in_blocks_of_eight(
    shape: tuple[int, ...], rows: str, blocks: dict[str, int], rest: dict[str, int]
) -> None:
    """Of three rows of 53 bytes the first alone starts at a word."""
    trips = call(
        "TRANSPOSE",
        [activation(shape, INT8), constant(np.array([0, 1], np.int32))],
        [activation(shape, INT8)],
        "TransposeOptions",
    ).trips
    assert trips[rows] > 0
    assert trips["element"] == (3 * 28 if rows == "short" else 0)
    for level, turns in (blocks | rest).items():
        assert trips[level] == turns, level


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
    assert trips["row.division_turn"] == turns * out_extent


@settings(max_examples=40)
@given(extent=st.integers(1, 200), out_extent=st.integers(1, 200))
def test_bitwise_division_finds_the_quotient(extent: int, out_extent: int) -> None:
    """The bits that are set are those of the quotient of two significands, to 26 bits more."""
    trips = call(
        "RESIZE_NEAREST_NEIGHBOR",
        [activation((1, extent, 1, 1), INT8), constant(np.array([out_extent, 1], np.int32))],
        [activation((1, out_extent, 1, 1), INT8)],
        "ResizeNearestNeighborOptions",
    ).trips
    one, other = (n << (32 - n.bit_length()) for n in (extent, out_extent))
    below = one < other
    bits = ((one << (27 if below else 26)) // other).bit_count() - (not below)
    assert trips["row.quotient_bit"] == bits * out_extent
    assert trips["row.quotient_below"] == below * out_extent


@pytest.mark.parametrize("ratio", [0.37, 1.9, 0.5])
def test_carries_are_those_of_the_sum_of_middle_products(ratio: float) -> None:
    tensor = activation((256,), INT8, quantized(1.0))
    found = scaling_carries(tensor, typical_values(tensor), ratio)
    multiplier, shift = quantize_multiplier(ratio)
    for x, carries in zip(range(-128, 128), found.tolist(), strict=True):
        low = (x << max(0, shift)) % (1 << 32)
        (a1, a0), (b1, b0) = divmod(low, 1 << 16), divmod(multiplier, 1 << 16)
        # Of the exact product of the low halves, what the sum of 32 bits in the middle loses.
        middle = a1 * b0 + a0 * b1 + (a0 * b0 >> 16)
        assert carries == (middle >= 1 << 32)


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


def test_products_that_carry_are_counted_of_known_operands() -> None:
    """Beside a constant operand and known input, each product carries or does not."""
    x, y = np.array([100, -3, 7], np.int8), np.array([-90, 5, 11], np.int8)
    quantization = quantized(1.0)
    first = replace(activation((3,), INT8, quantization), data=x)
    trips = call(
        "MUL",
        [first, constant(y, quantization)],
        [activation((3,), INT8, quantized(300.0))],
        "MulOptions",
    ).trips
    products = activation((3,), DType.INT32, quantization)
    real = x.astype(np.float64) * y.astype(np.float64)
    assert trips["carried"] == scaling_carries(products, real, 1 / 300).sum()
