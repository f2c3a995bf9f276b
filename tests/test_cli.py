"""The command line: exit codes, one sentence an error, whole files or none."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import mcusim
from mcusim import cli
from mcusim.report import estimate_schema
from mcusim.tflite import write
from tests.small_models import convolution, pooling

ROOT = Path(__file__).parents[1]
ON_BOARD = ["--board", "nucleo-l496zg"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "pool.tflite"
    path.write_bytes(write(pooling()))
    return path


def mcusim_command(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = cli._run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_lists_the_commands(capsys):
    code, out, _ = mcusim_command(capsys, "--help")
    assert code == 0
    for name in ("run", "boards", "networks", "verify"):
        assert name in out


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from mcusim import cli\n"
        "cli._run(['--help'])\n"
        "heavy = {'numpy', 'rich', 'pydantic', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_version_is_the_package_s(capsys):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mcusim_command(capsys, "--version")[1] == f"mcusim {version}\n"


@pytest.mark.parametrize("command", ["run", "boards", "networks", "verify"])
def test_every_command_has_help(capsys, command):
    code, out, _ = mcusim_command(capsys, command, "--help")
    assert code == 0
    assert "Usage: mcusim" in out


def test_run_prints_table_totals_and_the_state_of_the_board(capsys, model):
    code, out, err = mcusim_command(capsys, "run", model, *ON_BOARD)
    assert (code, err) == (0, "")
    assert "AVERAGE_POOL_2D" in out
    assert "latency" in out
    assert "was calibrated with" in out
    assert "…" not in out


def test_why_names_each_layer_s_function_and_scratch(capsys, tmp_path):
    path = tmp_path / "conv.tflite"
    path.write_bytes(write(convolution()))
    runtime = ["--runtime", "cmsis-nn"]
    plain = mcusim_command(capsys, "run", path, *ON_BOARD, *runtime)[1]
    told = mcusim_command(capsys, "run", path, *ON_BOARD, *runtime, "--why")[1]
    assert "arm_convolve_s8" in plain
    assert "why " not in plain
    assert "why       0 CONV_2D: 3×3: arm_convolve_s8" in told
    assert "576 scratch bytes" in told


def test_settings_reach_the_estimate(capsys, model, tmp_path):
    path = tmp_path / "out.json"
    settings = ["--build", "gcc-Os", "--clock", "16MHz", "--no-fpu", "--json", path]
    assert mcusim_command(capsys, "run", model, *ON_BOARD, *settings)[0] == 0
    found = json.loads(path.read_text())
    jsonschema.validate(found, estimate_schema())
    assert found["clock_hz"] == 16e6
    assert found["build"] == "gcc-Os"
    assert found["board"]["core"] == "cortex-m4-soft"


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_inputs_are_run_and_outputs_saved(capsys, model, tmp_path, suffix):
    x = np.arange(3 * 256, dtype=np.int8).reshape(3, 1, 8, 8, 4)
    np.save(tmp_path / "x.npy", x)
    out_path = tmp_path / f"y.{suffix}"
    code, out, _ = mcusim_command(
        capsys, "run", model, *ON_BOARD, "--input", tmp_path / "x.npy", "--output", out_path
    )
    assert code == 0
    assert "int8 3x1x4x4x4" in out
    expected = mcusim.run(mcusim.load_model(model), x).outputs[0]
    saved = np.load(out_path)
    array = saved if suffix == "npy" else saved[saved.files[0]]
    np.testing.assert_array_equal(array, expected)


def test_named_inputs_go_where_their_names_say(tmp_path):
    from mcusim.cli.arrays import load_inputs

    np.savez(tmp_path / "x.npz", b=np.zeros(2), a=np.ones(2))
    assert [a[0] for a in load_inputs(tmp_path / "x.npz", ["a", "b"])] == [1, 0]
    assert [a[0] for a in load_inputs(tmp_path / "x.npz", ["c", "d"])] == [0, 1]


WRONG = [
    (["run"], "Missing argument 'MODEL'"),
    (["run", "MODEL"], "Missing option '--board'"),
    (["run", "none.tflite", *ON_BOARD], "none.tflite"),
    (["run", "no-such-network", *ON_BOARD], "no-such-network"),
    (["run", "MODEL", "--board", "nucleo-l469zg"], "did you mean nucleo-l496zg"),
    (["run", "MODEL", *ON_BOARD, "--clock", "fast"], "not a frequency such as 80MHz"),
    (["run", "MODEL", *ON_BOARD, "--supply", "3W"], "not a voltage such as 3V"),
    (["run", "MODEL", *ON_BOARD, "--place", "sram2"], "not a placement such as weights=ram"),
    (["run", "MODEL", *ON_BOARD, "--place", "arena=flash"], "arena lies in ram, not in 'flash'"),
    (["run", "MODEL", *ON_BOARD, "--clock", "1GHz"], "runs at 0.1 to 80 MHz"),
    (["run", "MODEL", *ON_BOARD, "--build", "gcc"], "there is no build 'gcc'"),
    (["run", "MODEL", *ON_BOARD, "--runtime", "tvm"], "runtime 'tvm' is not known"),
    (["run", "MODEL", *ON_BOARD, "--output", "y.npy"], "--output needs --input"),
    (["run", "MODEL", *ON_BOARD, "--input", "none.npy"], "none.npy: No such file"),
    (["run", "MODEL", *ON_BOARD, "--input", "MODEL"], "is not a .npy or .npz file"),
    (["run", "MODEL", *ON_BOARD, "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
    (["boards", "none.toml"], "none.toml: there is no such file"),
    (["frobnicate"], "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=lambda value: str(value)[-40:])
def test_what_is_wrong_is_one_sentence_and_exit_code_2(capsys, model, arguments, sentence):
    code, _, err = mcusim_command(capsys, *(model if a == "MODEL" else a for a in arguments))
    assert code == 2
    assert sentence in err
    assert err.startswith("mcusim: ")
    assert err.count("\n") == 1


def test_inputs_of_another_shape_are_told(capsys, model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 2), np.int8))
    code, _, err = mcusim_command(capsys, "run", model, *ON_BOARD, "--input", tmp_path / "x.npy")
    assert code == 2
    assert "of shape" in err


def test_a_full_disk_is_one_sentence(capsys, model):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    code, _, err = mcusim_command(capsys, "run", model, *ON_BOARD, "--json", "/dev/full")
    assert code == 2
    assert "No space left on device" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(capsys, model, tmp_path, monkeypatch, error):
    path = tmp_path / "out" / "estimate.json"
    path.parent.mkdir()
    path.write_text("before")

    def fail(self, target):
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    code, _, err = mcusim_command(capsys, "run", model, *ON_BOARD, "--json", path)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert err.strip().count("\n") == 0
    assert [p.name for p in path.parent.iterdir()] == ["estimate.json"]
    assert path.read_text() == "before"


def test_a_written_file_has_the_usual_mode(capsys, model, tmp_path):
    path = tmp_path / "x.json"
    plain = tmp_path / "plain"
    plain.touch()
    mcusim_command(capsys, "run", model, *ON_BOARD, "--json", path)
    assert path.stat().st_mode == plain.stat().st_mode


def test_boards_are_listed_and_shown_in_full(capsys):
    code, out, _ = mcusim_command(capsys, "boards")
    assert code == 0
    for name in ("nucleo-l496zg", "nucleo-l4r5zi", "disco-f469ni", "nrf52840-dk"):
        assert name in out
    code, out, _ = mcusim_command(capsys, "boards", "nucleo-l496zg")
    assert code == 0
    assert "DS11585" in out
    assert "core.cycles.divide" in out
    assert "calibration.time_scale" in out
    assert "uncalibrated board" in mcusim_command(capsys, "boards", "nucleo-f429zi")[1]


def test_networks_are_listed(capsys):
    code, out, _ = mcusim_command(capsys, "networks")
    assert code == 0
    assert "ds-cnn" in out.split()


def test_a_reader_that_leaves_early_is_no_error(model):
    """As in ``mcusim run … | head -1``."""
    command = f"{sys.executable} -m mcusim run {model} --board nucleo-l496zg | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, cwd=ROOT, check=False)
    assert done.stderr == b""


def test_output_without_utf8_and_colour():
    """A terminal of another encoding still gets every number."""
    done = subprocess.run(
        [sys.executable, "-m", "mcusim", "boards"],
        capture_output=True,
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "PATH": ""},
        check=True,
    )
    assert b"nucleo-l496zg" in done.stdout
    assert b"\x1b" not in done.stdout


def test_a_convolution_is_priced_end_to_end(capsys, tmp_path):
    path = tmp_path / "conv.tflite"
    path.write_bytes(write(convolution()))
    code, out, _ = mcusim_command(capsys, "run", path, *ON_BOARD)
    assert code == 0
    assert "CONV_2D 100 % (1 layer)" in out
