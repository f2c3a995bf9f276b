"""Closed runtimes: what made-up runs hide is found, and published runs bear out what is assumed."""

import math
from dataclasses import replace

import pytest

from mcusim.calibration.closed_fit import (
    EFFECTS,
    Effect,
    closed_left_out,
    every_closed_run,
    fit_closed,
    version_of,
    without_closed,
)
from mcusim.calibration.joint_fit import JointFit
from mcusim.calibration.priced_runs import PricedRun
from mcusim.calibration.published import published_runs

RUN = published_runs("closed")[0]
#: Cycles of each family with CMSIS-NN.
NETWORKS = {
    "conv": (9e6, 0.0, 1e6, 0.0, 1e6),
    "small": (1e6, 3e6, 5e6, 0.0, 1e5),
    "mobile": (2e6, 4e6, 9e6, 1e4, 2e5),
    "dense": (0.0, 0.0, 0.0, 8e5, 0.0),
}
VERSION = "engine@2.1"


def measured(board, factors, runtime=VERSION, networks=tuple(NETWORKS)):
    """A board's runs with a closed runtime whose factors by family are known."""
    found = []
    for name in networks:
        cycles = NETWORKS[name]
        taken = sum(f * c for f, c in zip(factors, cycles, strict=True))
        run = replace(
            RUN, board=board, model=name, runtime=runtime, clock_hz=1e8, latency_s=taken / 1e8
        )
        found.append(PricedRun(run, "cortex-m4", "m4", sum(cycles), 0, 0, "convolution", cycles))
    return found


def test_what_a_runtime_gains_is_found():
    runs = measured("a", (0.5,) * 5) + measured("b", (0.5,) * 5)
    found = fit_closed(runs, JointFit()).factors((VERSION, "dsp"))
    assert all(factor == pytest.approx(0.5, rel=0.1) for factor in found.values())


def test_what_a_board_makes_of_an_engine_is_told_by_its_other_networks():
    """On one board the engine's convolutions of two networks are slower: so are the third's."""
    slower = (0.75, 0.75, 0.75, 0.5, 0.5)
    boards = [measured(f"alike {i}", (0.5,) * 5) for i in range(3)]
    seen = ("small", "conv", "dense")
    runs = [p for own in boards for p in own] + measured("odd", slower, networks=seen)
    fit = fit_closed(runs, JointFit())
    (unseen,) = measured("odd", slower, networks=("mobile",))
    on_another = fit.factors((VERSION, "dsp"), "another", "mobile")["pointwise"]
    assert fit.factors((VERSION, "dsp"), "odd", "mobile")["pointwise"] > 1.2 * on_another
    assert fit.cycles(unseen, JointFit()) == pytest.approx(unseen.measured, rel=0.15)


def test_a_board_or_version_that_was_not_measured_has_the_usual_factors():
    fit = fit_closed(measured("a", (0.5,) * 5), JointFit())
    assert fit.factors((VERSION, "dsp"), "b") == fit.factors((VERSION, "dsp"))
    assert 0.4 < fit.factors(("another@1", "dsp"))["dense"] < 0.9


def fitted(effects):
    return fit_closed(every_closed_run(), without_closed(), effects).log_evidence


@pytest.mark.parametrize("index", range(len(EFFECTS)), ids=[e.name for e in EFFECTS])
def test_the_published_runs_are_likeliest_with_the_spreads_that_are_assumed(index):
    for factor in (0.5, 2.0):
        effects = list(EFFECTS)
        effects[index] = replace(effects[index], spread=factor * EFFECTS[index].spread)
        assert fitted(effects) < fitted(EFFECTS) + 1, "more than e times as likely"


def test_factors_of_a_version_by_family_make_the_runs_no_likelier():
    further = Effect("version by family", 0.1, lambda version, *_: version, by_family=True)
    assert fitted([*EFFECTS, further]) < fitted(EFFECTS)


def test_effects_of_boards_make_the_runs_likelier():
    assert fitted([e for e in EFFECTS if not e.name.startswith("board with")]) < fitted(EFFECTS) - 5


def test_boards_that_were_left_out_are_told_within_ten_percent_in_the_mean():
    rows = [h for h in closed_left_out() if h.distance == "board"]
    assert len(rows) > 100
    assert sum(abs(h.residual) for h in rows) / len(rows) < math.log(1.10)
    assert {version_of(h.run)[1] for h in rows} == {"dsp"}
