"""The zoo holds the published networks, and quantizes them as the interpreter expects."""

import csv
from itertools import zip_longest

import numpy as np
import pytest

import mcusim.zoo
from mcusim.errors import ModelError
from mcusim.graph import DType, Graph
from mcusim.interpreter import run
from mcusim.tflite import read, write
from mcusim.zoo.calibrate import calibrated_ranges, calibration_inputs
from mcusim.zoo.networks import NETWORKS
from mcusim.zoo.ranges import stored_ranges
from tests.oracles import tflm
from tests.shared import SHARED, needs_shared

#: Names in measurements/architectures.csv of the networks that the zoo builds.
PUBLISHED = {
    "ds-cnn": "MLPerf KWS DS-CNN",
    "resnet-8": "MLPerf IC ResNet-8",
    "mobilenet-v1-0.25": "MLPerf VWW MobileNetV1 0.25 96",
    "ad-autoencoder": "MLPerf AD FC autoencoder",
    "streaming-wakeword": "MLPerf SWW 1D DS-CNN",
    "lenet-5": "Heim LeNet5 int8",
    "resnet-20": "Heim ResNet20 int8",
    "mobilenet-v2-0.35-128": "Svoboda MobileNetV2_0.35_128",
    "deutel-lenet": "Deutel LeNet (unpruned)",
    "deutel-alexnet": "Deutel AlexNet (unpruned)",
    **{
        f"conv-{filters}-{data_set.lower()}": f"Profentzas Conv-{filters} {data_set}"
        for filters in (16, 32, 64, 96, 128)
        for data_set in ("MNIST", "CIFAR10")
    },
}

#: Operators that carry no weights and that tables leave out or a converter adds.
_SILENT = {"RESHAPE", "QUANTIZE", "DEQUANTIZE"}


def _layers(graph: Graph) -> list[tuple[str, str, str]]:
    return [
        (
            node.name,
            "x".join(map(str, node.input(0).shape)),
            "x".join(map(str, node.output().shape)),
        )
        for node in graph.main.nodes
        if node.name not in _SILENT
    ]


def _published(network: str) -> list[tuple[str, str, str]]:
    with (SHARED / "measurements" / "architectures.csv").open() as file:
        return [
            (row["op"], row["input"], row["output"])
            for row in csv.DictReader(file)
            if row["network"] == network and row["op"] not in _SILENT
        ]


def _flat(layer: tuple[str, str, str]) -> tuple[str, str, str]:
    """Tables write the input of a dense layer flat or not; only its size is the network's."""
    operator, source, output = layer
    if operator == "FULLY_CONNECTED":
        source = str(np.prod([int(n) for n in source.split("x")]))
    return operator, source, output


@needs_shared
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_layers_are_the_published_ones(name: str) -> None:
    ours = [_flat(layer) for layer in _layers(NETWORKS[name]().graph())]
    published = [_flat(layer) for layer in _published(PUBLISHED[name])]
    for mine, theirs in zip_longest(sorted(ours), sorted(published)):
        assert mine == theirs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lenet-5", 81_194),  # Heim et al. 2021
        ("resnet-20", 274_442),  # Heim et al. 2021, batch normalization counted
        ("deutel-lenet", 1_199_882),  # sum of the layers that Deutel et al. print
    ],
)
def test_parameters_are_the_published_ones(name: str, parameters: int) -> None:
    assert NETWORKS[name]().parameters == parameters


@pytest.mark.parametrize("name", ["lenet-5", "ds-cnn", "ad-autoencoder", "conv-16-mnist"])
def test_int8_network_runs_in_the_interpreter_with_the_same_bits(name: str) -> None:
    graph = mcusim.zoo.build(name)
    shape = graph.inputs[0].shape
    inputs = np.random.default_rng(2).integers(-128, 128, shape, np.int8)
    (expected,) = tflm(write(graph), [inputs])
    np.testing.assert_array_equal(run(graph, inputs).outputs[0], expected[0])


@pytest.mark.parametrize("name", ["lenet-5", "conv-16-cifar10", "ds-cnn"])
def test_quantization_keeps_the_answer(name: str) -> None:
    floating, integer = mcusim.zoo.build(f"{name}:float32"), mcusim.zoo.build(name)
    source, output = integer.inputs[0], integer.outputs[0]
    for array in calibration_inputs(floating)[:2]:
        stored = np.clip(np.rint(array / source.scale) + source.zero_point, -128, 127)
        result = run(integer, stored.astype(np.int8)).outputs[0].astype(np.float64)
        real = (result - output.zero_point) * output.scale
        assert np.abs(real - run(floating, array).outputs[0]).max() < 0.1


@pytest.mark.parametrize("name", ["lenet-5", "ad-autoencoder", "resnet-8"])
def test_stored_ranges_are_those_of_the_calibration_pass(name: str) -> None:
    fresh = calibrated_ranges(name)
    stored = stored_ranges(name)
    assert stored.keys() == fresh.keys()
    for index, (low, high) in fresh.items():
        assert stored[index] == pytest.approx((low, high), rel=1e-4, abs=1e-5)


def test_every_network_has_ranges_and_survives_the_file() -> None:
    for name in mcusim.zoo.names():
        if name == "deutel-alexnet":  # 44 million weights: too slow for a unit test
            continue
        graph = mcusim.zoo.build(name)
        assert graph.inputs[0].dtype is DType.INT8
        assert read(write(graph)) == graph
        assert graph.model_bytes == len(write(graph))


def test_unknown_name_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="did you mean 'lenet-5'"):
        mcusim.zoo.build("lenet5")
