"""Depthwise convolutions against the compiled CMSIS-NN, and their three views with each other."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, Generation, LibraryCase
from mcusim.kernels.cmsis_nn.depthwise import (
    CASES,
    KERNELS,
    case_shape,
    depthwise_dispatch,
    depthwise_scratch_bytes,
)
from mcusim.kernels.cmsis_nn.depthwise_arithmetic import depthwise_conv_s8
from mcusim.kernels.cmsis_nn.depthwise_mirror import (
    depthwise_conv_3x3_s8,
    depthwise_conv_s8_opt,
    depthwise_conv_s16,
)
from mcusim.kernels.cmsis_nn.depthwise_mirror import depthwise_conv_s8 as basic_mirror
from mcusim.kernels.cmsis_nn.depthwise_trips import depthwise_conv_s16_trips
from mcusim.kernels.cmsis_nn.matrix_mirror import Mirror
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, OutputScaling
from mcusim.kernels.reference.depthwise_conv import integer_depthwise
from mcusim.tflite import read
from tests.golden_cmsis import GoldenCase, golden_cases
from tests.kernels.convolution_layers import DEPTHWISE, Layer
from tests.shared import SHARED, needs_shared

_MIRRORS = {
    "arm_depthwise_conv_3x3_s8": depthwise_conv_3x3_s8,
    "arm_depthwise_conv_s8_opt": depthwise_conv_s8_opt,
    "arm_depthwise_conv_s8": basic_mirror,
}


def _library_case(case: GoldenCase, entry: str = "") -> LibraryCase:
    has_bias = "b" in case.arrays
    return LibraryCase(case.id, case.op, case.params, has_bias, entry, case.arrays)


def _computed(case: GoldenCase, configuration: Configuration) -> Array:
    params, arrays = case.params, case.arrays
    scaling = OutputScaling(
        arrays["mult"], arrays["shift"], -params["in_off"], params["out_off"], *params["act"]
    )
    kernel = depthwise_conv_s8(case_shape(_library_case(case)), scaling, configuration)
    out = np.empty(arrays["y"].shape, np.int8)
    kernel(arrays["w"], arrays.get("b"))(arrays["x"], out)
    return out


@needs_shared
@pytest.mark.parametrize("once", [False, True])
def test_outputs_equal_the_compiled_library(once: bool) -> None:
    cases = golden_cases("dwconv_s8")
    assert len(cases) == 61
    for case in cases:
        found = _computed(case, Configuration("dsp", single_rounding=once))
        np.testing.assert_array_equal(found, case.output(once), err_msg=str(case))


@needs_shared
def test_older_generations_computed_the_same() -> None:
    """No recorded output of any of their entries differs from that of 2026."""
    with (SHARED / "counted" / "cmsis_nn_kernels_old.csv").open(newline="") as file:
        found = Counter(
            row["mismatch_vs_2026"]
            for row in csv.DictReader(file)
            if row["id"].startswith("dwconv_s8")
        )
    assert set(found) == {"0"}


@needs_shared
def test_older_generations_ask_for_the_buffers_that_they_asked_for() -> None:
    with (SHARED / "golden" / "cmsis_nn" / "cases.csv").open(newline="") as file:
        cases = {row["id"]: row for row in csv.DictReader(file) if row["op"] == "dwconv_s8"}
    compared = 0
    with (SHARED / "counted" / "cmsis_nn_kernels_old.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["id"] in cases:
                params = json.loads(cases[row["id"]]["params_json"])
                shape = case_shape(LibraryCase(row["id"], "dwconv_s8", params))
                generation: Generation = row["build"].split("_")[2]  # type: ignore[assignment]
                size = depthwise_scratch_bytes(
                    shape, Configuration("dsp", generation), row["entry"]
                )
                assert size == int(row["scratch_bytes"]), row["id"]
                compared += 1
    assert compared > 3000


@dataclass(frozen=True)
class _Problem:
    shape: ConvolutionShape
    configuration: Configuration
    scaling: OutputScaling
    bias: npt.NDArray[np.int64] | None
    x: Array
    weights: Array


@st.composite
def _problems(draw: st.DrawFn, kind: type[np.int8 | np.int16] = np.int8) -> _Problem:
    def axis(kernel: int, dilation: int) -> Axis:
        stride = draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel - 1))
        reach = (kernel - 1) * dilation + 1
        inputs = draw(st.integers(max(1, reach - 2 * padding), reach + 3))
        outputs = (inputs + 2 * padding - reach) // stride + 1
        return Axis(inputs, outputs, kernel, stride, dilation, padding)

    square = draw(st.booleans())
    kernels = [3, 3] if square else [draw(st.integers(1, 4)) for _ in range(2)]
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    multiplier = draw(st.sampled_from([1, 1, 1, 2, 4, 8]))
    channels = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 11]))
    if draw(st.integers(0, 9)) == 0:
        channels, multiplier = 126, 1
    shape = ConvolutionShape(
        draw(st.sampled_from([1, 1, 2])),
        axis(kernels[0], dilation),
        axis(kernels[1], 1),
        channels,
        1,
        channels * multiplier,
    )
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    is_int8 = kind is np.int8
    scaling = OutputScaling(
        rng.integers(1 << 30, (1 << 31) - 1, shape.out_channels).astype(np.int32),
        rng.integers(-9, 2 if is_int8 else -5, shape.out_channels).astype(np.int32),
        int(rng.integers(-128, 128)) if is_int8 else 0,
        int(rng.integers(-128, 128)) if is_int8 else 0,
        low,
        high,
    )
    size = (shape.batches, shape.vertical.inputs, shape.horizontal.inputs, channels)
    simd: Simd = draw(st.sampled_from(["none", "dsp", "mve"]))
    return _Problem(
        shape,
        Configuration(simd, single_rounding=is_int8 and draw(st.booleans())),
        scaling,
        rng.integers(-5000, 5000, shape.out_channels) if draw(st.booleans()) else None,
        rng.integers(low, high + 1, size).astype(kind),
        rng.integers(-128, 128, (1, *kernels, shape.out_channels)).astype(np.int8),
    )


def _mirror(problem: _Problem) -> Mirror:
    return Mirror(
        problem.configuration.simd,
        problem.scaling,
        None if problem.bias is None else [int(value) for value in problem.bias],
        problem.configuration.single_rounding,
    )


def _assert_turns(mirror: Mirror, function: str, trips: dict[str, float]) -> None:
    turns = mirror.turns.get(function, Counter())
    assert {level: float(turns[level]) for level in trips} == pytest.approx(trips), function


@settings(max_examples=80)
@given(problem=_problems())
def test_loops_are_the_mirrors(problem: _Problem) -> None:
    """The mirror's outputs are the fast path's, and its turns are the trip counts."""
    shape, configuration = problem.shape, problem.configuration
    chosen = depthwise_dispatch(shape, configuration).function
    if chosen == "arm_convolve_wrapper_s8":
        return
    mirror = _mirror(problem)
    mirrored = _MIRRORS[chosen](mirror, shape, problem.x, problem.weights)
    fast = np.empty_like(mirrored)
    prepare = depthwise_conv_s8(shape, problem.scaling, configuration)
    prepare(problem.weights, problem.bias)(problem.x, fast)
    np.testing.assert_array_equal(mirrored, fast)
    params = _params(shape)
    arrays = {"shift": problem.scaling.shifts}
    case = LibraryCase("", "dwconv_s8", params, problem.bias is not None, arrays=arrays)
    for call in CASES["dwconv_s8"](case, configuration):
        if "wrapper" not in call.kernel:
            _assert_turns(mirror, call.kernel, dict(call.trips))


def _params(shape: ConvolutionShape) -> dict[str, object]:
    rows, columns = shape.vertical, shape.horizontal
    return {
        "in_dims": [shape.batches, rows.inputs, columns.inputs, shape.in_channels],
        "f_dims": [1, rows.kernel, columns.kernel, shape.out_channels],
        "out_dims": [shape.batches, rows.outputs, columns.outputs, shape.out_channels],
        "stride": [rows.stride, columns.stride],
        "pad": [rows.padding, columns.padding],
        "dil": [rows.dilation, columns.dilation],
        "ch_mult": shape.out_channels // shape.in_channels,
    }


@settings(max_examples=30)
@given(problem=_problems(kind=np.int16))
def test_int16_loops_are_the_mirrors(problem: _Problem) -> None:
    mirror = _mirror(problem)
    mirrored = depthwise_conv_s16(mirror, problem.shape, problem.x, problem.weights)
    fast = np.empty_like(mirrored)
    prepare = integer_depthwise(problem.shape, problem.scaling, is_wide=True)
    prepare(problem.weights, problem.bias)(problem.x, fast)
    np.testing.assert_array_equal(mirrored, fast)
    scaling = Scaling.of_shifts(problem.bias is not None, problem.scaling.shifts)
    trips = depthwise_conv_s16_trips(problem.shape, scaling, "dsp")
    _assert_turns(mirror, "arm_depthwise_conv_s16", trips)


_LIKE_3X3 = ConvolutionShape(1, Axis(8, 8, 3, 1, 1, 1), Axis(8, 8, 3, 1, 1, 1), 8, 1, 8)


@pytest.mark.parametrize(
    ("changes", "none", "dsp", "mve"),
    [
        ({}, ("3x3_s8", 0), ("3x3_s8", 0), ("s8_opt", 4 * 124 * 9)),
        (
            {"horizontal": Axis(8, 8, 5, 1, 1, 2)},
            ("s8_opt", 0),
            ("s8_opt", 2 * 8 * 15),
            ("s8_opt", 4 * 124 * 15),
        ),
        ({"out_channels": 32}, ("s8", 0), ("s8", 0), ("s8", 0)),
        ({"out_channels": 24}, ("s8", 0), ("s8", 0), ("s8", 0)),
        ({"batches": 2}, ("s8", 0), ("s8", 0), ("s8", 0)),
        ({"vertical": Axis(8, 4, 3, 1, 2, 0)}, ("s8", 0), ("s8", 0), ("s8", 0)),
    ],
)
def test_dispatch_and_scratch(
    changes: dict[str, int], none: tuple[str, int], dsp: tuple[str, int], mve: tuple[str, int]
) -> None:
    """``arm_depthwise_conv_wrapper_s8`` and its buffer, on each kind of core."""
    shape = replace(_LIKE_3X3, **changes)  # type: ignore[arg-type]
    expected: dict[Simd, tuple[str, int]] = {"none": none, "dsp": dsp, "mve": mve}
    for simd, (function, size) in expected.items():
        configuration = Configuration(simd)
        chosen = depthwise_dispatch(shape, configuration)
        assert chosen.function == f"arm_depthwise_conv_{function}"
        assert chosen.function in chosen.reason
        assert depthwise_scratch_bytes(shape, configuration) == size


def test_one_input_channel_with_mve_runs_as_a_convolution() -> None:
    shape = replace(_LIKE_3X3, in_channels=1)
    chosen = depthwise_dispatch(shape, Configuration("mve"))
    assert chosen.function == "arm_convolve_wrapper_s8"
    case = LibraryCase("", "dwconv_s8", _params(shape))
    kernels = [call.kernel for call in CASES["dwconv_s8"](case, Configuration("mve"))]
    assert kernels[0] == "arm_convolve_s8"
    assert "arm_transpose_s8" in kernels


def _bound_outputs(graph: Graph, inputs: Array, configuration: Configuration) -> Array:
    node = graph.main.node(0)
    given = [t.data[np.newaxis] if t and t.data is not None else None for t in node.inputs]
    given[0] = inputs.reshape(1, *node.input(0).shape)
    (out,) = KERNELS[0].bind(node, configuration)(given)
    return out


@needs_shared
def test_layers_in_tflm_compute_what_the_device_did() -> None:
    """Recorded firmware with CMSIS-NN gave the interpreter's outputs: int8 and int16."""
    golden = SHARED / "golden" / "tflm"
    compared = 0
    with (
        zipfile.ZipFile(golden / "single_operators.zip") as archive,
        np.load(golden / "single_operators.npz") as arrays,
    ):
        for name in sorted(archive.namelist()):
            stem = name.removesuffix(".tflite")
            if stem.startswith(("depthwise_conv_2d_i8", "depthwise_conv_2d_i16")):
                graph = read(archive.read(name), name)
                found = _bound_outputs(graph, arrays[f"{stem}.in0"], Configuration("dsp"))
                np.testing.assert_array_equal(found.ravel(), arrays[f"{stem}.out0"].ravel())
                compared += 1
    assert compared == 33


