"""Dense layers of CMSIS-NN against recorded calls of the real library, and their loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn import KERNELS
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, Generation
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.vector_matrix_mirror import (
    vec_mat_mult_t_s4,
    vec_mat_mult_t_s8,
    vec_mat_mult_t_s16,
    vec_mat_mult_t_svdf_s8,
)
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s4_trips,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_s16_trips,
    vec_mat_mult_t_svdf_s8_trips,
)
from mcusim.kernels.reference.dense import Rescaling, accumulate, bind_rows
from tests.golden_cmsis import GoldenCase, golden_cases, old_cases
from tests.kernels.agreement import model
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, constant, quantized
from tests.shared import needs_shared

SIMDS = get_args(Simd)


def rescaling_of(case: GoldenCase, dtype: DType, rounds_once: bool = False) -> Rescaling:
    """Offsets and scales of a recorded call."""
    params = case.params
    multipliers = case.arrays.get("mult", np.array([params.get("mult")]))
    shifts = case.arrays.get("shift", np.array([params.get("shift")]))
    low, high = params["act"]
    return Rescaling(
        params["in_off"],
        params["f_off"],
        multipliers.astype(np.int32),
        shifts.astype(np.int32),
        params["out_off"],
        low,
        high,
        dtype is DType.INT16,
        dtype,
        rounds_once,
    )


def outputs(case: GoldenCase, rescaling: Rescaling) -> Array:
    """What the fast path computes of a recorded dense layer."""
    rows = bind_rows(case.arrays["w"], case.arrays.get("b"), rescaling, rescaling.dtype)
    return rows(case.arrays["x"])


@pytest.mark.parametrize("rounds_once", [False, True])
@pytest.mark.parametrize("case", golden_cases("fc_s8"), ids=str)
def test_dense_int8_equals_the_library(case: GoldenCase, rounds_once: bool) -> None:
    actual = outputs(case, rescaling_of(case, DType.INT8, rounds_once))
    assert_array_equal(actual, case.output(rounds_once).reshape(actual.shape))


@pytest.mark.parametrize("rounds_once", [False, True])
@pytest.mark.parametrize("case", golden_cases("fc_s16"), ids=str)
def test_dense_int16_equals_the_library(case: GoldenCase, rounds_once: bool) -> None:
    actual = outputs(case, rescaling_of(case, DType.INT16, rounds_once))
    assert_array_equal(actual, case.output(rounds_once).reshape(actual.shape))


@pytest.mark.parametrize("rounds_once", [False, True])
@pytest.mark.parametrize("case", golden_cases("bmm_s8"), ids=str)
def test_products_of_matrices_equal_the_library(case: GoldenCase, rounds_once: bool) -> None:
    rescaling = rescaling_of(case, DType.INT8, rounds_once)
    sums = accumulate(
        case.arrays["x1"],
        case.arrays["x2"],
        None,
        rescaling.input_offset,
        rescaling.filter_offset,
    )
    assert_array_equal(rescaling.stored(sums), case.output(rounds_once))


@pytest.mark.parametrize("generation", ["2021", "2022"])
@pytest.mark.parametrize("case", old_cases("fc_s8"), ids=str)
def test_older_libraries_ignore_the_offset_of_the_weights(
    case: GoldenCase, generation: str
) -> None:
    recorded = case.arrays.get(f"y_{generation}.arm_fully_connected_s8")
    expected = case.arrays["y2026"] if recorded is None else recorded
    rescaling = replace(rescaling_of(case, DType.INT8), filter_offset=0)
    actual = outputs(case, rescaling)
    assert_array_equal(actual, expected.reshape(actual.shape))


@pytest.mark.parametrize("simd", SIMDS)
@pytest.mark.parametrize("case", golden_cases("fc_s8")[::6], ids=str)
def test_the_loops_of_int8_compute_the_librarys_outputs(case: GoldenCase, simd: Simd) -> None:
    rescaling, recorded = rescaling_of(case, DType.INT8), case.output()
    bias = case.arrays.get("b")
    rows = case.arrays["x"]
    for row, expected in zip(rows, recorded.reshape(len(rows), -1), strict=True):
        actual, _ = vec_mat_mult_t_s8(
            row.tolist(),
            case.arrays["w"].tolist(),
            None if bias is None else bias.tolist(),
            rescaling,
            simd,
        )
        assert actual == expected.tolist()


def some_product(outputs: int, columns: int, dtype: DType) -> tuple[Array, Array, Rescaling]:
    """A vector, a matrix and scales that saturate little."""
    rng = np.random.default_rng(outputs * 1000 + columns)
    limits = np.iinfo(dtype.numpy)
    lhs = rng.integers(limits.min, limits.max, columns, endpoint=True)
    rhs = rng.integers(-128, 127, (outputs, columns), endpoint=True)
    is_wide = dtype is DType.INT16
    rescaling = Rescaling(
        0 if is_wide else 7,
        0,
        rng.integers(1 << 30, 1 << 31, outputs).astype(np.int32),
        np.full(outputs, rng.integers(-9, 2), np.int32),
        0 if is_wide else -3,
        int(limits.min),
        int(limits.max),
        is_wide,
        dtype,
    )
    return lhs, rhs, rescaling


def unbiased(outputs: int, columns: int) -> VectorByMatrix:
    return VectorByMatrix(outputs, columns, scaling=Scaling(has_bias=False))


def nonzero(turns: Mapping[str, float]) -> dict[str, float]:
    return {level: count for level, count in turns.items() if count}


@settings(max_examples=40, deadline=None)
@given(
    outputs=st.integers(1, 9),
    columns=st.integers(1, 70),
    simd=st.sampled_from(SIMDS),
    generation=st.sampled_from(["2020", "2021", "2026"]),
)
def test_turns_of_the_int8_loops_are_the_formulas(
    outputs: int, columns: int, simd: Simd, generation: Generation
) -> None:
    lhs, rhs, rescaling = some_product(outputs, columns, DType.INT8)
    actual, turns = vec_mat_mult_t_s8(lhs.tolist(), rhs.tolist(), None, rescaling, simd, generation)
    scaling = Scaling.of_shifts(False, rescaling.shifts)
    product = VectorByMatrix(outputs, columns, per_channel=True, scaling=scaling)
    expected = vec_mat_mult_t_s8_trips(1, product, simd, generation)
    assert nonzero(turns) == pytest.approx(nonzero(expected))
    fast = bind_rows(rhs.astype(np.int8), None, rescaling, DType.INT8)(lhs[np.newaxis])
    assert actual == fast[0].tolist()


@settings(max_examples=30, deadline=None)
@given(outputs=st.integers(1, 6), columns=st.integers(1, 40), simd=st.sampled_from(SIMDS))
def test_turns_of_the_int16_loops_are_the_formulas(outputs: int, columns: int, simd: Simd) -> None:
    check_int16(outputs, columns, simd)


@pytest.mark.parametrize("simd", SIMDS)
def test_beyond_512_columns_int16_goes_one_by_one(simd: Simd) -> None:
    check_int16(3, 517, simd)


def check_int16(outputs: int, columns: int, simd: Simd) -> None:
    lhs, rhs, rescaling = some_product(outputs, columns, DType.INT16)
    actual, turns = vec_mat_mult_t_s16(lhs.tolist(), rhs.tolist(), None, rescaling, simd)
    expected = vec_mat_mult_t_s16_trips(1, unbiased(outputs, columns), simd)
    assert nonzero(turns) == nonzero(expected)
    fast = bind_rows(rhs.astype(np.int8), None, rescaling, DType.INT16)(lhs[np.newaxis])
    assert actual == fast[0].tolist()


@settings(max_examples=30, deadline=None)
@given(outputs=st.integers(1, 8), columns=st.integers(1, 50), simd=st.sampled_from(SIMDS))
def test_turns_of_the_svdf_loops_are_the_formulas(outputs: int, columns: int, simd: Simd) -> None:
    lhs, rhs, rescaling = some_product(outputs, columns, DType.INT8)
    actual, turns = vec_mat_mult_t_svdf_s8(lhs.tolist(), rhs.tolist(), rescaling, simd)
    expected = vec_mat_mult_t_svdf_s8_trips(1, VectorByMatrix(outputs, columns), simd)
    assert nonzero(turns) == nonzero(expected)
    fast = bind_rows(rhs.astype(np.int8), None, rescaling, DType.INT8)(lhs[np.newaxis])
    assert actual == fast[0].tolist()


@settings(max_examples=30, deadline=None)
@given(outputs=st.integers(1, 9), columns=st.integers(1, 40), simd=st.sampled_from(SIMDS))
def test_turns_of_the_int4_loops_are_the_formulas(outputs: int, columns: int, simd: Simd) -> None:
    lhs, rhs, rescaling = some_product(outputs, columns, DType.INT8)
    halves = rhs.ravel() >> 4
    pairs = np.append(halves, 0)[: len(halves) + len(halves) % 2].reshape(-1, 2) & 15
    packed = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()
    actual, turns = vec_mat_mult_t_s4(lhs.tolist(), packed, None, rescaling, simd)
    expected = vec_mat_mult_t_s4_trips(1, VectorByMatrix(outputs, columns), simd)
    assert nonzero(turns) == nonzero(expected)
    fast = bind_rows((rhs >> 4).astype(np.int8), None, rescaling, DType.INT8)(lhs[np.newaxis])
    assert actual == fast[0].tolist()


@needs_shared
def test_dense_layers_equal_tflite_micro() -> None:
    assert assert_golden("fully_connected", "cmsis-nn") == 74


def dense(outer: tuple[int, ...], depth: int, zero_point: int = 0) -> Node:
    """An int8 layer with four outputs."""
    rng = np.random.default_rng(depth)
    weights = constant(rng.integers(-9, 9, (4, depth), np.int8), quantized(0.5, zero_point))
    source = activation((*outer, depth), DType.INT8, quantized(0.5, 3))
    output = activation((*outer, 4), DType.INT8, quantized(8.0, 1))
    graph = model(
        "FULLY_CONNECTED",
        [source, weights],
        [output],
        "FullyConnectedOptions",
        keep_num_dims=len(outer) > 1,
    )
    return graph.main.node(0)


@pytest.mark.parametrize(
    ("outer", "depth", "function"),
    [
        ((2,), 8, "arm_fully_connected_s8"),
        ((1, 2), 8, "arm_convolve_1x1_s8_fast"),
        ((1, 2), 7, "arm_fully_connected_s8"),
    ],
)
def test_outputs_of_many_dimensions_run_as_a_convolution(
    outer: tuple[int, ...], depth: int, function: str
) -> None:
    call = KERNELS["FULLY_CONNECTED"].calls(dense(outer, depth), Configuration())[0]
    assert call.kernel == function
    assert function in call.reason


def test_the_convolution_ignores_the_zero_point_of_the_weights() -> None:
    x = np.arange(16, dtype=np.int8).reshape(1, 1, 2, 8)
    plain, moved = dense((1, 2), 8), dense((1, 2), 8, 5)
    kernel = KERNELS["FULLY_CONNECTED"]

    def run(node: Node) -> Array:
        weights = node.input(1).data
        assert weights is not None
        return kernel.bind(node, Configuration())([x, weights[np.newaxis]])[0]

    assert_array_equal(run(moved), run(plain))
    warnings = [w for c in kernel.calls(moved, Configuration()) for w in c.warnings]
    assert any("zero point" in warning for warning in warnings)


def test_2020_writes_every_row_over_the_first() -> None:
    node = dense((3,), 8)
    weights = node.input(1).data
    assert weights is not None
    x = np.arange(24, dtype=np.int8).reshape(1, 3, 8)
    old, new = (
        KERNELS["FULLY_CONNECTED"].bind(node, Configuration("dsp", generation))(
            [x, weights[np.newaxis]]
        )[0]
        for generation in get_args(Generation)[::4]
    )
    assert_array_equal(old[0, 0], new[0, -1])
    assert not old[0, 1:].any()
