"""``mcusim run MODEL --board B --runtime all``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import mcusim
from mcusim.alternatives import alternatives
from mcusim.cli import commands
from mcusim.errors import InputError
from mcusim.experiments.heim_builds import mixed
from mcusim.tflite import write


def test_every_runtime_has_an_estimate_or_a_reason() -> None:
    graph, board = mcusim.load_model("conv-16-mnist"), mcusim.load_board("nrf52840-dk")
    found = {a.runtime: a for a in alternatives(graph, board)}
    assert {"tflm@2026", "cmsis-nn@2026", "cmsis-nn@q7", "utensor", "dnnruntime"} < found.keys()
    for alternative in found.values():
        assert (alternative.estimate is None) == bool(alternative.reason)
    assert "(SOFTMAX): runtime utensor has no kernel" in found["utensor"].reason
    times = [a.estimate.latency_s for a in found.values() if a.estimate is not None]
    assert times == sorted(times)
    assert len(times) > 4


def test_what_a_core_cannot_do_is_a_reason() -> None:
    graph, board = mcusim.load_model("ds-cnn"), mcusim.load_board("raspberry-pi-pico")
    found = {a.runtime: a for a in alternatives(graph, board)}
    assert "DSP" in found["cmsis-nn@q7"].reason
    assert "DEPTHWISE_CONV_2D" in found["dnnruntime"].reason


def test_a_setting_that_is_wrong_for_all_is_refused() -> None:
    graph, board = mcusim.load_model("conv-16-mnist"), mcusim.load_board("nrf52840-dk")
    with pytest.raises(InputError, match="no build"):
        alternatives(graph, board, "gcc-O9")


def test_what_is_not_known_of_memory_is_said() -> None:
    graph, board = mcusim.load_model("lenet-5"), mcusim.load_board("nucleo-l496zg")
    found = {a.runtime: a for a in alternatives(graph, board)}
    for runtime in ("tflm@2026", "cmsis-nn@2026", "dnnruntime"):
        estimate = found[runtime].estimate
        assert estimate is not None
        assert estimate.ram_bytes
        assert found[runtime].least_ram_bytes is None
        assert found[runtime].knows_program
        assert not found[runtime].note
    newest = found["cmsis-nn@2026"].estimate
    assert newest is not None
    assert newest.memory is not None
    for year in ("2020", "2021", "2022"):
        # The first convolution's input and output, 1,024 and 5,400 bytes, lie in RAM at once.
        least = found[f"cmsis-nn@{year}"].least_ram_bytes
        assert least is not None
        assert 6_424 <= least <= newest.memory.head_bytes
    assert found["cmsis-nn@q7"].note
    closed = found["x-cube-ai@9.0"]
    assert closed.note
    assert not closed.knows_program


def test_a_closed_runtime_measured_in_int8_is_not_priced_in_float32() -> None:
    graph = mcusim.load_model("resnet-8:float32")
    found = {a.runtime: a for a in alternatives(graph, mcusim.load_board("nucleo-l4r5zi"))}
    assert "closed and was measured with int8 networks only" in found["hale@2024"].reason
    assert found["hale@2024"].reason == found["x-cube-ai@9.0"].reason
    assert found["tflm@2026"].estimate is not None


def test_the_command_prints_the_table_and_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    arguments = ["run", "conv-16-mnist", "--board", "nrf52840-dk", "--runtime", "all"]
    result = CliRunner().invoke(commands, [*arguments, "--json", str(path)])
    assert result.exit_code == 0, result.output
    words = (
        "tflm@2026",
        "dnnruntime",
        "not       utensor: operator",
        "> ",
        "note      cmsis-nn@q7",
    )
    for word in words:
        assert word in result.output
    content = json.loads(path.read_text())
    assert content["schema"] == "mcusim/alternatives/1"
    by_name = {row["runtime"]: row for row in content["alternatives"]}
    assert by_name["dnnruntime"]["estimate"]["latency_s"] > 0
    assert by_name["utensor"]["estimate"] is None


def test_a_model_that_nothing_runs_is_an_error(tmp_path: Path) -> None:
    """A float32 network with int8 weights in its dense layers, on a core without q7 kernels."""
    path = tmp_path / "mixed.tflite"
    path.write_bytes(write(mixed("lenet-5:float32")))
    arguments = ["run", str(path), "--board", "raspberry-pi-pico", "--runtime", "all"]
    result = CliRunner().invoke(commands, arguments, standalone_mode=False)
    assert "no runtime runs it" in result.output
    assert result.return_value == 2


def test_what_needs_one_runtime_is_a_usage_error() -> None:
    arguments = ["run", "conv-16-mnist", "--board", "nrf52840-dk", "--runtime", "all", "--why"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 2
    assert "--runtime all" in result.output
