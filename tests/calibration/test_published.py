"""Published runs: every row says what it is, and what can be priced is."""

import math
from collections import Counter

import pytest

import mcusim
from mcusim import zoo
from mcusim.boards import board_names, load_board, without_fpu
from mcusim.calibration.priced_runs import price_run, with_float_ends
from mcusim.calibration.published import STATUSES, data_set_sha256, published_runs
from mcusim.models import load_model
from mcusim.runtimes import plan
from tests.shared import SHARED, needs_shared


def test_every_run_names_its_board_its_status_and_its_source():
    for run in published_runs():
        where = f"{run.file}, line {run.line}"
        assert run.board in board_names(), where
        assert run.status in STATUSES, where
        assert run.reason and run.source, where
        assert run.model.removesuffix(":float32") in ("", *zoo.names()), where


def test_what_is_known_can_be_priced_and_has_a_time():
    for run in published_runs("known"):
        assert run.runtime and run.build
        assert run.latency_s > 0


def test_no_run_is_fitted_twice():
    runs = Counter((r.board, r.software, r.model, r.clock_hz) for r in published_runs("known"))
    assert max(runs.values()) == 1


def test_energy_is_power_times_time():
    """Two of a run's three figures give the third, but where time was measured in another run."""
    for run in published_runs("known"):
        if run.energy_j and run.power_w:
            assert run.energy_j / run.power_w == pytest.approx(run.latency_s, rel=0.04)


def test_the_data_set_has_a_digest():
    assert len(data_set_sha256()) == 64


@needs_shared
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("lenet-5", "heim/01a_LeNet-MNIST_Q-full.tflite"),
        ("resnet-20", "heim/01b_ResNet20_CIFAR-10_Q-full.tflite"),
    ],
)
def test_float_ends_are_what_the_published_files_hold(name, file):
    published = load_model(SHARED / "models" / file)
    wrapped = with_float_ends(load_model(name))
    operators = [operator.name for operator in published.main.operators]
    assert [operator.name for operator in wrapped.main.operators] == operators
    assert len(plan(wrapped, "cmsis-nn@2020").layers) == len(operators)


def test_a_priced_run_holds_all_cycles_of_its_families_and_causes():
    run = next(r for r in published_runs("known") if not r.has_interpreter)
    priced = price_run(run)
    assert sum(priced.by_family) == pytest.approx(priced.predicted, rel=1e-9)
    assert math.isclose(priced.measured, run.latency_s * run.clock_hz)


def test_a_run_without_fpu_is_priced_without_what_was_fitted():
    """The core without its FPU is a file of its own, with fitted factors of its own."""
    run = next(run for run in published_runs("known") if run.fpu == "off")
    board = without_fpu(load_board(run.board))
    found = mcusim.estimate(load_model(run.model), board, run.runtime, run.build)
    executed = [part.instructions for part in (*found.layers, found.invoke)]
    expected = sum(board.core.cycles_of(mix) for mix in executed)
    assert price_run(run).core_cycles == pytest.approx(expected)
