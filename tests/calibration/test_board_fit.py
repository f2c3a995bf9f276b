"""What a fit promises of networks that it has not seen, on boards drawn at random."""

import math

import numpy as np
import pytest

from mcusim.calibration.board_fit import Parameters, Run, fit_time

STATED = Parameters(1.0, 1.0, 1.0)
PRIOR = math.log(1.6 / 0.9) / 2


def cycles(run, p):
    waits = p.fetch_wait_scale * run.fetch + p.constant_wait_scale * run.constants
    return p.time_scale * (run.core + waits)


def networks(rng, count, true, scatter):
    """Measured runs of networks that take what no parameter tells times what the board says."""
    for group in range(count):
        core = rng.lognormal(15, 1)
        run = Run(group, 1.0, core, core * rng.uniform(0.012, 0.026), core * rng.uniform(0.02, 0.3))
        measured = cycles(run, true) * rng.lognormal(0, scatter)
        yield Run(group, measured, run.core, run.fetch, run.constants)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_nine_of_ten_new_networks_lie_in_the_interval_and_nearer_than_before(count):
    rng = np.random.default_rng(count)
    inside, before, after = [], [], []
    for _ in range(40):
        true = Parameters(rng.lognormal(0.15, 0.12), rng.uniform(0.5, 2.5), rng.uniform(0.4, 1.3))
        fit = fit_time(list(networks(rng, count, true, 0.05)), STATED, PRIOR)
        if fit.is_worse:
            continue
        for new in networks(rng, 25, true, 0.05):
            error = abs(math.log(new.measured / cycles(new, fit.parameters)))
            inside.append(error <= fit.half_width)
            after.append(error)
            before.append(abs(math.log(new.measured / cycles(new, STATED))))
    assert np.mean(inside) > 0.86
    assert np.mean(after) < 0.5 * np.mean(before)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_board_that_is_right_is_hardly_made_worse(count):
    """Measured networks that scatter around what the file says are no reason to change it."""
    rng = np.random.default_rng(count)
    worse = []
    for _ in range(40):
        fit = fit_time(list(networks(rng, count, STATED, 0.03)), STATED, PRIOR)
        new = list(networks(rng, 25, STATED, 0.03))
        before, after = (
            np.mean([abs(math.log(n.measured / cycles(n, p))) for n in new])
            for p in (STATED, fit.parameters)
        )
        worse.append(0.0 if fit.is_worse else after - before)
    assert np.mean(np.array(worse) > 0.01) < 0.08
    assert np.mean(worse) < 0.002
