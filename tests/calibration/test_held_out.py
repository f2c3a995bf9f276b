"""Intervals from residuals held out: nine of ten, of groups that were not seen as well."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from mcusim.calibration.held_out import (
    DISTANCES,
    coverage,
    half_width,
    held_out_latency,
    held_out_power,
    new_group_half_width,
)


def test_of_many_independent_residuals_nine_of_ten_lie_within():
    residuals = [i / 100 for i in range(-49, 50)]  # sizes 0, then two of each
    width = half_width(residuals)
    assert width == 0.45
    assert sum(abs(r) <= width for r in residuals) == 91


def test_of_few_residuals_the_largest_is_not_enough():
    assert half_width([0.1, -0.05, 0.02]) == pytest.approx(0.1 * 0.9 * 4 / 3)


def test_groups_that_agree_within_but_not_with_each_other_count_once_each():
    """Four firmwares of six networks each: four things were seen, not twenty-four."""
    means = (-0.08, 0.12, 0.05, -0.06)
    residuals = [mean + step / 500 for mean in means for step in range(-3, 3)]
    groups = [mean for mean in means for _ in range(6)]
    assert half_width(residuals) < 0.13
    wide = half_width(residuals, groups)
    # Student's t at 95 % with four degrees of freedom is 2.13, their root mean square 0.082.
    assert wide == pytest.approx(2.13 * 0.082, rel=0.05)


def test_groups_that_have_nothing_in_common_change_little():
    random = np.random.default_rng(0)
    residuals = random.normal(0, 0.1, 120).tolist()
    groups = [i % 6 for i in range(120)]
    assert half_width(residuals, groups) == pytest.approx(1.645 * 0.1, rel=0.2)


@pytest.mark.parametrize("groups", [3, 4, 7, 14])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95], ids=lambda share: f"{share:.0%} shared")
def test_nine_of_ten_new_groups_lie_within(groups, shared):
    """Simulated: groups of five residuals, a share of whose variance is the group's."""
    random = np.random.default_rng(groups)
    inside = 0
    for _ in range(400):
        of_group = random.normal(0, math.sqrt(shared), groups + 1).repeat(5)
        residuals = of_group + random.normal(0, math.sqrt(1 - shared), of_group.size)
        seen, new = residuals[:-5].tolist(), residuals[-1]
        inside += abs(new) <= new_group_half_width(seen, [i // 5 for i in range(len(seen))])
    assert 0.86 <= inside / 400 <= 0.96


@pytest.mark.parametrize("rows", [held_out_latency, held_out_power], ids=["latency", "power"])
def test_intervals_from_other_groups_hold_at_every_distance(rows):
    """As many as nine in ten leave by chance 99 times of a hundred."""
    found = coverage(rows())
    assert {c.distance for c in found} <= set(DISTANCES)
    for c in found:
        assert c.inside >= binom.ppf(0.01, c.runs, 0.9), c
