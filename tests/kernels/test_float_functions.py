"""expm1 and tanh against the C library that computes them for the interpreter."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.kernels.float_functions import expm1_float32, tanh_float32


@settings(max_examples=300)
@given(st.floats(width=32))
def test_neighbours_of_the_true_value(x: float) -> None:
    array = np.array([x], np.float32)
    with np.errstate(all="ignore"):
        pairs = [(expm1_float32(array), np.expm1), (tanh_float32(array), np.tanh)]
        for found, function in pairs:
            true = float(function(np.float64(x)))
            if math.isnan(true):
                assert np.isnan(found[0])
            elif math.isinf(true) or abs(true) > 3.4e38:
                assert found[0] in (true, np.inf, np.float32(3.4028235e38))
            else:
                # fdlibm promises one unit for expm1 and keeps tanh within three.
                unit = float(np.spacing(np.float32(abs(true))))
                assert abs(float(found[0]) - true) <= 3 * unit


def test_signs_of_zero_stay() -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    assert np.signbit(expm1_float32(zeros)).tolist() == [False, True]
    assert np.signbit(tanh_float32(zeros)).tolist() == [False, True]
