"""`mcusim calibrate` on recordings: what is fitted, and what is told of a wrong one."""

import gzip

import pytest

import mcusim
from mcusim import cli
from tests.calibration.importers.traces import Trace, write_csv, write_jls

BOARD = "nucleo-l496zg"


def recorded(**changes):
    """Inferences of LeNet-5 by a board 10 % slower and 20 % hungrier than its file."""
    board = mcusim.load_board(BOARD)
    found = mcusim.estimate(mcusim.load_model("lenet-5"), board, "cmsis-nn")
    active_a = 1.2 * board.power.active_w(found.clock_hz) / board.power.supply_v
    defaults = {
        "high_s": round(1.1 * found.latency_s, 4),
        "low_s": 0.02,
        "rate_hz": 10_000.0,
        "active_a": active_a,
        "idle_a": 0.3 * active_a,
        "noise": 0.001,
    }
    return Trace(**(defaults | changes))


def calibrate(*arguments):
    return cli._run(["calibrate", "--board", BOARD, *map(str, arguments)])


def test_time_and_both_currents_come_from_one_recording(tmp_path, capsys):
    trace = recorded()
    path = write_csv(tmp_path / "run.csv", trace)
    out = tmp_path / "mine.toml"
    arguments = ("--measurements", path, "--model", "lenet-5", "--runtime", "cmsis-nn", "-o", out)
    assert calibrate(*arguments) == 0
    said = capsys.readouterr().out
    assert "run.csv: 5 windows by pin gpio" in said
    fitted = mcusim.load_board(out)
    again = mcusim.estimate(mcusim.load_model("lenet-5"), fitted, "cmsis-nn")
    assert again.latency_s == pytest.approx(trace.high_s, rel=1e-3)
    assert again.energy_j == pytest.approx(trace.high_s * trace.active_a * 3.3, rel=5e-3)
    assert fitted.power.idle_w(80e6) == pytest.approx(trace.idle_a * 3.3, rel=5e-3)


def test_a_recorded_voltage_other_than_the_board_s_tells_the_same_current(tmp_path):
    trace = recorded()
    path = write_jls(tmp_path / "run.jls", trace, supply_v=3.0)
    out = tmp_path / "mine.toml"
    arguments = ("--measurements", path, "--model", "lenet-5", "--runtime", "cmsis-nn", "-o", out)
    assert calibrate(*arguments) == 0
    found = mcusim.load_board(out).power
    assert found.active_w(80e6) / found.supply_v == pytest.approx(trace.active_a, rel=5e-3)


def test_a_shipped_factor_for_the_software_is_not_counted_twice(tmp_path):
    """On a board that comes with factors on power by software, fitted to published runs."""
    board = mcusim.load_board("nucleo-l4r5zi")
    runtime, build = "cmsis-nn@2020", "gcc-Os"
    assert board.calibration.power_scale[f"{runtime} {build}"] != 1
    found = mcusim.estimate(mcusim.load_model("lenet-5"), board, runtime, build)
    rows = [f"lenet-5,{runtime},{build},{found.latency_s * 1.1!r},{found.energy_j * 1.5!r}"]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["model,runtime,build,latency_s,energy_j", *rows]))
    out = tmp_path / "mine.toml"
    arguments = ["calibrate", "--board", board.name, "--measurements", path, "-o", out]
    assert cli._run([*map(str, arguments)]) == 0
    again = mcusim.estimate(mcusim.load_model("lenet-5"), mcusim.load_board(out), runtime, build)
    assert again.energy_j == pytest.approx(found.energy_j * 1.5, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("run.csv", b"", (), "run.csv: is empty"),
        (
            "run.csv.gz",
            gzip.compress(b"x", mtime=0),
            (),
            "is compressed with gzip; unpack it first",
        ),
        ("run.jls", b"jlsfmt\r\n \n \x1a  " + bytes(20), (), "is cut short, or was not closed"),
        ("run.csv", b"time_s,current_a\n0,1\n", (), "name the network in it with --model"),
        ("run.json", b"[1]", (), "is no results.json of MLPerf Tiny"),
        ("run.csv", b"time_s,current_a,gpio\n0,1,0\n1,nan,1\n", (), "'nan' is not a number"),
        ("none.csv", None, (), "none.csv: cannot be read (No such file or directory)"),
        ("run.csv", b"x", ("--inferences", "0"), "'--inferences'"),
        ("run.csv", b"x", ("--clock", "80"), "did you mean 80MHz?"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path, capsys, name, content, options, sentence
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    model = () if "--model" in sentence else ("--model", "lenet-5")
    assert calibrate("--measurements", tmp_path / name, *model, *options) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_recording_far_from_the_prediction_is_told_without_a_line(tmp_path, capsys):
    trace = recorded(high_s=5e-3, low_s=5e-3)
    path = write_csv(tmp_path / "run.csv", trace)
    arguments = ("--measurements", path, "--model", "ds-cnn", "--runtime", "tflm")
    assert calibrate(*arguments) == 2
    assert "run.csv: a latency of 0.005 s" in capsys.readouterr().err
