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

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Generation
from mcusim.kernels.cmsis_nn.vector_matrix_mirror import (
    vec_mat_mult_t_s8,
    vec_mat_mult_t_s16,
    vec_mat_mult_t_svdf_s8,
)
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_s16_trips,
    vec_mat_mult_t_svdf_s8_trips,
)
from mcusim.kernels.reference.dense import Rescaling, accumulate, bind_rows
from tests.golden_cmsis import GoldenCase, golden_cases, old_cases

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
        rng.integers(-9, 2, outputs).astype(np.int32),
        0 if is_wide else -3,
        int(limits.min),
        int(limits.max),
        is_wide,
        dtype,
    )
    return lhs, rhs, rescaling


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
    left = float(np.mean(rescaling.shifts > 0))
    product = VectorByMatrix(outputs, columns, per_channel=True, left=left)
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
    expected = vec_mat_mult_t_s16_trips(1, VectorByMatrix(outputs, columns), simd)
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
