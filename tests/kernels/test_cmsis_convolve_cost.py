"""What convolutions cost: the written profiles, and the steps that no count of MACs shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcusim.calibration.library_rows import LibrarySet
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase
from mcusim.kernels.cmsis_nn.convolve import CASES, convolve_calls
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.profile import load_profile
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape
from tests.shared import SHARED, needs_shared

_FUNCTIONS = (
    "arm_convolve_s8",
    "arm_convolve_1x1_s8",
    "arm_convolve_1x1_s8_fast",
    "arm_nn_mat_mult_kernel_s8_s16",
    "arm_nn_mat_mult_nt_t_s8",
)
_BUILDS = (
    "m0plus.gcc-O3",
    "m3.gcc-O3",
    "m4.gcc-O2",
    "m4.gcc-O3",
    "m4.gcc-O3-asm",
    "m4.gcc-Os",
    "m7.gcc-O3",
    "m33.gcc-O3",
)


def _instructions(calls: tuple[KernelCall, ...], build: str = "m4.gcc-O3") -> float:
    total = 0.0
    for call in calls:
        profile = load_profile(call.profile)
        assert profile is not None, call.profile
        total += profile.builds[build].mix(call.trips).total
    return total


def _square(size: int, kernel: int, depth: int, channels: int) -> tuple[float, int]:
    """Instructions and MACs of a convolution of stride 1 that keeps its size."""
    axis = Axis(size, size, kernel, 1, 1, kernel // 2)
    shape = ConvolutionShape(1, axis, axis, depth, depth, channels)
    calls = convolve_calls(shape, Configuration("dsp", "2026"), Scaling())
    return _instructions(calls), calls[0].macs


#: Median and 95th percentile of errors kept out.
_LIMITS = {"m55": (0.005, 0.05), "other": (0.005, 0.02)}
_SMALL_LIMITS = {"m55": (0.02, 0.08), "other": (0.006, 0.02)}


@pytest.mark.parametrize("build", [*_BUILDS, "m55.gcc-O3"])
@pytest.mark.parametrize("function", _FUNCTIONS)
def test_held_out_errors(function: str, build: str) -> None:
    """Each profile says how well it predicted calls that its fit had not seen.

    Of the strided 1x1 convolution most are our own, of a few pixels.
    """
    profile = load_profile(f"cmsis_nn/{function}")
    if build == "m55.gcc-O3" and function == "arm_nn_mat_mult_kernel_s8_s16":
        return  # a core with MVE never runs it
    assert profile is not None
    limits = _SMALL_LIMITS if function == "arm_convolve_1x1_s8" else _LIMITS
    median, p95 = limits["m55" if build.startswith("m55") else "other"]
    assert profile.builds[build].held_out_median < median
    assert profile.builds[build].held_out_p95 < p95


@needs_shared
def test_counted_calls() -> None:
    """Every counted call of the library, predicted from its arguments and the written profiles."""
    errors: dict[tuple[str, str], list[float]] = {}
    for row in LibrarySet(Path(SHARED / "counted")).rows():
        case = row.case
        if case.op == "conv_s8" and not row.build.endswith("-sr"):
            plain = LibraryCase(case.id, case.op, case.params, case.has_bias, case.entry)
            predicted = _instructions(CASES["conv_s8"](plain, row.configuration), row.build)
            key = (row.configuration.generation, row.build)
            errors.setdefault(key, []).append(abs(predicted / row.total - 1.0))
    assert len(errors) == 21
    for build, found in errors.items():
        median, p95, worst = np.quantile(found, [0.5, 0.95, 1.0])
        assert median < 0.005, build
        assert p95 < 0.02, build
        assert worst < 0.05, build


def test_few_channels_cost_most() -> None:
    """Counted on an M4: 14.1 instructions a MAC with 1 input channel, 2.7 with 16."""
    found = []
    for depth in (1, 2, 3, 4, 8, 16):
        instructions, macs = _square(6, 3, depth, 8)
        found.append(instructions / macs)
    assert found == pytest.approx([14.1, 8.3, 6.2, 5.0, 3.5, 2.7], rel=0.02)


def test_more_channels_can_be_faster() -> None:
    """64 filters of 1×1 take fewer instructions than 63, whose last one runs scalar."""
    assert _square(16, 1, 64, 64)[0] < _square(16, 1, 64, 63)[0]


def test_channels_in_sixteens_and_fours() -> None:
    """A 1×1 convolution of 29 input channels takes more than of 32, one of 33 more than a 32nd."""
    cost = {depth: _square(16, 1, depth, 8)[0] for depth in (29, 30, 31, 32, 33)}
    assert cost[32] < min(cost[30], cost[31])
    assert cost[33] - cost[32] > (cost[32] - cost[29]) / 3
