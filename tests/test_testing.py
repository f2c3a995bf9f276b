"""What users' test suites get: assertions, snapshots, strategies and the pytest plugin."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcusim
from mcusim import cli
from mcusim.errors import InputError
from mcusim.graph import DType
from mcusim.testing import StraddlesBudget, assert_bit_exact, assert_fits, assert_latency
from mcusim.testing.strategies import OPERATORS, quantized_arrays, single_operator_models
from mcusim.tflite import write
from mcusim.verify import random_inputs, read_snapshot, take_snapshot, verify_recorded
from tests.oracles import tflm
from tests.small_models import pooling
from tests.test_verify import convolution


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_drawn_models_run_in_the_real_interpreter_bit_for_bit(operator, data):
    graph = data.draw(single_operator_models(operator))
    inputs = [data.draw(quantized_arrays(t.shape, t.dtype)) for t in graph.inputs]
    (expected,) = tflm(write(graph), inputs)
    (found,) = mcusim.run(graph, inputs).outputs
    np.testing.assert_array_equal(found, expected[0])


def test_equal_bits_pass_and_other_bits_name_operator_and_rounding():
    assert_bit_exact(pooling())
    with pytest.raises(AssertionError, match=r"operator 0 \(AVERAGE_POOL_2D\).*truncated"):
        assert_bit_exact(pooling(), runtime="cmsis-nn@2020")


def test_recorded_outputs_that_were_rounded_once_are_recognised():
    """Outputs as a build of CMSIS-NN with single rounding gives them."""
    graph = convolution()
    inputs = random_inputs(graph)
    once = mcusim.run(graph, inputs, runtime="cmsis-nn", single_rounding=True).outputs[0]
    found = verify_recorded(graph, inputs, {graph.outputs[0].name: once}, runtime="tflm")
    (difference,) = found.differences
    assert difference.why == "the same sum, rounded twice, against rounded once"
    assert not found.outputs_equal
    assert_bit_exact(graph, inputs, against={graph.outputs[0].name: tflm_outputs(graph, inputs)})


def tflm_outputs(graph, inputs):
    """Outputs of the real interpreter over a batch."""
    calls = [[array[i] for array in inputs] for i in range(len(inputs[0]))]
    return np.stack([outputs[0] for outputs in tflm(write(graph), *calls)])


def test_an_error_in_the_middle_of_a_network_is_found_where_tensors_were_recorded():
    graph = mcusim.load_model("ds-cnn")
    inputs = random_inputs(graph, 1)
    tensors = mcusim.run(graph, inputs, tensors=True).tensors
    recorded = {t.name: tensors[t.index].copy() for node in graph.main.nodes for t in node.outputs}
    broken = graph.main.nodes[4].outputs[0].name
    recorded[broken].flat[7] += 1
    found = verify_recorded(graph, inputs, recorded, runtime="tflm")
    assert [d.index for d in found.differences if d.index == 4] == [4]
    assert found.outputs_equal


def test_what_was_recorded_must_fit():
    graph = pooling()
    inputs = random_inputs(graph, 2)
    with pytest.raises(InputError, match="computes no tensor 'x'"):
        verify_recorded(graph, inputs, {"x": np.zeros(3)})
    with pytest.raises(InputError, match=r"recorded as float64 \[3\]"):
        verify_recorded(graph, inputs, {graph.outputs[0].name: np.zeros(3)})


def test_a_snapshot_survives_its_text_and_names_the_operator_that_changed(tmp_path):
    graph = mcusim.load_model("ds-cnn")
    inputs = random_inputs(graph, 2)
    before = take_snapshot(graph, inputs)
    path = tmp_path / "kws.toml"
    path.write_text(before.to_toml(), "utf-8")
    assert read_snapshot(path) == before
    assert before.changes(take_snapshot(graph, inputs, runtime="cmsis-nn")) == ()
    node = graph.main.nodes[3]
    weights = node.input(1)
    tensors = list(graph.main.tensors)
    tensors[weights.index] = replace(weights, data=np.roll(weights.data, 1))
    edited = replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))
    changes = before.changes(take_snapshot(edited, inputs))
    assert [c.index for c in changes if c.is_cause] == [3]
    assert "weights" in changes[0].why
    with pytest.raises(InputError, match="other inputs"):
        before.changes(take_snapshot(graph, random_inputs(graph, 2, seed=1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema =", "is not a snapshot"),
        ('schema = "mcusim/snapshot/1"', "model: Field required"),
        ('schema = "other"\nmodel="m"\nruntime="tflm"\ninferences=1\n'
         'inputs="0123456789abcdef"\noperators=[]', "is a 'other'"),
    ],
)  # fmt: skip
def test_a_damaged_snapshot_is_refused(tmp_path, text, message):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_snapshot(path)


def test_a_budget_passes_fails_or_is_straddled():
    found = assert_latency("ds-cnn", "nucleo-l496zg", below_s=10)
    low, high = found.latency_interval_s
    with pytest.raises(AssertionError, match="the budget is"):
        assert_latency("ds-cnn", "nucleo-l496zg", below_s=low / 2)
    with pytest.warns(StraddlesBudget, match="straddles"):
        assert_latency("ds-cnn", "nucleo-l496zg", below_s=(low + high) / 2)


def test_memory_budgets_name_what_does_not_fit():
    found = assert_fits("ds-cnn", "nucleo-l496zg", ram_share=0.5)
    share = found.flash_bytes / found.board.flash.bytes / 2
    with pytest.raises(AssertionError, match="bytes of flash, more than"):
        assert_fits("ds-cnn", found.board, flash_share=share)
    with pytest.raises(AssertionError, match="bytes of RAM, more than 1 %"):
        assert_fits("ds-cnn", "nucleo-l496zg", ram_share=0.01)


def test_verify_records_and_compares_from_the_shell(tmp_path, capsys):
    model, inputs = tmp_path / "conv.tflite", tmp_path / "x.npy"
    graph = convolution()
    model.write_bytes(write(graph))
    np.save(inputs, random_inputs(graph)[0])
    snapshot = tmp_path / "conv.toml"
    common = ["verify", str(model), "--inputs", str(inputs)]
    assert cli._run([*common, "--runtime", "tflm", "--record", str(snapshot)]) == 0
    assert cli._run([*common, "--against", str(snapshot)]) == 0
    assert "computes what" in capsys.readouterr().out
    report, junit = tmp_path / "r.json", tmp_path / "r.xml"
    command = [*common, "--against", str(snapshot), "--single-rounding"]
    assert cli._run([*command, "--json", str(report), "--junit", str(junit)]) == 1
    (change,) = json.loads(report.read_text())["changes"]
    assert (change["index"], change["is_cause"]) == (0, True)
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    outputs = tmp_path / "y.npz"
    np.savez(outputs, **{graph.outputs[0].name: tflm_outputs(graph, random_inputs(graph))})
    assert cli._run([*common, "--against", str(outputs)]) == 0
    assert cli._run(["verify", str(model), "--against", str(outputs)]) == 2


def test_the_plugin_records_once_and_then_compares(tmp_path):
    """In a process of its own, as a user's suite runs."""
    (tmp_path / "test_model.py").write_text(
        "def test_kws(bit_snapshot):\n    bit_snapshot.assert_unchanged('ds-cnn')\n"
    )

    def suite(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )

    first = suite()
    assert first.returncode == 1
    assert "not recorded yet" in first.stdout
    assert suite("--mcusim-record").returncode == 0
    (path,) = Path(tmp_path).rglob("*.toml")
    assert path.name == "test_kws.toml"
    assert suite().returncode == 0
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("outputs"))
    lines[at] = 'outputs = "0123456789abcdef"'
    path.write_text("\n".join(lines))
    changed = suite()
    assert changed.returncode == 1
    assert "operator 0 (CONV_2D)" in changed.stdout


