"""Closed runtimes: measured factors over CMSIS-NN, marked as such, and never computed."""

from dataclasses import replace

import pytest

import mcusim
from mcusim.calibration.published import published_runs
from mcusim.errors import InputError
from mcusim.runtimes.closed import closed_names, closed_runtime


def test_every_closed_runtime_that_was_published_can_be_asked_for():
    published = {run.runtime for run in published_runs("closed")}
    assert published == set(closed_names())


def test_a_name_without_version_is_the_newest():
    assert closed_runtime("x-cube-ai", "m4").name == "x-cube-ai@10.2"
    assert closed_runtime("plumerai", "m7").name == "plumerai@2023"
    assert closed_runtime("cmsis-nn", "m4") is None


def test_what_was_not_measured_is_refused():
    with pytest.raises(InputError, match=r"x-cube-ai@7\.1, x-cube-ai@7\.3, x-cube-ai@8\.0"):
        closed_runtime("x-cube-ai@6", "m4")
    with pytest.raises(InputError, match="other SIMD instructions than 'm0plus'"):
        closed_runtime("x-cube-ai", "m0plus")


def test_an_estimate_says_that_it_is_closed_and_is_wide():
    board = mcusim.load_board("nucleo-u575zi-q")
    found = mcusim.estimate(mcusim.load_model("ds-cnn"), board, "x-cube-ai@9.0")
    assert (found.runtime, found.build) == ("x-cube-ai@9.0", "closed")
    assert "is closed" in found.warnings[0]
    assert not any(layer.is_exact for layer in found.layers)
    assert found.arena_bytes is None
    low, high = found.latency_interval_s
    assert low <= 29.0563e-3 <= high  # MLPerf Tiny v1.2, closed, STMicroelectronics
    assert high / low > 1.3
    again = mcusim.estimate(mcusim.load_model("ds-cnn"), board, found.runtime, found.build)
    assert again.latency_s == found.latency_s


def test_a_network_that_was_not_measured_is_wider_and_is_not_told_by_its_name_alone():
    board, model = mcusim.load_board("nucleo-u575zi-q"), mcusim.load_model("ds-cnn")
    measured = mcusim.estimate(model, board, "x-cube-ai@9.0")
    other = mcusim.load_model("mobilenet-v1-0.25")
    other = mcusim.estimate(replace(other, name="ds-cnn"), board, "x-cube-ai@9.0")
    low, high = other.latency_interval_s
    assert high / low > 2
    narrow = measured.latency_interval_s
    assert narrow[1] / narrow[0] < high / low


def test_people_can_choose_between_versions():
    """X-CUBE-AI 7.1 took 2.9 times as long as 9.0 for visual wake words on the L4R5: not half."""
    board, model = mcusim.load_board("nucleo-l4r5zi"), mcusim.load_model("mobilenet-v1-0.25")
    old, new = (mcusim.estimate(model, board, f"x-cube-ai@{v}").latency_s for v in ("7.1", "9.0"))
    assert old / new > 2


def test_nothing_is_computed_and_no_build_is_taken():
    model = mcusim.load_model("ds-cnn")
    with pytest.raises(InputError, match="is priced only"):
        mcusim.Interpreter(model, runtime="hale@2024")
    with pytest.raises(InputError, match="comes compiled"):
        mcusim.estimate(model, mcusim.load_board("nucleo-l4r5zi"), "hale", "gcc-Os")


def test_a_board_where_a_closed_runtime_was_not_measured_is_told_and_no_surer_than_its_base():
    graph, name = mcusim.load_model("ds-cnn"), "nucleo-f429zi"
    board = mcusim.load_board(name)
    assert name not in closed_runtime("x-cube-ai", "m4").boards
    found = mcusim.estimate(graph, board, "x-cube-ai")
    base = mcusim.estimate(graph, board, "cmsis-nn")
    assert any("was not measured on nucleo-f429zi" in said for said in found.warnings)
    assert "was not measured on nucleo-f429zi" in " ".join(found.to_dict()["warnings"])
    low, high = (bound / found.latency_s for bound in found.latency_interval_s)
    assert low <= base.board.core.uncalibrated.measured_over_predicted_low + 1e-9
    assert high >= base.board.core.uncalibrated.measured_over_predicted_high - 1e-9
    measured = mcusim.estimate(graph, mcusim.load_board("nucleo-l4r5zi"), "x-cube-ai")
    assert not any("was not measured on" in said for said in measured.warnings)
