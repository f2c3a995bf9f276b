"""An estimate and a run refuse the same models with the same sentence; none ends in a traceback."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import mcusim
from benchmarks.fuzz_operators import Oracle, attempt, case
from mcusim.errors import ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Operator, Options, Subgraph, Tensor
from mcusim.kernels.reference import KERNELS, control_flow
from mcusim.runtimes import RUNTIMES, plan
from tests.oracles import activation, constant, quantized, single_operator

INT8, FLOAT32, INT32 = DType.INT8, DType.FLOAT32, DType.INT32
Q = quantized(0.05, 3)


def one(name, inputs, output, table="NONE", **options):
    return single_operator(name, inputs, [output], Options(options), table)


def stored(*shape, q=Q):
    return activation(shape, INT8, q)


def integers(*values):
    return constant(np.array(values, np.int32))


POOL = {"stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2, "padding": "SAME"}

#: What each is refused for; TFLite Micro refuses it, too, or reads and writes beside its tensors.
REFUSED: dict[str, tuple[Graph, str]] = {
    "types": (one("ADD", [stored(2), activation((2,), FLOAT32)], stored(2)), "two types"),
    "no axis": (one("ARG_MAX", [stored(2, 3), integers()], activation((2,), INT32)), "axis tensor"),
    "axis": (one("MEAN", [stored(2, 3), integers(5)], stored(2)), "axis 5"),
    "results": (one("SUM", [stored(2, 3), integers(1)], stored(3)), "do not fill"),
    "types of a mean": (one("MEAN", [stored(2), integers(0)], activation((1,), FLOAT32)), "types"),
    "cut": (one("SLICE", [stored(4), integers(2), integers(3)], stored(3)), "of 4"),
    "position": (one("GATHER", [stored(4), integers(4)], stored(1), "GatherOptions"), "position"),
    "index": (one("GATHER_ND", [stored(4), constant(np.array([[9]], np.int32))], stored(1)), "out"),
    "squeezed to another type": (
        one("SQUEEZE", [stored(1, 3)], activation((3,), DType.UINT8, Q), "SqueezeOptions"),
        "two types",
    ),
    "expanded to another type": (
        one("EXPAND_DIMS", [stored(3), integers(0)], activation((1, 3), INT32)),
        "two types",
    ),
    "one edge": (
        one(
            "SPACE_TO_BATCH_ND",
            [stored(1, 4, 4, 2), integers(2, 2), integers(0)],
            stored(4, 2, 2, 2),
        ),
        "edges",
    ),
    "blocks": (
        one(
            "BATCH_TO_SPACE_ND",
            [stored(4, 2, 2, 2), integers(2, 1), constant(np.zeros((2, 2), np.int32))],
            stored(1, 4, 4, 2),
        ),
        "do not make",
    ),
    "extents of a pooling": (
        one("MAX_POOL_2D", [stored(1, 5, 4, 2)], stored(1, 2, 2, 2), "Pool2DOptions", **POOL),
        "make 3 x 2 outputs",
    ),
    "extents of a convolution": (
        one(
            "CONV_2D",
            [stored(1, 4, 4, 1), constant(np.ones((1, 3, 3, 1), np.int8), quantized(0.1))],
            stored(1, 4, 5, 1),
            "Conv2DOptions",
            padding="SAME",
            stride_w=1,
            stride_h=1,
            dilation_w_factor=1,
            dilation_h_factor=1,
        ),
        "make 4 x 4 outputs, not 4 x 5",
    ),
    "zero point": (one("RELU", [stored(2, q=quantized(0.1, 2**31 - 1))], stored(2)), "zero point"),
    "scale": (one("TANH", [stored(2, q=quantized(float("nan")))], stored(2)), "not finite"),
    "tensor": (one("RELU", [stored(2**27)], stored(2**27)), "no microcontroller"),
    "paddings": (
        one(
            "MIRROR_PAD",
            [stored(2), constant(np.array([[5, 0]], np.int32))],
            stored(7),
            "MirrorPadOptions",
            mode="REFLECT",
        ),
        "reach beyond",
    ),
    "shapes": (
        one("BROADCAST_ARGS", [integers(2, 3), integers(3, 3)], activation((2,), INT32)),
        "do not broadcast",
    ),
    "division by a constant 0": (
        one(
            "FLOOR_DIV",
            [activation((2,), FLOAT32), constant(np.array([1, 0], np.float32))],
            activation((2,), FLOAT32),
        ),
        "divide by 0",
    ),
    "root of a negative constant": (
        one("RSQRT", [constant(np.array([2], np.int8), Q)], stored(1)),
        "below zero",
    ),
    "variable with a value": (
        one(
            "RELU",
            [Tensor(0, "x", (2,), INT8, Q, np.zeros(2, np.int8), is_variable=True)],
            stored(2),
        ),
        "a variable with a value",
    ),
    "bias of tensor -1": (
        one(
            "DEPTHWISE_CONV_2D",
            [
                stored(1, 2, 2, 1),
                constant(np.ones((1, 1, 1, 1), np.int8), quantized(0.1)),
                None,
            ],
            stored(1, 2, 2, 1),
            "DepthwiseConv2DOptions",
            padding="SAME",
            stride_w=1,
            stride_h=1,
            depth_multiplier=1,
            dilation_w_factor=1,
            dilation_h_factor=1,
        ),
        "tensor -1",
    ),
    "two handles": (
        one("VAR_HANDLE", [], activation((2,), INT32), "VarHandleOptions", shared_name="a"),
        "one handle",
    ),
    "no axes": (one("SUM", [stored(2, 3), integers()], stored(2)), "do not fill"),
    "wide steps of a table": (
        one(
            "TANH",
            [activation((2,), DType.INT16, quantized(1e12))],
            activation((2,), DType.INT16, quantized(2**-15)),
        ),
        "overflows int32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_estimate_refuses_what_a_run_refuses(name):
    graph, reason = REFUSED[name]
    board = mcusim.load_board("nucleo-l496zg")
    sentences = []
    for refuse in (lambda: mcusim.Interpreter(graph), lambda: mcusim.estimate(graph, board)):
        with pytest.raises(ModelError, match=reason) as caught:
            refuse()
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]


def test_every_kernel_refuses_a_node_without_tensors():
    """Neither binding nor counting it ends in anything but a sentence that names the operator."""
    for name, kernel in KERNELS.items():
        if name in control_flow.CONTROL_FLOW:
            continue
        node = Subgraph("main", (), (), (), (Operator(name, (), ()),)).node(0)
        for prepare in (kernel.bind, kernel.call, kernel.check):
            with pytest.raises(ModelError, match=rf"operator 0 \({name}\)"):
                prepare(node)


@pytest.mark.parametrize("index", range(150))
def test_damaged_operators_end_as_in_the_interpreter(index, oracle):
    outcome = attempt(index, case(11, index), oracle)
    assert not outcome.is_failure, outcome


@pytest.fixture(scope="module")
def oracle():
    return Oracle()


def test_checks_import_no_compiler():
    code = (
        "import sys, mcusim\n"
        "from mcusim.runtimes import plan\n"
        "from benchmarks.operator_seeds import seeds\n"
        "for graph in seeds()[:150]:\n"
        "    plan(graph)\n"
        "assert 'numba' not in sys.modules\n"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_a_loop_without_end_is_an_error(monkeypatch):
    """The device would hang."""
    monkeypatch.setattr(control_flow, "MOST_TURNS", 50)
    counter = Tensor(0, "n", (1,), INT32)
    least = Tensor(1, "least", (1,), INT32, data=np.array([-1], np.int32), buffer=1)
    more = Tensor(2, "more", (1,), DType.BOOL)
    out = Tensor(1, "out", (1,), INT32)
    loop = Operator(
        "WHILE",
        (0,),
        (1,),
        Options({"cond_subgraph_index": 1, "body_subgraph_index": 2}),
        "WhileOptions",
    )
    condition = Operator("GREATER", (0, 1), (2,), options_type="GreaterOptions")
    body = Operator("RESHAPE", (0,), (1,), options_type="ReshapeOptions")
    graph = Graph(
        (
            Subgraph("main", (counter, out), (0,), (1,), (loop,)),
            Subgraph("condition", (counter, least, more), (0,), (2,), (condition,)),
            Subgraph("body", (counter, out), (0,), (1,), (body,)),
        ),
        name="endless",
    )
    with pytest.raises(ModelError, match="still holds after 50 turns"):
        mcusim.run(graph, np.zeros(1, np.int32))


@pytest.mark.parametrize(
    ("subgraphs", "sentence"),
    [
        ((), "no subgraph"),
        ((Subgraph("s", (), (3,), (), ()),), "its input is tensor 3, there are 0"),
        ((Subgraph("s", (), (), (-1,), ()),), "its output is tensor -1"),
        ((Subgraph("s", (), (), (), (Operator("RELU", (0,), ()),)),), "refers to tensor 0"),
    ],
)
def test_graphs_made_in_code_that_refer_to_nothing(subgraphs, sentence):
    graph = Graph(subgraphs, name="made")
    for refuse in (mcusim.Interpreter, plan):
        with pytest.raises(ModelError, match=f"made: .*{sentence}"):
            refuse(graph)


def test_subgraphs_nested_too_deep():
    tensors = (Tensor(0, "x", (1,), INT32),)
    subgraphs = [
        Subgraph(
            "s",
            tensors,
            (),
            (),
            (Operator("CALL_ONCE", (), (), Options({"init_subgraph_index": i + 1})),),
        )
        for i in range(2000)
    ]
    graph = Graph((*subgraphs, Subgraph("last", tensors, (), (), ())), name="deep")
    for refuse in (mcusim.Interpreter, plan):
        with pytest.raises(ModelError, match="more than 32 deep"):
            refuse(graph)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_huge_tensors_take_no_time(runtime):
    """Counts are formulas of the shape, not loops over it."""
    rows = 1 << 22
    pool = dict(POOL, stride_w=1, stride_h=1)
    models = [
        one(
            "AVERAGE_POOL_2D",
            [stored(1, rows, 1, 1)],
            stored(1, rows, 1, 1),
            "Pool2DOptions",
            **pool,
        ),
        one(
            "CONCATENATION",
            [stored(rows, 1), stored(rows, 1)],
            stored(rows, 2),
            "ConcatenationOptions",
            axis=1,
        ),
    ]
    started = time.perf_counter()
    for model in models:
        with suppress(UnsupportedOperatorError):
            plan(model, runtime)
    assert time.perf_counter() - started < 2


def test_an_operator_without_a_kernel_is_named():
    graph = one("NON_MAX_SUPPRESSION_V4", [stored(2)], stored(2))
    for refuse in (mcusim.Interpreter, plan):
        with pytest.raises(
            UnsupportedOperatorError, match=r"operator 0 \(NON_MAX_SUPPRESSION_V4\)"
        ):
            refuse(graph)


def test_dequantizing_wraps_as_int32(oracle):
    graph = one("DEQUANTIZE", [stored(4)], activation((4,), FLOAT32))
    assert attempt(0, graph, oracle).kind == "runs, the same"
