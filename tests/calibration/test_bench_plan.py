"""Planned measurements: what they identify, and that a board fitted to them is the board itself."""

import csv
import math
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import mcusim
from mcusim.boards import Calibration
from mcusim.calibration import bench_plan, board_fit
from mcusim.calibration.bench_files import plan_files
from mcusim.calibration.bench_networks import MICRO_NETWORKS, micro_network
from mcusim.calibration.bench_plan import plan_bench
from mcusim.calibration.board_fit import Parameters
from mcusim.calibration.boards import calibrate
from mcusim.cli import commands
from mcusim.tflite import write
from tests import oracles

BOARD = "nucleo-l496zg"


def secret(name, time_scale, fetch, constants):
    """The board as it really is: what the plan's user measures."""
    held = mcusim.load_board(name)
    found = Calibration(
        measured_on="secret",
        runs=1,
        software=("tflm gcc-O3",),
        time_scale=time_scale,
        fetch_wait_scale=fetch,
        constant_wait_scale=constants,
        measured_over_predicted_low=0.9,
        measured_over_predicted_high=1.1,
    )
    return held.model_copy(update={"calibration": found, "calibrated": True})


def filled(folder, board, energy=1.0):
    """Fill in the table of a plan with what a board measures."""
    with (folder / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = mcusim.estimate(
            mcusim.load_model(folder / row["model"]),
            board,
            row["runtime"],
            row["build"],
            clock_hz=float(row["clock_hz"]),
            placement={"weights": row["weights"]},
        )
        row["latency_ms"] = f"{found.latency_s * 1e3:.9g}"
        row["energy_mj"] = f"{found.energy_j * 1e3 * energy:.9g}"
    with (folder / "runs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "runs.csv"


def run(*arguments):
    return CliRunner().invoke(commands, ["bench", "plan", *map(str, arguments)])


@pytest.mark.parametrize(
    ("board", "runtime"),
    [(BOARD, "tflm"), (BOARD, "cmsis-nn"), ("disco-f469ni", "tflm"), ("raspberry-pi-pico", "tflm")],
)
def test_a_board_fitted_to_the_plan_s_runs_is_found_within_two_percent(tmp_path, board, runtime):
    done = run("--board", board, "--runtime", runtime, "-o", tmp_path)
    assert done.exit_code == 0, done.output
    hidden = {"time_scale": 1.17, "fetch_wait_scale": 1.4, "constant_wait_scale": 0.45}
    table = filled(tmp_path, secret(board, *hidden.values()), energy=1.3)
    found = calibrate(board, table)
    assert not found.refused
    planned = plan_bench(board, runtime)
    assert set(found.fit.fitted) >= set(planned.standard_errors)  # what is promised, at least
    for name in found.fit.fitted:
        assert getattr(found.fit.parameters, name) == pytest.approx(hidden[name], rel=0.02), name
    stated = mcusim.load_board(board).power.active_a_per_hz
    assert found.current.values["active_a_per_hz"] == pytest.approx(1.3 * stated, rel=0.02)


@pytest.mark.parametrize("board", [BOARD, "raspberry-pi-pico"])
def test_promised_standard_errors_are_those_of_runs_that_repeat_within_two_percent(board):
    """Monte Carlo: a hundred afternoons of measuring, each fitted."""
    plan = plan_bench(board)
    runs = [bench_plan._run(run_.estimate, run_.network) for run_ in plan.runs]
    names, start = tuple(plan.standard_errors), Parameters(1.0, 1.0, 1.0)
    noise = np.random.default_rng(5)
    fitted = []
    for _ in range(100):
        measured = [
            replace(run_, measured=run_.measured * math.exp(0.02 * noise.standard_normal()))
            for run_ in runs
        ]
        found = board_fit._least_squares(measured, start, names)
        fitted.append([getattr(found, name) for name in names])
    seen = np.std(fitted, axis=0)
    assert seen == pytest.approx(list(plan.standard_errors.values()), rel=0.25)


@pytest.mark.parametrize("board", [BOARD, "nucleo-f767zi", "nucleo-f091rc", "nrf52840-dk"])
def test_a_plan_is_small_and_each_network_can_be_left_out(board):
    plan = plan_bench(board)
    assert len(plan.standard_errors) < len(plan.runs) <= 8
    assert len({run.network for run in plan.runs}) == len(plan.runs)
    for run_ in plan.runs:
        assert max(run_.without.values()) < 10
    held = mcusim.load_board(board)
    for run_ in plan.runs:
        assert run_.estimate.ram_bytes <= held.ram.bytes
        assert held.clock.min_hz <= run_.estimate.clock_hz <= held.clock.max_hz


def test_the_chosen_runs_know_more_than_any_exchange_of_one():
    """D-optimality against the definition, with NumPy's determinant over all single exchanges."""
    slopes = np.random.default_rng(3).random((14, 3))
    groups = [f"network {i // 2}" for i in range(14)]
    chosen = bench_plan._design(slopes, groups, 5)
    best = np.linalg.det(slopes[chosen].T @ slopes[chosen])
    assert len({groups[i] for i in chosen}) == 5
    for place in range(5):
        for other in range(14):
            swapped = [*chosen[:place], other, *chosen[place + 1 :]]
            if len({groups[i] for i in swapped}) == 5:
                assert np.linalg.det(slopes[swapped].T @ slopes[swapped]) <= best * (1 + 1e-6)


def test_the_networks_run_in_tflite_micro():
    for name in MICRO_NETWORKS:
        graph = micro_network(name)
        inputs = [np.zeros(t.shape, t.dtype.numpy) for t in graph.inputs]
        found = mcusim.run(graph, inputs)
        [real] = oracles.tflm(write(graph), inputs)
        for ours, theirs in zip(found.outputs, real, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_c_arrays_hold_the_model(tmp_path):
    plan = plan_bench("raspberry-pi-pico")  # with models in RAM and in flash
    files = plan_files(plan)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for run_ in plan.runs[:2]:
        name = run_.network.replace("-", "_")
        program = (
            f'#include <stdio.h>\n#include "{run_.network}.h"\n'
            f"int main(void) {{ fwrite({name}_model, 1, {name.upper()}_MODEL_BYTES, stdout);"
            f" return {name.upper()}_ARENA_BYTES == {run_.estimate.arena_bytes} ? 0 : 1; }}\n"
        )
        (tmp_path / "main.c").write_text(program)
        sources = [tmp_path / "main.c", tmp_path / f"{run_.network}.c"]
        flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        subprocess.run(["gcc", *flags, *sources, "-o", tmp_path / "main"], check=True)
        done = subprocess.run([tmp_path / "main"], capture_output=True, check=True)
        assert done.stdout == files[f"{run_.network}.tflite"]


def test_the_command_says_what_each_run_is_for(tmp_path):
    done = run("--board", BOARD, "-o", tmp_path / "plan")
    assert done.exit_code == 0, done.output
    assert "runs on nucleo-l496zg with tflm, gcc-O3 identify time_scale, fetch_wait_scale" in (
        done.output
    )
    assert "expected standard errors, when runs repeat within 2 %: time_scale 0.0" in done.output
    assert "% of the time moves with fetch_wait_scale; without it" in done.output


def test_what_was_measured_is_not_overwritten(tmp_path):
    assert run("--board", BOARD, "-o", tmp_path).exit_code == 0
    assert run("--board", BOARD, "-o", tmp_path).exit_code == 0  # nothing filled in yet
    filled(tmp_path, mcusim.load_board(BOARD))
    done = run("--board", BOARD, "-o", tmp_path)
    assert done.exit_code == 2
    assert "runs.csv is there already, and may hold what was measured" in done.output


def test_one_clock_is_kept(tmp_path):
    plan = plan_bench(BOARD, clock_hz=48e6)
    assert {run_.estimate.clock_hz for run_ in plan.runs} == {48e6}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"runtime": "tflmm"}, "runtime 'tflmm' is not known"),
        ({"build": "gcc-03"}, "there is no build 'gcc-03'"),
        ({"clock_hz": 1e9}, "not at 1000 MHz"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options, sentence):
    with pytest.raises(mcusim.McusimError, match=sentence):
        plan_bench(BOARD, **options)
