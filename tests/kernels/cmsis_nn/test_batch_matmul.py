"""Products of matrices of CMSIS-NN: their loops, and whole layers."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mcusim.graph import DType
from mcusim.kernels.cmsis_nn import CASES
from mcusim.kernels.cmsis_nn.batch_matmul_mirror import batch_matmul
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase
from mcusim.kernels.reference.dense import Rescaling, accumulate
from tests.golden_cmsis import GoldenCase, golden_cases
from tests.kernels.cmsis_nn.test_fully_connected import rescaling_of
from tests.kernels.single_operators import assert_golden
from tests.shared import needs_shared

SIMDS = get_args(Simd)


@needs_shared
def test_products_of_matrices_equal_tflite_micro() -> None:
    assert assert_golden("batch_matmul", "cmsis-nn") > 10


@pytest.mark.parametrize("simd", SIMDS)
@pytest.mark.parametrize("case", golden_cases("bmm_s8"), ids=str)
def test_the_loops_compute_the_librarys_outputs(case: GoldenCase, simd: Simd) -> None:
    rescaling = rescaling_of(case, DType.INT8)
    actual, turns, inner = batch_matmul(case.arrays["x1"], case.arrays["x2"], rescaling, simd)
    assert_array_equal(actual, case.output())
    library = LibraryCase(case.id, case.op, case.params, has_bias=False)
    outer_call, inner_call, *_ = CASES["bmm_s8"](library, Configuration(simd))
    assert turns == outer_call.trips
    counted = {k: v for k, v in inner.items() if v and k != "left_shift"}
    assert counted == {k: v for k, v in inner_call.trips.items() if v}


@settings(max_examples=30, deadline=None)
@given(
    outer=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    serves=st.tuples(*[st.booleans()] * 4),
    extents=st.tuples(*[st.integers(1, 4)] * 3),
    dtype=st.sampled_from([DType.INT8, DType.INT16]),
)
def test_an_extent_of_one_serves_all(
    outer: tuple[int, int],
    serves: tuple[bool, bool, bool, bool],
    extents: tuple[int, int, int],
    dtype: DType,
) -> None:
    rows, columns, depth = extents
    left = [1 if one else extent for one, extent in zip(serves[:2], outer, strict=True)]
    right = [
        1 if one and left[i] == extent else extent
        for i, (one, extent) in enumerate(zip(serves[2:], outer, strict=True))
    ]
    rng = np.random.default_rng(sum(extents))
    limits = np.iinfo(dtype.numpy)
    lhs = rng.integers(limits.min, limits.max, (*left, rows, depth), dtype.numpy)
    rhs = rng.integers(limits.min, limits.max, (*right, columns, depth), dtype.numpy)
    is_wide = dtype is DType.INT16
    rescaling = Rescaling(
        0 if is_wide else 5,
        0 if is_wide else -9,
        np.array([1 << 30], np.int32),
        np.array([-12 if is_wide else -6], np.int32),
        0 if is_wide else 3,
        int(limits.min),
        int(limits.max),
        is_wide,
        dtype,
    )
    actual, turns, _ = batch_matmul(lhs, rhs, rescaling, "dsp")
    sums = accumulate(lhs, rhs, None, rescaling.input_offset, rescaling.filter_offset)
    assert_array_equal(actual, rescaling.stored(sums))
    assert turns["matrix"] == outer[0] * outer[1]
