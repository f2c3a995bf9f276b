"""Reading: models written by others give the graph that the schema says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tflite.BuiltinOptions import BuiltinOptions
from tflite.Model import Model
from tflite.utils import BUILTIN_OPCODE2NAME

from mcusim.errors import ModelError
from mcusim.graph import DType, Graph, Operator, Options, Signature, Subgraph, Tensor
from mcusim.interpreter import run
from mcusim.tflite import load, read, write
from mcusim.tflite.buffers import packed_int4, unpacked_int4
from mcusim.tflite.schema import enum_names, fields
from tests import tflite_models
from tests.oracles import tflm
from tests.shared import needs_shared, shared_models


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


@needs_shared
@pytest.mark.parametrize("path", shared_models(), ids=lambda p: p.stem)
def test_a_network_is_what_the_generated_classes_say(path: Path) -> None:
    content = path.read_bytes()
    graph = load(path)
    model = Model.GetRootAs(content)
    table = model.Subgraphs(0)
    assert graph.name == path.name
    assert graph.model_bytes == len(content)
    assert graph.main.inputs == tuple(table.InputsAsNumpy())
    assert graph.main.outputs == tuple(table.OutputsAsNumpy())
    assert len(graph.main.tensors) == table.TensorsLength()
    for index, tensor in enumerate(graph.main.tensors):
        expected = table.Tensors(index)
        assert tensor.name == expected.Name().decode()
        assert tensor.shape == tuple(expected.Shape(i) for i in range(expected.ShapeLength()))
        data = model.Buffers(expected.Buffer()).DataAsNumpy()
        assert tensor.is_constant == isinstance(data, np.ndarray)
        if tensor.data is not None:
            assert tensor.data.tobytes() == data.tobytes()
        quantization = expected.Quantization()
        if quantization is not None and quantization.ScaleLength():
            assert tensor.quantization is not None
            assert_array_equal(tensor.quantization.scales, quantization.ScaleAsNumpy())
            assert_array_equal(tensor.quantization.zero_points, quantization.ZeroPointAsNumpy())
            assert tensor.quantization.axis == quantization.QuantizedDimension()
    assert len(graph.main.operators) == table.OperatorsLength()
    for index, operator in enumerate(graph.main.operators):
        expected = table.Operators(index)
        code = model.OperatorCodes(expected.OpcodeIndex())
        assert operator.name == BUILTIN_OPCODE2NAME[code.BuiltinCode()]
        assert operator.version == code.Version()
        assert operator.inputs == tuple(expected.InputsAsNumpy())
        assert operator.outputs == tuple(expected.OutputsAsNumpy())
        _check_options(expected, operator.options_type, operator.options)


def _check_options(expected: Any, options_type: str, options: Options) -> None:
    assert expected.BuiltinOptionsType() == getattr(BuiltinOptions, options_type)
    if options_type == "NONE":
        return
    view = getattr(import_module(f"tflite.{options_type}"), options_type)()
    union = expected.BuiltinOptions()
    view.Init(union.Bytes, union.Pos)
    for name, value in options.items():
        if isinstance(value, tuple):
            assert value == tuple(getattr(view, f"{_camel(name)}AsNumpy")())
        else:
            enum = fields(options_type)[name].enum
            found = getattr(view, _camel(name))()
            assert value == (enum_names(enum)[found] if enum else found)


def test_packed_int4_holds_the_low_half_first() -> None:
    graph = read(tflite_models.int4_weights())
    weights = graph.main.tensors[1]
    assert weights.dtype is DType.INT4
    assert weights.data is not None
    assert weights.data.dtype == np.int8
    assert_array_equal(weights.data, tflite_models.INT4_WEIGHTS)


def test_the_interpreter_unpacks_int4_alike() -> None:
    """y = round(x · w * 0.5 * 0.25 / 0.5), by the interpreter from the packed bytes."""
    x = np.array([[8, -16, 4]], np.int8)
    [[y]] = tflm(tflite_models.int4_weights(), [x])
    assert_array_equal(y, x.astype(int) @ tflite_models.INT4_WEIGHTS.T // 4)


@pytest.mark.parametrize("elements", range(6))
def test_packing_int4_turns_back(elements: int) -> None:
    values = np.arange(-8, 8, dtype=np.int8)[7 : 7 + elements]
    packed = packed_int4(values)
    assert len(packed) == (elements + 1) // 2
    assert_array_equal(unpacked_int4(np.frombuffer(packed, np.uint8), elements), values)


def test_tensors_of_odd_and_even_size_share_packed_int4() -> None:
    def held(index: int, elements: int) -> Tensor:
        data = np.array([1, -2, 3, 0][:elements], np.int8)
        return Tensor(index, "w", (elements,), DType.INT4, None, data, buffer=1)

    tensors = (held(0, 3), held(1, 4))
    graph = read(write(Graph((Subgraph("main", tensors, (), (), ()),))))
    assert [t.data.tolist() for t in graph.main.tensors if t.data is not None] == [
        [1, -2, 3],
        [1, -2, 3, 0],
    ]


def test_weights_past_the_flatbuffer() -> None:
    content = tflite_models.appended_weights()
    graph = read(content)
    data = graph.main.tensors[1].data
    assert data is not None
    assert_array_equal(data, tflite_models.APPENDED_WEIGHTS)
    assert graph.model_bytes == len(content)


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    content = tflite_models.external_file()
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    weights = b"skip" + tflite_models.APPENDED_WEIGHTS.tobytes()
    (tmp_path / "weights.bin").write_bytes(weights)
    graph = load(path)
    data = graph.main.tensors[1].data
    assert data is not None
    assert_array_equal(data, tflite_models.APPENDED_WEIGHTS)
    assert graph.model_bytes == len(content) + tflite_models.APPENDED_WEIGHTS.nbytes


@pytest.mark.parametrize(
    ("file", "offset", "problem"),
    [
        ("weights.bin", 5, "is in file 'weights.bin', bytes 5 to 37, which has 36; "),
        ("other.bin", 4, "is in file 'other.bin'; it cannot be read; put it beside the model"),
        ("../weights.bin", 4, "is in file '../weights.bin', which is not beside the model; "),
        ("/etc/hostname", 0, "is in file '/etc/hostname', which is not beside the model; "),
        ("", 0, "is in file '', which is not beside the model; "),
    ],
)
def test_weights_that_are_not_beside_the_model(
    tmp_path: Path, file: str, offset: int, problem: str
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(36))
    content = tflite_models.external_file(file, offset)
    with pytest.raises(ModelError, match=re.escape(f"m: external buffer 0: {problem}")):
        read(content, "m", tmp_path)


def test_weights_beside_a_model_without_a_place() -> None:
    with pytest.raises(ModelError, match="load the model by its path, beside that file"):
        read(tflite_models.external_file())


def test_several_subgraphs() -> None:
    graph = read(tflite_models.two_subgraphs())
    assert [s.name for s in graph.subgraphs] == ["main", "condition", "body"]
    loop = graph.main.operators[0]
    assert loop.name == "WHILE"
    assert loop.options == Options({"cond_subgraph_index": 1, "body_subgraph_index": 2})


def test_resource_variables() -> None:
    graph = read(tflite_models.variables())
    assert graph.main.tensors[1].dtype is DType.RESOURCE
    assert graph.main.operators[1].options["shared_name"] == "total"
    assert graph.main.operators[4].outputs == ()


def test_everything_around_a_custom_operator() -> None:
    graph = read(tflite_models.custom_operator())
    operator = graph.main.operators[0]
    assert (operator.name, operator.custom_code, operator.version) == ("CUSTOM", "Magic", 2)
    assert operator.custom_options == b"\1\2\3"
    assert operator.intermediates == (3,)
    assert operator.mutating_variable_inputs == (False, True)
    assert graph.main.tensors[1].is_variable
    assert graph.main.tensors[1].has_rank
    assert graph.main.tensors[2].shape_signature == (-1, 2)
    assert dict(graph.metadata) == {"min_version": b"1.5.0"}
    assert graph.description == "a test"
    assert graph.signatures == (Signature("serving_default", 0, (("speech", 0),), (("word", 2),)),)


@pytest.mark.parametrize("build", tflite_models.MODELS.values(), ids=tflite_models.MODELS)
def test_nothing_of_a_graph_can_be_written_to(build: Callable[[], bytes]) -> None:
    graph = read(build())
    for tensor in (t for s in graph.subgraphs for t in s.tensors):
        assert tensor.data is None or not tensor.data.flags.writeable
        if tensor.quantization:
            assert not tensor.quantization.scales.flags.writeable
            assert not tensor.quantization.zero_points.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        graph.metadata["a"] = b""  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.main.operators[0].options["a"] = 1  # type: ignore[index]


def test_a_graph_explains_itself() -> None:
    graph = read(tflite_models.custom_operator(), "wake.tflite")
    assert repr(graph) == "<graph 'wake.tflite': 1 subgraphs, 1 operators>"
    assert repr(graph.main) == "<subgraph 'main': 1 operators, 4 tensors>"
    assert repr(graph.metadata) == "Metadata(min_version: 5 bytes)"
    assert repr(graph.main.nodes[0]) == (
        "<node 0 CUSTOM Options()\n"
        "  in  <tensor 0 'x' int8 1x2 Quantization(scale=0.5, zero_point=0)>\n"
        "  in  <variable tensor 1 'state' int16 1x2 Quantization(scale=0.25, zero_point=0)>\n"
        "  out <tensor 2 'y' int8 1x2 Quantization(scale=0.5, zero_point=0)>>"
    )


def test_a_constant_without_elements_has_no_data() -> None:
    """A scalar's shape: the converter leaves its buffer empty, and the interpreter takes that."""
    tensors = (
        Tensor(0, "x", (1, 1), DType.FLOAT32),
        Tensor(1, "shape", (0,), DType.INT32),
        Tensor(2, "y", (), DType.FLOAT32),
    )
    reshape = Operator("RESHAPE", (0, 1), (2,))
    content = write(Graph((Subgraph("main", tensors, (0,), (2,), (reshape,)),)))
    x = np.full((1, 1), 2.5, np.float32)
    graph = read(content)
    assert not graph.main.tensors[1].is_constant
    [[expected]] = tflm(content, [x])
    assert_array_equal(run(graph, x).outputs[0], expected)


def test_bytes_like_content_is_read() -> None:
    content = tflite_models.two_subgraphs()
    graph: Graph = read(content)
    assert read(bytearray(content)) == graph  # type: ignore[arg-type]


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    with pytest.raises(ModelError, match=re.escape(f"{path}: no such file; give the path")):
        load(path)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path}: is a folder; give the path")):
        load(str(tmp_path))


def test_impossible_path() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load("a\0b")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.tflite"
    path.touch()
    with pytest.raises(ModelError, match=r"^empty.tflite: is empty; a .tflite file was expected$"):
        load(path)


@pytest.mark.parametrize("content", [b"a", b"PK\3\4 a zip archive", b"\x1c\0\0\0TFL2" + bytes(64)])
def test_not_a_flatbuffer(content: bytes) -> None:
    with pytest.raises(
        ModelError, match=r"^x: is no TFLite model; its bytes 4 to 7 would be b'TFL3'"
    ):
        read(content, "x")


def test_enumerations_hold_the_schema_s_names_only():
    """Python 3.13 gives every class an attribute more that is a number."""
    assert all(name.isidentifier() and name[0] != "_" for name in enum_names("Padding").values())
    assert dict(enum_names("Padding")) == {0: "SAME", 1: "VALID"}
