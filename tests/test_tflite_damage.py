"""Damaged models: each ends in one sentence that says where and what; never a traceback."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_tflite import LIMIT_S, attempt, case
from mcusim.errors import ModelError
from mcusim.tflite import read
from mcusim.tflite.encoder import encode
from tests import tflite_models

_Values = dict[str, Any]


def _convolution() -> _Values:
    """A sound model: DEPTHWISE_CONV_2D with per-channel weights, then RESHAPE."""
    scales = np.array([0.1, 0.2, 0.3], np.float32)
    quantized = {"scale": scales, "zero_point": [0, 0, 0], "quantized_dimension": 3}
    return {
        "version": 3,
        "operator_codes": [
            {"builtin_code": 4, "deprecated_builtin_code": 4},
            {"builtin_code": 22, "deprecated_builtin_code": 22},
        ],
        "subgraphs": [
            {
                "name": "main",
                "tensors": [
                    {"name": "x", "shape": [1, 4, 4, 3], "type": "int8"},
                    {
                        "name": "w",
                        "shape": [1, 2, 2, 3],
                        "type": "int8",
                        "buffer": 1,
                        "quantization": quantized,
                    },
                    {"name": "middle", "shape": [1, 3, 3, 3], "type": "int8"},
                    {"name": "y", "shape": [27], "type": "int8"},
                ],
                "inputs": [0],
                "outputs": [3],
                "operators": [
                    {
                        "opcode_index": 0,
                        "inputs": [0, 1, -1],
                        "outputs": [2],
                        "builtin_options": ("DepthwiseConv2DOptions", {"stride_w": 1}),
                    },
                    {"opcode_index": 1, "inputs": [2], "outputs": [3]},
                ],
            }
        ],
        "buffers": [{}, {"data": np.arange(12, dtype=np.uint8)}, {"data": np.zeros(2, np.uint8)}],
        "metadata": [{"name": "note", "buffer": 2}],
        "signature_defs": [
            {
                "signature_key": "serve",
                "inputs": [{"name": "in", "tensor_index": 0}],
                "outputs": [{"name": "out", "tensor_index": 3}],
            }
        ],
    }


def _encoded(model: _Values) -> bytes:
    return encode("Model", model, b"TFL3")


def test_the_sound_model_is_read() -> None:
    graph = read(_encoded(_convolution()))
    assert [o.name for o in graph.main.operators] == ["DEPTHWISE_CONV_2D", "RESHAPE"]


@pytest.mark.parametrize("dimension", [0, 3])
def test_a_bias_with_the_dimension_of_its_filter_is_read(dimension: int) -> None:
    """As in TFLM's example person_detect.tflite, which it runs: no kernel reads a bias' scales."""
    model = _convolution()
    quantization = model["subgraphs"][0]["tensors"][1]["quantization"]
    model["subgraphs"][0]["tensors"].append(
        {
            "name": "b",
            "shape": [3],
            "type": "int32",
            "buffer": 1,
            "quantization": quantization | {"quantized_dimension": dimension},
        }
    )
    _operator(0, inputs=[0, 1, 4])(model)
    bias = read(_encoded(model)).main.tensors[4].quantization
    assert bias is not None
    assert bias.axis == dimension


def _tensor(index: int, **changes: Any) -> Callable[[_Values], None]:
    return lambda model: model["subgraphs"][0]["tensors"][index].update(changes)


def _operator(index: int, **changes: Any) -> Callable[[_Values], None]:
    return lambda model: model["subgraphs"][0]["operators"][index].update(changes)


def _subgraph(**changes: Any) -> Callable[[_Values], None]:
    return lambda model: model["subgraphs"][0].update(changes)


def _scales(**changes: Any) -> Callable[[_Values], None]:
    return lambda model: model["subgraphs"][0]["tensors"][1]["quantization"].update(changes)


def _model(**changes: Any) -> Callable[[_Values], None]:
    return lambda model: model.update(changes)


_BUFFER = {"data": np.arange(12, dtype=np.uint8)}

_DAMAGES = [
    (_model(version=2), "schema version is 2; mcusim and TFLite Micro read version 3"),
    (_model(subgraphs=[]), "the model has no subgraph"),
    (
        _model(operator_codes=[{"builtin_code": 300}, {"builtin_code": 22}]),
        "operator code 0 is 300, which is no operator of the schema",
    ),
    (
        _model(operator_codes=[{"builtin_code": 4}]),
        "operator 1: has operator code 1 of 1",
    ),
    (_model(buffers=[{}]), "tensor 1 ('w'): refers to buffer 1 of 1"),
    (_model(metadata=[{"name": "note", "buffer": 3}]), "metadata 0: refers to buffer 3 of 3"),
    (
        _model(buffers=[{}, {"offset": 2000, "size": 12}, {}]),
        "buffer 1: offset lies at bytes 2000 to 2012, beyond the ",
    ),
    (
        _model(buffers=[{}, {"offset": 2**64 - 1, "size": 2**64 - 1}, {}]),
        "buffer 1: offset lies at bytes 18446744073709551615 to ",
    ),
    (
        _model(signature_defs=[{"signature_key": "serve", "subgraph_index": 1}]),
        "signature 'serve': is of subgraph 1, there are 1",
    ),
    (
        _model(
            signature_defs=[
                {"signature_key": "s", "inputs": [{"name": "in", "tensor_index": 4}]},
            ]
        ),
        "signature 's': its entries refer to tensor 4, there are 4",
    ),
    (_tensor(0, shape=[1, -4, 4, 3]), "tensor 0 ('x'): has a negative dimension in its shape"),
    (
        _tensor(0, shape=[2**31 - 1] * 4),
        "tensor 0 ('x'): has shape (2147483647, 2147483647, 2147483647, 2147483647), ",
    ),
    (_tensor(0, shape=[1] * 9), "tensor 0 ('x'): has 9 dimensions, no kernel takes over 8"),
    (
        _tensor(1, shape=[1, 2, 2, 4]),
        "tensor 1 ('w'): has 12 bytes of data, its shape (1, 2, 2, 4)",
    ),
    (_tensor(1, type="int16"), "of int16 needs 24; "),
    (_tensor(1, type="int4"), "of int4 needs 6; "),
    (
        _tensor(1, type="bfloat16"),
        "tensor 1 ('w'): is of type bfloat16; TFLite Micro has no kernel",
    ),
    (_tensor(1, sparsity={}), "tensor 1 ('w'): is sparse, which TFLite Micro does not take; "),
    (
        _tensor(1, external_buffer=9),
        "tensor 1 ('w'): refers to external buffer 9, which is missing",
    ),
    (
        _scales(scale=[1.0] * 4, zero_point=[0] * 4),
        "operator 0 (DEPTHWISE_CONV_2D): the weights have 4 scales for 3 channels; ",
    ),
    (
        _scales(quantized_dimension=4),
        "operator 0 (DEPTHWISE_CONV_2D): the weights have 3 scales along dimension 4, its shape is",
    ),
    (_scales(quantized_dimension=-1), "the weights have 3 scales along dimension -1, its shape is"),
    (_scales(zero_point=[0, 0]), "tensor 1 ('w'): has 2 zero points for 3 scales"),
    (_scales(zero_point=[0, 2**40, 0]), "tensor 1 ('w'): has a zero point beyond 32 bits"),
    (_scales(scale=[1, np.nan, 1]), "tensor 1 ('w'): has a scale that is negative or not finite"),
    (_scales(scale=[1, -1, 1]), "tensor 1 ('w'): has a scale that is negative or not finite"),
    (_subgraph(inputs=[4]), "the inputs refer to tensor 4, there are 4"),
    (_subgraph(inputs=[-1]), "the inputs refer to tensor -1, there are 4"),
    (_subgraph(outputs=[99]), "the outputs refer to tensor 99, there are 4"),
    (
        _subgraph(inputs=[]),
        "operator 0 (DEPTHWISE_CONV_2D): input tensor 0 ('x') is computed by no operator before it",
    ),
    (
        _operator(0, inputs=[0, 7, -1]),
        "operator 0 (DEPTHWISE_CONV_2D): its inputs refer to tensor 7, there are 4",
    ),
    (_operator(0, inputs=[-2]), "its inputs refer to tensor -2, there are 4"),
    (
        _operator(0, inputs=[3, 1, -1]),
        "operator 0 (DEPTHWISE_CONV_2D): input tensor 3 ('y') is computed by no operator before it",
    ),
    (
        _operator(0, builtin_options=("DepthwiseConv2DOptions", {"stride_h": 2**31 - 1})),
        "operator 0 (DEPTHWISE_CONV_2D): stride_h is 2147483647, kernels take no more than 32767",
    ),
    (
        _operator(0, builtin_options=("Pool2DOptions", {"filter_width": -1})),
        "operator 0 (DEPTHWISE_CONV_2D): filter_width is -1, kernels take no more than 32767",
    ),
    (_operator(1, outputs=[-1]), "operator 1 (RESHAPE): its outputs refer to tensor -1"),
    (
        _operator(1, outputs=[1]),
        "operator 1 (RESHAPE): output tensor 1 ('w') is already a constant",
    ),
    (
        _operator(1, outputs=[0]),
        "operator 1 (RESHAPE): output tensor 0 ('x') is already an input of the subgraph",
    ),
    (
        _operator(1, outputs=[2]),
        "operator 1 (RESHAPE): output tensor 2 ('middle') is already the output of operator 0",
    ),
    (_operator(1, outputs=[]), "output tensor 3 ('y') is computed by no operator"),
    (_operator(0, intermediates=[4]), "its intermediates refer to tensor 4, there are 4"),
    (
        _operator(0, builtin_options=("WhileOptions", {"cond_subgraph_index": 3})),
        "subgraph 0: operator 0 (DEPTHWISE_CONV_2D): calls subgraph 3, there are 1",
    ),
]


@pytest.mark.parametrize(("damage", "sentence"), _DAMAGES, ids=[s[:50] for _, s in _DAMAGES])
def test_a_damage_is_named(damage: Callable[[_Values], None], sentence: str) -> None:
    model = _convolution()
    damage(model)
    with pytest.raises(ModelError) as caught:
        read(_encoded(model), "kws.tflite")
    text = str(caught.value)
    assert sentence in text
    assert text.startswith("kws.tflite: ")
    assert "\n" not in text


def test_an_unknown_enumeration_value_is_named() -> None:
    model = _convolution()
    _operator(
        0, builtin_options=("DepthwiseConv2DOptions", {"fused_activation_function": "SIGN_BIT"})
    )(model)
    content = bytearray(_encoded(model))
    positions = [i for i, byte in enumerate(content) if byte == 5]
    sentences = set()
    for position in positions:
        content[position] = 99
        try:
            read(bytes(content), "m")
        except ModelError as error:
            sentences.add(str(error))
        content[position] = 5
    assert (
        "m: operator 0 (DEPTHWISE_CONV_2D): builtin_options: fused_activation_function is 99, "
        "which is no ActivationFunctionType of the schema; the file is damaged or was edited"
    ) in sentences


@pytest.mark.parametrize("offset", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_root_that_is_nowhere(offset: int) -> None:
    content = _encoded(_convolution())
    with pytest.raises(ModelError, match=r"the file is damaged or was edited|schema version is 0"):
        read(struct.pack("<I", offset) + content[4:])


def test_a_vtable_before_the_file() -> None:
    content = bytearray(_encoded(_convolution()))
    root = struct.unpack_from("<I", content)[0]
    struct.pack_into("<i", content, root, 2**31 - 1)
    with pytest.raises(ModelError, match="vtable lies at bytes -"):
        read(bytes(content))


def test_every_truncation_is_refused() -> None:
    content = _encoded(_convolution())
    for length in range(len(content) - 1):
        try:
            graph = read(content[:length])
        except ModelError:
            continue
        # Only padding may be missing.
        assert graph == read(content)


def test_a_circle_of_subgraphs() -> None:
    with pytest.raises(ModelError, match=re.escape("call each other in a circle (0 → 1 → 0); ")):
        read(tflite_models.circle())


def test_a_subgraph_that_calls_itself() -> None:
    model = _convolution()
    _operator(0, builtin_options=("IfOptions", {}))(model)
    with pytest.raises(ModelError, match=re.escape("call each other in a circle (0 → 0); ")):
        read(_encoded(model))


def test_a_long_chain_of_calls() -> None:
    def calling(callee: int) -> _Values:
        operator = {
            "opcode_index": 0,
            "inputs": [],
            "outputs": [],
            "builtin_options": ("CallOnceOptions", {"init_subgraph_index": callee}),
        }
        return {"tensors": [], "inputs": [], "outputs": [], "operators": [operator]}

    end: _Values = {"tensors": [], "inputs": [], "outputs": [], "operators": []}
    model = {
        "version": 3,
        "operator_codes": [{"builtin_code": 129}],
        "subgraphs": [*(calling(i + 1) for i in range(5000)), end],
        "buffers": [{}],
    }
    with pytest.raises(ModelError, match="subgraphs call each other more than 32 deep"):
        read(_encoded(model))


@pytest.mark.parametrize(("subgraphs", "tensors"), [(2000, 2000), (1, 250_000), (90_000, 1)])
def test_tables_shared_without_end(subgraphs: int, tensors: int) -> None:
    content = tflite_models.bomb(subgraphs, tensors)
    started = time.perf_counter()
    with pytest.raises(ModelError, match=r"shares its bytes with too many others|too many for any"):
        read(content)
    assert time.perf_counter() - started < LIMIT_S


def test_a_long_name_is_cut_in_the_sentence() -> None:
    model = _convolution()
    _tensor(0, name="n" * 5000, shape=[-1])(model)
    with pytest.raises(ModelError) as caught:
        read(_encoded(model))
    assert len(str(caught.value)) < 300


@settings(max_examples=400)
@given(st.integers(0, 2**32))
def test_mutations_end_in_a_model_error_or_are_read(index: int) -> None:
    started = time.perf_counter()
    end, detail = attempt(case(1, index))
    assert end in ("refused", "read"), detail
    assert time.perf_counter() - started < LIMIT_S


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_with_the_identifier(content: bytes) -> None:
    end, detail = attempt(content[:4].ljust(4, b"\4") + b"TFL3" + content[4:])
    assert end in ("refused", "read"), detail
