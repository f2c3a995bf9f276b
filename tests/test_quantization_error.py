"""Where quantization hurts, held against errors that were put in on purpose."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import mcusim
from mcusim import cli
from mcusim.errors import InputError
from mcusim.graph import DType, Graph, Quantization
from mcusim.tflite import load
from mcusim.verify import verify_recorded
from mcusim.verify.classification import scores
from mcusim.verify.litert import litert_tensors
from mcusim.verify.quantization_error import quantization_error, quantized_inputs
from tests.oracles import activation, single_operator
from tests.shared import SHARED, needs_shared
from tests.small_models import pooling

EXACT, QUANTIZED = "ds-cnn:float32", "ds-cnn"


def inputs(count: int = 8) -> list[np.ndarray]:
    """Inputs within the range that the zoo calibrates."""
    graph = mcusim.load_model(QUANTIZED)
    tensor = graph.inputs[0]
    low, high = ((end - tensor.quantization.zero_point) * tensor.scale for end in (-128, 127))
    random = np.random.default_rng(0)
    return [random.uniform(low, high, (count, *tensor.shape)).astype(np.float32)]


def coarser(graph: Graph, operator: int, factor: float) -> Graph:
    """The same network, with a scale of an output that wastes most codes."""
    tensor = graph.main.nodes[operator].outputs[0]
    q = tensor.quantization
    tensors = list(graph.main.tensors)
    tensors[tensor.index] = replace(
        tensor, quantization=Quantization(q.scales * np.float32(factor), q.zero_points)
    )
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def unary(shape: tuple[int, ...]) -> Graph:
    """A float model of one operator that no quantized model here has."""
    return single_operator(
        "ABS", [activation(shape, DType.FLOAT32)], [activation(shape, DType.FLOAT32)]
    )


def test_the_layer_whose_scale_is_coarse_adds_most_and_wastes_codes():
    exact, graph = mcusim.load_model(EXACT), mcusim.load_model(QUANTIZED)
    # Before SOFTMAX, whose own steps take any input scale: a bias would have to follow it.
    before = quantization_error(graph, exact, inputs())
    found = quantization_error(coarser(graph, 11, 32), exact, inputs())
    assert before.adds_most.index != 11
    assert found.adds_most.index == 11
    layer = found.layers[11]
    assert layer.unused_below + layer.unused_above > 0.9
    assert layer.own_signal_to_noise_db < before.layers[11].own_signal_to_noise_db - 20
    assert found.layers[12].own_signal_to_noise_db > 20
    assert found.first_loss.index == 11


def test_the_layer_whose_scale_is_too_fine_saturates():
    exact, graph = mcusim.load_model(EXACT), mcusim.load_model(QUANTIZED)
    found = quantization_error(coarser(graph, 2, 0.25), exact, inputs())
    assert found.layers[2].saturated > 0.05
    assert found.layers[2].bias < 0


def test_eight_bits_of_a_uniform_tensor_give_the_noise_of_rounding():
    """Rounding to a step of the range over 255 leaves 20 log10(255) = 48 dB, and a little more."""
    graph = mcusim.load_model(QUANTIZED)
    (values,) = inputs(32)
    (codes,) = quantized_inputs(graph, [values])
    tensor = graph.inputs[0]
    real = (codes.astype(float) - tensor.quantization.zero_point) * tensor.scale
    error = real - values
    assert np.abs(error).max() <= tensor.scale * 0.501
    assert error.std() == pytest.approx(tensor.scale / np.sqrt(12), rel=0.02)


def test_inputs_out_of_range_are_told():
    exact, graph = mcusim.load_model(EXACT), mcusim.load_model(QUANTIZED)
    found = quantization_error(graph, exact, [10 * inputs()[0]])
    assert found.inputs_saturated[0] > 0.5
    assert quantization_error(graph, exact, inputs()).inputs_saturated == (0.0,)


def test_models_that_share_nothing_are_refused():
    zeros = np.zeros((2, 1, 8, 8, 4), np.float32)
    with pytest.raises(InputError, match="no layer in common"):
        quantization_error(pooling(), unary((1, 8, 8, 4)), [zeros])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused(value):
    exact, graph = mcusim.load_model(EXACT), mcusim.load_model(QUANTIZED)
    with pytest.raises(InputError, match="holds NaN or infinity"):
        quantization_error(graph, exact, [np.full_like(inputs()[0], value)])


def test_labels_are_counted_in_processes_as_in_one():
    exact, graph = mcusim.load_model(EXACT), mcusim.load_model(QUANTIZED)
    x = inputs(300)
    labels = mcusim.run(exact, x).outputs[0].reshape(300, -1).argmax(axis=1)
    ways = [("float", exact, "tflm"), ("int8", graph, "tflm")]
    alone = list(scores(ways, x, labels, processes=1))
    assert [s.inferences for s in alone] == [256, 44, 256, 44]
    assert all(s.correct == s.inferences for s in alone if s.way == "float")
    assert sorted(map(vars_of, scores(ways, x, labels, processes=2))) == sorted(map(vars_of, alone))
    with pytest.raises(InputError, match="labels must lie"):
        list(scores(ways, x, labels + 1000))
    with pytest.raises(InputError, match="labels are whole numbers"):
        list(scores(ways, x, labels + 0.5))
    with pytest.raises(InputError, match="as many whole numbers"):
        list(scores(ways, x, labels[:5]))


def vars_of(score):
    """A score in an order."""
    return tuple(vars(score).values())


@needs_shared
def test_litert_rounds_once_where_tflm_rounds_twice():
    graph = load(SHARED / "models" / "mlperf_tiny" / "pretrainedResnet_quant.tflite")
    random = np.random.default_rng(0)
    x = [random.integers(-128, 128, (16, *t.shape)).astype(np.int8) for t in graph.inputs]
    found = verify_recorded(graph, x, litert_tensors(graph, x), runtime="tflm")
    assert {d.operator for d in found.differences} <= {"FULLY_CONNECTED"}
    assert all("rounded twice, against rounded once" in d.why for d in found.differences)


def test_debug_says_where_the_loss_starts(tmp_path, capsys):
    path, report = tmp_path / "d.npz", tmp_path / "d.json"
    (x,) = inputs(20)
    labels = mcusim.run(mcusim.load_model(EXACT), [x]).outputs[0].reshape(20, -1).argmax(axis=1)
    np.savez(path, x=x, labels=labels)
    command = ["debug", QUANTIZED, "--float", EXACT, "--inputs", str(path), "--json", str(report)]
    assert cli._run(command) == 0
    out = capsys.readouterr().out
    assert "adds most by itself" in out
    assert "accuracy  float: 100.00 %" in out
    assert "against litert" in out
    content = json.loads(report.read_text())
    assert content["schema"] == "mcusim/quantization-error/1"
    assert len(content["layers"]) == len(mcusim.load_model(QUANTIZED).main.nodes)
    assert cli._run(["debug", QUANTIZED, "--float", "lenet-5:float32", "--inputs", str(path)]) == 2
    capsys.readouterr()
    np.savez(path, x=x, labels=labels + 100)
    assert cli._run(command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "labels must lie in 0 to" in said.err
