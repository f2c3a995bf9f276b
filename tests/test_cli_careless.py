"""What a careless user does to the command line ends in one sentence and the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from mcusim import cli, pricing
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.compiled import compiler
from mcusim.report.numbers import milli
from mcusim.tflite import write
from tests.small_models import pooling

ROOT = Path(__file__).parents[1]
ON_BOARD = ["--board", "nucleo-l496zg"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "pool.tflite"
    path.write_bytes(write(pooling()))
    return path


def refused(capsys, *arguments):
    """The sentence that a command with exit code 2 ends in."""
    assert cli._run([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mcusim: ")
    assert said.count("\n") == 1
    return said


def process(*arguments, **settings):
    command = [sys.executable, "-m", "mcusim", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=False, **settings)


def test_a_folder_is_no_model(capsys, tmp_path):
    assert "is a folder" in refused(capsys, "run", tmp_path, *ON_BOARD)


def test_a_device_is_no_model(capsys):
    """Reading /dev/zero would never end."""
    assert "is a device" in refused(capsys, "run", "/dev/zero", *ON_BOARD)


def test_a_clock_needs_its_unit(capsys, model):
    said = refused(capsys, "run", model, *ON_BOARD, "--clock", "80")
    assert "did you mean 80MHz?" in said


def test_the_whole_help_where_there_is_no_command(capsys):
    assert cli._run([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage:")
    assert said.count("\n") > 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--json", "--output"])
def test_a_full_disk_is_named(capsys, model, tmp_path, option):
    np.save(tmp_path / "x.npy", np.zeros(pooling().inputs[0].shape, np.int8))
    said = refused(
        capsys, "run", model, *ON_BOARD, "--input", tmp_path / "x.npy", option, "/dev/full"
    )
    assert "/dev/full: No space left" in said


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.zeros((1, 8, 8, 4), np.float32), "quantize it: round(x / "),
        (np.zeros((1, 8, 8, 4), np.int64), "convert it to int8"),
        (np.zeros(256, np.int8), "give it that shape"),
        (np.zeros(3, np.int8), "a batch has one axis more"),
    ],
)
def test_inputs_that_do_not_fit_say_what_would(capsys, model, tmp_path, array, wanted):
    assert pooling().inputs[0].shape == (1, 8, 8, 4)
    np.save(tmp_path / "x.npy", array)
    assert wanted in refused(capsys, "run", model, *ON_BOARD, "--input", tmp_path / "x.npy")


def test_more_arrays_than_inputs(capsys, model, tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3), b=np.zeros(4))
    said = refused(capsys, "run", model, *ON_BOARD, "--input", tmp_path / "x.npz")
    assert "holds 2 arrays (a, b), the model takes 1 input" in said


@pytest.mark.parametrize("damage", [b"(9999999,99999", b"(1, 4, 4, [", b"{{{{"])
def test_damaged_headers(capsys, model, tmp_path, damage):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 8, 8, 4), np.int8))
    content = path.read_bytes()
    at = content.index(b"(1, 8, 8, 4)")
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    assert "x.npy" in refused(capsys, "run", model, *ON_BOARD, "--input", path)


def test_text_is_no_array(capsys, model, tmp_path):
    """NumPy would suggest to load it as a pickle at one's own risk."""
    path = tmp_path / "x.npy"
    path.write_text("1, 2, 3")
    said = refused(capsys, "run", model, *ON_BOARD, "--input", path)
    assert "pickle" not in said


