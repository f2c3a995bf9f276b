"""SVDF of CMSIS-NN against recorded calls of the real library."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mcusim.graph import DType
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.svdf import svdf
from mcusim.kernels.reference.svdf import SvdfParameters, SvdfShape
from tests.golden_cmsis import GoldenCase, golden_cases


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
