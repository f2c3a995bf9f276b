"""Convolutions against the TFLite Micro interpreter, and their three views against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.convolution_mirror import (
    conv_mirror,
    depthwise_mirror,
    transposed_mirror,
)
from mcusim.tflite import load
from tests import oracles
from tests.kernels.agreement import assert_agrees, bits, values
from tests.kernels.convolution_layers import CONV, DEPTHWISE, KINDS, TRANSPOSED, Layer, layers
from tests.kernels.single_operators import assert_golden
from tests.shared import SHARED, needs_shared

INT8, INT16, INT64, INT32 = DType.INT8, DType.INT16, DType.INT64, DType.INT32
OPERATORS = (CONV, DEPTHWISE, TRANSPOSED)
MIRRORS = {CONV: conv_mirror, DEPTHWISE: depthwise_mirror, TRANSPOSED: transposed_mirror}


@pytest.mark.parametrize("operator", OPERATORS)
def test_layers(operator: str) -> None:
    """Any shape, stride, dilation, padding, type and scale."""

    @settings(max_examples=100)
    @given(layer=layers(operator))
    def search(layer: Layer) -> None:
        assert_agrees(layer.graph(), [layer.inputs(0)], [layer.inputs(1)], [layer.inputs(2)])

    search()


@pytest.mark.parametrize("operator", OPERATORS)
def test_computed_filters(operator: str) -> None:
    """A filter that is no constant is another one in each inference."""

    @settings(max_examples=15)
    @given(layer=layers(operator))
    def search(layer: Layer) -> None:
        if layer.types[1] is DType.INT4:
            return
        graph = layer.graph(constant_filter=False)
        kernels = [values(layer.seed + i, layer.filter_shape, layer.types[1]) for i in (20, 21)]
        calls = [[layer.inputs(i), kernel] for i, kernel in enumerate(kernels)]
        # A transposed convolution reads its filter before its input.
        if operator == TRANSPOSED:
            calls = [[kernel, x] for x, kernel in calls]
        assert_agrees(graph, *calls)

    search()


@pytest.mark.parametrize("operator", OPERATORS)
def test_loops_are_the_mirrors(operator: str) -> None:
    """The mirror's outputs are the fast path's, and its turns are the trip counts."""

    @settings(max_examples=40)
    @given(layer=layers(operator), seed=st.integers(0, 1 << 20))
    def search(layer: Layer, seed: int) -> None:
        small = replace(
            layer,
            batches=1,
            size=(min(layer.size[0], 5), min(layer.size[1], 5)),
            width=min(layer.width, 3),
        )
        if small.groups > 5 or small.depth > 3 or 0 in small.out_shape or min(small.out_shape) < 1:
            return
        graph = small.graph()
        node = graph.main.node(0)
        x = values(seed, small.in_shape, small.types[0])
        kernel = node.input(1).data
        bias = node.optional_input(3 if operator == TRANSPOSED else 2)
        assert kernel is not None
        mirrored, turns = MIRRORS[operator](node, x, kernel, None if bias is None else bias.data)
        (found,) = Interpreter(graph).invoke([x]).outputs
        np.testing.assert_array_equal(bits(mirrored), bits(found))
        trips = KERNELS[operator].call(node).trips
        assert {level: turns[level] for level in trips} == trips

    search()


@pytest.mark.parametrize("types", KINDS[CONV])
def test_extreme_sums(types: tuple[DType, DType, DType | None]) -> None:
    """The largest products, and more of them than int32 holds of an int16 convolution."""
    layer = Layer(CONV, types, size=(3, 3), depth=600, width=2, kernel=(3, 2), per_channel=False)
    low = layer.inputs(0)
    if types[0] is not DType.FLOAT32:
        low = np.full(layer.in_shape, np.iinfo(types[0].numpy).min, types[0].numpy)
    assert_agrees(layer.graph(), [low], [layer.inputs(1)])


@pytest.mark.parametrize("width", [8, 16, 24, 32, 40, 64])
def test_batches_of_every_width(width: int) -> None:
    """Vectors and tiles that end within, at and beyond the channels and pixels of a batch."""
    layer = Layer(CONV, (INT8, INT8, INT32), size=(5, 3), depth=4, width=width, kernel=(2, 2))
    deep = replace(layer, operator=DEPTHWISE, groups=width, depth=1, width=1)
    for each in (layer, deep):
        assert_agrees(each.graph(), *([each.inputs(i)] for i in range(7)))


@pytest.mark.parametrize("operator", OPERATORS)
def test_infinities_and_nan(operator: str) -> None:
    """They spread as the library's order of sums and its clamp let them."""
    layer = Layer(operator, (DType.FLOAT32,) * 3, fused="RELU6")
    if operator == DEPTHWISE:
        layer = replace(layer, groups=2, depth=1)
    calls = [[values(seed, layer.in_shape, DType.FLOAT32, special=True)] for seed in range(6)]
    assert_agrees(layer.graph(), *calls)