def test_a_straddled_budget_may_be_made_a_failure():
    with warnings.catch_warnings():
        warnings.simplefilter("error", StraddlesBudget)
        found = mcusim.estimate(mcusim.load_model("ds-cnn"), mcusim.load_board("nucleo-l496zg"))
        with pytest.raises(StraddlesBudget):
            assert_latency("ds-cnn", "nucleo-l496zg", below_s=found.latency_interval_s[1] * 0.999)


def test_int16_arrays_reach_the_ends_of_the_type():
    @settings(max_examples=20, deadline=None)
    @given(quantized_arrays((100,), DType.INT16))
    def check(array):
        assert array.dtype == np.int16
        seen.update(array.tolist())

    seen: set[int] = set()
    check()
    assert {-32768, 32767} <= seen


def test_the_page_says_what_runs(tmp_path, capsys, monkeypatch):
    """Every assertion and command of docs/test-your-model.md but those with a user's own file."""
    page = (Path(__file__).parents[1] / "docs" / "test-your-model.md").read_text("utf-8")
    python = page.split("```python\n")[1].split("```")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StraddlesBudget)
        exec(python, {})
    monkeypatch.chdir(tmp_path)
    commands = [line[2:].split() for line in page.splitlines() if line.startswith("$ mcusim")]
    assert [cli._run(command[1:]) for command in commands] == [0, 0]


@pytest.mark.parametrize("budget", [float("nan"), -1.0])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(InputError, match="below_s must be a number from 0"):
        assert_latency(pooling(), "nucleo-l496zg", below_s=budget)
    with pytest.raises(InputError, match="ram_share must be a number from 0"):
        assert_fits(pooling(), "nucleo-l496zg", ram_share=budget)
    with pytest.raises(InputError, match="flash_share must be a number from 0"):
        assert_fits(pooling(), "nucleo-l496zg", flash_share=budget)
