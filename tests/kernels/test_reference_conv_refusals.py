"""Convolutions that TFLite Micro refuses, and models that would make it read out of bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Graph, Options, Quantization, Tensor
from mcusim.interpreter import Interpreter
from mcusim.kernels.reference import KERNELS
from tests.kernels.agreement import assert_both_refuse, values
from tests.kernels.convolution_layers import CONV, DEPTHWISE, TRANSPOSED, Layer
from tests.oracles import quantized

FLOAT32, INT8, INT16, INT32 = DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32
OPERATORS = (CONV, DEPTHWISE, TRANSPOSED)


def layer(operator: str, **fields: Any) -> Layer:
    """A plain int8 layer with other fields."""
    plain = Layer(operator, (INT8, INT8, INT32), groups=2 if operator == DEPTHWISE else 1)
    return replace(plain, **({"depth": 1} if operator == DEPTHWISE else {}) | fields)


def changed(graph: Graph, position: int, **fields: Any) -> Graph:
    """The model with other fields of one of its tensors."""
    tensors = list(graph.main.tensors)
    tensors[position] = replace(tensors[position], **fields)
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def with_options(graph: Graph, **fields: int | str) -> Graph:
    """The model with other options of its operator."""
    (operator,) = graph.main.operators
    options = Options({**operator.options, **fields})
    main = replace(graph.main, operators=(replace(operator, options=options),))
    return replace(graph, subgraphs=(main,))


def refusal(graph: Graph) -> str:
    """What mcusim says of a model, the same for running and for estimating it."""
    node = graph.main.node(0)
    with pytest.raises(UnsupportedOperatorError) as caught:
        KERNELS[node.name].bind(node)
    assert str(caught.value).startswith(f"operator 0 ({node.name}): ")
    return str(caught.value)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    "types",
    [(FLOAT32, INT8, FLOAT32), (INT16, INT16, None), (DType.UINT8, DType.UINT8, INT32)],
)
def test_types_without_a_kernel(operator: str, types: tuple[DType, DType, DType | None]) -> None:
    """A hybrid layer, float activations with an int8 filter, is the first of them."""
    graph = layer(operator, types=(INT8, INT8, types[2])).graph()
    at_input, at_filter = (2, 1) if operator == TRANSPOSED else (0, 1)
    for position, dtype in ((at_input, types[0]), (-1, types[0]), (at_filter, types[1])):
        data = graph.main.tensors[position].data
        data = None if data is None else data.astype(dtype.numpy)
        graph = changed(graph, position, dtype=dtype, data=data)
    x = values(0, graph.inputs[0].shape, types[0])
    assert_both_refuse(graph, [x], f"{types[0].value} input with {types[1].value} filters")


@pytest.mark.parametrize("operator", OPERATORS)
def test_scales_that_fit_no_channels(operator: str) -> None:
    drawn = layer(operator)
    axis = 3 if operator == DEPTHWISE else 0
    graph = changed(drawn.graph(), 1, quantization=quantized([0.5, 0.25], axis=axis))
    assert_both_refuse(graph, [drawn.inputs(0)], "the filter has 2 scales for [36] output channels")


@pytest.mark.parametrize("operator", OPERATORS)
def test_scales_along_another_dimension(operator: str) -> None:
    drawn = layer(operator)
    channels = drawn.groups * drawn.width
    graph = changed(drawn.graph(), 1, quantization=quantized([0.5] * channels, axis=2))
    if operator == DEPTHWISE:
        assert_both_refuse(graph, [drawn.inputs(0)], "scales run along dimension 2")
    else:
        # The kernel is as wide as there are channels, so the library does not notice.
        assert Interpreter(graph).invoke(drawn.inputs(0)).outputs


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("part", ["input", "filter"])
def test_missing_scales(operator: str, part: str) -> None:
    drawn = layer(operator)
    position = 1 if part == "filter" else 2 if operator == TRANSPOSED else 0
    graph = changed(drawn.graph(), position, quantization=None)
    assert_both_refuse(graph, [drawn.inputs(0)], f"the {part} has no scale and zero point")


@pytest.mark.parametrize("operator", [CONV, TRANSPOSED])
def test_output_of_another_type(operator: str) -> None:
    drawn = layer(operator)
    graph = changed(drawn.graph(), -1, dtype=INT16)
    assert_both_refuse(graph, [drawn.inputs(0)], "input and output have two types, int8 and int16")


def test_bias_of_another_type() -> None:
    drawn = layer(CONV, types=(INT16, INT8, DType.INT64))
    bias = np.zeros(drawn.width, np.int16)
    graph = changed(drawn.graph(), 2, dtype=INT16, data=bias)
    assert_both_refuse(graph, [drawn.inputs(0)], "the bias is int16, not int32 or int64")


def reshaped(tensor: Tensor, *shape: int) -> dict[str, Any]:
    """Fields of a tensor of another shape."""
    data = None if tensor.data is None else np.resize(tensor.data, shape)
    return {"shape": shape, "data": data}


def test_shapes_that_the_library_does_not_check() -> None:
    """It would read or write beyond its tensors; mcusim says what is wrong."""
    conv, deep, turned = (layer(o, per_channel=False).graph() for o in OPERATORS)
    tensors = conv.main.tensors
    assert "filters of 3 channels do not divide 2 input" in refusal(
        changed(conv, 1, **reshaped(tensors[1], 3, 3, 3, 3))
    )
    assert "the filter has 3 output channels, the output 4" in refusal(
        changed(conv, -1, **reshaped(tensors[-1], 1, 4, 4, 4))
    )
    assert "the input has 1 batches, the output 2" in refusal(
        changed(conv, -1, **reshaped(tensors[-1], 2, 4, 4, 3))
    )
    assert "the bias has 2 elements for 3 output channels" in refusal(
        changed(conv, 2, **reshaped(tensors[2], 2))
    )
    assert "the input has 3 dimensions instead of 4" in refusal(
        changed(conv, 0, **reshaped(tensors[0], 4, 4, 2))
    )
    assert "the filter is empty" in refusal(changed(conv, 1, **reshaped(tensors[1], 3, 0, 3, 2)))
    assert "strides and dilations must be positive" in refusal(with_options(conv, stride_w=0))
    assert "a depth multiplier of 5 do not give 6 output channels" in refusal(
        with_options(deep, depth_multiplier=5)
    )
    assert "the filter turns 2 channels into 3, but the input has 4" in refusal(
        changed(turned, 2, **reshaped(turned.main.tensors[2], 1, 4, 4, 4))
    )
    assert "strides must be positive" in refusal(with_options(turned, stride_h=0))


def test_scales_without_a_multiplier() -> None:
    graph = layer(CONV).graph()
    output = graph.main.tensors[-1]
    assert "no scale, or a scale of 0" in refusal(changed(graph, -1, quantization=None))
    infinite = Quantization(np.array([np.inf], np.float32), np.array([0]))
    assert "multiplier is inf" in refusal(changed(graph, 0, quantization=infinite))
    assert "zero point 300 is not an int8" in refusal(
        changed(graph, 0, quantization=quantized(0.5, 300))
    )
    assert output.dtype is INT8
