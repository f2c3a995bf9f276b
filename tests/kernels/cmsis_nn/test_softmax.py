"""Softmax of CMSIS-NN against recorded calls of the real library, and its loops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mcusim.graph import DType, Options
from mcusim.interpreter import run
from mcusim.kernels.cmsis_nn.softmax_mirror import softmax_s8
from mcusim.kernels.cmsis_nn.softmax_trips import (
    SoftmaxRows,
    softmax_s8_trips,
    softmax_s16_trips,
)
from tests.golden_cmsis import GoldenCase, golden_cases, old_cases
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized, single_operator
from tests.shared import needs_shared


def rows_of(case: GoldenCase, least: int | None = None) -> SoftmaxRows:
    params = case.params
    return SoftmaxRows(
        params["rows"],
        params["cols"],
        params["mult"],
        params["shift"],
        params["diff_min"] if least is None else least,
    )


def of_moderate_size(cases: list[GoldenCase]) -> list[GoldenCase]:
    return [case for case in cases if case.arrays["x"].size <= 64]


@pytest.mark.parametrize("case", of_moderate_size(golden_cases("softmax_s8")), ids=str)
def test_the_loops_compute_the_librarys_outputs_in_as_many_turns(case: GoldenCase) -> None:
    softmax = rows_of(case)
    x = case.arrays["x"].reshape(softmax.rows, softmax.depth)
    actual, turns = softmax_s8(x, softmax)
    assert_array_equal(actual, case.output().reshape(actual.shape))
    expected = softmax_s8_trips(softmax, x)
    assert {k: v for k, v in turns.items() if v} == {k: v for k, v in expected.items() if v}


@pytest.mark.parametrize("case", of_moderate_size(old_cases("softmax_s8")), ids=str)
def test_differences_of_2020_wrap(case: GoldenCase) -> None:
    softmax = rows_of(case, int(case.arrays["diff_min_passed"][0]))
    x = case.arrays["x"].reshape(softmax.rows, softmax.depth)
    actual, turns = softmax_s8(x, softmax, wraps=True)
    assert_array_equal(actual, case.arrays["y_2020.arm_softmax_s8"].reshape(actual.shape))
    expected = softmax_s8_trips(softmax, x, wraps=True)
    assert {k: v for k, v in turns.items() if v} == {k: v for k, v in expected.items() if v}


@pytest.mark.parametrize("depth", [1, 2, 10, 64])
@pytest.mark.parametrize(("shift", "least"), [(22, -496), (25, -62), (27, -15)])
def test_typical_turns_are_the_mean_over_random_rows(depth: int, shift: int, least: int) -> None:
    softmax = SoftmaxRows(400, depth, 1717986918, shift, least)
    x = np.random.default_rng(depth).integers(-128, 128, (400, depth)).astype(np.int8)
    typical, counted = softmax_s8_trips(softmax, None), softmax_s8_trips(softmax, x)
    for level in ("largest", "lower.positive", "lower.negative", "far"):
        assert typical[level] == pytest.approx(counted[level], abs=0.09 * 400 * depth)


@needs_shared
def test_softmax_layers_equal_tflite_micro() -> None:
    assert assert_golden("softmax", "cmsis-nn") > 20


def test_all_of_a_rows_probability_wraps_in_int16() -> None:
    """Executed: ``arm_softmax_s16`` of CMSIS-NN 4ab83cc gives -32768 for a row of one element."""
    shape = (1, 1)
    graph = single_operator(
        "SOFTMAX",
        [activation(shape, DType.INT16, quantized(1 / 4096))],
        [activation(shape, DType.INT16, quantized(1 / 32768))],
        Options({"beta": 1.0}),
        "SoftmaxOptions",
    )
    x = np.array([[5]], np.int16)
    assert run(graph, [x], runtime="tflm").outputs[0] == 32767
    assert run(graph, [x], runtime="cmsis-nn").outputs[0] == -32768


@pytest.mark.parametrize("depth", [1, 2, 10, 64])
@pytest.mark.parametrize("scaling", [(1 << 30, 0), (1 << 30, 1), (1717986918, 2)])
def test_typical_turns_of_int16_are_the_mean_over_random_rows(
    depth: int, scaling: tuple[int, int]
) -> None:
    x = np.random.default_rng(depth).integers(-32768, 32768, (2000, depth)).astype(np.int16)
    typical, counted = (softmax_s16_trips(2000, depth, scaling, data) for data in (None, x))
    for level, turns in counted.items():
        assert typical[level] == pytest.approx(turns, rel=0.05, abs=0.002 * x.size)


def test_turns_of_int16_by_hand() -> None:
    """Two rows: 5 lies above 1 and 3, and 9 above 5; 0 is the largest of the other."""
    x = np.array([[5, 1, 3, 9], [0, -20000, -1, -20001]], np.int16)
    assert softmax_s16_trips(2, 4, (1 << 30, 3), x) == {
        "call": 1,
        "row": 2,
        "row.single": 0,
        "compared.larger": 1.0,
        "compared.lower": 5.0,
        "element.left_shift": 8,
        "element.right_shift": 0,
        "far": 2.0,
    }
