"""ADD, SUB, MUL, DIV and their kind against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import InputError
from mcusim.graph import Array, DType, Graph, Quantization
from mcusim.interpreter import Interpreter
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.kernels.elementwise_models import broadcast_shapes, floats, quantizations
from tests.kernels.single_operators import assert_golden
from tests.oracles import activation, quantized
from tests.shared import needs_shared

INT8, INT16, INT32, INT64 = DType.INT8, DType.INT16, DType.INT32, DType.INT64
FLOAT32 = DType.FLOAT32
TYPES = {
    "ADD": (INT8, INT16, INT32, FLOAT32),
    "SUB": (INT8, INT16, INT32, FLOAT32),
    "MUL": (INT8, INT16, INT32, FLOAT32),
    "DIV": (INT8, INT32, FLOAT32),
    "SQUARED_DIFFERENCE": (INT8, INT16, INT32, FLOAT32),
    "MAXIMUM": (INT8, INT16, INT32, INT64, FLOAT32),
    "MINIMUM": (INT8, INT16, INT32, INT64, FLOAT32),
    "FLOOR_DIV": (FLOAT32,),
    "FLOOR_MOD": (FLOAT32,),
}
OPTIONS = {
    name: f"{name.title().replace('_', '')}Options"
    for name in ("ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD")
} | dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions")
FUSED = ("ADD", "SUB", "MUL", "DIV")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")


def operand(seed: int, shape: tuple[int, ...], dtype: DType, divisor: bool) -> Array:
    array = floats(seed, shape) if dtype is FLOAT32 else values(seed, shape, dtype)
    if divisor and dtype is not INT8:
        array = np.where(array == 0, 1, array).astype(array.dtype)
    return array


@st.composite
def binary_cases(draw: st.DrawFn) -> tuple[Graph, list[Array]]:
    name = draw(st.sampled_from(sorted(TYPES)))
    dtype = draw(st.sampled_from(TYPES[name]))
    shapes, out = draw(broadcast_shapes())
    scaled = dtype in (INT8, INT16) and name not in ("MAXIMUM", "MINIMUM")
    draws = [draw(quantizations(dtype)) if scaled else None for _ in range(3)]
    if draw(st.booleans()):
        draws[1] = draws[0]
    fused = {"fused_activation_function": draw(st.sampled_from(ACTIVATIONS))}
    graph = model(
        name,
        [activation(s, dtype, q) for s, q in zip(shapes, draws, strict=False)],
        [activation(out, dtype, draws[2])],
        OPTIONS[name],
        **(fused if name in FUSED else {}),
    )
    seed = draw(st.integers(0, 2**32))
    divides = name in ("DIV", "FLOOR_DIV", "FLOOR_MOD")
    inputs = [operand(seed + i, s, dtype, divides and i == 1) for i, s in enumerate(shapes)]
    return graph, inputs


@settings(max_examples=250)
@given(binary_cases())
def test_two_operands_of_any_shapes_and_types(case: tuple[Graph, list[Array]]) -> None:
    assert_agrees(*case)


@settings(max_examples=25)
@given(
    st.sampled_from((INT8, FLOAT32)),
    st.integers(2, 6),
    quantizations(INT8),
    quantizations(INT8),
    st.integers(0, 2**32),
)
def test_sums_of_many(
    dtype: DType, count: int, source: Quantization, output: Quantization, seed: int
) -> None:
    quantization, result = (source, output) if dtype is INT8 else (None, None)
    tensors = [activation((3, 5), dtype, quantization) for _ in range(count)]
    graph = model("ADD_N", tensors, [activation((3, 5), dtype, result)], "AddNOptions")
    assert_agrees(graph, [operand(seed + i, (3, 5), dtype, False) for i in range(count)])


def test_a_batch_beside_a_constant_takes_it_for_each_inference() -> None:
    from tests.oracles import constant

    q = quantized(0.1, 3)
    fixed = constant(np.arange(-2, 2, dtype=np.int8).reshape(1, 4), q)
    graph = model("ADD", [activation((2, 4), INT8, q), fixed], [activation((2, 4), INT8, q)])
    calls = [[values(seed, (2, 4), INT8)] for seed in range(3)]
    assert_agrees(graph, *calls)


def scaled(name: str, *scales: float, dtype: DType = INT8, zero: int = 0) -> Graph:
    tensors = [activation((2,), dtype, quantized(s, zero) if s else None) for s in scales]
    return model(name, tensors[:2], tensors[2:], OPTIONS[name])


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (scaled("MUL", 0.1, 0.1, 0.1, dtype=INT16, zero=1), "zero points"),
        (scaled("SQUARED_DIFFERENCE", 0.1, 0.1, 0.1, dtype=INT16, zero=1), "zero points"),
        (scaled("ADD", 0.1, 0.1, 0.1, dtype=INT32), "quantization"),
        (scaled("SUB", 0.1, 0.1, 0.1, dtype=INT32), "quantization"),
        (scaled("DIV", 0.1, 0.1, 0.1, dtype=INT32), "quantization"),
        (scaled("ADD", 0, 0, 0, dtype=INT64), "int64"),
        (scaled("MUL", 0, 0, 0, dtype=INT64), "int64"),
        (scaled("DIV", 0.1, 0.1, 0.1, dtype=INT16), "int16"),
        (scaled("MAXIMUM", 0, 0, 0, dtype=DType.UINT8), "uint8"),
        (scaled("FLOOR_DIV", 0, 0, 0, dtype=INT32), "int32"),
        (scaled("FLOOR_MOD", 0, 0, 0, dtype=INT32), "int32"),
    ],
    ids=lambda case: case.main.operators[0].name if isinstance(case, Graph) else case,
)
def test_refusals(graph: Graph, reason: str) -> None:
    inputs = [np.ones(2, tensor.dtype.numpy) for tensor in graph.inputs]
    assert_both_refuse(graph, inputs, reason)


def test_floor_div_stops_at_a_zero_divisor() -> None:
    graph = scaled("FLOOR_DIV", 0, 0, 0, dtype=FLOAT32)
    with pytest.raises(InputError, match=r"FLOOR_DIV.* divide by 0"):
        Interpreter(graph).invoke([np.ones(2, np.float32), np.array([1, 0], np.float32)])


def test_an_integer_divided_by_zero_is_an_input_error() -> None:
    graph = scaled("DIV", 0, 0, 0, dtype=INT32)
    with pytest.raises(InputError, match=r"DIV.* divided by 0"):
        Interpreter(graph).invoke([np.ones(2, np.int32), np.array([1, 0], np.int32)])


def test_shapes_that_do_not_broadcast_are_refused_though_the_library_reads_past_them() -> None:
    graph = model(
        "ADD", [activation((2,), FLOAT32), activation((3,), FLOAT32)], [activation((3,), FLOAT32)]
    )
    with pytest.raises(Exception, match=r"ADD.* do not broadcast"):
        Interpreter(graph)


@needs_shared
@pytest.mark.parametrize("stem", ["add", "sub", "mul", "maximum", "minimum"])
def test_recorded_outputs(stem: str) -> None:
    assert assert_golden(stem) > 10
