"""Scales of many boards at once: what was hidden is found, and what no run tells is left alone."""

import math
from dataclasses import replace

import pytest

from mcusim.calibration.joint_fit import fit_jointly
from mcusim.calibration.priced_runs import PricedRun
from mcusim.calibration.published import published_runs

RUN = published_runs("known")[0]
NETWORKS = {"small": (1e6, 2e5, 1e5), "dense": (4e6, 1e5, 3e6), "deep": (9e7, 2e7, 4e6)}


def measured(board, scale, core="cortex-m4", software="cmsis-nn gcc-O3", data=1.0):
    """A board's runs of every network, its time scaled, and its waits for data."""
    runtime, build = software.split(" ")
    found = []
    for name, (own, fetch, constants) in NETWORKS.items():
        cycles = scale * (own + fetch + data * constants)
        run = replace(
            RUN,
            board=board,
            model=name,
            runtime=runtime,
            build=build,
            clock_hz=1e8,
            latency_s=cycles / 1e8,
        )
        found.append(
            PricedRun(run, core, "m4", own, fetch, constants, "convolution", (own, 0, 0, 0, 0))
        )
    return found


def errors(fit, runs):
    """Logarithms of measured over fitted time."""
    found = []
    for run in runs:
        scales = fit.of(run.run.board, run.core, run.run.software)
        found.append(math.log(run.measured / scales.cycles(run)))
    return found


def test_what_all_boards_of_a_core_share_is_its_scale():
    runs = [run for name in ("a", "b", "c", "d") for run in measured(name, 1.1)]
    fit = fit_jointly(runs)
    new = fit.of("never measured", "cortex-m4", "cmsis-nn gcc-O3")
    assert new.time_scale == pytest.approx(1.1, rel=0.03)


def test_a_board_that_differs_has_its_own_scale_and_hardly_moves_the_core():
    alike = [run for name in ("a", "b", "c", "d") for run in measured(name, 1.0)]
    odd = measured("odd", 1.25)
    fit = fit_jointly(alike + odd)
    assert fit.cores["cortex-m4"] == pytest.approx(1.0, abs=0.04)
    # Three runs outweigh what boards are like by more than half of what sets it apart.
    assert max(abs(error) for error in errors(fit, odd)) < math.log(1.25) / 2
    kept = fit_jointly(alike + odd, alike=["odd"])
    assert kept.boards["odd"].time_scale == pytest.approx(kept.cores["cortex-m4"], rel=1e-3)


def test_waits_that_are_priced_too_high_are_told_from_time():
    runs = measured("a", 1.0, data=0.5)
    fit = fit_jointly(runs)
    assert fit.boards["a"].constant_wait_scale < 0.9
    before = fit_jointly(measured("b", 1.0))
    worst = max(abs(error) for error in errors(before, runs))
    assert max(abs(error) for error in errors(fit, runs)) < worst / 2


def test_a_software_has_a_factor_beside_its_board():
    runs = measured("a", 1.0) + measured("a", 1.2, software="tflm gcc-Os")
    fit = fit_jointly(runs)
    slow = fit.of("a", "cortex-m4", "tflm gcc-Os").time_scale
    fast = fit.of("a", "cortex-m4", "cmsis-nn gcc-O3").time_scale
    assert slow / fast == pytest.approx(1.2, rel=0.05)
    # On a board never measured, the software is as it was on that one.
    elsewhere = fit.of("b", "cortex-m4", "tflm gcc-Os").time_scale
    assert elsewhere > fit.of("b", "cortex-m4", "cmsis-nn gcc-O3").time_scale * 1.1


def test_closed_software_tells_one_board_by_another():
    """Its own factor is not known; what it takes of the same network on two boards is."""
    known = [run for name in ("a", "b", "c") for run in measured(name, 1.0)]
    engines = [f"engine@{i} closed" for i in range(6)]
    closed = [run for engine in engines for run in measured("a", 0.6, software=engine)]
    closed += [
        run for engine in engines for run in measured("x", 0.9, "cortex-m33", software=engine)
    ]
    fit = fit_jointly(known, closed)
    assert fit.cores["cortex-m33"] == pytest.approx(1.5, rel=0.25)
    assert fit.boards["x"].time_scale == pytest.approx(1.5, rel=0.1)
    assert fit.boards["a"].time_scale == pytest.approx(1.0, rel=0.05)


def test_nothing_known_changes_nothing():
    fit = fit_jointly([])
    assert fit.of("a", "cortex-m4").time_scale == 1


def test_the_fit_of_all_published_runs_leaves_each_within_what_its_interval_says():
    from mcusim.calibration.own_scales import joint_fit, known_runs, log_error

    errors = [abs(log_error(joint_fit(), run)) for run in known_runs()]
    assert max(errors) < math.log(1.15)
    assert sorted(errors)[len(errors) // 2] < 0.03
