"""Whole models: networks, variables, control flow and batches against the TFLM interpreter."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mcusim.errors import InputError, ModelError, UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph, Operator, Options, Quantization, Subgraph, Tensor
from mcusim.interpreter import Interpreter, run
from mcusim.tflite import load, read, write
from tests import oracles
from tests.kernels.agreement import bits
from tests.shared import SHARED, needs_shared, shared_models

FLOAT32, INT8, INT32, BOOL, RESOURCE = (
    DType.FLOAT32,
    DType.INT8,
    DType.INT32,
    DType.BOOL,
    DType.RESOURCE,
)
HYBRIDS = ("01a_LeNet-MNIST_Q-mixed", "kws_ref_model_float32")
GOLDEN = SHARED / "golden" / "tflm"


def golden_networks() -> list[Path]:
    """Recorded intermediate tensors of the networks whose arithmetic is integer.

    Those of float networks were recorded on a device, where multiplications and additions are
    fused; they are held against the interpreter instead.
    """
    found = sorted(GOLDEN.glob("*.tflm2026_ref.npz"))
    return [p for p in found if not ("fp32" in p.name or "Q-none" in p.name or "Resnet." in p.name)]


def random_inputs(graph: Graph, seed: int, batch: int | None = None) -> list[Array]:
    random = np.random.default_rng(seed)
    arrays = []
    for tensor in graph.inputs:
        shape = tensor.shape if batch is None else (batch, *tensor.shape)
        if tensor.dtype is FLOAT32:
            arrays.append(random.normal(0, 1, shape).astype(np.float32))
        else:
            arrays.append(random.integers(-128, 128, shape).astype(tensor.dtype.numpy))
    return arrays


@needs_shared
@pytest.mark.parametrize("path", golden_networks(), ids=lambda p: p.name.split(".tflm")[0])
def test_every_tensor_of_a_network_is_the_recorded_one(path: Path) -> None:
    (model,) = (p for p in shared_models() if p.stem == path.name.split(".tflm")[0])
    graph, golden = load(model), np.load(path)
    tensors = run(graph, golden["input"].reshape(graph.inputs[0].shape), tensors=True).tensors
    names = [name for name in golden.files if name[0] == "t" and name[1:].isdigit()]
    assert names
    for name in names:
        mine = tensors[int(name[1:])]
        np.testing.assert_array_equal(mine, golden[name].reshape(mine.shape), err_msg=name)


def assert_near(mine: Array, theirs: Array) -> None:
    """Equal bits; what went through libm's functions may be an ulp away."""
    if mine.dtype == np.float32:
        np.testing.assert_array_max_ulp(mine, theirs, maxulp=1)
    else:
        np.testing.assert_array_equal(mine, theirs)


@needs_shared
@pytest.mark.parametrize(
    "path", [p for p in shared_models() if p.stem not in HYBRIDS], ids=lambda p: p.stem
)
def test_networks_give_the_outputs_of_the_interpreter(path: Path) -> None:
    graph = load(path)
    batch = random_inputs(graph, 3, batch=2)
    outputs = run(graph, batch).outputs
    for i in range(2):
        expected = oracles.tflm(path.read_bytes(), [a[i] for a in batch])[0]
        for mine, theirs in zip(outputs, expected, strict=True):
            assert_near(mine[i], theirs)


@needs_shared
@pytest.mark.parametrize("path", [p for p in shared_models() if p.stem in HYBRIDS])
def test_a_hybrid_network_is_refused_with_operator_and_reason(path: Path) -> None:
    graph = load(path)
    assert oracles.tflm_refuses(path.read_bytes(), random_inputs(graph, 0))
    with pytest.raises(
        UnsupportedOperatorError, match=rf"{path.stem}.*operator \d+ \([A-Z_0-9]+\): "
    ):
        Interpreter(graph)