def _layer(**changes: object) -> Layer:
    types = (DType.INT8, DType.INT8, DType.INT32)
    return Layer(DEPTHWISE, types, size=(6, 7), groups=3, depth=1, width=1, **changes)  # type: ignore[arg-type]


def test_single_rounding_is_a_switch() -> None:
    graph = _layer().graph()
    inputs = _layer().inputs(0)
    twice = _bound_outputs(graph, inputs, Configuration("dsp"))
    once = _bound_outputs(graph, inputs, Configuration("dsp", single_rounding=True))
    (reference,) = REFERENCE["DEPTHWISE_CONV_2D"].bind(graph.main.node(0))(
        [
            inputs.reshape(1, *graph.main.node(0).input(0).shape),
            *[
                t.data[np.newaxis]
                for t in graph.main.node(0).inputs[1:]
                if t and t.data is not None
            ],
        ]
    )
    np.testing.assert_array_equal(twice, reference)
    assert np.abs(once.astype(int) - twice).max() <= 1


def test_layer_calls_name_the_glue_and_the_library() -> None:
    calls = KERNELS[0].calls(_layer().graph().main.node(0), Configuration("dsp"))
    assert calls[0].kernel.startswith("arm_depthwise_conv")
    assert calls[0].reason
    assert calls[0].macs > 0
    assert calls[-1].profile == "cmsis_nn/glue_depthwise_conv_2d_int8"


def test_2020_clamps_to_int8_whatever_activation_is_fused() -> None:
    node = _layer(fused="RELU").graph().main.node(0)
    warnings = KERNELS[0].calls(node, Configuration("dsp", "2020"))[0].warnings
    assert any("clamps" in warning for warning in warnings)


def test_int4_weights() -> None:
    """The same bits as the reference kernel, by functions of their own."""
    types = (DType.INT8, DType.INT4, DType.INT32)
    layer = Layer(DEPTHWISE, types, size=(5, 4), groups=3, depth=1, width=1)
    node = layer.graph().main.node(0)
    data = [t.data[np.newaxis] if t and t.data is not None else None for t in node.inputs]
    data[0] = layer.inputs(0)[np.newaxis]
    (device,) = KERNELS[0].bind(node, Configuration("dsp"))(data)
    (reference,) = REFERENCE["DEPTHWISE_CONV_2D"].bind(node)(data)
    np.testing.assert_array_equal(device, reference)
    first = KERNELS[0].calls(node, Configuration("dsp"))[0]
    assert first.kernel == "arm_depthwise_conv_s4_opt"
    assert "not counted" in first.warnings[-1]
