"""Writing: what is written reads back equal, and real interpreters compute the same from it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from tflite.Model import Model

from mcusim.errors import ModelError
from mcusim.graph import (
    Array,
    DType,
    Graph,
    Operator,
    Options,
    OptionValue,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
)
from mcusim.tflite import read, write
from mcusim.tflite.schema import Field, Kind, enum_names, fields
from tests import tflite_models
from tests.oracles import quantized, tflm
from tests.shared import SHARED, needs_shared, shared_models

_SINGLE_OPERATORS = SHARED / "golden" / "tflm" / "single_operators.zip"

#: What the TFLite Micro interpreter refuses, rewritten or not.
_HYBRID = ("01a_LeNet-MNIST_Q-mixed", "kws_ref_model_float32")


def _inputs(graph: Graph) -> list[Array]:
    rng = np.random.default_rng(7)

    def values(tensor: Tensor) -> Array:
        dtype = tensor.dtype.numpy
        if dtype.kind == "f":
            return rng.normal(size=tensor.shape).astype(dtype)
        return rng.integers(0, 2 if dtype.kind == "b" else 100, tensor.shape).astype(dtype)

    return [values(tensor) for tensor in graph.inputs]


def _assert_same_outputs(content: bytes) -> None:
    graph = read(content)
    inputs = _inputs(graph)
    rewritten = write(graph)
    # Twice: variables keep their values between calls.
    for before, after in zip(
        tflm(content, inputs, inputs), tflm(rewritten, inputs, inputs), strict=True
    ):
        for x, y in zip(before, after, strict=True):
            assert x.dtype == y.dtype
            assert x.tobytes() == y.tobytes()


@needs_shared
@pytest.mark.parametrize("path", shared_models(), ids=lambda p: p.stem)
def test_a_network_comes_back(path: Path) -> None:
    content = path.read_bytes()
    graph = read(content)
    assert read(write(graph)) == graph
    if path.stem not in _HYBRID:
        _assert_same_outputs(content)


@needs_shared
def test_every_single_operator_model_comes_back() -> None:
    with zipfile.ZipFile(_SINGLE_OPERATORS) as archive:
        names = [name for name in archive.namelist() if name.endswith(".tflite")]
        assert len(names) > 800
        for number, name in enumerate(names):
            content = archive.read(name)
            graph = read(content, name)
            assert read(write(graph)) == graph, name
            if number % 7 == 0:
                _assert_same_outputs(content)


@pytest.mark.parametrize("build", tflite_models.MODELS.values(), ids=tflite_models.MODELS)
def test_a_special_model_comes_back(build: Callable[[], bytes]) -> None:
    graph = read(build())
    assert read(write(graph)) == graph
    assert write(read(write(graph))) == write(graph)


@pytest.mark.parametrize("name", ["int4_weights", "two_subgraphs", "variables"])
def test_the_interpreter_takes_a_rewritten_special_model(name: str) -> None:
    _assert_same_outputs(tflite_models.MODELS[name]())


def test_weights_past_the_flatbuffer_are_embedded() -> None:
    graph = read(tflite_models.appended_weights())
    x = np.full((2, 4), 0.5, np.float32)
    [[y]] = tflm(write(graph), [x])
    assert_array_equal(y, x + tflite_models.APPENDED_WEIGHTS)


def test_weights_of_another_file_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"skip" + tflite_models.APPENDED_WEIGHTS.tobytes())
    graph = read(tflite_models.external_file(), base=tmp_path)
    assert read(write(graph)) == graph


_NAMES = st.text(max_size=12)
_INDICES = st.integers(0, 4)


def _option(field: Field) -> st.SearchStrategy[OptionValue]:
    if field.kind is Kind.STRING:
        return _NAMES
    if field.kind is Kind.VECTOR:
        return st.lists(_scalar(field), max_size=5).map(tuple)
    if field.enum:
        return st.sampled_from(sorted(enum_names(field.enum).values()))
    return _scalar(field)


def _scalar(field: Field) -> st.SearchStrategy[Any]:
    kind = field.element.kind
    if kind == "b":
        return st.booleans()
    if kind == "f":
        return st.floats(width=32, allow_nan=False)
    if field.name.startswith(("stride_", "dilation_", "filter_")):
        return st.integers(0, 2**15 - 1)
    bounds = np.iinfo(field.element)
    return st.integers(int(bounds.min), int(bounds.max))


def _options(table: str) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries(
        {n: _option(f) for n, f in fields(table).items() if f.kind is Kind.SCALAR},
        optional={n: _option(f) for n, f in fields(table).items() if f.kind is not Kind.SCALAR},
    ).map(Options)


_TABLES = sorted(
    name
    for enum in ("BuiltinOptions", "BuiltinOptions2")
    for name in enum_names(enum).values()
    # Those that call subgraphs need subgraphs to call.
    if name != "NONE" and not any("subgraph" in f or "called" in f for f in fields(name))
)

_HELD = (DType.INT8, DType.INT4, DType.UINT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL)
_FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)


@st.composite
def _tensors(draw: st.DrawFn, index: int, constant: bool) -> Tensor:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3))
    dtype = draw(st.sampled_from(_HELD + _FLOATS))
    data = None
    if constant:
        elements: Any = {"min_value": -8, "max_value": 7} if dtype is DType.INT4 else None
        data = draw(hnp.arrays(dtype.numpy, shape, elements=elements))
    per_channel = st.integers(0, len(shape) - 1) if shape else st.nothing()
    axis = draw(st.none() | per_channel)
    scales = st.floats(0, 2.0**100, width=32)
    quantization = None
    if axis is not None:
        count = shape[axis]
        zero_points = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=count, max_size=count)
        quantization = quantized(
            draw(st.lists(scales, min_size=count, max_size=count)), draw(zero_points), axis
        )
    elif draw(st.booleans()):
        quantization = Quantization(
            np.array([draw(scales)], np.float32),
            np.zeros(draw(st.integers(0, 1)), np.int64),
            minimum=np.array([draw(st.floats(width=32))], np.float32),
        )
    return Tensor(
        index,
        draw(_NAMES),
        shape,
        dtype,
        quantization,
        data,
        draw(st.booleans()) and not constant,
        index + 1 if constant else 0,
        draw(st.none() | st.just((-1, *shape))),
        draw(st.booleans()),
    )


@st.composite
def _graphs(draw: st.DrawFn) -> Graph:
    tensors = [draw(_tensors(index, index < 2)) for index in range(5)]
    table = draw(st.sampled_from(_TABLES))
    first = Operator(
        "CONV_2D", (2, 0, -1), (3,), draw(_options(table)), table, draw(st.integers(1, 2**31 - 1))
    )
    second = Operator(
        "CUSTOM",
        (3, 1),
        (4,),
        version=draw(st.integers(1, 9)),
        custom_code=draw(_NAMES),
        custom_options=draw(st.binary(max_size=9)),
        intermediates=draw(st.lists(_INDICES | st.just(-1), max_size=3).map(tuple)),
        mutating_variable_inputs=draw(st.lists(st.booleans(), max_size=2).map(tuple)),
    )
    subgraph = Subgraph(draw(_NAMES), tuple(tensors), (2,), (4,), (first, second))
    entries = st.lists(st.tuples(_NAMES, _INDICES), max_size=2).map(tuple)
    return Graph(
        (subgraph,) * draw(st.integers(1, 2)),
        "drawn",
        draw(_NAMES),
        metadata=draw(st.dictionaries(_NAMES, st.binary(max_size=40), max_size=3)),
        signatures=draw(
            st.lists(st.builds(Signature, _NAMES, st.just(0), entries, entries), max_size=2).map(
                tuple
            )
        ),
    )


@settings(max_examples=150)
@given(_graphs())
def test_any_graph_comes_back(graph: Graph) -> None:
    content = write(graph)
    again = read(content, "drawn")
    assert again == graph
    assert again.model_bytes == len(content)
    assert hash(again) == hash(graph)


@pytest.mark.parametrize("table", _TABLES)
def test_options_have_the_defaults_of_the_schema(table: str) -> None:
    """An empty table reads as the defaults, and writing those is writing nothing."""
    graph = _single(Operator("ADD", (0, 1), (2,), options_type=table))
    [operator] = read(write(graph)).main.operators
    expected = {
        name: enum_names(field.enum)[int(field.default)] if field.enum else field.default
        for name, field in fields(table).items()
        if field.kind is Kind.SCALAR
    }
    assert operator.options == Options(expected)
    assert operator.options_type == table


def _single(operator: Operator, weights: Array | None = None, **changes: Any) -> Graph:
    data = np.arange(6, dtype=np.int8).reshape(2, 3) if weights is None else weights
    tensors = (
        Tensor(0, "x", (2, 3), DType.INT8),
        replace(Tensor(1, "w", (2, 3), DType.INT8, None, data, buffer=1), **changes),
        Tensor(2, "y", (2, 3), DType.INT8),
    )
    return Graph((Subgraph("main", tensors, (0,), (2,), (operator,)),), "net")


_ADD = Operator("ADD", (0, 1), (2,), options_type="AddOptions")


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (_single(replace(_ADD, name="ADDD")), "ADDD is no operator of the schema"),
        (
            _single(replace(_ADD, options_type="AddOption")),
            "BuiltinOptions2 has no 'AddOption', it has",
        ),
        (
            _single(replace(_ADD, options=Options({"axis": 1}))),
            "AddOptions has no field 'axis', it has fused_activation_function, pot_scale_int16",
        ),
        (
            _single(replace(_ADD, options=Options({"fused_activation_function": "RELU7"}))),
            "ActivationFunctionType has no 'RELU7', it has NONE, RELU, RELU_N1_TO_1, RELU6, TANH",
        ),
        (
            _single(replace(_ADD, options=Options({"axis": 1}), options_type="NONE")),
            "ADD has options but no options_type",
        ),
        (
            _single(replace(_ADD, options_type="GatherOptions", options=Options({"axis": 2**31}))),
            "2147483648",
        ),
        (_single(_ADD, np.zeros((2, 3))), "its data is float64 of shape (2, 3)"),
        (_single(_ADD, np.zeros(6, np.int8)), "its data is int8 of shape (6,)"),
    ],
)
def test_what_cannot_be_written(graph: Graph, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        write(graph)
    assert str(caught.value).startswith("net: cannot be written: ")
    assert sentence in str(caught.value)


def test_tensors_that_disagree_on_their_buffer() -> None:
    graph = _single(_ADD)
    x, w, y = graph.main.tensors
    other = Tensor(3, "v", (1,), DType.INT8, None, np.ones(1, np.int8), buffer=1)
    damaged = replace(graph, subgraphs=(replace(graph.main, tensors=(x, w, y, other)),))
    with pytest.raises(ModelError, match="buffer 1 holds another tensor's data"):
        write(damaged)


def test_constants_without_a_buffer_get_their_own() -> None:
    graph = _single(_ADD, buffer=0)
    weights = read(write(graph)).main.tensors[1]
    assert weights.buffer == 1
    assert_array_equal(weights.data, graph.main.tensors[1].data)


def test_shared_buffers_stay_shared_and_data_lies_on_16_bytes() -> None:
    graph = _single(_ADD)
    x, w, y = graph.main.tensors
    twin = replace(w, index=3, name="twin", shape=(6,), data=np.arange(6, dtype=np.int8))
    content = write(replace(graph, subgraphs=(replace(graph.main, tensors=(x, w, y, twin)),)))
    model = Model.GetRootAs(content)
    assert model.BuffersLength() == 2
    assert content.find(bytes(range(6))) % 16 == 0
    assert content[4:8] == b"TFL3"


def test_operator_codes_are_shared_and_large_ones_keep_a_placeholder() -> None:
    """TFLite reads the larger of both fields; before schema 3a there was only the small one."""
    graph = _single(_ADD)
    gelu = Operator("GELU", (2,), (2,), options_type="GeluOptions")
    operators = (_ADD, _ADD, gelu, replace(_ADD, version=2))
    content = write(replace(graph, subgraphs=(replace(graph.main, operators=operators),)))
    model = Model.GetRootAs(content)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    assert [c.DeprecatedBuiltinCode() for c in codes] == [0, 127, 0]
    assert [c.Version() for c in codes] == [1, 1, 2]


def test_nan_in_options_equals_itself() -> None:
    options = Options({"alpha": math.nan})
    graph = _single(Operator("LEAKY_RELU", (0,), (2,), options, "LeakyReluOptions"))
    assert read(write(graph)) == graph
