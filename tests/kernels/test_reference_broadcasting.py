"""The nest of loops that broadcasting runs: its offsets, its turns, what it costs a kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.broadcasting import BroadcastLoop, broadcast_loop
from tests.kernels.agreement import model
from tests.kernels.elementwise_models import broadcast_shapes
from tests.oracles import activation, constant, quantized

Shape = tuple[int, ...]


def run_nest(loop: BroadcastLoop) -> tuple[list[list[int]], int, int]:
    """Offsets of each operand in the order of the output, and how often a loop was entered.

    Loops in all that another one enters, and innermost ones, entered by another or not.

    Runs as ``RunBinaryOp`` does: a loop calls itself for the next inner one.
    """
    offsets: list[list[int]] = [[] for _ in loop.strides]
    recursions = rows = 0

    def run(level: int, at: list[int]) -> None:
        nonlocal recursions, rows
        rows += level == 0
        for turn in range(loop.extents[level]):
            here = [o + turn * s[level] for o, s in zip(at, loop.strides, strict=True)]
            if level == 0:
                for found, offset in zip(offsets, here, strict=True):
                    found.append(offset)
            else:
                recursions += 1
                run(level - 1, here)

    start = [0] * len(loop.strides)
    if loop.extents:
        run(len(loop.extents) - 1, start)
    else:
        offsets, rows = [[0] for _ in loop.strides], 1
    return offsets, recursions, rows


@settings(max_examples=200)
@given(st.integers(2, 3).flatmap(lambda n: broadcast_shapes(operands=n, rank=6)))
def test_the_nest_reads_what_broadcasting_means(drawn: tuple[tuple[Shape, ...], Shape]) -> None:
    shapes, out = drawn
    loop = broadcast_loop(shapes, out)
    offsets, recursions, rows = run_nest(loop)
    assert loop.recursions == recursions
    assert loop.rows == rows
    assert math.prod(loop.extents) == math.prod(out)
    for shape, found in zip(shapes, offsets, strict=True):
        indices = np.arange(math.prod(shape)).reshape(shape)
        assert found == np.broadcast_to(indices, out).ravel().tolist()


def test_neighbouring_dimensions_are_one_loop_where_both_operands_go_on() -> None:
    channels = broadcast_loop(((1, 8, 8, 4), (1, 1, 1, 4)), (1, 8, 8, 4))
    assert channels == BroadcastLoop((4, 64), ((1, 4), (1, 0)))
    scalar = broadcast_loop(((1, 8, 8, 4), (1,)), (1, 8, 8, 4))
    assert scalar == BroadcastLoop((256,), ((1,), (0,)))


def test_trips_of_a_kernel_that_broadcasts() -> None:
    q = quantized(0.1, 0)
    tensors = [activation((1, 8, 8, 4), DType.INT8, q), activation((4,), DType.INT8, q)]
    node = model("MUL", tensors, [activation((1, 8, 8, 4), DType.INT8, q)]).main.node(0)
    call = KERNELS["MUL"].call(node)
    assert call.kernel == "reference_integer_ops::BroadcastMul4DSlow"
    assert call.profile == "reference/mul_int8"
    elements = {k: n for k, n in call.trips.items() if k.endswith(("both", "first", "second"))}
    assert {k: n for k, n in elements.items() if n} == {"row.both": 256}
    assert call.trips["element"] == 0
    assert call.trips["row"] == 64
    assert call.trips["broadcast.dimension"] == 4


@pytest.mark.parametrize(("zero_point", "share"), [(-128, 0.0), (0, 0.5), (127, 255 / 256)])
def test_typical_data_is_negative_as_often_as_its_zero_point_says(
    zero_point: int, share: float
) -> None:
    q = quantized(0.1, zero_point)
    tensors = [activation((2, 100), DType.INT8, q)]
    call = KERNELS["RELU"].call(model("RELU", tensors, tensors).main.node(0))
    assert call.trips["negative"] == pytest.approx(200 * share)
    assert call.trips["negative"] + call.trips["positive"] == 200


def test_known_data_is_counted() -> None:
    fixed = constant(np.array([-3, -2, 5, 9], np.int8), quantized(0.1, 0))
    call = KERNELS["RELU"].call(model("RELU", [fixed], [fixed]).main.node(0))
    assert call.trips["negative"] == 2


def test_a_sigmoid_computes_only_what_does_not_saturate() -> None:
    steep = [activation((256,), DType.INT8, quantized(0.2))]
    call = KERNELS["TANH"].call(model("TANH", steep, steep).main.node(0))
    # Beyond 15 / 16 of the fixed-point range of 16, which 0.2 is written with: 60 steps.
    assert call.trips["saturated"] == 69 + 68
    assert call.trips["negative"] + call.trips["positive"] == 119
