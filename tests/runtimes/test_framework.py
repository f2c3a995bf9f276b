"""The interpreter's own lines: trip counts of construction, AllocateTensors and Invoke."""

import random

import numpy as np
import pytest

from mcusim.graph import DType, Graph, Operator, Subgraph, Tensor
from mcusim.kernels.closest import closest_profile
from mcusim.runtimes.framework import (
    allocate_call,
    construct_call,
    invoke_call,
    planner_steps,
    prepare_kind,
)
from mcusim.runtimes.plan import BufferPlacement


def _graph(*names, dtype=DType.FLOAT32):
    tensors = tuple(Tensor(i, f"t{i}", (4,), dtype) for i in range(len(names) + 1))
    operators = tuple(Operator(name, (i,), (i + 1,)) for i, name in enumerate(names))
    return Graph((Subgraph("main", tensors, (0,), (len(names),), operators),))


def _buffer(size, offset, first, last):
    return BufferPlacement("b", "tensor", 0, 0, offset, size, first, last)


@pytest.mark.parametrize(
    ("operators", "o3", "os"), [(1, 96, 97), (9, 296, 345), (10, 321, 376), (36, 971, 1182)]
)
def test_the_loop_of_invoke_is_counted_to_the_instruction(operators, o3, os):
    """Counted in firmware on a Cortex-M4; 9 operators at Os follow from 66 + 31 an operator."""
    call = invoke_call(_graph(*["RELU"] * operators))
    for flag, counted in (("gcc-O3", o3), ("gcc-Os", os)):
        priced = closest_profile(call.profile, "m4", flag)
        assert priced.mix(call.trips).total == pytest.approx(counted, abs=0.5)


@pytest.mark.parametrize(("registered", "counted"), [(1, 451), (5, 770), (6, 860), (8, 1055)])
def test_construction_looks_for_each_operator_among_those_before(registered, counted):
    """Counted in firmware of networks with that many different operators, Cortex-M4, O3."""
    names = ["RELU", "TANH", "ADD", "MUL", "NEG", "ABS", "SUB", "LOG"][:registered] * 3
    call = construct_call(_graph(*names))
    assert call.trips["operator.search"] == registered * (registered - 1) / 2
    total = closest_profile(call.profile, "m4", "gcc-O3").mix(call.trips).total
    assert total == pytest.approx(counted, rel=0.005)


def test_prepare_is_told_apart_by_operator_and_type():
    graph = _graph("RELU", "SOFTMAX", "RELU", dtype=DType.INT8)
    trips = allocate_call(graph, ()).trips
    assert trips["prepare relu_int8"] == 2
    assert trips["prepare softmax_int8"] == 1
    assert trips["prepare other"] == 0
    assert (trips["tensor"], trips["operand"]) == (4, 6)


def test_an_operator_whose_prepare_was_not_counted_is_said():
    call = allocate_call(_graph("GATHER", "RELU"), ())
    assert call.trips["prepare other"] == 1
    assert call.warnings == ("Prepare of GATHER was not counted",)


def test_the_type_is_that_of_the_first_computed_input():
    """TRANSPOSE_CONV starts with its output's shape, a constant of int32."""
    shape = Tensor(0, "shape", (4,), DType.INT32, data=np.ones(4, np.int32))
    weights = Tensor(1, "w", (1, 1, 1, 1), DType.INT8, data=np.ones((1, 1, 1, 1), np.int8))
    x, y = (Tensor(i, "", (1, 1, 1, 1), DType.INT8) for i in (2, 3))
    graph = Graph(
        (
            Subgraph(
                "m",
                (shape, weights, x, y),
                (2,),
                (3,),
                (Operator("TRANSPOSE_CONV", (0, 1, 2), (3,)),),
            ),
        )
    )
    assert prepare_kind(graph.main.node(0)) == "prepare transpose_conv_int8"


def test_planner_steps_of_buffers_that_never_meet():
    """Each placed buffer is looked at once for every later one, and none needs sorting."""
    placements = [_buffer(16 * (i + 1), 0, i, i) for i in range(4)]
    steps = planner_steps(placements)
    assert (steps.compare, steps.swap) == (3, 0)
    assert steps.scan == 0 + 1 + 2 + 3
    assert steps.insert == 0 + 1 + 2 + 3


def test_planner_sorts_like_the_library():
    """Comparisons and swaps of a plain bubble sort, run beside."""
    generator = random.Random(4)
    for count in (1, 2, 7, 20):
        sizes = [16 * generator.randrange(1, 6) for _ in range(count)]
        steps = planner_steps([_buffer(size, 0, i, i) for i, size in enumerate(sizes)])
        values, compare, swap, again = sizes[::-1], 0, 0, True
        while again:
            again = False
            for i in range(1, count):
                compare += 1
                if values[i - 1] < values[i]:
                    values[i - 1], values[i] = values[i], values[i - 1]
                    swap, again = swap + 1, True
        assert (steps.compare, steps.swap) == (compare, swap)


def test_planner_stops_at_the_first_gap_that_fits():
    """Largest first: the second fits below the first, the third below the second."""
    placements = [_buffer(16, 0, 0, 1), _buffer(64, 64, 0, 1), _buffer(48, 16, 0, 1)]
    assert planner_steps(placements).scan == 2
