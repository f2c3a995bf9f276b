"""The fit tool and the page that it writes."""

import numpy as np
import pytest

from mcusim.calibration.instruction_page import instruction_page
from mcusim.calibration.kept_out import KeptOut, errors_of, kept_out
from mcusim.calibration.kernel_profiles import main
from mcusim.calibration.level_fit import LevelFit, Sample
from mcusim.calibration.networks import NetworkLine
from mcusim.calibration.own_counts import MeanCount
from mcusim.calibration.profile_file import FittedBuild, FittedProfile
from mcusim.calibration.profile_fit import FitResult
from mcusim.instruction_mix import FIELDS
from tests.shared import SHARED, needs_shared


def _build(median, p95, spread=0.0):
    return FittedBuild(("call",), np.ones((1, len(FIELDS))), (), 9, median, p95, spread)


def _row(kernel, operator, error):
    return KeptOut(kernel, operator, "m4.gcc-O3", True, error, error, error, error)


def test_typical_data_is_held_against_the_mean_over_inputs():
    """Of 110 predicted, one draw executed 100 and the mean of many 104."""
    counts = np.zeros((2, len(FIELDS)))
    counts[:, 0] = 100.0
    sample = Sample(("drawn", "always"), ("call",), np.ones((2, 1)), counts)
    zero = np.zeros(2)
    fit = LevelFit(np.zeros((1, len(FIELDS))), zero, np.array([0.1, 0.02]), zero, 1)
    result = FitResult("reference/tanh_int8", "TANH", "m4.gcc-O3", sample, fit, 0.0)
    means = {("drawn", "m4.gcc-O3"): MeanCount(104.0, 2.0, 100)}
    first, second = kept_out([result], {"always"}, means, {})
    assert first.drawn == pytest.approx(0.1)
    assert (first.is_shared, second.is_shared) == (False, True)
    assert first.typical == pytest.approx(110 / 104 - 1)
    assert second.typical == second.drawn == pytest.approx(0.02)
    # Fitted to a mean of 100, of which one draw executed 110.
    single = {("drawn", "m4.gcc-O3"): 110.0}
    first, _ = kept_out([result], {"always"}, {}, single)
    assert first.drawn == pytest.approx(0.0)
    # Four draws as far apart tell the mean to 1 %, which is no yardstick.
    few = {("drawn", "m4.gcc-O3"): MeanCount(104.0, 2.0, 4)}
    first, _ = kept_out([result], {"always"}, few, {})
    assert errors_of([first], "typical").models == 0
    assert errors_of([first], "drawn").models == 1


def test_the_page_says_what_misses_the_target():
    profiles = [
        FittedProfile("reference/good_int8", "", {}, {"m4.gcc-O3": _build(0.001, 0.01)}),
        FittedProfile("reference/bad_int8", "", {}, {"m4.gcc-O3": _build(0.001, 0.04, 0.02)}),
        FittedProfile("framework/invoke", "", {}, {"m4.gcc-O3": _build(0.0, 0.0)}),
    ]
    lines = [
        NetworkLine("net", "m4.gcc-O3", "0", "CONV_2D", 1000, 1015),
        NetworkLine("net", "m4.gcc-O3", "construct", "FRAMEWORK", 100, 101),
        NetworkLine("net", "m4.gcc-O3", "allocate_tensors", "FRAMEWORK", 100, None),
    ]
    rows = [
        _row("good_int8", "GOOD", 0.001),
        _row("bad_int8", "BAD", -0.04),
        _row("bad_float32", "BAD", 0.001),
    ]
    page = instruction_page(profiles, lines, {"m4.gcc-O3": [0.01, -0.02, 0.0]}, rows)
    assert "| kept out, typical data | 2 of 3 | 1 of 2 | 0 of 0 | 0 of 0 |" in page
    missed = page.split("## What misses the target")[1].split("##")[0]
    assert "**bad_int8** in 1 of 1 builds: at worst 4.00 % and 4.00 %" in missed
    assert "the spread over data is 2.00 %" in missed
    assert "good_int8" not in missed
    assert "+1.50 % (misses)" in page
    assert "| m4.gcc-O3 | 3 | 1.00 | 1.90 | -0.33 % |" in page
    assert "not priced" in page


@needs_shared
def test_the_tool_shows_an_operators_fit(capsys):
    counted = str(SHARED / "counted")
    arguments = ["--counted", counted, "--only", "max_pool_2d", "--builds", "m4.gcc-O3"]
    assert main([*arguments, "--detail"]) == 0
    shown = capsys.readouterr().out
    assert "reference/max_pool_2d_int8" in shown
    assert "average_pool" not in shown
    assert "MaxPool" in shown


@needs_shared
def test_profiles_are_written_for_all_builds_or_not_at_all(capsys):
    with pytest.raises(SystemExit):
        main(["--counted", str(SHARED / "counted"), "--write", "--builds", "m4.gcc-O3"])
    assert "--write takes all builds" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--write", "--only", "ADD", "--page", "page.md"])
    assert "--page takes all operators" in capsys.readouterr().err
