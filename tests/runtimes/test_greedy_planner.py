"""The planner of the arena's head against the interpreter's, on random networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType, Graph, Operator, Options, Subgraph, Tensor
from mcusim.runtimes.abi import ARM_EABI
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.greedy_planner import BufferRequirement, place
from mcusim.runtimes.kernel_requests import Target
from mcusim.tflite import write
from tests.runtimes.recorded_arena import recorded_arena


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Concatenations and slices of what was computed before, in every order and size."""
    widths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=3))
    tensors = [Tensor(i, f"t{i}", (1, width), DType.FLOAT32) for i, width in enumerate(widths)]
    computed, inputs = list(range(len(widths))), tuple(range(len(widths)))
    operators: list[Operator] = []

    def add(shape: tuple[int, ...], data: list[int] | None = None) -> int:
        index = len(tensors)
        if data is None:
            tensors.append(Tensor(index, f"t{index}", shape, DType.FLOAT32))
        else:
            values = np.array(data, np.int32)
            tensors.append(
                Tensor(index, f"t{index}", shape, DType.INT32, data=values, buffer=index + 1)
            )
        return index

    for _ in range(draw(st.integers(1, 12))):
        a = draw(st.sampled_from(computed))
        width = tensors[a].shape[1]
        if draw(st.booleans()) and width < 400:
            b = draw(st.sampled_from(computed))
            out = add((1, width + tensors[b].shape[1]))
            options = Options({"axis": 1})
            operators.append(
                Operator("CONCATENATION", (a, b), (out,), options, "ConcatenationOptions")
            )
        else:
            kept = draw(st.integers(1, width))
            begin, size = add((2,), [0, 0]), add((2,), [1, kept])
            out = add((1, kept))
            operators.append(Operator("SLICE", (a, begin, size), (out,)))
        computed.append(out)
    outputs = tuple(draw(st.sets(st.sampled_from(computed), min_size=1, max_size=3)))
    main = Subgraph("main", tuple(tensors), inputs, outputs, tuple(operators))
    return Graph((main,))


@settings(max_examples=60)
@given(networks())
def test_head_equals_the_interpreters(graph: Graph):
    """A head of the same size on every platform: it holds no pointers."""
    memory = plan_arena(graph, Target(ARM_EABI)).memory
    assert memory.head_bytes == recorded_arena(write(graph))["head"]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=12
    )
)
def test_buffers_that_live_together_lie_apart(spans: list[tuple[int, int, int]]):
    buffers = [BufferRequirement(16 * size, first, first + more) for size, first, more in spans]
    offsets = place(buffers)
    for i, a in enumerate(buffers):
        for j, b in enumerate(buffers[:i]):
            if a.first <= b.last and b.first <= a.last:
                assert (
                    offsets[i] + a.size_bytes <= offsets[j]
                    or offsets[j] + b.size_bytes <= offsets[i]
                )


@pytest.mark.parametrize(
    ("buffers", "offsets"),
    [
        ([(10, 0, 1), (20, 2, 3)], [0, 0]),
        ([(10, 0, 1), (20, 1, 2), (30, 2, 3), (40, 3, 4), (50, 0, 1)], [50, 70, 40, 0, 0]),
    ],
)
def test_placements_of_the_librarys_own_tests(
    buffers: list[tuple[int, int, int]], offsets: list[int]
):
    """tflite-micro, greedy_memory_planner_test.cc: TestGreedyBasics and TestGreedyMedium."""
    assert place([BufferRequirement(*buffer) for buffer in buffers]) == offsets


def test_a_small_buffer_goes_above_two_that_it_meets():
    """tflite-micro, greedy_memory_planner_test.cc: TestOverlapCase."""
    buffers = [BufferRequirement(*b) for b in [(100, 0, 1), (50, 2, 3), (20, 1, 2)]]
    placed = zip(place(buffers), buffers, strict=True)
    assert max(offset + b.size_bytes for offset, b in placed) == 120