@needs_shared
def test_a_batch_holds_no_more_tensors_than_are_needed() -> None:
    """All activations of 256 inferences would take 100 MB."""
    graph = load(SHARED / "models" / "mlperf_tiny" / "pretrainedResnet_quant.tflite")
    batch = random_inputs(graph, 0, batch=256)
    interpreter = Interpreter(graph)
    interpreter.invoke([a[:2] for a in batch])
    tracemalloc.start()
    interpreter.invoke(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


# Control flow and variables, in models of their own.


def tensor(
    index: int,
    dtype: DType,
    shape: tuple[int, ...] = (1,),
    data: object = None,
    quantization: Quantization | None = None,
    variable: bool = False,
) -> Tensor:
    array = None if data is None else np.array(data, dtype.numpy).reshape(shape)
    return Tensor(index, f"t{index}", shape, dtype, quantization, array, variable, buffer=index + 1)


def operator(
    name: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    options_type: str = "NONE",
    **options: bool | int | str,
) -> Operator:
    return Operator(name, inputs, outputs, Options(options), options_type)


def add(a: int, b: int, out: int) -> Operator:
    return operator("ADD", (a, b), (out,), "AddOptions")


def model(*subgraphs: Subgraph) -> Graph:
    """Subgraphs as one file: constants of different subgraphs get buffers of their own."""
    renumbered = [
        Subgraph(
            s.name,
            tuple(
                Tensor(
                    t.index, t.name, t.shape, t.dtype, t.quantization, t.data, t.is_variable,
                    buffer=1 + t.index + 100 * number,
                )
                for t in s.tensors
            ),
            s.inputs,
            s.outputs,
            s.operators,
        )
        for number, s in enumerate(subgraphs)
    ]  # fmt: skip
    return Graph(tuple(renumbered), name="model")


def assert_calls_agree(graph: Graph, *calls: Sequence[Array]) -> None:
    """Successive calls of one interpreter, and the same calls as the second of a batch."""
    expected = oracles.tflm(write(graph), *calls)
    alone, batch = Interpreter(graph), Interpreter(graph)
    for position, call in enumerate(calls):
        found = alone.invoke(call).outputs
        other = calls[(position + 1) % len(calls)]
        side = batch.invoke([np.stack(pair) for pair in zip(other, call, strict=True)]).outputs
        for mine, beside, theirs in zip(found, side, expected[position], strict=True):
            np.testing.assert_array_equal(bits(mine), bits(theirs.reshape(mine.shape)))
            np.testing.assert_array_equal(bits(beside[1]), bits(mine))


def counting_loop() -> Graph:
    """While the counter is below a limit: counter += 1, sum += counter."""
    main = Subgraph(
        "main",
        (tensor(0, INT32), tensor(1, FLOAT32, (2,)), tensor(2, INT32), tensor(3, FLOAT32, (2,))),
        (0, 1),
        (2, 3),
        (
            operator(
                "WHILE",
                (0, 1),
                (2, 3),
                "WhileOptions",
                cond_subgraph_index=1,
                body_subgraph_index=2,
            ),
        ),
    )
    condition = Subgraph(
        "condition",
        (tensor(0, INT32), tensor(1, FLOAT32, (2,)), tensor(2, INT32, data=5), tensor(3, BOOL)),
        (0, 1),
        (3,),
        (operator("LESS", (0, 2), (3,), "LessOptions"),),
    )
    body = Subgraph(
        "body",
        (
            tensor(0, INT32),
            tensor(1, FLOAT32, (2,)),
            tensor(2, INT32, data=1),
            tensor(3, FLOAT32, (1,), data=0.1),
            tensor(4, INT32),
            tensor(5, FLOAT32, (2,)),
        ),
        (0, 1),
        (4, 5),
        (add(0, 2, 4), add(1, 3, 5)),
    )
    return model(main, condition, body)


def test_a_loop_runs_as_often_as_its_condition_holds() -> None:
    x = np.array([0.25, -3], np.float32)
    assert_calls_agree(
        counting_loop(),
        [np.array([0], np.int32), x],
        [np.array([7], np.int32), x],
        [np.array([-20], np.int32), x],
    )


def branching() -> Graph:
    branch = [
        Subgraph(
            name,
            (tensor(0, FLOAT32), tensor(1, FLOAT32, data=value), tensor(2, FLOAT32)),
            (0,),
            (2,),
            (operator(kind, (0, 1), (2,), f"{kind.capitalize()}Options"),),
        )
        for name, kind, value in (("then", "ADD", 0.3), ("else", "MUL", -2.5))
    ]
    main = Subgraph(
        "main",
        (tensor(0, BOOL), tensor(1, FLOAT32), tensor(2, FLOAT32)),
        (0, 1),
        (2,),
        (operator("IF", (0, 1), (2,), "IfOptions", then_subgraph_index=1, else_subgraph_index=2),),
    )
    return model(main, *branch)


def test_a_branch_is_taken_by_its_condition() -> None:
    x = np.array([1.7], np.float32)
    assert_calls_agree(branching(), [np.array([True]), x], [np.array([False]), x])


def accumulator(dtype: DType = FLOAT32, zero_point: int = 0, once: bool = True) -> Graph:
    """A resource variable, set once to a constant, to which each call adds its input."""
    scale = oracles.quantized(0.5, zero_point) if dtype is INT8 else None
    shape = (3,)

    def value(index: int, data: object = None) -> Tensor:
        return tensor(index, dtype, shape, data, scale)

    handle = operator("VAR_HANDLE", (), (0,), "VarHandleOptions", shared_name="sum", container="")
    setting = operator("ASSIGN_VARIABLE", (0, 1), (), "AssignVariableOptions")
    main = Subgraph(
        "main",
        (tensor(0, RESOURCE), value(1), value(2), value(3), value(4)),
        (1,),
        (4,),
        (
            *([operator("CALL_ONCE", (), (), "CallOnceOptions", init_subgraph_index=1)] * once),
            handle,
            operator("READ_VARIABLE", (0,), (2,), "ReadVariableOptions"),
            add(1, 2, 3),
            operator("ASSIGN_VARIABLE", (0, 3), (), "AssignVariableOptions"),
            operator("READ_VARIABLE", (0,), (4,), "ReadVariableOptions"),
        ),
    )
    initial = Subgraph(
        "once", (tensor(0, RESOURCE), value(1, [4, 5, 6])), (), (), (handle, setting)
    )
    return model(main, initial) if once else model(main)


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(("dtype", "zero_point"), [(FLOAT32, 0), (INT8, -7)])
def test_a_resource_variable_lives_from_call_to_call(
    dtype: DType, zero_point: int, once: bool
) -> None:
    calls = [[np.array(x, dtype.numpy)] for x in ([1, 2, 3], [-5, 0, 7], [2, 2, 2])]
    assert_calls_agree(accumulator(dtype, zero_point, once), *calls)


@pytest.mark.parametrize(("dtype", "zero_point"), [(FLOAT32, 0), (INT8, -7)])
def test_a_reset_forgets_what_was_set_once(dtype: DType, zero_point: int) -> None:
    """As on the device: the variable is zero, and CALL_ONCE does not run again."""
    graph = accumulator(dtype, zero_point)
    x = np.array([1, 2, 3], dtype.numpy)
    theirs = oracles.runtime.Interpreter.from_bytes(write(graph), arena_size=1 << 20)
    mine = Interpreter(graph)
    for _ in range(2):
        theirs.set_input(x, 0)
        theirs.invoke()
        np.testing.assert_array_equal(mine.invoke(x).outputs[0], theirs.get_output(0))
        theirs.reset()
        mine.reset()


def test_each_inference_of_a_batch_has_its_own_variables() -> None:
    interpreter = Interpreter(accumulator())
    x = np.array([[1, 0, 0], [0, 2, 0]], np.float32)
    interpreter.invoke(x)
    (sums,) = interpreter.invoke(x).outputs
    np.testing.assert_array_equal(sums, [[6, 5, 6], [4, 9, 6]])
    with pytest.raises(InputError, match="holds the variables of 2 inferences"):
        interpreter.invoke(x[0])
    interpreter.reset()
    interpreter.invoke(x[0])


@needs_shared
@pytest.mark.parametrize(
    "name", ["svdf_i8_003", "svdf_f32_000", "unidirectional_sequence_lstm_i8_001"]
)
def test_variable_tensors_live_from_call_to_call(name: str) -> None:
    with zipfile.ZipFile(GOLDEN / "single_operators.zip") as archive:
        graph = read(archive.read(f"{name}.tflite"), name)
    assert any(t.is_variable for t in graph.main.tensors)
    calls = [random_inputs(graph, seed) for seed in range(3)]
    assert_calls_agree(graph, *calls)
    interpreter = Interpreter(graph)
    first = interpreter.invoke(calls[0]).outputs
    interpreter.invoke(calls[1])
    interpreter.reset()
    for mine, again in zip(first, interpreter.invoke(calls[0]).outputs, strict=True):
        np.testing.assert_array_equal(mine, again)


# What a user gets wrong.


def adder(inputs: int = 2) -> Graph:
    tensors = tuple(tensor(i, FLOAT32, (2, 3)) for i in range(3))
    if inputs == 1:
        tensors = (tensors[0], tensor(1, FLOAT32, (1,), data=1.5), tensors[2])
    return model(Subgraph("main", tensors, tuple(range(inputs)), (2,), (add(0, 1, 2),)))


def test_lists_of_numbers_do_for_arrays() -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    one = adder(inputs=1)
    for given in (rows, tuple(rows), [np.array(rows, np.float32)]):
        np.testing.assert_array_equal(run(one, given).outputs[0], np.array(rows) + 1.5)
    assert run(one, [rows, rows, rows]).outputs[0].shape == (3, 2, 3)
    np.testing.assert_array_equal(run(adder(), [rows, rows]).outputs[0], 2 * np.array(rows))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([np.zeros((2, 3), np.float32)], "takes 2 inputs, 1 were given"),
        ([np.zeros((3, 2), np.float32)] * 2, r"'t0' takes float32 of shape \(2, 3\), float32"),
        ([np.zeros((2, 3))] * 2, r"takes float32 of shape \(2, 3\), float64"),
        ([np.zeros((0, 2, 3), np.float32)] * 2, "the batch is empty"),
        (
            [np.zeros((2, 2, 3), np.float32), np.zeros((4, 2, 3), np.float32)],
            "batches of different sizes: 2, 4",
        ),
        ([["a"], ["b"]], "not an array of numbers"),
        ([[[1], [2, 3]], [[1], [2]]], "not an array of numbers"),
    ],
)
def test_inputs_that_do_not_fit(inputs: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(adder(), inputs)


def test_numbers_beyond_the_type_are_an_error() -> None:
    tensors = (tensor(0, INT8, (2,)), tensor(1, INT8, (2,)))
    graph = model(Subgraph("main", tensors, (0,), (1,), (operator("RESHAPE", (0,), (1,)),)))
    np.testing.assert_array_equal(run(graph, [1, -128]).outputs[0], [1, -128])
    with pytest.raises(InputError, match="values that int8 cannot hold"):
        run(graph, [1, 128])


def test_an_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"runtime 'tflite'.*tflm@2026"):
        Interpreter(adder(), runtime="tflite")


