"""CMSIS-NN's pooling against outputs of the compiled library, and its three views as one."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph, Node, Operator, Options, Subgraph
from mcusim.interpreter import Interpreter
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.pooling import KERNELS, dispatch
from mcusim.kernels.cmsis_nn.pooling_arithmetic import (
    avgpool_in_place,
    avgpool_mirror,
    max_pool_in_place,
    max_pool_mirror,
)
from mcusim.kernels.cmsis_nn.pooling_trips import avgpool_trips, first_taps, max_pool_trips
from mcusim.kernels.reference.pooling import Axis, Pooling
from tests.golden_cmsis import GoldenCase, golden_cases, old_cases
from tests.kernels.agreement import model
from tests.oracles import activation, quantized
from tests.shared import SHARED, needs_shared

SIMDS: tuple[Simd, ...] = ("none", "dsp", "mve")
MIRRORS = {"avgpool_s8": avgpool_mirror, "maxpool_s8": max_pool_mirror}


def pooling_of(params: dict[str, list[int]]) -> Pooling:
    batches, height, width, channels = params["in_dims"]
    axes = (
        Axis(extent, params["out_dims"][i], params["f_dims"][i], stride, padding)
        for i, extent, stride, padding in zip(
            (1, 2), (height, width), params["stride"], params["pad"], strict=True
        )
    )
    return Pooling(batches, channels, *axes)


def golden() -> Iterator[GoldenCase]:
    for op in MIRRORS:
        yield from golden_cases(op)


@pytest.mark.parametrize("simd", SIMDS)
@pytest.mark.parametrize("case", list(golden()), ids=str)
def test_pooling_equals_the_library(case: GoldenCase, simd: Simd) -> None:
    """Recorded from a Cortex-M4; the other cores' outputs are the same."""
    low, high = case.params["act"]
    out, _ = MIRRORS[case.op](pooling_of(case.params), case.arrays["x"], (low, high), simd)
    np.testing.assert_array_equal(out, case.output())


def old() -> Iterator[tuple[GoldenCase, str]]:
    for op in MIRRORS:
        for case in old_cases(op):
            yield from ((case, key) for key in case.arrays if key.startswith("y_"))


@pytest.mark.parametrize(("case", "key"), list(old()), ids=str)
def test_pooling_of_2020_equals_that_library(case: GoldenCase, key: str) -> None:
    """Every recorded output that differs from 2026's: two truncating passes, windows in place."""
    pool = avgpool_in_place if case.op == "avgpool_s8" else max_pool_in_place
    out, _ = pool(pooling_of(case.params), case.arrays["x"], tuple(case.params["act"]))
    np.testing.assert_array_equal(out, case.arrays[key])


@st.composite
def poolings(draw: st.DrawFn) -> Pooling:
    def axis() -> Axis:
        extent, window, stride = (draw(st.integers(1, n)) for n in (7, 4, 3))
        same = draw(st.booleans())
        assume(same or window <= extent)
        outputs = -(-extent // stride) if same else (extent - window) // stride + 1
        return Axis.of(extent, outputs, window, stride, same)

    return Pooling(draw(st.integers(1, 2)), draw(st.integers(1, 19)), axis(), axis())


@settings(max_examples=60, deadline=None)
@given(
    pooling=poolings(),
    dtype=st.sampled_from((DType.INT8, DType.INT16)),
    simd=st.sampled_from(SIMDS),
    seed=st.integers(0, 999),
)
def test_mirror_counts_what_the_formulas_say(
    pooling: Pooling, dtype: DType, simd: Simd, seed: int
) -> None:
    shape = (pooling.batches, pooling.height.extent, pooling.width.extent, pooling.channels)
    limits = np.iinfo(dtype.numpy)
    x = np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape, dtype.numpy)
    for mirror, trips in ((avgpool_mirror, avgpool_trips), (max_pool_mirror, max_pool_trips)):
        out, turns = mirror(pooling, x, (int(limits.min), int(limits.max)), simd)
        formulas = {k: v for k, v in trips(pooling, dtype, simd, x).items() if v}
        counted = {k: v for k, v in formulas.items() if not k.startswith("quotient.")}
        assert counted == {k: v for k, v in turns.items() if v}
    np.testing.assert_array_equal(out, _largest(pooling, x))


