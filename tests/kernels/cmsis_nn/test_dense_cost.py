"""What dense layers, SVDF and softmax cost: the written profiles against counted calls."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from mcusim.calibration.library_rows import LibrarySet
from mcusim.kernels.cmsis_nn import CASES
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.profile import load_profile
from tests.shared import SHARED, needs_shared

KINDS = ("bmm_s8", "fc_s16", "fc_s8", "softmax_s8", "svdf_s8")


def instructions(calls: tuple[KernelCall, ...], build: str) -> float:
    total = 0.0
    for call in calls:
        profile = load_profile(call.profile)
        assert profile is not None, call.profile
        total += profile.builds[build].mix(call.trips).total
    return total


@needs_shared
def test_counted_calls() -> None:
    """Every counted call, predicted from its arguments, its data where that decides."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in LibrarySet(SHARED / "counted").rows():
        if row.case.op in KINDS and not row.build.endswith("-sr"):
            predicted = instructions(CASES[row.case.op](row.case, row.configuration), row.build)
            key = (row.configuration.generation, row.build)
            errors[key].append(abs(predicted / row.total - 1.0))
    assert len(errors) == 21
    for build, found in errors.items():
        median, p95, worst = np.quantile(found, [0.5, 0.95, 1.0])
        assert median < 0.005, build
        assert p95 < (0.05 if build[1].startswith("m55") else 0.02), build
        assert worst < 0.05, build


def dense(columns: int, outputs: int, build: str, per_channel: bool = False) -> float:
    """Instructions of one int8 vector by a matrix."""
    case = LibraryCase(
        "",
        "fc_s8",
        {
            "in_dims": [1, 1, 1, columns],
            "f_dims": [columns, 1, 1, outputs],
            "f_off": 0,
            "per_channel": int(per_channel),
        },
    )
    simd: Simd = "none" if build.startswith(("m0", "m3.")) else "dsp"
    return instructions(CASES["fc_s8"](case, Configuration(simd)), build)


@pytest.mark.parametrize(
    ("build", "period"), [("m4.gcc-O3", 16), ("m4.gcc-O2", 16), ("m4.gcc-Os", 4), ("m3.gcc-O3", 1)]
)
def test_the_cost_of_inputs_repeats(build: str, period: int) -> None:
    """GCC unrolls the loop over words by four, unless it compiles for size."""
    steps = np.array([dense(k + 1, 8, build) - dense(k, 8, build) for k in range(32, 96)])
    turns = steps.reshape(-1, period)
    assert np.abs(turns - turns[0]).max() < 0.5
    if period > 1:
        # An input more can cost less than none: a word takes the place of three single ones.
        assert steps.min() < 0 < steps.max()


def test_the_cost_of_outputs_goes_in_twos_with_dsp_and_threes_without() -> None:
    for build, tile in (("m4.gcc-O3", 2), ("m3.gcc-O3", 3)):
        steps = [dense(64, n + 1, build) - dense(64, n, build) for n in range(6, 18)]
        turns = np.array(steps).reshape(-1, tile)
        assert np.abs(turns - turns[0]).max() < 0.5
        # The output that fills a tile is cheaper than one that begins it.
        assert turns[0, -1] < 0.75 * turns[0, 0]


def test_a_scale_for_each_output_costs_little() -> None:
    plain, scaled = dense(64, 32, "m4.gcc-O3"), dense(64, 32, "m4.gcc-O3", per_channel=True)
    assert 0.0 < scaled / plain - 1.0 < 0.08