def test_a_runtime_is_named_with_or_without_its_generation() -> None:
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run(adder(), [x, x], runtime="tflm@2026").outputs[0], x + x)


def test_an_operator_without_kernel_is_named() -> None:
    tensors = (tensor(0, FLOAT32), tensor(1, FLOAT32))
    custom = Operator("CUSTOM", (0,), (1,), custom_code="SignalFft")
    graph = model(Subgraph("main", tensors, (0,), (1,), (custom,)))
    with pytest.raises(UnsupportedOperatorError, match=r"^model: operator 0 \(SignalFft\)"):
        Interpreter(graph)


def test_a_tensor_that_nothing_computes_is_an_error() -> None:
    tensors = tuple(tensor(i, FLOAT32) for i in range(3))
    graph = model(Subgraph("main", tensors, (0,), (2,), (add(0, 1, 2),)))
    with pytest.raises(ModelError, match=r"operator 0 \(ADD\) reads tensor 1"):
        Interpreter(graph)


def test_a_subgraph_that_runs_itself_is_an_error() -> None:
    main = Subgraph(
        "main",
        (tensor(0, BOOL),),
        (0,),
        (),
        (operator("CALL_ONCE", (), (), "CallOnceOptions", init_subgraph_index=0),),
    )
    with pytest.raises(ModelError, match="subgraph 0 runs itself"):
        Interpreter(model(main))


