"""FULLY_CONNECTED against the TFLite Micro interpreter, and its three views against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph, Quantization, Tensor
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.dense import Rescaling, bind_rows
from mcusim.kernels.reference.fully_connected import fully_connected_mirror
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized
from tests.shared import needs_shared

INT4, INT8, INT16 = DType.INT4, DType.INT8, DType.INT16
INT32, INT64, FLOAT32 = DType.INT32, DType.INT64, DType.FLOAT32
SEEDS = st.integers(0, 1 << 30)
ACTIVATIONS = st.sampled_from(("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1"))


def held(data: Array, dtype: DType, quantization: Quantization | None = None) -> Tensor:
    """A constant of a type that NumPy may not have."""
    return Tensor(0, "", data.shape, dtype, quantization, np.ascontiguousarray(data))


@dataclass(frozen=True)
class Layer:
    """What a fully connected layer is drawn from.

    Attributes:
        source: type of input and output.
        weights: type of the weights.
        bias: type of the bias, None without one.
        per_channel: a scale for each output.
        outer: dimensions of the input but the last.
        depth: its last.
        outputs: last dimension of the output.
        keeps: the output has the input's other dimensions.
        fused: activation.
        seed: of the data.
    """

    source: DType
    weights: DType
    bias: DType | None
    per_channel: bool
    outer: tuple[int, ...]
    depth: int
    outputs: int
    keeps: bool
    fused: str
    seed: int

    def graph(self, constant_weights: bool = True) -> Graph:
        random = np.random.default_rng(self.seed)
        batches = int(np.prod(self.outer))
        out_shape = (*self.outer, self.outputs) if self.keeps else (batches, self.outputs)
        is_float = self.source is FLOAT32
        shape = (self.outputs, self.depth)
        weights = values(self.seed + 7, shape, FLOAT32 if is_float else INT8)
        if self.weights is INT4:
            weights = weights >> 4
        quantizations: list[Quantization | None] = [None] * 4
        if not is_float:
            in_scale, weight_scale = 2.0 ** random.uniform(-8, 0, 2)
            growth = 2.0 ** random.uniform(5, 14 if self.source is INT8 else 8)
            zeros = random.integers(-128, 128, 2) if self.source is INT8 else (0, 0)
            scales = weight_scale * random.uniform(0.2, 1, self.outputs)
            quantizations = [
                quantized(in_scale, int(zeros[0])),
                quantized(list(scales)) if self.per_channel else quantized(weight_scale),
                quantized(in_scale * weight_scale),
                quantized(in_scale * weight_scale * growth, int(zeros[1])),
            ]
        inputs: list[Tensor | None] = [
            activation((*self.outer, self.depth), self.source, quantizations[0]),
            held(weights, self.weights, quantizations[1])
            if constant_weights
            else activation(shape, self.weights, quantizations[1]),
            None,
        ]
        if self.bias is not None:
            spread = 1 if is_float else 1 << 12
            bias = (random.normal(0, spread, self.outputs)).astype(self.bias.numpy)
            inputs[2] = held(bias, self.bias, quantizations[2])
        return model(
            "FULLY_CONNECTED",
            inputs,
            [activation(out_shape, self.source, quantizations[3])],
            "FullyConnectedOptions",
            fused_activation_function=self.fused,
            keep_num_dims=self.keeps,
        )

    def inputs(self, call: int) -> Array:
        return values(self.seed + call, (*self.outer, self.depth), self.source)


KINDS = (
    (INT8, INT8, INT32, False),
    (INT8, INT8, INT32, True),
    (INT8, INT8, None, False),
    (INT8, INT4, INT32, False),
    (INT16, INT8, INT64, False),
    (INT16, INT8, INT64, True),
    (INT16, INT8, INT32, False),
    (INT16, INT8, INT32, True),
    (INT16, INT8, None, False),
    (FLOAT32, FLOAT32, FLOAT32, False),
    (FLOAT32, FLOAT32, None, False),
)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    source, weights, bias, per_channel = draw(st.sampled_from(KINDS))
    outer = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    outputs = draw(st.integers(2 if per_channel else 1, 9))
    return Layer(
        source,
        weights,
        bias,
        per_channel,
        outer,
        draw(st.integers(1, 40)),
        outputs,
        draw(st.booleans()),
        draw(ACTIVATIONS),
        draw(SEEDS),
    )


@settings(max_examples=150)
@given(layer=layers())
def test_layers(layer: Layer) -> None:
    assert_agrees(layer.graph(), [layer.inputs(0)], [layer.inputs(1)])


@settings(max_examples=30)
@given(layer=layers())
def test_computed_weights(layer: Layer) -> None:
    if layer.weights is INT4:
        return
    graph = layer.graph(constant_weights=False)
    shape = (layer.outputs, layer.depth)
    calls = [[layer.inputs(c), values(layer.seed + c + 20, shape, layer.weights)] for c in (0, 1)]
    assert_agrees(graph, *calls)


@pytest.mark.parametrize("source", [INT8, INT16])
def test_long_sums(source: DType) -> None:
    """Sums that float32 does not hold, and that wrap where the library's do."""
    bias = INT32 if source is INT8 else INT64
    layer = Layer(source, INT8, bias, False, (2,), 3000, 4, False, "NONE", 3)
    extreme = np.full((2, 3000), np.iinfo(source.numpy).min, source.numpy)
    assert_agrees(layer.graph(), [extreme], [layer.inputs(1)])


