"""BATCH_MATMUL against the TFLite Micro interpreter, and its three views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph, Quantization
from mcusim.interpreter import Interpreter
from mcusim.kernels.fixed_point import quantize_multiplier
from mcusim.kernels.reference.batch_matmul import MatmulShape, batch_matmul_mirror, trips
from mcusim.kernels.reference.dense import Rescaling
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, constant, quantized
from tests.shared import needs_shared

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32
EXTENT = st.integers(1, 5)


@dataclass(frozen=True)
class Product:
    """What a product of matrices is drawn from."""

    dtype: DType
    outer_left: tuple[int, ...]
    outer_right: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    adj_x: bool
    adj_y: bool
    zeros: tuple[int, int, int] = (0, 0, 0)
    scale: float = 0.05

    @property
    def left(self) -> tuple[int, ...]:
        last = (self.rows, self.depth)
        return (*self.outer_left, *(last[::-1] if self.adj_x else last))

    @property
    def right(self) -> tuple[int, ...]:
        last = (self.depth, self.columns)
        return (*self.outer_right, *(last[::-1] if self.adj_y else last))

    def graph(self, seed: int | None = None) -> Graph:
        """The model; with a seed the right tensor is a constant."""
        outer = np.broadcast_shapes(self.outer_left, self.outer_right)
        quantizations: list[Quantization | None] = [None, None, None]
        if self.dtype is not FLOAT32:
            zeros = self.zeros if self.dtype is INT8 else (0, 0, 0)
            scales = (0.02, 0.03, self.scale)
            quantizations = [quantized(s, z) for s, z in zip(scales, zeros, strict=True)]
        right = activation(self.right, self.dtype, quantizations[1])
        if seed is not None:
            right = constant(values(seed, self.right, self.dtype), quantizations[1])
        return model(
            "BATCH_MATMUL",
            [activation(self.left, self.dtype, quantizations[0]), right],
            [activation((*outer, self.rows, self.columns), self.dtype, quantizations[2])],
            "BatchMatMulOptions",
            adj_x=self.adj_x,
            adj_y=self.adj_y,
        )


@st.composite
def products(draw: st.DrawFn) -> Product:
    outer = draw(st.lists(st.integers(1, 3), max_size=3))
    sides = []
    for _ in range(2):
        kept = outer[draw(st.integers(0, len(outer))) :]
        sides.append(tuple(1 if draw(st.booleans()) and draw(st.booleans()) else e for e in kept))
    return Product(
        draw(st.sampled_from((INT8, INT16, FLOAT32))),
        sides[0],
        sides[1],
        draw(EXTENT),
        draw(EXTENT),
        draw(EXTENT),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.tuples(*[st.integers(-128, 127)] * 3)),
        draw(st.sampled_from((0.001, 0.05, 3.0))),
    )


@settings(max_examples=150)
@given(product=products(), fixed=st.booleans(), seed=st.integers(0, 1 << 30))
def test_products(product: Product, fixed: bool, seed: int) -> None:
    calls = [
        [values(seed + 2 * c, product.left, product.dtype)]
        + ([] if fixed else [values(seed + 2 * c + 1, product.right, product.dtype)])
        for c in (0, 1)
    ]
    assert_agrees(product.graph(seed + 9 if fixed else None), *calls)


@pytest.mark.parametrize(
    ("left", "right", "output", "reason"),
    [
        ((2, 3), (4, 2), (2, 2), "rows of 3 elements, columns of 4"),
        ((2, 2, 3), (3, 3, 2), (2, 2, 2), "does not broadcast"),
        ((2, 3), (3, 2), (2, 3), "the output has shape"),
        ((3,), (3, 2), (2,), "the left tensor has 1 dimensions"),
    ],
)
def test_shapes_that_are_refused(
    left: tuple[int, ...], right: tuple[int, ...], output: tuple[int, ...], reason: str
) -> None:
    graph = model(
        "BATCH_MATMUL",
        [activation(left, FLOAT32), activation(right, FLOAT32)],
        [activation(output, FLOAT32)],
        "BatchMatMulOptions",
    )
    inputs = [np.zeros(left, np.float32), np.zeros(right, np.float32)]
    assert_both_refuse(graph, inputs, reason)


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ((FLOAT32, INT8, FLOAT32), "have two types, float32 and int8"),
        ((INT8, INT8, DType.INT32), "have two types, int8 and int32"),
        ((DType.UINT8, DType.UINT8, DType.UINT8), "the left tensor is uint8"),
        ((INT16, INT16, INT16), "has a zero point"),
    ],
)
def test_types_that_are_refused(types: tuple[DType, DType, DType], reason: str) -> None:
    left, right, output = (activation((2, 2), t, quantized(0.5, 1)) for t in types)
    graph = model("BATCH_MATMUL", [left, right], [output], "BatchMatMulOptions")
    inputs = [np.zeros((2, 2), t.numpy) for t in types[:2]]
    assert_both_refuse(graph, inputs, reason)


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("outer_right", [(), (1,), (2,)])
def test_mirror_loops_and_results(adj_x: bool, adj_y: bool, outer_right: tuple[int, ...]) -> None:
    product = Product(INT8, (2,), outer_right, 3, 4, 5, adj_x, adj_y, (3, -4, 7))
    graph = product.graph()
    node = graph.main.node(0)
    scales = [float(np.float32(scale)) for scale in (0.02, 0.03, 0.05)]
    multiplier, shift = quantize_multiplier(scales[0] * scales[1] / scales[2])
    rescaling = Rescaling(
        -3, 4, np.array([multiplier], np.int32), np.array([shift], np.int32), 7, -128, 127,
        False, INT8,
    )  # fmt: skip
    left, right = values(0, product.left, INT8), values(1, product.right, INT8)
    shape = MatmulShape.of(node)
    mirrored, turns = batch_matmul_mirror(shape, left, right, rescaling)
    np.testing.assert_array_equal(mirrored, Interpreter(graph).invoke([left, right]).outputs[0])
    levels = trips(shape)
    assert (turns.matrices, turns.rows, turns.outputs, turns.products) == (
        levels["matrix"],
        levels["row"],
        levels["output"],
        levels["product"],
    )
    of = {
        level.removeprefix("transposed."): n
        for level, n in levels.items()
        if level.startswith("transposed.")
    }
    rows = of["row"] + of["row.of_matrix"] + of["row.of_three"]
    assert turns.transposed_rows == rows == of["short"] + of["short.strided"]
    assert turns.transposed == of["element"] + of["element.strided"]


@needs_shared
def test_recorded_outputs() -> None:
    assert assert_golden("batch_matmul") == 15
