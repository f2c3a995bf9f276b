"""Transposed convolutions against the compiled CMSIS-NN, their three views with each other."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryCase
from mcusim.kernels.cmsis_nn.matrix_mirror import Mirror
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.transpose_convolution import (
    CASES,
    KERNELS,
    case_shape,
    transpose_dispatch,
)
from mcusim.kernels.cmsis_nn.transpose_convolution_arithmetic import is_exact, transpose_conv_s8
from mcusim.kernels.cmsis_nn.transpose_convolution_mirror import (
    transpose_conv_reversed,
)
from mcusim.kernels.cmsis_nn.transpose_convolution_mirror import (
    transpose_conv_s8 as direct_mirror,
)
from mcusim.kernels.cmsis_nn.transpose_convolution_trips import transpose_conv_s8_trips
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, OutputScaling
from mcusim.tflite import read
from tests.golden_cmsis import golden_cases
from tests.kernels.convolution_layers import TRANSPOSED, Layer
from tests.shared import SHARED, needs_shared


@needs_shared
@pytest.mark.parametrize("once", [False, True])
def test_outputs_equal_the_compiled_library(once: bool) -> None:
    cases = golden_cases("tconv_s8")
    assert len(cases) == 29
    for case in cases:
        params, arrays = case.params, case.arrays
        scaling = OutputScaling(
            arrays["mult"], arrays["shift"], -params["in_off"], params["out_off"], *params["act"]
        )
        shape = case_shape(LibraryCase(case.id, case.op, params))
        (found,) = transpose_conv_s8(
            arrays["x"][np.newaxis],
            arrays["w"],
            arrays.get("b"),
            shape,
            scaling,
            single_rounding=once,
        )
        np.testing.assert_array_equal(found, case.output(once), err_msg=str(case))


@needs_shared
def test_layers_in_tflm_compute_what_the_device_did() -> None:
    """Recorded firmware differs from the interpreter in as many outputs, by as much, as here.

    In three layers that is nearly all of them: 4x4 with stride 2 and 5x5 with stride 3, SAME.
    """
    with (SHARED / "counted" / "tflm_grid.csv").open(newline="") as file:
        counted = {
            row["id"]: (int(row["mismatch"]), float(row["maxdiff"]))
            for row in csv.DictReader(file)
            if (row["op"], row["dtype"], row["kernels"]) == ("TRANSPOSE_CONV", "i8", "cmsis")
        }
    golden = SHARED / "golden" / "tflm"
    seen: dict[str, tuple[int, float]] = {}
    warned = set()
    with (
        zipfile.ZipFile(golden / "single_operators.zip") as archive,
        np.load(golden / "single_operators.npz") as arrays,
    ):
        for name in sorted(set(counted) & {n.removesuffix(".tflite") for n in archive.namelist()}):
            node = read(archive.read(f"{name}.tflite"), name).main.node(0)
            data = [t.data[np.newaxis] if t and t.data is not None else None for t in node.inputs]
            data[2] = arrays[f"{name}.in0"].reshape(1, *node.input(2).shape)
            (out,) = KERNELS[0].bind(node, Configuration("dsp"))(data)
            wrong = np.abs(out.ravel().astype(int) - arrays[f"{name}.out0"].ravel())
            seen[name] = int(np.count_nonzero(wrong)), float(wrong.max())
            if KERNELS[0].calls(node, Configuration("dsp"))[0].warnings:
                warned.add(name)
    assert len(seen) == 14
    assert seen == {name: counted[name] for name in seen}
    assert warned == {name for name, (mismatches, _) in seen.items() if mismatches}
    assert len(warned) == 3


@dataclass(frozen=True)
class _Problem:
    shape: ConvolutionShape
    simd: Simd
    once: bool
    flushes_partly: bool
    scaling: OutputScaling
    bias: npt.NDArray[np.int64] | None
    x: Array
    weights: Array


@st.composite
def _problems(draw: st.DrawFn, depths: tuple[int, ...], most_stride: int) -> _Problem:
    def axis() -> Axis:
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, most_stride))
        inputs = draw(st.integers(1, 6))
        if draw(st.booleans()):
            outputs = (inputs - 1) * stride + kernel
            return Axis(max(outputs, inputs * stride), inputs, kernel, stride, 1, 0)
        padding = max((inputs - 1) * stride + kernel - inputs * stride, 0) // 2
        return Axis(inputs * stride, inputs, kernel, stride, 1, padding)

    depth, channels = draw(st.sampled_from(depths)), draw(st.integers(1, 5))
    shape = ConvolutionShape(draw(st.integers(1, 2)), axis(), axis(), depth, depth, channels)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    scaling = OutputScaling(
        rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32),
        rng.integers(-9, 2, channels).astype(np.int32),
        int(rng.integers(-128, 128)),
        int(rng.integers(-128, 128)),
        -128,
        127,
    )
    size = (shape.batches, shape.vertical.outputs, shape.horizontal.outputs, depth)
    filters = (channels, shape.vertical.kernel, shape.horizontal.kernel, depth)
    return _Problem(
        shape,
        draw(st.sampled_from(["none", "dsp", "mve"])),
        draw(st.booleans()),
        draw(st.booleans()),
        scaling,
        rng.integers(-5000, 5000, channels) if draw(st.booleans()) else None,
        rng.integers(-128, 128, size).astype(np.int8),
        rng.integers(-128, 128, filters).astype(np.int8),
    )


def _mirror(problem: _Problem) -> Mirror:
    bias = None if problem.bias is None else [int(value) for value in problem.bias]
    return Mirror(problem.simd, problem.scaling, bias, problem.once)


def _fast(problem: _Problem, flushes_partly: bool) -> Array:
    bias = None if problem.bias is None else problem.bias.astype(np.int32)
    found: Array = transpose_conv_s8(
        problem.x[np.newaxis],
        problem.weights,
        bias,
        problem.shape,
        problem.scaling,
        single_rounding=problem.once,
        flushes_partly=flushes_partly,
    )[0]
    return found


def _assert_turns(mirror: Mirror, problem: _Problem) -> None:
    rows, columns = problem.shape.vertical, problem.shape.horizontal
    shape = problem.shape
    params = {
        "in_dims": [shape.batches, rows.outputs, columns.outputs, shape.in_channels],
        "f_dims": [shape.out_channels, rows.kernel, columns.kernel, shape.in_channels],
        "out_dims": [shape.batches, rows.inputs, columns.inputs, shape.out_channels],
        "stride": [rows.stride, columns.stride],
        "pad": [rows.padding, columns.padding],
    }
    arrays = {"shift": problem.scaling.shifts}
    case = LibraryCase("", "tconv_s8", params, problem.bias is not None, arrays=arrays)
    wanted: dict[str, Counter[str]] = {}
    for call in CASES["tconv_s8"](case, Configuration(problem.simd)):
        name = call.profile.rpartition("/")[2]
        wanted.setdefault(name, Counter()).update(dict(call.trips))
    for name, trips in wanted.items():
        turns = mirror.turns.get(name, Counter())
        levels = [level for level in trips if (name, level) != (_WRAPPER, "call")]
        found = {level: float(turns[level]) for level in levels}
        assert found == pytest.approx({level: float(trips[level]) for level in levels}), name


_WRAPPER = "arm_transpose_conv_wrapper_s8"


@settings(max_examples=60)
@given(problem=_problems(depths=(1, 2, 3, 4, 7, 16), most_stride=3))
def test_loops_are_the_mirrors(problem: _Problem) -> None:
    """The mirror's outputs are the fast path's, and its turns are the trip counts."""
    mirror = _mirror(problem)
    mirrored = direct_mirror(mirror, problem.shape, problem.x, problem.weights, flushes_partly=True)
    np.testing.assert_array_equal(mirrored, _fast(problem, True))
    _assert_turns(mirror, problem)


@settings(max_examples=40)
@given(problem=_problems(depths=(1, 4), most_stride=3))
def test_loops_of_june_2026_are_the_mirrors(problem: _Problem) -> None:
    mirror = _mirror(problem)
    mirrored = direct_mirror(
        mirror, problem.shape, problem.x, problem.weights, flushes_partly=False
    )
    np.testing.assert_array_equal(mirrored, _fast(problem, False))
    has_bias = problem.bias is not None
    trips = transpose_conv_s8_trips(
        problem.shape,
        problem.simd,
        Scaling.of_shifts(has_bias, problem.scaling.shifts),
        flushes_partly=False,
    )
    turns = mirror.turns["arm_transpose_conv_s8"]
    assert {level: float(turns[level]) for level in trips} == pytest.approx(trips)
    if is_exact(problem.shape.vertical, flushes_partly=False):
        np.testing.assert_array_equal(mirrored, _fast(problem, True))


@settings(max_examples=25)
@given(problem=_problems(depths=(17, 20), most_stride=2))
def test_loops_with_the_filter_turned_around_are_the_mirrors(problem: _Problem) -> None:
    mirror = _mirror(problem)
    mirrored = transpose_conv_reversed(mirror, problem.shape, problem.x, problem.weights)
    np.testing.assert_array_equal(mirrored, _fast(problem, True))
    _assert_turns(mirror, problem)


@pytest.mark.parametrize(
    ("stride", "depth", "function"),
    [
        (2, 16, "arm_transpose_conv_s8"),
        (2, 17, "arm_convolve_s8"),
        (1, 17, "arm_convolve_s8"),
        (3, 17, "arm_transpose_conv_s8"),
    ],
)
def test_dispatch(stride: int, depth: int, function: str) -> None:
    """As ``arm_transpose_conv_wrapper_s8`` decides, on every core alike."""
    axis = Axis(4 * stride, 4, 2, stride, 1, 0)
    shape = ConvolutionShape(1, axis, axis, depth, depth, 3)
    chosen = transpose_dispatch(shape, flushes_partly=False)
    assert chosen.function == function
    assert function in chosen.reason
    assert not chosen.warnings


def test_misplaced_rows_are_a_defect_of_june_2026_only() -> None:
    """4x4, stride 2, SAME: one row of padding above, half a stride."""
    axis = Axis(8, 4, 4, 2, 1, 1)
    shape = ConvolutionShape(1, axis, axis, 8, 8, 4)
    (warning,) = transpose_dispatch(shape, flushes_partly=False).warnings
    assert "padding above (1)" in warning
    assert "1 of 8 rows" in warning
    assert not transpose_dispatch(shape, flushes_partly=True).warnings


def test_int16_stays_with_the_reference_kernel() -> None:
    types = (DType.INT16, DType.INT8, DType.INT64)
    node = Layer(TRANSPOSED, types).graph().main.node(0)
    assert not KERNELS[0].accepts(node, Configuration("dsp"))
