"""Sums, products and maxima of CMSIS-NN against the compiled library, and their views as one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase, LibraryKernel
from mcusim.kernels.cmsis_nn.elementwise import CASES, KERNELS, elementwise_trips
from mcusim.kernels.cmsis_nn.elementwise_arithmetic import (
    Product,
    Sum,
    elementwise_mirror,
    product_of_case,
    sum_of_case,
)
from mcusim.kernels.cmsis_nn.extrema import extrema_mirror, extrema_trips
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.runtimes import plan
from tests.golden_cmsis import GoldenCase, golden_cases
from tests.kernels.agreement import model, values
from tests.oracles import activation, quantized

SIMDS: tuple[Simd, ...] = ("none", "dsp", "mve")
BY_NAME: dict[str, LibraryKernel] = {kernel.operator: kernel for kernel in KERNELS}
Four = tuple[int, int, int, int]


def arithmetic_of(case: GoldenCase) -> Sum | Product:
    recorded = LibraryCase(case.id, case.op, case.params)
    return sum_of_case(recorded) if case.op == "add_s8" else product_of_case(recorded)


def golden() -> Iterator[GoldenCase]:
    for op in ("add_s8", "mul_s8"):
        yield from golden_cases(op)


@pytest.mark.parametrize("once", [False, True], ids=["twice", "once"])
@pytest.mark.parametrize("case", list(golden()), ids=str)
def test_results_equal_the_library(case: GoldenCase, once: bool) -> None:
    """Rounding twice, and once as the library built with CMSIS_NN_USE_SINGLE_ROUNDING."""
    found = arithmetic_of(case).results(case.arrays["x1"], case.arrays["x2"], once)
    np.testing.assert_array_equal(found, case.output(once))


def test_single_rounding_is_visible_in_recorded_outputs() -> None:
    cases = list(golden())
    if not cases:
        pytest.skip("needs the shared data folder")
    assert sum("y_single_rounding" in case.arrays for case in cases) > 5


@pytest.mark.parametrize("simd", SIMDS)
@pytest.mark.parametrize("case", list(golden()), ids=str)
def test_mirror_equals_the_library_and_counts_the_formulas(case: GoldenCase, simd: Simd) -> None:
    if case.params["n"] > 256:
        pytest.skip("one element at a time")
    first, second = case.arrays["x1"].ravel(), case.arrays["x2"].ravel()
    out, turns = elementwise_mirror(arithmetic_of(case), first, second, simd)
    np.testing.assert_array_equal(out, case.output().ravel())
    trips = elementwise_trips(case.params["n"], DType.INT8, simd)
    assert {k: v for k, v in turns.items() if v} == {k: v for k, v in trips.items() if v}


@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("simd", SIMDS)
def test_mirror_of_int16_counts_the_formulas(size: int, simd: Simd) -> None:
    case = GoldenCase("", "mul_s16", "", {"act": [-32768, 32767]} | _unscaled_product(), {})
    first, second = values(1, (size,), DType.INT16), values(2, (size,), DType.INT16)
    out, turns = elementwise_mirror(arithmetic_of(case), first, second, simd)
    product = first.astype(np.int64) * second
    np.testing.assert_array_equal(out, np.clip((product + 1) >> 1, -32768, 32767))
    trips = elementwise_trips(size, DType.INT16, simd)
    assert {k: v for k, v in turns.items() if v} == {k: v for k, v in trips.items() if v}


def _unscaled_product() -> dict[str, int]:
    """Offsets of none, and a multiplier of one half."""
    return {"in1_off": 0, "in2_off": 0, "out_off": 0, "out_mult": 1 << 30, "out_shift": 0}


def test_branches_of_data_that_is_known_are_counted() -> None:
    params = {"n": 4, "act": [-128, 127]} | _unscaled_product()
    arrays = {"x1": np.array([1, -2, 100, -100], np.int8), "x2": np.full(4, 3, np.int8)}
    case = LibraryCase("", "mul_s8", params, arrays=arrays)
    (call,) = CASES["mul_s8"](case, Configuration("none"))
    found = {name: call.trips[name] for name in ("negative", "clamped_low", "clamped_high")}
    assert found == {"negative": 2, "clamped_low": 1, "clamped_high": 1}


@pytest.mark.parametrize("size", [3, 4, 11])
def test_lanes_of_a_group_are_counted_apart(size: int) -> None:
    """With DSP four elements are a group, and branches of all lanes are those of all elements."""
    rng = np.random.default_rng(size)
    params = {"n": size, "act": [-100, 90], "out_shift": 0, "out_mult": 1 << 30}
    params |= {"in1_off": 5, "in2_off": -7, "out_off": 3}
    arrays = {name: rng.integers(-128, 128, size).astype(np.int8) for name in ("x1", "x2")}
    case = LibraryCase("", "mul_s8", params, arrays=arrays)
    (together,) = CASES["mul_s8"](case, Configuration("none"))
    (apart,) = CASES["mul_s8"](case, Configuration("dsp"))
    for kind in ("negative", "rounded_up"):
        lanes = [f"result.{kind}", *(f"result.{kind}.{lane}" for lane in range(4))]
        assert sum(apart.trips[lane] for lane in lanes) == together.trips[kind]
    assert apart.trips["no_shift.group"] == size // 4
    assert apart.trips["no_shift"] == size % 4
    first, second = (arrays[name].astype(int) for name in ("x1", "x2"))
    product = (first[: size // 4 * 4] + 5) * (second[: size // 4 * 4] - 7)
    assert apart.trips["result.negative.2"] == (product[2::4] < -1).sum()


def layer(name: str, first: tuple[int, ...], second: tuple[int, ...]) -> Node:
    graph = model(
        name,
        [
            activation(first, DType.INT8, quantized(0.5, 3)),
            activation(second, DType.INT8, quantized(0.3, -7)),
        ],
        [activation(np.broadcast_shapes(first, second), DType.INT8, quantized(0.7, 1))],
        f"{name.title()}Options" if name in ("ADD", "MUL") else "MaximumMinimumOptions",
    )
    return graph.main.node(0)


@pytest.mark.parametrize("name", ["ADD", "MUL"])
@pytest.mark.parametrize("once", [False, True], ids=["twice", "once"])
def test_layers_compute_what_their_arithmetic_says(name: str, once: bool) -> None:
    node = layer(name, (2, 5), (2, 5))
    inputs = [values(seed, (3, 2, 5), DType.INT8) for seed in (1, 2)]
    configuration = Configuration("dsp", single_rounding=once)
    (out,) = BY_NAME[name].bind(node, configuration)(inputs)
    (reference,) = REFERENCE[name].bind(node)(inputs)
    if not once:
        np.testing.assert_array_equal(out, reference)
    else:
        assert np.abs(out.astype(int) - reference).max() <= 2


@pytest.mark.parametrize("name", ["ADD", "MUL"])
def test_operands_of_two_shapes_go_to_the_reference_kernel(name: str) -> None:
    accepts = BY_NAME[name].accepts
    assert accepts(layer(name, (4, 5), (1, 4, 5)), Configuration("dsp"))
    assert not accepts(layer(name, (4, 5), (5,)), Configuration("dsp"))
    assert not accepts(layer(name, (4, 5), (4, 5)), Configuration("none", "2020"))


DIMS = st.tuples(*(st.integers(1, 4),) * 4)


@settings(max_examples=80, deadline=None)
@given(
    output=DIMS,
    kept=st.tuples(*(st.sampled_from((0, 1, 2)),) * 4),
    simd=st.sampled_from(SIMDS),
    name=st.sampled_from(("MAXIMUM", "MINIMUM")),
    seed=st.integers(0, 999),
)
def test_extrema_of_broadcast_operands(
    output: Four, kept: Four, simd: Simd, name: str, seed: int
) -> None:
    """The library's own pointer steps, element by element, against the bound kernel."""
    one, other = (
        tuple(1 if side == which else e for e, side in zip(output, kept, strict=True))
        for which in (1, 2)
    )
    node = layer(name, one, other)
    first, second = values(seed, one, DType.INT8), values(seed + 1, other, DType.INT8)
    call = BY_NAME[name].calls(node, Configuration(simd))[0]
    try:
        bound = BY_NAME[name].bind(node, Configuration(simd))
    except UnsupportedOperatorError as error:
        assert "leave their tensors" in str(error)
        assert call.warnings
        return
    out, turns = extrema_mirror(first, second, output, name == "MAXIMUM")
    np.testing.assert_array_equal(bound([first[None], second[None]])[0][0], out)
    if not call.warnings:
        np.testing.assert_array_equal(out, _extreme(name, first, second))
    trips = extrema_trips(one, other, output, "none")  # type: ignore[arg-type]
    assert {k: v for k, v in trips.items() if v} == {k: v for k, v in turns.items() if v}