def test_overflow_is_a_result_and_no_warning() -> None:
    large = np.full((2, 3), 3e38, np.float32)
    assert_calls_agree(adder(), [large, large], [large, -large])


def test_outputs_are_the_callers_own() -> None:
    """Writing to a result changes neither the input nor the next result."""
    tensors = (tensor(0, FLOAT32, (2,)), tensor(1, FLOAT32, (2,)))
    graph = model(Subgraph("main", tensors, (0,), (1,), (operator("RESHAPE", (0,), (1,)),)))
    x = np.ones(2, np.float32)
    (result,) = run(graph, x).outputs
    result[:] = 7
    np.testing.assert_array_equal(x, 1)


def test_constants_alone_make_an_output_of_every_inference() -> None:
    tensors = (
        tensor(0, FLOAT32, (2,)),
        tensor(1, INT32),
        tensor(2, FLOAT32, (2,)),
    )
    shape = operator("SHAPE", (0,), (1,), "ShapeOptions")
    graph = model(Subgraph("main", tensors, (0,), (1, 2), (shape, operator("RESHAPE", (0,), (2,)))))
    result = run(graph, np.zeros((4, 2), np.float32), tensors=True)
    np.testing.assert_array_equal(result.outputs[0], np.full((4, 1), 2))
    assert {a.shape[0] for a in result.tensors.values()} == {4}
