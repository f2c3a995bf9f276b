"""uTensor's operators against outputs of the real ones, defects included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import mcusim
from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph, Options, Quantization, Tensor
from tests.oracles import activation, constant, quantized, single_operator

_GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "utensor" / "operators.npz")
_CASES = sorted({name.rpartition(".")[0] for name in _GOLDEN.files})
_INPUT_SCALE, _DENSE_SCALE = 0.02, 0.003


@pytest.mark.parametrize("case", _CASES)
def test_an_operator_equals_the_library(case: str) -> None:
    graph = _graph(case)
    x = _GOLDEN[f"{case}.x"].reshape(graph.inputs[0].shape)
    found = mcusim.run(graph, [x], runtime="utensor").outputs[0]
    np.testing.assert_array_equal(found.ravel(), _GOLDEN[f"{case}.y"])


def test_a_convolution_forgets_zero_point_bias_and_scale() -> None:
    """The sum of stored values modulo 256, which no trained network means."""
    case = next(c for c in _CASES if c.startswith("conv_2d_int8.8-8-4-3-3-1-0"))
    x = _GOLDEN[f"{case}.x"].reshape(8, 8, 4).astype(int)
    weights = _GOLDEN[f"{case}.w"].reshape(5, 3, 3, 4).astype(int)
    corner = (x[:3, :3] * weights[0]).sum()
    assert _GOLDEN[f"{case}.y"][0] == (corner + 128) % 256 - 128


def test_a_dense_layer_with_as_many_outputs_as_inputs_is_refused() -> None:
    graph = _dense(4, 4, np.zeros((4, 4), np.int8), np.zeros(4, np.int32), 0.1, 0, 0)
    with pytest.raises(UnsupportedOperatorError, match="fewer outputs than inputs"):
        mcusim.Interpreter(graph, runtime="utensor")


def test_an_operator_that_the_code_generator_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"\(SOFTMAX\).*runtime utensor"):
        mcusim.Interpreter(mcusim.load_model("conv-16-mnist"), runtime="utensor")


def _graph(case: str) -> Graph:
    name = case.partition(".")[0]
    numbers = [int(n) for n in _GOLDEN[f"{case}.params"]]
    _, h, w, c, kh, kw, stride, out_h, out_w, out_c, same, _, scale, x_zero, y_zero, _ = numbers[
        :16
    ]
    image, out = (1, h, w, c), (1, out_h, out_w, out_c)
    fine, coarse = quantized(_INPUT_SCALE, x_zero), quantized(scale / 1e6, y_zero)
    options: dict[str, str | int] = {
        "padding": "SAME" if same else "VALID",
        "stride_h": stride,
        "stride_w": stride,
        "filter_height": kh,
        "filter_width": kw,
    }
    if name == "fully_connected_int8":
        weights = _GOLDEN[f"{case}.w"].reshape(c, out_c).T
        return _dense(c, out_c, weights, _GOLDEN[f"{case}.b"], scale / 1e6, x_zero, y_zero)
    if name == "conv_2d_int8":
        weights = _GOLDEN[f"{case}.w"].reshape(out_c, kh, kw, c)
        bias = constant(_GOLDEN[f"{case}.b"], quantized(0.0001))
        return _one(
            "CONV_2D", image, fine, [constant(weights, quantized(0.005)), bias], out, options
        )
    if name == "depthwise_conv_2d_int8":
        scales: list[float] = _GOLDEN[f"{case}.s"].tolist()
        weights = _GOLDEN[f"{case}.w"].reshape(1, kh, kw, out_c)
        filters = constant(weights, quantized(scales, [0] * out_c, axis=3))
        bias = constant(_GOLDEN[f"{case}.b"], quantized(0.1))
        inputs = [activation(image, DType.INT8, fine), filters, bias]
        outputs = [activation(out, DType.INT8, coarse)]
        return single_operator("DEPTHWISE_CONV_2D", inputs, outputs, Options(options), "NONE")
    if name == "max_pool_2d_int8":
        return _one("MAX_POOL_2D", image, fine, [], out, options)
    if name == "relu_int8":
        # There is no operator of its own in a file: the code generator makes it of a fused one.
        identity = np.eye(c, dtype=np.int8).reshape(c, 1, 1, c)
        bias = constant(np.zeros(c, np.int32), quantized(0.0001))
        fused = {"padding": "VALID", "fused_activation_function": "RELU"}
        weights_and_bias = [constant(identity, quantized(0.005)), bias]
        return _one("CONV_2D", image, fine, weights_and_bias, image, fused)
    if name == "reshape_int8":
        return _one("RESHAPE", image, fine, [], (1, h * w * c), {})
    given = activation(image, DType.FLOAT32 if name == "quantize_float32" else DType.INT8, fine)
    if name == "quantize_float32":
        given, wanted = activation(image, DType.FLOAT32), activation(image, DType.INT8, coarse)
        return single_operator("QUANTIZE", [given], [wanted], Options(), "NONE")
    return single_operator(
        "DEQUANTIZE", [given], [activation(image, DType.FLOAT32)], Options(), "NONE"
    )


def _one(
    operator: str,
    image: tuple[int, ...],
    quantization: Quantization,
    constants: list[Tensor],
    out: tuple[int, ...],
    options: Mapping[str, str | int],
) -> Graph:
    inputs = [activation(image, DType.INT8, quantization), *constants]
    outputs = [activation(out, DType.INT8, quantization)]
    return single_operator(operator, inputs, outputs, Options(dict(options)), "NONE")


def _dense(
    features: int, units: int, weights: Array, bias: Array, scale: float, x_zero: int, y_zero: int
) -> Graph:
    return single_operator(
        "FULLY_CONNECTED",
        [
            activation((1, features), DType.INT8, quantized(_INPUT_SCALE, x_zero)),
            constant(np.ascontiguousarray(weights), quantized(_DENSE_SCALE)),
            constant(bias, quantized(_INPUT_SCALE * _DENSE_SCALE)),
        ],
        [activation((1, units), DType.INT8, quantized(scale, y_zero))],
        Options(),
        "NONE",
    )