def test_a_reader_that_goes_is_no_failure():
    with subprocess.Popen(
        [sys.executable, "-m", "mcusim", "boards"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as command:
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 0


def test_standard_error_may_be_closed():
    command = f"{sys.executable} -m mcusim run nothing.tflite --board nucleo-l496zg 2>&-"
    assert subprocess.run(command, shell=True, cwd=ROOT, check=False).returncode == 2


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_any_locale(model, locale):
    settings = {"PATH": os.environ["PATH"], "LC_ALL": locale, "PYTHONUTF8": "0"}
    done = process(
        "run", model, *ON_BOARD, env={**settings, "PYTHONCOERCECLOCALE": "0"}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_before_the_command_line_listens():
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import mcusim.__main__\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_an_interrupt_in_a_callback_is_not_lost():
    """Python reports what a callback from C raises, and goes on."""
    code = (
        "import ctypes, os, signal\n"
        "from mcusim import cli\n"
        "cli._run(['networks'])\n"
        "@ctypes.CFUNCTYPE(None)\n"
        "def callback():\n"
        "    raise KeyboardInterrupt\n"
        "callback()\n"
        "print('went on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "mcusim: interrupted\n")
    assert "went on" not in done.stdout


def test_loops_compile_where_nothing_can_be_written(monkeypatch, tmp_path):
    """Numba raises RuntimeError where it finds no place for its cache."""
    made = []
    plain = numba.njit

    def njit(*functions, cache=False):
        made.append(cache)
        if cache and str(tmp_path) != numba.config.CACHE_DIR:
            raise RuntimeError("no locator available")
        return plain(*functions)

    monkeypatch.setattr(numba, "njit", njit)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiler, "_own_folder", lambda: str(tmp_path))
    assert compiler.njit(cache=True)(lambda x: x + 1)(1) == 2
    assert made == [True, True]
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiler, "_own_folder", lambda: None)
    assert compiler.njit(cache=True)(lambda x: x + 2)(1) == 3
    assert made[2:] == [True, False]


def test_a_full_disk_does_not_stop_the_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_index", full)
    assert compiler.njit(cache=True)(lambda x: x + 4)(1) == 5


def test_boards_that_nest_too_deep_or_never_end(capsys, model, tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    assert "nests its values too deep" in refused(capsys, "run", model, "--board", path)
    assert "is a device" in refused(capsys, "run", model, "--board", "/dev/zero")


def test_the_folder_of_compiled_loops_is_the_user_s_own(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = Path(compiler._own_folder())
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert compiler._own_folder() is None


def test_a_supply_in_another_unit(capsys, model):
    assert "99 V supplies no board" in refused(capsys, "run", model, *ON_BOARD, "--supply", "99V")
    assert "0.001 V supplies no" in refused(capsys, "run", model, *ON_BOARD, "--supply", "1mV")


def test_a_limit_that_is_not_a_number_is_no_limit(capsys, model):
    assert "nan is not a" in refused(capsys, "compare", model, model, *ON_BOARD, "--slower", "nan")
    assert "nan is not a" in refused(capsys, "exec", model, *ON_BOARD, "--max-seconds", "nan")


def test_firmware_without_the_packages_that_run_it(capsys, monkeypatch, model):
    monkeypatch.setitem(sys.modules, "unicorn", None)
    for name in [name for name in sys.modules if name.startswith("mcusim.emulator")]:
        monkeypatch.delitem(sys.modules, name)
    said = refused(capsys, "exec", model, *ON_BOARD)
    assert said == "mcusim: running firmware needs unicorn: pip install 'mcusim[exec]'\n"


def test_bases_that_lead_in_a_circle_through_other_folders(capsys, tmp_path, model):
    (tmp_path / "a.toml").write_text(f'base = "../{tmp_path.name}/b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    said = refused(capsys, "run", model, "--board", tmp_path / "a.toml")
    assert "`base` leads back to this file" in said


def test_thousands_are_written_out():
    assert milli(12.3456) == "12,346"
    assert milli(1.2345, 3) == "1,234"
    assert milli(0.0012345, 3) == "1.23"
    assert milli(1e20) == "1e+23"


def unpriced_kernels(monkeypatch, *names):
    """As if these kernels had not been counted anywhere."""

    def counted(name, core, build):
        left_out = any(part in name for part in names)
        return None if left_out else closest_profile(name, core, build)

    monkeypatch.setattr(pricing, "closest_profile", counted)


def test_nothing_is_slower_than_a_time_that_is_not_known(capsys, monkeypatch):
    unpriced_kernels(monkeypatch, "max_pool")
    arguments = ["compare", "conv-32-mnist", "conv-32-mnist", "--board", "raspberry-pi-pico"]
    assert cli._run(arguments) == 0
    assert "Nothing prices 2 of the layers after" in capsys.readouterr().out
    assert "slower cannot be judged" in refused(capsys, *arguments, "--slower", "5")


def test_a_time_that_is_not_known_is_not_shown_as_zero(capsys, monkeypatch, model):
    unpriced_kernels(monkeypatch, "")
    assert cli._run(["run", str(model), *ON_BOARD]) == 0
    shown = capsys.readouterr().out
    assert "latency   unknown" in shown
    assert "RAM " in shown


def test_a_runtime_is_not_priced_on_a_core_unlike_those_it_was_counted_on(capsys):
    arguments = ["run", "conv-32-mnist", "--board", "raspberry-pi-pico"]
    said = refused(capsys, *arguments, "--runtime", "tflm@ncs1.4")
    assert "prices only m4, m7 and m33, not m0plus" in said


def test_weights_that_do_not_fit_into_ram_are_told(capsys):
    arguments = ["run", "mobilenet-v1-0.25", "--board", "nrf52840-dk"]
    assert cli._run(arguments) == 0
    assert "do not fit" not in capsys.readouterr().out
    assert cli._run([*arguments, "--place", "weights=ram"]) == 0
    assert "in RAM do not fit" in capsys.readouterr().out


def test_a_place_for_models_that_is_no_folder(capsys, model):
    said = refused(capsys, "advise", model, *ON_BOARD, "--models", "/dev/full")
    assert "/dev/full is no folder" in said


def test_what_is_placed_in_a_memory_too_small_for_it_is_told(capsys):
    """An ITCM of 16 KB holds no network of 86 KB, however much RAM there is beside it."""
    arguments = ["run", "lenet-5", "--board", "nucleo-f767zi", "--place"]
    assert cli._run([*arguments, "weights=itcm"]) == 0
    assert "do not fit in itcm, which holds 16,384 bytes" in capsys.readouterr().out
    assert cli._run([*arguments, "weights=sram1"]) == 0
    assert "do not fit" not in capsys.readouterr().out
