"""SVDF of CMSIS-NN against recorded calls of the real library."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mcusim.graph import DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.svdf import svdf, trips
from mcusim.kernels.cmsis_nn.svdf_mirror import svdf_mirror
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_svdf_s8_trips,
)
from mcusim.kernels.reference.svdf import SvdfParameters, SvdfShape
from tests.golden_cmsis import GoldenCase, golden_cases
from tests.kernels.single_operators import assert_golden
from tests.shared import needs_shared


@pytest.mark.parametrize("rounds_once", [False, True])
@pytest.mark.parametrize("case", golden_cases("svdf_s8"), ids=str)
def test_svdf_equals_the_library(case: GoldenCase, rounds_once: bool) -> None:
    params, arrays = case.params, case.arrays
    shape = SvdfShape(
        params["batches"],
        params["input"],
        params["units"] * params["rank"],
        params["memory"],
        params["rank"],
    )
    parameters = SvdfParameters(
        (params["m1"], params["s1"]),
        (params["m2"], params["s2"]),
        params["in_zp"],
        0,
        params["out_zp"],
        DType.INT8,
    )
    tensors = (arrays["x"], arrays["wf"], arrays["wt"], arrays.get("b"), arrays["state"])
    x, feature, time, bias, state = (None if a is None else a[np.newaxis] for a in tensors)
    assert x is not None
    assert feature is not None
    assert time is not None
    assert state is not None
    low, high = params["in_act"]
    actual, moved = svdf(
        shape,
        parameters,
        (x, feature, time, bias, state),
        Configuration(single_rounding=rounds_once),
        (low, high),
    )
    assert_array_equal(actual[0], case.output(rounds_once).reshape(actual[0].shape))
    if not rounds_once:
        assert_array_equal(moved[0], arrays["state_out"].reshape(moved[0].shape))


@needs_shared
def test_svdf_layers_equal_tflite_micro() -> None:
    assert assert_golden("svdf", "cmsis-nn") == 14


@settings(max_examples=40, deadline=None)
@given(
    extents=st.tuples(*(st.integers(1, limit) for limit in (2, 20, 5, 9, 3))),
    state_type=st.sampled_from([DType.INT8, DType.INT16]),
    simd=st.sampled_from(get_args(Simd)),
)
def test_the_loops_compute_the_fast_paths_outputs_in_as_many_turns(
    extents: tuple[int, int, int, int, int], state_type: DType, simd: Simd
) -> None:
    batches, inputs, units, memory, rank = extents
    shape = SvdfShape(batches, inputs, units * rank, memory, rank)
    # Features beyond int8 wrap in a state of int8.
    parameters = SvdfParameters((1 << 30, -4), (1 << 30, -7), 3, 0, -5, state_type)
    rng = np.random.default_rng(sum(extents))

    def drawn(extent: tuple[int, int], kind: DType = DType.INT8) -> np.ndarray:
        limits = np.iinfo(kind.numpy)
        return rng.integers(limits.min, limits.max, extent, kind.numpy, endpoint=True)

    tensors = (
        drawn((batches, inputs)),
        drawn((shape.filters, inputs)),
        drawn((shape.filters, memory), state_type),
        rng.integers(-1000, 1000, units, np.int32),
        drawn((batches, shape.filters * memory), state_type),
    )
    x, feature, time, bias, state = (t[np.newaxis] for t in tensors)
    expected, moved = svdf(shape, parameters, (x, feature, time, bias, state), Configuration(simd))
    actual, kept, turns, inner = svdf_mirror(shape, parameters, tensors, simd)
    assert_array_equal(actual, expected[0])
    assert_array_equal(kept, moved[0])
    formulas = trips(shape, state_type.bits // 8, simd)
    assert {k: v for k, v in turns.items() if v} == {k: v for k, v in formulas.items() if v}
    count = vec_mat_mult_t_s8_trips if state_type is DType.INT8 else vec_mat_mult_t_svdf_s8_trips
    matrix = VectorByMatrix(shape.filters, inputs, scaling=Scaling(has_bias=False))
    product = count(batches, matrix, simd)
    assert {k: v for k, v in inner.items() if v} == {k: v for k, v in product.items() if v}