@pytest.mark.parametrize("seed", [127, 716, 2036])
def test_product_of_scales_is_not_rounded(seed: int) -> None:
    """Layers whose outputs differ by one where the product of two scales is held in float32."""
    layer = Layer(INT16, INT8, INT32, False, (2,), 14, 6, False, "NONE", seed)
    assert_agrees(layer.graph(), [layer.inputs(0)], [layer.inputs(1)])


def test_wrong_scale_of_the_bias_is_refused() -> None:
    graph = model(
        "FULLY_CONNECTED",
        [
            activation((1, 4), INT8, quantized(0.5)),
            held(np.ones((2, 4), np.int8), INT8, quantized(0.5)),
            held(np.ones(2, np.int32), INT32, quantized(0.5)),
        ],
        [activation((1, 2), INT8, quantized(0.5))],
        "FullyConnectedOptions",
    )
    assert_both_refuse(graph, [np.zeros((1, 4), np.int8)], "the bias has scale 0.5")


@pytest.mark.parametrize(
    ("source", "weights", "reason"),
    [
        (FLOAT32, INT8, "the input is float32 and the weights are int8"),
        (INT16, INT16, "the input is int16 and the weights are int16"),
        (DType.UINT8, DType.UINT8, "the input is uint8"),
    ],
)
def test_types_that_are_refused(source: DType, weights: DType, reason: str) -> None:
    """A hybrid network's layer is the first of them."""
    graph = model(
        "FULLY_CONNECTED",
        [
            activation((1, 4), source, quantized(0.5)),
            held(np.ones((2, 4), weights.numpy), weights, quantized(0.5)),
            None,
        ],
        [activation((1, 2), source, quantized(0.5))],
        "FullyConnectedOptions",
    )
    assert_both_refuse(graph, [np.zeros((1, 4), source.numpy)], reason)


def test_int4_weights_with_a_scale_each_are_refused() -> None:
    layer = Layer(INT8, INT4, INT32, True, (1,), 4, 3, False, "NONE", 0)
    assert_both_refuse(layer.graph(), [layer.inputs(0)], "more than one scale")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_mirror_loops_and_results(wide: bool, per_channel: bool, has_bias: bool) -> None:
    source = INT16 if wide else INT8
    bias = (INT64 if wide else INT32) if has_bias else None
    layer = Layer(source, INT8, bias, per_channel, (3,), 7, 5, False, "RELU", 11)
    node = layer.graph().main.node(0)
    trips = KERNELS["FULLY_CONNECTED"].call(node).trips
    random = np.random.default_rng(5)
    rescaling = Rescaling(
        3,
        0,
        random.integers(1 << 30, (1 << 31) - 1, 5 if per_channel else 1, np.int32),
        random.integers(-9, -3, 5 if per_channel else 1, np.int32),
        -4,
        -100,
        90,
        wide,
        source,
    )
    weights, addend = node.input(1).data, node.input(2).data if has_bias else None
    assert weights is not None
    x = layer.inputs(0)
    mirrored, turns = fully_connected_mirror(x, weights, addend, rescaling)
    np.testing.assert_array_equal(mirrored, bind_rows(weights, addend, rescaling, source)(x))
    assert (turns.batches, turns.outputs, turns.biases, turns.products) == (
        1 + trips["next_batch"],
        trips["output"],
        trips["bias"],
        trips["product"] + trips["channel_product"],
    )
    assert trips["channel_output"] == (turns.outputs if per_channel else 0)


@needs_shared
def test_recorded_outputs() -> None:
    assert assert_golden("fully_connected") == 74
