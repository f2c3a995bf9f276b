"""The fit recovers what made the counts, and its held-out errors are of rows it has not seen."""

import numpy as np
import pytest

from mcusim.calibration.level_fit import Sample, fit_levels, fit_sample, folds
from mcusim.instruction_mix import FIELDS


def _sample(turns, per_turn, ids=None):
    turns = np.asarray(turns, float)
    counts = np.zeros((len(turns), len(FIELDS)))
    for name, column in per_turn.items():
        counts[:, FIELDS.index(name)] = turns @ np.asarray(column, float)
    names = ids or tuple(f"case_{i}" for i in range(len(turns)))
    return Sample(names, tuple("abcdefgh"[: turns.shape[1]]), turns, counts)


def test_exact_counts_give_their_levels_back():
    rng = np.random.default_rng(1)
    turns = np.column_stack([np.ones(20), rng.integers(1, 500, 20), rng.integers(0, 9000, 20)])
    sample = _sample(turns, {"alu": [30, 4, 2], "load_word": [7, 0, 3], "load_accesses": [9, 0, 3]})
    fit = fit_sample(sample)
    assert fit.per_turn[:, FIELDS.index("alu")] == pytest.approx([30, 4, 2], rel=1e-4)
    assert fit.per_turn[:, FIELDS.index("load_word")] == pytest.approx(
        [7, 0, 3], rel=1e-4, abs=1e-3
    )
    assert fit.per_turn[:, FIELDS.index("store_word")].max() == 0
    assert np.abs(fit.held_out_errors).max() < 1e-4
    assert fit.rank == 3


def test_a_level_that_only_one_row_runs_is_missed_when_it_is_held_out():
    """The kept-out row must not leak: its own level costs nothing in a fit without it."""
    turns = [[1, n, 0] for n in (5, 10, 20, 40, 80)] + [[1, 10, 100]]
    fit = fit_sample(_sample(turns, {"alu": [100, 10, 8]}))
    assert fit.held_out_errors[-1] == pytest.approx(200 / 1000 - 1, abs=1e-3)
    assert fit.fit_errors[-1] == pytest.approx(0, abs=1e-4)


def test_no_level_executes_less_than_nothing():
    rng = np.random.default_rng(2)
    turns = np.column_stack([np.ones(30), rng.integers(1, 50, 30)])
    counts = np.zeros((30, len(FIELDS)))
    counts[:, 0] = 1000 - 5 * turns[:, 1]
    assert fit_levels(turns, counts).min() >= 0


def test_levels_that_always_run_together_still_sum_right():
    turns = [[1, n, n] for n in (3, 10, 50, 200)]
    fit = fit_sample(_sample(turns, {"alu": [10, 2, 5]}))
    assert fit.rank == 2
    assert fit.per_turn[1:, 0].sum() == pytest.approx(7, rel=1e-4)


@pytest.mark.parametrize("count", [1, 2, 9, 12, 13, 57])
def test_folds_are_a_partition_that_never_changes(count):
    ids = [f"conv_2d_i8_{i:03}" for i in range(count)]
    dealt = folds(ids)
    assert sorted(np.concatenate(dealt)) == list(range(count))
    assert [list(f) for f in dealt] == [list(f) for f in folds(ids)]
    assert len(dealt) == (count if count <= 12 else 10)


def test_one_row_alone_has_no_held_out_error():
    fit = fit_sample(_sample([[1, 5]], {"alu": [3, 4]}))
    assert np.isnan(fit.held_out_errors).all()
