"""The commands of docs/measure.md do what it shows, on recordings made up as its instruments do."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mcusim
from tests.calibration.importers.traces import Trace, write_jls, write_ppk2_export
from tests.test_tutorial import BLOCK, matches

PAGE = Path(__file__).parents[1] / "docs" / "measure.md"
FILE = re.compile(r"save this as `([\w.-]+)`")
#: Networks of MLPerf Tiny, by the benchmark's names.
NETWORKS = {
    "kws": "ds-cnn",
    "ic": "resnet-8",
    "vww": "mobilenet-v1-0.25",
    "ad": "ad-autoencoder",
}


def trace(network):
    """Inferences as long as a board 15 % slower than its files takes, and 30 % hungrier."""
    board = mcusim.load_board("nucleo-l496zg")
    found = mcusim.estimate(mcusim.load_model(network), board, "cmsis-nn")
    power_w = 1.3 * board.power.active_w(found.clock_hz)
    return Trace(
        high_s=round(1.15 * found.latency_s, 4),
        low_s=0.02,
        rate_hz=10_000.0,
        active_a=power_w / board.power.supply_v,
        idle_a=2e-3,
        noise=0.001,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    write_ppk2_export(folder / "kws.csv", trace("ds-cnn"))
    write_jls(folder / "ic.jls", trace("resnet-8"), supply_v=3.3)
    text = PAGE.read_text()
    [content] = [content for language, content in BLOCK.findall(text) if language == "csv"]
    # What the board of the recordings takes, whatever its file predicts by now.
    content = content.replace(",36.7,", f",{trace('lenet-5').high_s * 1e3:.4g},")
    (folder / FILE.findall(text)[0]).write_text(content)
    board = mcusim.load_board("disco-f746ng")
    for name, network in NETWORKS.items():
        found = mcusim.estimate(mcusim.load_model(network), board, "cmsis-nn")
        place = folder / "submission" / name / "performance"
        place.mkdir(parents=True)
        (place / "results.txt").write_text(
            "00112.406 ulp-mlperf: Performance results for window 2:\n"
            "00112.407 ulp-mlperf:   # Inferences :         1000\n"
            f"00112.407 ulp-mlperf:   Runtime      :  {1.15 * found.latency_s * 1e3:10.3f} sec.\n"
        )
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the page speaks to a POSIX shell")
def test_every_command_prints_what_the_page_shows(recorded):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    blocks = [content for language, content in BLOCK.findall(PAGE.read_text())]
    consoles = [content for content in blocks if content.startswith("$ ")]
    assert len(consoles) == 5
    for content in consoles:
        for step in content.removeprefix("$ ").split("\n$ "):
            command, _, shown = step.partition("\n")
            done = subprocess.run(
                command,
                shell=True,
                cwd=recorded,
                env=os.environ | {"PATH": path},
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
            assert matches(shown, done.stdout), (command, done.stdout)


def test_every_line_of_python_prints_what_the_page_shows(recorded, monkeypatch):
    monkeypatch.chdir(recorded)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 5
    assert failed == 0
