"""Where two runtimes differ in a bit: the operator, the element, the sum and the rounding step."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import mcusim
from mcusim import cli
from mcusim.errors import InputError
from mcusim.graph import DType, Graph, Options
from mcusim.tflite import read, write
from mcusim.verify import random_inputs, verify, ways
from tests.oracles import activation, constant, quantized, single_operator
from tests.shared import SHARED, needs_shared
from tests.small_models import pooling


def convolution(dilation: int = 1, scales: tuple[float, ...] = (2**-6, 2**-7, 2**-8)) -> Graph:
    """A convolution whose multipliers are powers of two, so that ties are frequent."""
    random = np.random.default_rng(0)
    channels, extent = len(scales), 12 - 2 * dilation
    weights = random.integers(-127, 128, (channels, 3, 3, 8)).astype(np.int8)
    bias = random.integers(-1000, 1000, channels).astype(np.int32)
    zero = [0] * channels
    return single_operator(
        "CONV_2D",
        [
            activation((1, 12, 12, 8), DType.INT8, quantized(0.5, 3)),
            constant(weights, quantized(list(scales), zero)),
            constant(bias, quantized([0.5 * s for s in scales], zero)),
        ],
        [activation((1, extent, extent, channels), DType.INT8, quantized(1.0, -4))],
        Options(
            {
                "padding": "VALID",
                "stride_w": 1,
                "stride_h": 1,
                "dilation_h_factor": dilation,
                "dilation_w_factor": dilation,
            }
        ),
        "Conv2DOptions",
        version=3,
    )


def test_the_default_build_has_the_bits_of_the_reference():
    found = verify(convolution())
    assert found.equal
    assert (found.differences, found.carried, found.outputs_equal) == ((), (), True)
    assert (found.runtime, found.against, found.inferences) == ("cmsis-nn", "tflm", 8)


def test_what_lies_at_a_half_or_just_below_is_moved_by_the_second_rounding():
    """110.496 is 110 rounded once, but 111 by way of 110.5; -6.5 is -6 once, and -7 twice."""
    found = verify(convolution(), single_rounding=True)
    (difference,) = found.differences
    assert difference.why == "the same sum, rounded once, against rounded twice"
    assert abs(difference.value - difference.other) == difference.largest == 1
    assert difference.way is not None
    assert difference.other_way is not None
    assert difference.way.accumulator == difference.other_way.accumulator
    exact = float(difference.way.rounding.split(" = ")[1].split(",")[0])
    assert exact % 1 == pytest.approx(0.5, abs=0.01)


def test_what_the_first_way_gives_is_what_the_reference_stores():
    graph = convolution()
    (x,) = random_inputs(graph, 1)
    stored = mcusim.run(graph, [x[0]]).outputs[0]
    node = graph.main.node(0)
    inputs = [x[0], node.input(1).data, node.input(2).data]
    for position in np.ndindex(*stored.shape):
        assert ways(node, inputs, position)[0].value == stored[position]


def test_a_library_that_ignores_dilation_sums_something_else():
    (difference,) = verify(convolution(2), runtime="cmsis-nn@2021").differences
    assert difference.why == "other sums: dilation ignored, against as the operator asks"
    assert any("dilation" in warning for warning in difference.warnings)
    assert difference.largest > 1


def test_two_means_in_a_row_are_truncated_in_2020():
    (difference,) = verify(pooling(), runtime="cmsis-nn@2020").differences
    assert difference.kernel == "arm_avgpool_s8"
    assert difference.largest == 1
    assert "truncated" in difference.why


def test_a_runtime_against_itself_is_equal():
    assert verify(convolution(), runtime="tflm", against="tflm").equal


def test_inputs_are_those_that_were_given():
    assert verify(pooling(), [np.zeros((1, 8, 8, 4), np.int8)], runtime="tflm").inferences == 1
    with pytest.raises(InputError, match="1 inputs"):
        verify(pooling(), [])


def test_random_inputs_fill_the_type():
    (x,) = random_inputs(pooling(), 32)
    assert x.shape == (32, 1, 8, 8, 4)
    assert (x.min(), x.max()) == (-128, 127)


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--single-rounding"], 1)])
def test_the_exit_code_tells_whether_bits_differ(capsys, tmp_path, arguments, code):
    path = tmp_path / "conv.tflite"
    path.write_bytes(write(convolution()))
    np.save(tmp_path / "x.npy", random_inputs(convolution())[0])
    command = ["verify", str(path), "--inputs", str(tmp_path / "x.npy"), *arguments]
    assert cli._run(command) == code
    out = capsys.readouterr().out
    if code:
        assert "operator 0 (CONV_2D)" in out
        assert "accumulator" in out
        assert "rounded twice" in out
    else:
        assert "every tensor has the same bits" in out


def test_an_unknown_runtime_is_exit_code_2(capsys, tmp_path):
    path = tmp_path / "pool.tflite"
    path.write_bytes(write(pooling()))
    assert cli._run(["verify", str(path), "--against", "tvm"]) == 2
    assert "runtime 'tvm' is not known" in capsys.readouterr().err


@needs_shared
@pytest.mark.parametrize(
    "stem",
    [
        "add_i8",
        "average_pool_2d_i8",
        "conv_2d_i8",
        "conv_2d_i16",
        "depthwise_conv_2d_i8",
        "fully_connected_i8",
        "mul_i8",
        "transpose_conv_i8",
    ],
)
def test_the_first_way_gives_what_the_interpreter_recorded(stem):
    """Some elements of each recorded single-operator model; the steps are those of the library."""
    known = 0
    folder = SHARED / "golden" / "tflm"
    with (
        zipfile.ZipFile(folder / "single_operators.zip") as archive,
        np.load(folder / "single_operators.npz") as arrays,
    ):
        for file in archive.namelist():
            name = Path(file).stem
            if name.rsplit("_", 1)[0] != stem:
                continue
            graph = read(archive.read(file))
            node = graph.main.node(0)
            values = {t.index: t.data for t in graph.main.tensors}
            for k, tensor in enumerate(graph.inputs):
                values[tensor.index] = arrays[f"{name}.in{k}"].reshape(tensor.shape)
            inputs = [None if t is None else values[t.index] for t in node.inputs]
            out = arrays[f"{name}.out0"].reshape(node.output().shape)
            for flat in np.random.default_rng(0).integers(0, out.size, 5):
                position = tuple(int(i) for i in np.unravel_index(flat, out.shape))
                found = ways(node, inputs, position)
                if found:
                    assert found[0].value == out[position], (name, position)
                    known += 1
    assert known > 10
