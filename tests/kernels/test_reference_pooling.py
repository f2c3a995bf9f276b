"""Pooling against the TFLite Micro interpreter, and its three views against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.pooling import Pooling, pooling_mirror, typical_long_quotients
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized
from tests.shared import needs_shared

INT8, INT16, FLOAT32 = DType.INT8, DType.INT16, DType.FLOAT32
EXTENT = st.integers(1, 9)
SMALL = st.integers(1, 4)


@dataclass(frozen=True)
class Pool:
    """What a pooling is drawn from; pairs are height and width."""

    name: str
    dtype: DType
    batches: int
    extent: tuple[int, int]
    channels: int
    window: tuple[int, int]
    stride: tuple[int, int]
    same: bool
    fused: str
    zero_point: int

    def graph(self) -> Graph:
        if self.same:
            out = [-(-e // s) for e, s in zip(self.extent, self.stride, strict=True)]
        else:
            sizes = zip(self.extent, self.window, self.stride, strict=True)
            out = [(e - w) // s + 1 for e, w, s in sizes]
        quantization = None
        if self.dtype is not FLOAT32:
            quantization = quantized(0.05, self.zero_point if self.dtype is INT8 else 0)
        return model(
            self.name,
            [activation((self.batches, *self.extent, self.channels), self.dtype, quantization)],
            [activation((self.batches, *out, self.channels), self.dtype, quantization)],
            "Pool2DOptions",
            padding="SAME" if self.same else "VALID",
            stride_h=self.stride[0],
            stride_w=self.stride[1],
            filter_height=self.window[0],
            filter_width=self.window[1],
            fused_activation_function=self.fused,
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batches, *self.extent, self.channels)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    name = draw(st.sampled_from(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")))
    types = (FLOAT32,) if name == "L2_POOL_2D" else (INT8, INT16, FLOAT32)
    pool = Pool(
        name,
        draw(st.sampled_from(types)),
        draw(st.integers(1, 2)),
        (draw(EXTENT), draw(EXTENT)),
        draw(st.integers(1, 5)),
        (draw(EXTENT), draw(EXTENT)),
        (draw(SMALL), draw(SMALL)),
        draw(st.booleans()),
        draw(st.sampled_from(("NONE", "RELU", "RELU6", "RELU_N1_TO_1"))),
        draw(st.integers(-128, 127)),
    )
    fits = all(w <= e for w, e in zip(pool.window, pool.extent, strict=True))
    assume(pool.same or fits)
    return pool


@settings(max_examples=150)
@given(pool=pools(), seed=st.integers(0, 1 << 30), special=st.booleans())
def test_pools(pool: Pool, seed: int, special: bool) -> None:
    special = special and pool.name == "MAX_POOL_2D"
    calls = [[values(seed + c, pool.shape, pool.dtype, special)] for c in (0, 1)]
    assert_agrees(pool.graph(), *calls)


def pool_of(name: str, dtype: DType) -> Pool:
    return Pool(name, dtype, 2, (7, 5), 3, (3, 2), (2, 2), True, "NONE", 0)


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_other_quantization_of_the_output_is_refused(name: str) -> None:
    graph = model(
        name,
        [activation((1, 2, 2, 1), INT8, quantized(0.5))],
        [activation((1, 2, 2, 1), INT8, quantized(0.5, 1))],
        "Pool2DOptions",
        padding="SAME",
        stride_h=1,
        stride_w=1,
        filter_height=1,
        filter_width=1,
    )
    assert_both_refuse(graph, [np.zeros((1, 2, 2, 1), np.int8)], "quantized differently")


@pytest.mark.parametrize(
    ("name", "dtype", "reason"),
    [
        ("AVERAGE_POOL_2D", DType.UINT8, "the input is uint8"),
        ("MAX_POOL_2D", DType.INT32, "the input is int32"),
        ("L2_POOL_2D", INT8, "the input is int8"),
    ],
)
def test_types_that_are_refused(name: str, dtype: DType, reason: str) -> None:
    pool = pool_of(name, dtype)
    assert_both_refuse(pool.graph(), [np.zeros(pool.shape, dtype.numpy)], reason)


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("dtype", [INT8, INT16])
@pytest.mark.parametrize("same", [False, True])
def test_mirror_loops_and_results(name: str, dtype: DType, same: bool) -> None:
    pool = Pool(name, dtype, 2, (7, 5), 3, (3, 2), (2, 1), same, "NONE", 0)
    graph = pool.graph()
    node = graph.main.node(0)
    x = values(3, pool.shape, dtype)
    mirrored, turns = pooling_mirror(Pooling.of(node), x, name == "AVERAGE_POOL_2D")
    np.testing.assert_array_equal(mirrored, Interpreter(graph).invoke(x).outputs[0])
    trips = KERNELS[name].call(node).trips
    assert (turns.batches, turns.rows, turns.pixels) == (
        1 + trips["next_batch"],
        trips["row"],
        trips["pixel"],
    )
    assert (turns.outputs, turns.tap_rows, turns.taps) == (
        trips["output"],
        trips["tap_row"],
        trips["tap"],
    )


def test_divisions_that_soft_float_does_not_cut_short() -> None:
    """Windows of 3 and of 6 elements are divided, those of 1, 2 and 4 are shifted."""
    pool = Pool("AVERAGE_POOL_2D", FLOAT32, 1, (3, 3), 1, (2, 3), (1, 1), True, "NONE", 0)
    trips = KERNELS["AVERAGE_POOL_2D"].call(pool.graph().main.node(0)).trips
    assert trips["division"] == 3
    assert trips["late_tap"] == 2 * 2


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"])
def test_a_window_far_larger_than_the_input(name: str) -> None:
    """As a damaged file may have it: what lies outside costs no time."""
    pool = Pool(name, FLOAT32, 1, (4, 5), 2, (30_001, 3), (1, 1), True, "NONE", 0)
    x = np.random.default_rng(0).normal(size=pool.shape).astype(np.float32)
    assert_agrees(pool.graph(), [x])


def test_sums_of_known_inputs() -> None:
    pool = Pool("AVERAGE_POOL_2D", INT8, 2, (7, 5), 3, (3, 2), (2, 1), True, "NONE", 0)
    graph = pool.graph()
    node = graph.main.node(0)
    x = values(5, pool.shape, INT8)
    known = replace(node, inputs=(replace(node.input(0), data=x),))
    trips = KERNELS["AVERAGE_POOL_2D"].call(known).trips
    (means,) = Interpreter(graph).invoke(x).outputs
    assert trips["long_quotient"] == (np.abs(means.astype(int)) >= 8).sum()
    assert (means < 0).sum() <= trips["negative_sum"] <= (means <= 0).sum()


@pytest.mark.parametrize("count", [1, 4, 9, 49])
def test_typical_quotients_are_the_mean_over_random_windows(count: int) -> None:
    windows = np.random.default_rng(0).integers(-128, 128, (20000, count))
    counted = (np.abs(np.round(windows.mean(axis=1))) >= 8).mean()
    assert typical_long_quotients(count, INT8) == pytest.approx(counted, abs=0.03)


@needs_shared
@pytest.mark.parametrize(("stem", "count"), [("average_pool_2d", 33), ("max_pool_2d", 33)])
def test_recorded_outputs(stem: str, count: int) -> None:
    assert assert_golden(stem) == count