def test_a_column_beside_rows_reads_beyond_its_end() -> None:
    """Both the element read and the row's end advance the pointer of an operand of one column."""
    node = layer("MAXIMUM", (1, 3, 1, 1), (1, 3, 2, 1))
    with pytest.raises(UnsupportedOperatorError, match="leave their tensors"):
        BY_NAME["MAXIMUM"].bind(node, Configuration())
    assert "pairs other elements" in BY_NAME["MAXIMUM"].calls(node, Configuration())[0].warnings[0]


def _extreme(name: str, first: Array, second: Array) -> Array:
    return np.maximum(first, second) if name == "MAXIMUM" else np.minimum(first, second)


def test_maxima_of_floats_run_the_reference_kernel() -> None:
    """Compiled in the file of the library's glue, the kernel has a profile of its own."""
    float32 = [activation((2, 3), DType.FLOAT32) for _ in range(3)]
    graph = model("MAXIMUM", float32[:2], float32[2:], "MaximumMinimumOptions")
    assert not BY_NAME["MAXIMUM"].accepts(graph.main.node(0), Configuration())
    (call,) = plan(graph, "cmsis-nn").layers[0].calls
    assert call.profile == "cmsis_nn/reference_maximum_float32"
    assert call.reason == "CMSIS-NN has no float32 kernel for it: TFLM's reference kernel"
