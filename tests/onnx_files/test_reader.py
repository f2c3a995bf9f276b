"""ONNX networks are read, and compute what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mcusim
from mcusim.errors import ModelError, UnsupportedOperatorError
from tests.onnx_files.models import Network, onnxruntime_outputs

_SHAPE = (1, 3, 12, 12)


def _image(seed: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 1, _SHAPE).astype(np.float32)


def _float_network(path: Path) -> Path:
    """Convolution, batch normalization, ReLU, residual block, pooling, dense layers."""
    net = Network()
    net.node("Conv", ["x", net.weights("w1", 8, 3, 3, 3), net.weights("b1", 8)], "c1", pads=[1] * 4)
    statistics = [
        net.constant("gamma", np.linspace(0.5, 2, 8), np.float32),
        net.constant("beta", np.linspace(-1, 1, 8), np.float32),
        net.constant("mean", np.linspace(-0.3, 0.2, 8), np.float32),
        net.constant("variance", np.linspace(0.2, 3, 8), np.float32),
    ]
    net.node("BatchNormalization", ["c1", *statistics], "n1", epsilon=1e-3)
    net.node("Relu", ["n1"], "r1")
    net.node("Conv", ["r1", net.weights("w2", 8, 8, 3, 3)], "c2", pads=[1] * 4)
    net.node("Add", ["c2", "r1"], "a2")
    net.node("Relu", ["a2"], "r2")
    net.node("Conv", ["r2", net.weights("w3", 6, 8, 3, 3)], "c3", pads=[1] * 4, strides=[2, 2])
    net.node("MaxPool", ["c3"], "p3", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Flatten", ["p3"], "f")
    net.node("Gemm", ["f", net.weights("w4", 10, 54), net.weights("b4", 10)], "d4", transB=1)
    net.node("Relu", ["d4"], "r4")
    net.node("MatMul", ["r4", net.weights("w5", 10, 5)], "d5")
    net.node("Softmax", ["d5"], "y")
    return net.save(path / "net.onnx", _SHAPE, "y", (1, 5))


@pytest.mark.parametrize("runtime", ["tflm", "dnnruntime"])
def test_a_float_network_computes_what_onnxruntime_computes(tmp_path: Path, runtime: str) -> None:
    path = _float_network(tmp_path)
    graph = mcusim.load_model(path)
    if runtime == "dnnruntime":
        assert [n.name for n in graph.main.nodes].count("RELU") == 0  # all merged
    x = _image()
    found = mcusim.run(graph, [x.transpose(0, 2, 3, 1)], runtime=runtime).outputs[0]
    np.testing.assert_allclose(found, onnxruntime_outputs(path, {"x": x}), atol=1e-5)


def _quantized_network(path: Path) -> Path:
    """The same kinds of layers between QuantizeLinear and DequantizeLinear."""
    net = Network(2)
    x = net.quantized("x", 0.02, 120)
    bias = net.constant("b1", net.random.integers(-500, 500, 8), np.int32)
    pair = [
        net.constant("b1_scale", 0.02 * 0.004, np.float32),
        net.constant("b1_zero", 0, np.int32),
    ]
    net.node("DequantizeLinear", [bias, *pair], "b1_dq")
    net.node("Conv", [x, net.stored("w1", (8, 3, 3, 3), 0.004, 131), "b1_dq"], "c1", pads=[1] * 4)
    net.node("Relu", ["c1"], "r1")
    r1 = net.quantized("r1", 0.015, 0)
    net.node("Conv", [r1, net.stored("w2", (8, 8, 3, 3), 0.003, 120)], "c2", pads=[1] * 4)
    c2 = net.quantized("c2", 0.05, 127)
    net.node("MaxPool", [c2], "p2", kernel_shape=[3, 3], strides=[2, 2])
    p2 = net.quantized("p2", 0.05, 127)
    net.node("Flatten", [p2], "f")
    f = net.quantized("f", 0.05, 127)
    net.node("Gemm", [f, net.stored("w3", (10, 200), 0.002, 126)], "d3", transB=1)
    d3 = net.quantized("d3", 0.1, 128)
    net.node("Identity", [d3], "y")
    return net.save(path / "quantized.onnx", _SHAPE, "y", (1, 10))


def test_a_quantized_network_computes_what_onnxruntime_computes(tmp_path: Path) -> None:
    """uint8 sums, one scale a filter, rounding half to even: ONNX's own arithmetic."""
    path = _quantized_network(tmp_path)
    graph = mcusim.load_model(path)
    assert {n.name for n in graph.main.nodes} == {
        *("QUANTIZE", "CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "DEQUANTIZE")
    }
    for seed in range(5):
        x = _image(seed)
        found = mcusim.run(graph, [x.transpose(0, 2, 3, 1)], runtime="dnnruntime").outputs[0]
        np.testing.assert_array_equal(found, onnxruntime_outputs(path, {"x": x}))


def test_a_quantized_sum_is_within_one_step_of_onnxruntime(tmp_path: Path) -> None:
    """onnxruntime fuses its products and sums, so that ties may fall to either side."""
    net = Network(4)
    x = net.quantized("x", 0.02, 120)
    net.node("Conv", [x, net.stored("w", (3, 3, 3, 3), 0.004, 131)], "c", pads=[1] * 4)
    net.node("Add", [net.quantized("c", 0.03, 125), x], "a")
    net.node("Relu", ["a"], "r")
    net.node("Identity", [net.quantized("r", 0.02, 0)], "y")
    path = net.save(tmp_path / "sum.onnx", _SHAPE, "y", _SHAPE)
    image = _image()
    graph = mcusim.load_model(path)
    found = mcusim.run(graph, [image.transpose(0, 2, 3, 1)], runtime="dnnruntime").outputs[0]
    wanted = onnxruntime_outputs(path, {"x": image}).transpose(0, 2, 3, 1)
    steps = np.rint((found - wanted) / 0.02)
    assert np.abs(steps).max() <= 1
    assert np.count_nonzero(steps) < 0.01 * steps.size


def test_quantized_operators_are_read(tmp_path: Path) -> None:
    """QLinearConv and QLinearMatMul, the form without pairs of QuantizeLinear."""
    net = Network(3)
    of_x = [net.constant("xs", 0.02, np.float32), net.constant("xz", 120, np.uint8)]
    net.node("QuantizeLinear", ["x", *of_x], "q")
    weights = net.constant("w", net.random.integers(0, 256, (4, 3, 3, 3)), np.uint8)
    of_w = [net.constant("ws", 0.004, np.float32), net.constant("wz", 130, np.uint8)]
    of_y = [net.constant("ys", 0.08, np.float32), net.constant("yz", 128, np.uint8)]
    bias = net.constant("b", [3, -200, 90, 0], np.int32)
    net.node("QLinearConv", ["q", *of_x, weights, *of_w, *of_y, bias], "c", strides=[2, 2])
    net.node("Flatten", ["c"], "f")
    matrix = net.constant("m", net.random.integers(0, 256, (100, 7)), np.uint8)
    of_z = [net.constant("zs", 0.5, np.float32), net.constant("zz", 100, np.uint8)]
    net.node("QLinearMatMul", ["f", *of_y, matrix, *of_w, *of_z], "p")
    net.node("DequantizeLinear", ["p", *of_z], "y")
    path = net.save(tmp_path / "linear.onnx", _SHAPE, "y", (1, 7))
    x = _image()
    graph = mcusim.load_model(str(path))
    found = mcusim.run(graph, [x.transpose(0, 2, 3, 1)], runtime="dnnruntime").outputs[0]
    np.testing.assert_array_equal(found, onnxruntime_outputs(path, {"x": x}))


def test_an_operator_that_is_not_read_is_named(tmp_path: Path) -> None:
    net = Network()
    net.node("Conv", ["x", net.weights("w", 4, 3, 3, 3)], "c")
    net.node("Erf", ["c"], "y", name="odd")
    path = net.save(tmp_path / "odd.onnx", _SHAPE, "y", (1, 4, 10, 10))
    with pytest.raises(UnsupportedOperatorError, match=r"odd\.onnx: node 1 \(Erf 'odd'\)"):
        mcusim.load_model(path)


def test_a_convolution_in_groups_is_refused(tmp_path: Path) -> None:
    net = Network()
    net.node("Conv", ["x", net.weights("w", 3, 1, 3, 3)], "y", group=3)
    path = net.save(tmp_path / "groups.onnx", _SHAPE, "y", (1, 3, 10, 10))
    with pytest.raises(UnsupportedOperatorError, match="in groups"):
        mcusim.load_model(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\xff"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX model"):
        mcusim.load_model(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        mcusim.load_model(tmp_path / "missing.onnx")
