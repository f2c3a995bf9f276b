"""Convolutions against the compiled CMSIS-NN, and their three views against each other."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, Generation, LibraryCase
from mcusim.kernels.cmsis_nn.convolve import (
    CASES,
    KERNELS,
    case_shape,
    convolve_calls,
    convolve_s16_calls,
    dispatch,
)
from mcusim.kernels.cmsis_nn.convolve_arithmetic import Arithmetic, convolution
from mcusim.kernels.cmsis_nn.convolve_mirror import (
    convolve_1x1_s8,
    convolve_1x1_s8_fast,
    convolve_s8,
    convolve_s16,
)
from mcusim.kernels.cmsis_nn.matrix_mirror import Mirror
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, OutputScaling
from mcusim.tflite import read
from tests.golden_cmsis import GoldenCase, golden_cases
from tests.kernels.convolution_layers import CONV, Layer
from tests.shared import SHARED, needs_shared

_FUNCTIONS = {
    "arm_convolve_s8": convolve_s8,
    "arm_convolve_1_x_n_s8": convolve_s8,
    "arm_convolve_1x1_s8": convolve_1x1_s8,
    "arm_convolve_1x1_s8_fast": convolve_1x1_s8_fast,
    "arm_convolve_s16": convolve_s16,
}


def _scaling(case: GoldenCase) -> OutputScaling:
    params, arrays = case.params, case.arrays
    return OutputScaling(
        arrays["mult"], arrays["shift"], -params["in_off"], params["out_off"], *params["act"]
    )


def _computed(case: GoldenCase, configuration: Configuration) -> Array:
    is_int16 = case.op == "conv_s16"
    kernel = convolution(
        case_shape(case.params), _scaling(case), Arithmetic(is_int16, is_int16), configuration
    )(case.arrays["w"], case.arrays.get("b"))
    out = np.empty(case.arrays["y"].shape, case.arrays["y"].dtype)
    kernel(case.arrays["x"], out)
    return out


@needs_shared
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(("op", "count"), [("conv_s8", 125), ("conv_s16", 12)])
def test_outputs_equal_the_compiled_library(op: str, count: int, once: bool) -> None:
    cases = golden_cases(op)
    assert len(cases) == count
    for case in cases:
        found = _computed(case, Configuration("dsp", single_rounding=once))
        np.testing.assert_array_equal(found, case.output(once), err_msg=str(case))


@needs_shared
@pytest.mark.parametrize("generation", ["2020", "2021", "2022"])
def test_older_generations_compute_the_same(generation: Generation) -> None:
    """Recorded outputs are the same, but for a third batch in 2020, which reads beyond."""
    for case in golden_cases("conv_s8"):
        shape = case_shape(case.params)
        is_known = shape.kernel_channels == shape.in_channels and shape.batches < 3
        has_dilation = case.params["dil"] != [1, 1]
        if is_known and not (has_dilation and generation != "2022"):
            found = _computed(case, Configuration("dsp", generation))
            np.testing.assert_array_equal(found, case.output(), err_msg=str(case))


@needs_shared
def test_rows_on_mve_go_wrong_where_the_device_does() -> None:
    """Three recorded rows with a stride came out wrong on a Cortex-M55, and only those."""
    with (SHARED / "counted" / "cmsis_nn_kernels_m55.csv").open(newline="") as file:
        wrong = {
            row["id"]
            for row in csv.DictReader(file)
            if row["op"] == "conv_s8" and row["mismatch_vs_tflm_double"] != "0"
        }
    cases = {case.id: case_shape(case.params) for case in golden_cases("conv_s8")}
    warned = {
        name for name, shape in cases.items() if dispatch(shape, Configuration("mve")).warnings
    }
    assert warned == wrong & set(cases)
    assert len(warned) == 3


@dataclass(frozen=True)
class _Problem:
    shape: ConvolutionShape
    configuration: Configuration
    scaling: OutputScaling
    bias: npt.NDArray[np.int64] | None
    x: Array
    weights: Array

    @property
    def is_int16(self) -> bool:
        return self.x.dtype == np.int16


@st.composite
def _problems(draw: st.DrawFn, is_int16: bool = False) -> _Problem:
    simd: Simd = draw(st.sampled_from(["none", "dsp", "mve"]))
    generation: Generation = "2026"
    if simd == "dsp" and not is_int16:
        generation = draw(st.sampled_from(["2026", "2026", "2022"]))

    def axis() -> Axis:
        kernel, stride, dilation = (draw(st.integers(1, most)) for most in (3, 2, 2))
        padding = draw(st.integers(0, kernel - 1))
        inputs = draw(st.integers(1, 5))
        reach = inputs + 2 * padding - (kernel - 1) * dilation - 1
        return Axis(inputs, max(reach // stride, 0) + 1, kernel, stride, dilation, padding)

    groups = draw(st.sampled_from([1, 1, 2])) if generation == "2026" and not is_int16 else 1
    depth = draw(st.sampled_from([1, 2, 3, 4, 7, 16, 21]))
    channels = groups * draw(st.integers(1, 5))
    shape = ConvolutionShape(
        draw(st.integers(1, 2)), axis(), axis(), groups * depth, depth, channels
    )
    if draw(st.booleans()):
        shape = replace(
            shape,
            vertical=Axis(3, 3, 1, 1, 1, 0),
            horizontal=replace(shape.horizontal, kernel=1, dilation=1, padding=0, outputs=1),
        )
        across = shape.horizontal
        outputs = (across.inputs - 1) // across.stride + 1
        shape = replace(shape, horizontal=replace(across, outputs=outputs))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    kind = np.int16 if is_int16 else np.int8
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    size = (shape.batches, shape.vertical.inputs, shape.horizontal.inputs, shape.in_channels)
    filters = (channels, shape.vertical.kernel, shape.horizontal.kernel, depth)
    scaling = OutputScaling(
        rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32),
        rng.integers(-9, 2, channels).astype(np.int32),
        0 if is_int16 else int(rng.integers(-128, 128)),
        0 if is_int16 else int(rng.integers(-128, 128)),
        low,
        high,
    )
    bias = rng.integers(-5000, 5000, channels) if draw(st.booleans()) else None
    return _Problem(
        shape,
        Configuration(simd, generation, draw(st.booleans())),
        scaling,
        bias,
        rng.integers(low, high + 1, size).astype(kind),
        rng.integers(-128, 128, filters).astype(np.int8),
    )


def _assert_views_agree(problem: _Problem, is_wide: bool) -> None:
    shape, configuration = problem.shape, problem.configuration
    mirror = Mirror(
        configuration.simd,
        problem.scaling,
        None if problem.bias is None else [int(b) for b in problem.bias],
        configuration.single_rounding,
        is_wide,
        configuration.generation != "2026",
    )
    counted = Scaling.of_shifts(problem.bias is not None, problem.scaling.shifts)
    if problem.is_int16:
        calls = convolve_s16_calls(shape, configuration, counted, is_wide)
    else:
        calls = convolve_calls(shape, configuration, counted)
    mirrored = _FUNCTIONS[calls[0].kernel](mirror, shape, problem.x, problem.weights)
    fast = np.empty_like(mirrored)
    arithmetic = Arithmetic(is_wide, problem.is_int16)
    convolution(shape, problem.scaling, arithmetic, configuration)(problem.weights, problem.bias)(
        problem.x, fast
    )
    np.testing.assert_array_equal(mirrored, fast)
    functions = {
        call.kernel: call.trips
        for call in calls
        if "wrapper" not in call.kernel and call.kernel != "arm_convolve_1_x_n_s8"
    }
    for function, trips in functions.items():
        turns = mirror.turns.get(function, Counter())
        assert {level: float(turns[level]) for level in trips} == pytest.approx(dict(trips))


@settings(max_examples=150)
@given(problem=_problems())
def test_loops_are_the_mirrors(problem: _Problem) -> None:
    """The mirror's outputs are the fast path's, and its turns are the trip counts."""
    chosen = dispatch(problem.shape, problem.configuration).function
    if problem.configuration.simd == "mve" and chosen == "arm_convolve_1_x_n_s8":
        return
    _assert_views_agree(problem, is_wide=False)


@settings(max_examples=60)
@given(problem=_problems(is_int16=True), is_wide=st.booleans())
def test_int16_loops_are_the_mirrors(problem: _Problem, is_wide: bool) -> None:
    _assert_views_agree(problem, is_wide)


@needs_shared
def test_layers_in_tflm_compute_what_the_device_did() -> None:
    """Recorded firmware with CMSIS-NN differs from the interpreter in as many outputs as here."""
    with (SHARED / "counted" / "tflm_grid.csv").open(newline="") as file:
        rows = {
            row["id"]: row
            for row in csv.DictReader(file)
            if row["op"] == "CONV_2D" and row["kernels"] == "cmsis" and row["dtype"] != "f32"
        }
    golden = SHARED / "golden" / "tflm"
    with (
        zipfile.ZipFile(golden / "single_operators.zip") as archive,
        np.load(golden / "single_operators.npz") as arrays,
    ):
        names = sorted(set(rows) & {name.removesuffix(".tflite") for name in archive.namelist()})
        for name in names:
            node = read(archive.read(f"{name}.tflite"), name).main.node(0)
            given = [t.data[np.newaxis] if t and t.data is not None else None for t in node.inputs]
            given[0] = arrays[f"{name}.in0"].reshape(1, *node.input(0).shape)
            (out,) = KERNELS[0].bind(node, Configuration("dsp"))(given)
            differences = np.count_nonzero(out.ravel() != arrays[f"{name}.out0"].ravel())
            assert differences == int(rows[name]["mismatch"]), name
    assert len(names) == 65


def test_int16_without_a_bias_sums_and_rounds_as_with_an_int32_bias() -> None:
    """TFLM hands it to CMSIS-NN as with an int32 bias, which is off by one now and then."""
    layer = Layer(CONV, (DType.INT16, DType.INT8, None), size=(9, 9), depth=5, width=8)
    node = layer.graph().main.node(0)
    (operator,) = layer.graph().main.operators
    options = type(operator.options)({**operator.options, "quantized_bias_type": "int32"})
    main = replace(layer.graph().main, operators=(replace(operator, options=options),))
    weights = node.input(1).data
    assert weights is not None
    given = [
        layer.inputs(0)[np.newaxis] // 2000,
        weights[np.newaxis],
        *[None] * (len(node.inputs) - 2),
    ]
    (device,) = KERNELS[0].bind(node, Configuration("dsp"))(given)
    (narrow,) = REFERENCE["CONV_2D"].bind(main.node(0))(given)
    (reference,) = REFERENCE["CONV_2D"].bind(node)(given)
    np.testing.assert_array_equal(device, narrow)
    assert np.abs(device.astype(int) - reference).max() == 1


@pytest.mark.parametrize(
    ("changes", "function"),
    [
        ({}, "arm_convolve_1x1_s8_fast"),
        ({"horizontal": Axis(8, 4, 1, 2, 1, 0)}, "arm_convolve_1x1_s8"),
        ({"horizontal": Axis(8, 10, 1, 1, 1, 1)}, "arm_convolve_s8"),
        ({"horizontal": Axis(8, 6, 3, 1, 1, 0)}, "arm_convolve_s8"),
        (
            {"vertical": Axis(1, 1, 1, 1, 1, 0), "horizontal": Axis(8, 6, 3, 1, 1, 0)},
            "arm_convolve_1_x_n_s8",
        ),
        ({"kernel_channels": 2}, "arm_convolve_s8"),
    ],
)
@pytest.mark.parametrize("simd", ["none", "dsp", "mve"])
def test_dispatch(changes: dict[str, Axis], function: str, simd: Simd) -> None:
    """As ``arm_convolve_wrapper_s8`` decides, on every core alike."""
    shape = ConvolutionShape(1, Axis(8, 8, 1, 1, 1, 0), Axis(8, 8, 1, 1, 1, 0), 4, 4, 6)
    chosen = dispatch(replace(shape, **changes), Configuration(simd))  # type: ignore[arg-type]
    assert chosen.function == function
    assert function in chosen.reason
    assert not chosen.warnings


def test_a_case_is_priced_like_a_layer() -> None:
    params = {
        "in_dims": [1, 8, 8, 4],
        "f_dims": [6, 3, 3, 4],
        "out_dims": [1, 8, 8, 6],
        "stride": [1, 1],
        "pad": [1, 1],
        "dil": [1, 1],
    }
    calls = CASES["conv_s8"](LibraryCase("", "conv_s8", params), Configuration("dsp"))
    assert calls == convolve_calls(case_shape(params), Configuration("dsp"), Scaling())
    assert calls[0].macs == 8 * 8 * 3 * 3 * 4 * 6


def test_int4_weights() -> None:
    """The same bits as the reference kernel, by functions of their own."""
    layer = Layer(CONV, (DType.INT8, DType.INT4, DType.INT32), size=(5, 4), depth=3, width=5)
    node = layer.graph().main.node(0)
    data = [t.data[np.newaxis] if t and t.data is not None else None for t in node.inputs]
    data[0] = layer.inputs(0)[np.newaxis]
    (device,) = KERNELS[0].bind(node, Configuration("dsp"))(data)
    (reference,) = REFERENCE["CONV_2D"].bind(node)(data)
    np.testing.assert_array_equal(device, reference)
    first = KERNELS[0].calls(node, Configuration("dsp"))[0]
    assert first.kernel in ("arm_convolve_s4", "arm_convolve_1x1_s4_fast")
    assert "not counted" in first.warnings[0]