def _largest(pooling: Pooling, x: Array) -> Array:
    rows, columns = pooling.height.bounds, pooling.width.bounds
    windows = product(zip(*rows, strict=True), zip(*columns, strict=True))
    found = [x[:, top:end, left:right].max(axis=(1, 2)) for (top, end), (left, right) in windows]
    return np.stack(found, axis=1).reshape(
        len(x), pooling.height.windows, pooling.width.windows, pooling.channels
    )


@settings(max_examples=40, deadline=None)
@given(pooling=poolings(), size=st.sampled_from((1, 2)))
def test_first_taps_lie_where_the_loops_read_them(pooling: Pooling, size: int) -> None:
    length = pooling.channels * size
    found: dict[tuple[int, int, int], int] = {}
    target = 0
    for batch in range(pooling.batches):
        for y, x in product(range(pooling.height.windows), range(pooling.width.windows)):
            top = max(y * pooling.height.stride - pooling.height.padding, 0)
            left = max(x * pooling.width.stride - pooling.width.padding, 0)
            at = (batch * pooling.height.extent + top) * pooling.width.extent + left
            key = (length, at * length % 4, target % 4)
            found[key] = found.get(key, 0) + 1
            target += length
    assert first_taps(pooling, size) == found


def node(name: str, dtype: DType = DType.INT8, shape: tuple[int, ...] = (1, 6, 6, 4)) -> Node:
    out = (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
    scale = quantized(0.5)
    graph = model(
        name,
        [activation(shape, dtype, scale)],
        [activation(out, dtype, scale)],
        "Pool2DOptions",
        padding="VALID",
        stride_h=2,
        stride_w=2,
        filter_height=2,
        filter_width=2,
    )
    return graph.main.node(0)


@needs_shared
def test_buffers_are_those_that_the_library_asks_for() -> None:
    """What ``arm_avgpool_s8_get_buffer_size`` returned on each core and in each year."""
    with (SHARED / "golden" / "cmsis_nn" / "cases.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file) if row["op"] == "avgpool_s8"}
    for row in rows.values():
        pooling = pooling_from_row(row)
        for column, simd in (("scratch_m4", "dsp"), ("scratch_m0plus", "none")):
            chosen = dispatch(pooling, True, DType.INT8, Configuration(simd))  # type: ignore[arg-type]
            assert chosen.scratch_bytes == int(row[column])
    with (SHARED / "counted" / "cmsis_nn_kernels_m55.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["id"] in rows:
                chosen = dispatch(
                    pooling_from_row(rows[row["id"]]), True, DType.INT8, Configuration("mve")
                )
                assert chosen.scratch_bytes == int(row["scratch_bytes"])
    with (SHARED / "counted" / "cmsis_nn_kernels_old.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            year = row["build"].split("_")[2]
            if row["id"] in rows:
                configuration = Configuration("dsp", year)  # type: ignore[arg-type]
                pooling = pooling_from_row(rows[row["id"]])
                chosen = dispatch(pooling, True, DType.INT8, configuration)
                assert chosen.scratch_bytes == int(row["scratch_bytes"]), (row["id"], year)


def pooling_from_row(row: dict[str, str]) -> Pooling:
    def axis(extent: str, out: str, kernel: str, stride: str, padding: str) -> Axis:
        return Axis(*(int(row[name]) for name in (extent, out, kernel, stride, padding)))

    return Pooling(
        int(row["in_n"]),
        int(row["in_c"]),
        axis("in_h", "out_h", "k_h", "stride_h", "pad_h"),
        axis("in_w", "out_w", "k_w", "stride_w", "pad_w"),
    )


def test_average_pooling_of_2020_leaves_its_input_overwritten() -> None:
    """The means of rows, truncated, lie in the input's first columns afterwards."""
    layer = node("AVERAGE_POOL_2D", shape=(1, 2, 4, 1))
    kernel = next(k for k in KERNELS if k.operator == "AVERAGE_POOL_2D")
    x = np.array([[[[3], [4], [-3], [-4]], [[1], [2], [7], [8]]]], np.int8)[np.newaxis]
    year = Configuration("dsp", "2020")
    (out,) = kernel.bind(layer, year)([x])
    overwritten = kernel.overwritten(layer, year)
    assert overwritten is not None
    (left,) = overwritten([x])
    np.testing.assert_array_equal(left[0, 0, :, :, 0], [[3, -3, -3, -4], [1, 7, 7, 8]])
    np.testing.assert_array_equal(out.ravel(), [2, 2])
    (rounded,) = kernel.bind(layer, Configuration("dsp"))([x])
    np.testing.assert_array_equal(rounded.ravel(), [3, 2])
    assert kernel.overwritten(layer, Configuration("dsp")) is None


def test_layers_after_it_read_what_average_pooling_of_2020_left() -> None:
    """The input feeds a sum as well: there it holds the means of its rows."""
    scale = quantized(0.5)
    tensors = [activation((1, 2, 4, 1), DType.INT8, scale) for _ in range(3)]
    pooled = activation((1, 1, 2, 1), DType.INT8, scale)
    options = {"stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    operators = (
        Operator("AVERAGE_POOL_2D", (0,), (2,), Options({"padding": "VALID", **options})),
        Operator("ADD", (0, 1), (3,)),
    )
    indexed = tuple(
        replace(t, index=i) for i, t in enumerate((tensors[0], tensors[1], pooled, tensors[2]))
    )
    graph = Graph((Subgraph("main", indexed, (0, 1), (2, 3), operators),))
    x = np.array([[3, 4, -3, -4], [1, 2, 7, 8]], np.int8).reshape(1, 2, 4, 1)
    given = [x, np.zeros_like(x)]
    today = Interpreter(graph, "cmsis-nn").invoke(given).outputs[1]
    then = Interpreter(graph, "cmsis-nn@2020").invoke(given).outputs[1]
    np.testing.assert_array_equal(today.ravel(), x.ravel())
    np.testing.assert_array_equal(then.ravel(), [3, -3, -3, -4, 1, 7, 7, 8])
    np.testing.assert_array_equal(x.ravel()[:4], [3, 4, -3, -4])


def test_generation_of_2020_has_average_pooling_of_int8_on_dsp_cores_only() -> None:
    by_name = {kernel.operator: kernel for kernel in KERNELS}
    average, largest = by_name["AVERAGE_POOL_2D"], by_name["MAX_POOL_2D"]
    year = Configuration("dsp", "2020")
    assert average.accepts(node("AVERAGE_POOL_2D"), year)
    assert not average.accepts(node("AVERAGE_POOL_2D", DType.INT16), year)
    assert not average.accepts(node("AVERAGE_POOL_2D"), Configuration("none", "2020"))
    assert not largest.accepts(node("MAX_POOL_2D"), year)
    assert largest.accepts(node("MAX_POOL_2D"), Configuration("none"))


def test_reasons_say_how_the_core_works() -> None:
    kernel = next(k for k in KERNELS if k.operator == "AVERAGE_POOL_2D")
    reasons = {s: kernel.calls(node("AVERAGE_POOL_2D"), Configuration(s))[0].reason for s in SIMDS}
    assert reasons == {
        "none": "one output at a time without DSP: `arm_avgpool_s8`",
        "dsp": "a pixel's sums in a buffer of int32: `arm_avgpool_s8`",
        "mve": "16 bytes of channels at a time: `arm_avgpool_s8`",
    }
