"""What depthwise and transposed convolutions cost: the written profiles against counted calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcusim.calibration.library_rows import LibraryRow, LibrarySet
from mcusim.kernels.cmsis_nn.contract import CaseCalls, Configuration, LibraryCase
from mcusim.kernels.cmsis_nn.depthwise import CASES as DEPTHWISE
from mcusim.kernels.cmsis_nn.transpose_convolution import CASES as TRANSPOSED
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.profile import load_profile
from tests.shared import SHARED, needs_shared

_CASES: dict[str, CaseCalls] = {**DEPTHWISE, **TRANSPOSED}


def _instructions(calls: tuple[KernelCall, ...], build: str = "m4.gcc-O3") -> float:
    total = 0.0
    for call in calls:
        profile = load_profile(call.profile)
        assert profile is not None, call.profile
        total += profile.builds[build].mix(call.trips).total
    return total


def _error(row: LibraryRow) -> float:
    shifts = {name: array for name, array in row.case.arrays.items() if name == "shift"}
    case = row.case
    plain = LibraryCase(case.id, case.op, case.params, case.has_bias, case.entry, shifts)
    predicted = _instructions(_CASES[case.op](plain, row.configuration), row.build)
    return abs(predicted / row.total - 1.0)


@needs_shared
@pytest.mark.parametrize(("op", "builds"), [("dwconv_s8", 21), ("tconv_s8", 9)])
def test_counted_calls(op: str, builds: int) -> None:
    """Every counted call of the library, predicted from its arguments and the written profiles.

    Transposed convolutions at -Os come out 0.6 % too long: the fit is by 80 models in TFLM and 29
    calls, and TFLM's build of the function takes that much more.
    """
    errors: dict[tuple[str, str], list[float]] = {}
    for row in LibrarySet(Path(SHARED / "counted")).rows():
        is_known = op == "dwconv_s8" or row.configuration.generation == "2026"
        if row.case.op == op and is_known and not row.build.endswith("-sr"):
            key = (row.configuration.generation, row.build)
            errors.setdefault(key, []).append(_error(row))
    assert len(errors) == builds
    for build, found in errors.items():
        median, p95, worst = np.quantile(found, [0.5, 0.95, 1.0])
        assert median < (0.006 if (op, build[1]) == ("tconv_s8", "m4.gcc-Os") else 0.005), build
        assert p95 < 0.02, build
        assert worst < 0.05, build


def _square(channels: int, kernel: int = 3) -> float:
    """Instructions a MAC of a depthwise convolution of 6x6 pixels that keeps its size."""
    params = {
        "in_dims": [1, 6, 6, channels],
        "f_dims": [1, kernel, kernel, channels],
        "out_dims": [1, 6, 6, channels],
        "stride": [1, 1],
        "pad": [kernel // 2, kernel // 2],
        "dil": [1, 1],
        "ch_mult": 1,
    }
    calls = DEPTHWISE["dwconv_s8"](LibraryCase("", "dwconv_s8", params), Configuration("dsp"))
    return _instructions(calls) / calls[0].macs


def test_channels_beyond_a_multiple_of_four_run_one_by_one() -> None:
    """Eight channels cost less than seven, though they are one MAC in seven more."""
    assert 8 * _square(8) < 7 * _square(7)
    assert _square(8) < _square(9) < _square(7)


def test_simd_helps_little() -> None:
    """A depthwise MAC takes several instructions where a dense one takes about two."""
    assert 6 < _square(64) < 9
    assert 4 < _square(64, kernel=5) < 12
