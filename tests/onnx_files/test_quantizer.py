"""Files that onnxruntime's own quantizer writes, of the networks of Deutel et al. in small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import mcusim
from tests.onnx_files.models import Array, Network

_IMAGES = {"lenet": (1, 1, 14, 14), "resnet": (1, 3, 16, 16)}


class _Images:
    """What the quantizer calibrates with."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(5)
        drawn = (random.normal(0, 1, shape).astype(np.float32) for _ in range(4))
        self._images: Iterator[Array] = iter(list(drawn))

    def get_next(self) -> Mapping[str, Array] | None:
        found = next(self._images, None)
        return None if found is None else {"x": found}


def _layer(net: Network, x: str, name: str, shape: tuple[int, ...]) -> str:
    """A convolution with batch normalization."""
    filters = shape[0]
    net.node("Conv", [x, net.weights(f"{name}w", *shape), net.weights(f"{name}b", filters)], name)
    of = [
        net.constant(f"{name}{i}", net.random.uniform(0.5, 1.5, filters), np.float32)
        for i in range(4)
    ]
    return net.node("BatchNormalization", [name, *of], f"{name}n")


def _float(kind: str, path: Path) -> Path:
    net = Network(1)
    if kind == "lenet":
        first = net.node("Relu", [_layer(net, "x", "c", (4, 1, 3, 3))], "r")
        net.node("Relu", [_layer(net, first, "d", (8, 4, 3, 3))], "s")
        features = 8 * 25
    else:
        entry = net.node("Relu", [_layer(net, "x", "c", (4, 3, 3, 3))], "r")
        inner = net.node("Relu", [_layer(net, entry, "d", (4, 4, 3, 3))], "s")
        block = _layer(net, inner, "e", (4, 4, 3, 3))
        net.node("Add", [block, _layer(net, entry, "f", (4, 4, 5, 5))], "a")
        net.node("Relu", ["a"], "t")
        features = 4 * 25
    last = "s" if kind == "lenet" else "t"
    net.node("MaxPool", [last], "p", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Flatten", ["p"], "v")
    net.node("Gemm", ["v", net.weights("g", 10, features), net.weights("h", 10)], "l", transB=1)
    net.node("Softmax", ["l"], "y", axis=-1)
    return net.save(path, _IMAGES[kind], "y", (1, 10))


@pytest.mark.parametrize("kind", list(_IMAGES))
@pytest.mark.parametrize("layout", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_the_quantizer_writes_computes_what_onnxruntime_computes(
    tmp_path: Path, kind: str, layout: str, per_channel: bool
) -> None:
    """uint8 activations and int8 weights, with pairs around operators or as operators of its own.

    Without onnxruntime's optimizations, which fuse a product and a sum and round once.
    """
    tool = import_module("onnxruntime.quantization")
    prepared, path = tmp_path / "prepared.onnx", tmp_path / "quantized.onnx"
    given = _float(kind, tmp_path / "float.onnx")
    tool.shape_inference.quant_pre_process(given, prepared, skip_symbolic_shape=True)
    tool.quantize_static(
        prepared,
        path,
        _Images(_IMAGES[kind]),
        quant_format=tool.QuantFormat[layout],
        per_channel=per_channel,
        activation_type=tool.QuantType.QUInt8,
        weight_type=tool.QuantType.QInt8,
    )
    image = np.random.default_rng(6).normal(0, 1, _IMAGES[kind]).astype(np.float32)
    graph = mcusim.load_model(path)
    found = mcusim.run(graph, [image.transpose(0, 2, 3, 1)], runtime="dnnruntime").outputs[0]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = onnxruntime.InferenceSession(str(path), options).run(None, {"x": image})[0]
    np.testing.assert_array_equal(found, wanted)
    assert (
        mcusim.estimate(graph, mcusim.load_board("raspberry-pi-pico"), "dnnruntime").latency_s > 0
    )
