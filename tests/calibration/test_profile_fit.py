"""Kernels are fitted on their own rows and on what they have in common with others."""

import numpy as np
import pytest

from mcusim.calibration.counted import CountedRow
from mcusim.calibration.level_fit import Prior, Sample, fit_levels, fit_together
from mcusim.calibration.profile_fit import fit_profiles
from mcusim.errors import McusimError
from mcusim.instruction_mix import CLASSES, FIELDS
from mcusim.kernels.contract import KernelCall

BUILD = "m4.gcc-O3"


def _counts(total):
    vector = np.zeros(len(FIELDS))
    vector[0] = total
    return vector


def _row(name, operator, total):
    return CountedRow(name, operator, BUILD, _counts(total))


def _sample(prefix, levels, turns, cost):
    turns = np.asarray(turns, float)
    counts = np.array([_counts(total) for total in turns @ np.asarray(cost, float)])
    return Sample(tuple(f"{prefix}_{i}" for i in range(len(turns))), levels, turns, counts)


def _totals(fit):
    return fit.per_turn[:, : len(CLASSES)].sum(axis=1)


def test_kernels_that_share_code_tell_its_cost_together():
    """In the first, words always come with segments; the second has words of its own number."""
    first = _sample(
        "a", ("call", "segment", "copy.word"), [[1, n, 4 * n] for n in (2, 5, 9)], [50, 7, 3]
    )
    second = _sample("b", ("call", "copy.word"), [[1, n] for n in (3, 40, 200)], [80, 3])
    fits = fit_together({"a": first, "b": second}, lambda level: level.startswith("copy."))
    assert _totals(fits["a"]) == pytest.approx([50, 7, 3], rel=1e-3)
    assert _totals(fits["b"]) == pytest.approx([80, 3], rel=1e-3)
    assert fits["a"].rank == 2
    assert len(fits["b"].held_out_errors) == 3


def test_together_of_nothing_is_nothing():
    assert fit_together({}, lambda level: True) == {}


def test_a_level_that_no_row_runs_takes_the_like_kernels_cost():
    """With an infinite spread, levels that rows run stay theirs."""
    sample = _sample("a", ("call", "element", "row"), [[1, n, 0] for n in (1, 9, 80)], [60, 5, 0])
    prior = Prior(np.array([_counts(900), _counts(900), _counts(11)]), np.full(3, np.inf))
    totals = fit_levels(sample.turns, sample.counts, prior)[:, 0]
    assert totals == pytest.approx([60, 5, 11], rel=1e-3)


def test_a_prior_decides_what_one_row_leaves_open():
    sample = _sample("a", ("call", "element"), [[1, 10]], [100, 8])
    prior = Prior(np.array([_counts(100), _counts(8)]), np.full(2, 0.3))
    assert fit_levels(sample.turns, sample.counts, prior)[:, 0] == pytest.approx([100, 8], rel=1e-3)
    doubled = Prior(np.array([_counts(50), _counts(4)]), np.full(2, 0.3))
    totals = fit_levels(sample.turns, sample.counts, doubled)[:, 0]
    assert totals @ sample.turns[0] == pytest.approx(180, rel=0.01)


def _calls(profile, turns):
    return {
        f"{profile}_{n}": KernelCall("f", f"reference/{profile}", {"call": 1, "element": n})
        for n in turns
    }


def test_two_rows_lean_on_the_same_kernel_of_another_type():
    calls = _calls("neg_int8", range(1, 20, 2)) | _calls("neg_float32", [4])
    rows = [_row(i, "NEG", 100 + 7 * c.trips["element"]) for i, c in calls.items()]
    found = {result.profile: result for result in fit_profiles(rows, calls, {})}
    floats = found["reference/neg_float32"]
    assert floats.leans_on == "reference/neg_int8"
    assert _totals(floats.fit) == pytest.approx([100, 7], rel=0.01)
    assert abs(floats.fit.held_out_errors[0]) < 0.01
    assert found["reference/neg_int8"].leans_on == ""


def test_maximum_and_minimum_share_all_but_the_element():
    """One row of MINIMUM tells its element, as the rows of MAXIMUM tell the call."""
    calls = _calls("maximum_int8", [4, 40]) | _calls("minimum_int8", [10])
    cost = {"maximum_int8": 9, "minimum_int8": 8}
    rows = [
        _row(i, "ANY", 90 + cost[i.rpartition("_")[0]] * c.trips["element"])
        for i, c in calls.items()
    ]
    for result in fit_profiles(rows, calls, {}):
        assert _totals(result.fit) == pytest.approx([90, cost[result.profile[10:]]], rel=1e-3)
        assert result.sample.ids == tuple(i for i in calls if result.profile[10:] in i)
        assert len(result.fit.held_out_errors) == len(result.sample.ids)


def test_rows_kept_out_are_predicted_from_typical_data():
    """The fit sees that all elements were negative; a prediction can only expect half of them."""
    calls, on_data = {}, {}
    for n in range(10, 200, 15):
        name = f"abs_{n}"
        trips = {"call": 1, "element": n, "negative": n / 2}
        calls[name] = KernelCall("f", "reference/abs_int8", trips)
        seen = n if n % 2 else 0
        on_data[name] = KernelCall("f", "reference/abs_int8", trips | {"negative": seen})
    rows = [
        _row(i, "ABS", 50 + 4 * c.trips["element"] + 2 * c.trips["negative"])
        for i, c in on_data.items()
    ]
    (result,) = fit_profiles(rows, calls, {}, on_data=on_data)
    assert _totals(result.fit) == pytest.approx([50, 4, 2], rel=1e-3)
    assert np.abs(result.fit.fit_errors).max() < 1e-3
    assert np.abs(result.fit.held_out_errors).min() > 0.05


def test_a_profile_has_one_set_of_levels():
    calls = {
        "a": KernelCall("f", "reference/x_int8", {"call": 1}),
        "b": KernelCall("f", "reference/x_int8", {"call": 1, "element": 3}),
    }
    rows = [_row("a", "X", 10), _row("b", "X", 20)]
    with pytest.raises(McusimError, match="a profile has one set of levels"):
        fit_profiles(rows, calls, {})
