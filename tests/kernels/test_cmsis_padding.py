"""PAD and TRANSPOSE of CMSIS-NN: mirrors, formulas and what the library gets wrong."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import copy_trips
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.padding import KERNELS as PAD
from mcusim.kernels.cmsis_nn.padding import Padding, pad_mirror, pad_trips
from mcusim.kernels.cmsis_nn.transposition import KERNELS as TRANSPOSE
from mcusim.kernels.cmsis_nn.transposition import transpose_mirror, transpose_trips
from tests.kernels.agreement import model, values
from tests.oracles import activation, constant, quantized

SIMDS: tuple[Simd, ...] = ("none", "dsp", "mve")
EDGE = st.integers(0, 3)


def pad_node(shape: tuple[int, ...], edges: list[list[int]]) -> Node:
    out = tuple(b + n + a for n, (b, a) in zip(shape, edges, strict=True))
    scale = quantized(0.5, -3)
    inputs: list[Tensor | None] = [
        activation(shape, DType.INT8, scale),
        constant(np.array(edges, np.int32)),
    ]
    graph = model("PAD", inputs, [activation(out, DType.INT8, scale)], "PadOptions")
    return graph.main.node(0)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    edges=st.lists(st.tuples(EDGE, EDGE), min_size=4, max_size=4),
    seed=st.integers(0, 999),
)
def test_padding(shape: tuple[int, ...], edges: list[tuple[int, int]], seed: int) -> None:
    used = [list(pair) for pair in edges[: len(shape)]]
    node = pad_node(shape, used)
    x = values(seed, shape, DType.INT8)
    expected = np.pad(x, used, constant_values=-3)
    out, turns = pad_mirror(Padding.of(node), x, -3)
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)
    (found,) = PAD[0].bind(node, Configuration())([x[np.newaxis], np.array([used], np.int32)])
    np.testing.assert_array_equal(found[0], expected)
    assert pad_trips(Padding.of(node), "dsp") == turns


def test_copies_of_padding_are_counted_by_address() -> None:
    """Two rows of 3 bytes go to 1 and to 6 of an output of rows of 5."""
    node = pad_node((2, 3), [[0, 0], [1, 1]])
    memcpy = PAD[0].calls(node, Configuration())[1]
    copied = copy_trips({(3, 0, 1): 1, (3, 3, 2): 1, (8, 0, 0): 1})
    assert memcpy.kernel == "memcpy"
    assert {k: memcpy.trips[k] for k in copied} == copied


def test_paddings_that_the_library_cannot_do_are_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="negative"):
        PAD[0].bind(pad_node((4, 4), [[0, 0], [-1, 0]]), Configuration())
    five = pad_node((2, 1, 2, 2, 2), [[0, 0], [0, 0], [0, 0], [1, 1], [0, 0]])
    with pytest.raises(UnsupportedOperatorError, match="five dimensions"):
        PAD[0].bind(five, Configuration())
    assert "wrong outputs" in PAD[0].calls(five, Configuration())[0].warnings[0]


def transpose_node(shape: tuple[int, ...], order: tuple[int, ...]) -> Node:
    out = tuple(shape[axis] for axis in order)
    inputs: list[Tensor | None] = [
        activation(shape, DType.INT8, quantized(0.5)),
        constant(np.array(order, np.int32)),
    ]
    graph = model(
        "TRANSPOSE", inputs, [activation(out, DType.INT8, quantized(0.5))], "TransposeOptions"
    )
    return graph.main.node(0)


@pytest.mark.parametrize("simd", SIMDS)
@pytest.mark.parametrize(
    ("shape", "order"),
    [(s, p) for s in ((6,), (3, 5), (2, 3, 4), (2, 3, 5, 8)) for p in permutations(range(len(s)))],
    ids=str,
)
def test_transposition(shape: tuple[int, ...], order: tuple[int, ...], simd: Simd) -> None:
    """Right wherever the library warns of nothing; where it is wrong, wrong in the same way."""
    node = transpose_node(shape, order)
    x = values(1, shape, DType.INT8)
    output = tuple(shape[axis] for axis in order)
    mirrored, turns = transpose_mirror(x, order, output, simd)
    order_given = np.array([order], np.int32)
    (found,) = TRANSPOSE[0].bind(node, Configuration(simd))([x[np.newaxis], order_given])
    np.testing.assert_array_equal(found[0], mirrored)
    warnings = TRANSPOSE[0].calls(node, Configuration(simd))[0].warnings
    assert bool(warnings) != np.array_equal(mirrored, x.transpose(order))
    assert transpose_trips(shape, order, simd) == turns


def test_a_matrix_left_as_it_is_comes_out_transposed() -> None:
    """``arm_transpose_s8`` does not look at the order of two dimensions."""
    node = transpose_node((2, 3), (0, 1))
    x = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
    (found,) = TRANSPOSE[0].bind(node, Configuration())([x, np.array([[0, 1]], np.int32)])
    np.testing.assert_array_equal(found[0], [[0, 3, 1], [4, 2, 5]])