@pytest.mark.parametrize("operator", OPERATORS)
def test_zero_points_that_are_ignored(operator: str) -> None:
    """The filter's, and those of int16 activations."""
    for types in ((INT8, INT8, INT32), (INT16, INT8, INT64)):
        layer = Layer(operator, types, groups=2 if operator == DEPTHWISE else 1)
        layer = replace(layer, depth=1 if operator == DEPTHWISE else 2, per_channel=False)
        graph = layer.graph()
        tensors = [
            replace(t, quantization=oracles.quantized(t.scale, 5))
            if t.quantization and (t.is_constant or types[0] is INT16)
            else t
            for t in graph.main.tensors
        ]
        main = replace(graph.main, tensors=tuple(tensors))
        assert_agrees(replace(graph, subgraphs=(main,)), [layer.inputs(0)], [layer.inputs(1)])


def test_option_for_the_type_of_sums() -> None:
    """An int16 convolution without a bias sums in int32 where its options say so."""
    layer = Layer(CONV, (INT16, INT8, None), size=(3, 3), depth=700, width=2)
    graph = layer.graph()
    (operator,) = graph.main.operators
    options = type(operator.options)({**operator.options, "quantized_bias_type": "int32"})
    main = replace(graph.main, operators=(replace(operator, options=options),))
    wrapping = replace(graph, subgraphs=(main,))
    x = np.full(layer.in_shape, 32767, np.int16)
    assert_agrees(wrapping, [x], [layer.inputs(0)])


@needs_shared
def test_recorded_outputs() -> None:
    assert [assert_golden(o.lower()) for o in OPERATORS] == [86, 49, 17]


@needs_shared
@pytest.mark.parametrize(
    "name", ["mlperf_tiny/kws_ref_model", "mlperf_tiny/pretrainedResnet_quant"]
)
def test_every_convolution_of_a_network(name: str) -> None:
    """Recorded tensors on the device."""
    path = SHARED / "models" / f"{name}.tflite"
    graph = load(path)
    recorded = np.load(SHARED / "golden" / "tflm" / f"{path.stem}.tflm2026_ref.npz")
    known: dict[int, Array] = {graph.inputs[0].index: recorded["input"]}
    known |= {
        t.index: recorded[f"t{t.index}"] for t in graph.main.tensors if f"t{t.index}" in recorded
    }
    for node in graph.main.nodes:
        if node.name in OPERATORS:
            x = known[node.input(0).index].reshape(1, *node.input(0).shape)
            constants = [t.data[np.newaxis] for t in node.inputs if t and t.data is not None]
            (found,) = KERNELS[node.name].bind(node)([x, *constants])
            np.testing.assert_array_equal(found.ravel(), known[node.output().index].ravel())


@needs_shared
@pytest.mark.parametrize("name", ["heim/01a_LeNet-MNIST_Q-none", "mlperf_tiny/vww_96_float"])
def test_float_networks_equal_the_interpreter(name: str) -> None:
    """In float32 the device fuses multiply and add; the interpreter on a PC does not."""
    path = SHARED / "models" / f"{name}.tflite"
    graph = load(path)
    x = values(1, graph.inputs[0].shape, DType.FLOAT32)
    nodes = [node for node in graph.main.nodes if node.name in OPERATORS][:4]
    indices = [node.output().index for node in nodes]
    expected = oracles.tflm_tensors(path.read_bytes(), [x], indices)
    tensors = Interpreter(graph).invoke([x], tensors=True).tensors
    for index, theirs in zip(indices, expected, strict=True):
        np.testing.assert_array_equal(bits(tensors[index]), bits(theirs))
