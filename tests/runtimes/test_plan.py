"""What a runtime executes: kernels by layer, and what it says about them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mcusim.errors import InputError, ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Options
from mcusim.runtimes import plan
from tests.oracles import activation, constant, quantized, single_operator
from tests.runtimes.arena_models import control_flow_models


def convolution(dtype: DType = DType.INT8) -> Graph:
    quantization = quantized(0.5) if dtype is DType.INT8 else None
    weights = np.ones((8, 3, 3, 4), dtype.numpy)
    scales = quantized([0.1] * 8) if dtype is DType.INT8 else None
    return single_operator(
        "CONV_2D",
        [activation((1, 6, 6, 4), dtype, quantization), constant(weights, scales)],
        [activation((1, 6, 6, 8), dtype, quantization)],
        Options({"padding": "SAME", "stride_w": 1, "stride_h": 1}),
        "Conv2DOptions",
    )


@pytest.mark.parametrize("runtime", ["tflm", "tflm@2026"])
def test_a_generation_may_be_named(runtime: str):
    planned = plan(convolution(), runtime)
    assert planned.runtime == "tflm"
    assert planned.layers[0].calls[0].profile == "reference/conv_2d_int8"


@pytest.mark.parametrize("runtime", ["tflm@2019", "tf", "", "cmsis_nn"])
def test_an_unknown_runtime_is_refused_with_those_there_are(runtime: str):
    with pytest.raises(InputError, match="tflm@2026, tflm@2020, cmsis-nn@2026"):
        plan(convolution(), runtime)


def test_an_unknown_core_is_refused():
    with pytest.raises(InputError, match="core 'z80' is not known"):
        plan(convolution(), core="z80")


def test_an_operator_without_a_kernel_is_refused():
    x = activation((2, 2), DType.FLOAT32)
    with pytest.raises(UnsupportedOperatorError, match=r"operator 0 \(RANK\)"):
        plan(single_operator("RANK", [x], [x]))


def test_tensors_that_do_not_fit_the_kernel_are_named():
    x = activation((2, 6, 4), DType.FLOAT32)
    graph = single_operator("SPACE_TO_DEPTH", [x], [x], Options({"block_size": 2}))
    with pytest.raises(ModelError, match=r"operator 0 \(SPACE_TO_DEPTH\)"):
        plan(graph)


def test_cmsis_nn_says_which_function_runs_and_why():
    planned = plan(convolution(), "cmsis-nn")
    calls = planned.layers[0].calls
    assert sum(call.macs for call in calls) == 6 * 6 * 8 * 3 * 3 * 4
    assert calls[0].kernel == "arm_convolve_s8"
    assert calls[0].kernel in calls[0].reason
    assert planned.layers[0].scratch_bytes == 4 * 3 * 3 * 4


def test_cmsis_nn_runs_float_with_the_reference_kernel():
    (call,) = plan(convolution(DType.FLOAT32), "cmsis-nn").layers[0].calls
    assert call.kernel == "reference_ops::Conv"
    assert call.profile.endswith("conv_2d_float32")


def test_scratch_depends_on_the_cores_instructions():
    x = activation((1, 4, 4, 8), DType.INT8, quantized(0.5))
    y = activation((1, 2, 2, 8), DType.INT8, quantized(0.5))
    window = {
        "padding": "VALID",
        "filter_width": 2,
        "filter_height": 2,
        "stride_w": 2,
        "stride_h": 2,
    }
    graph = single_operator("AVERAGE_POOL_2D", [x], [y], Options(window), "Pool2DOptions")
    scratch = {
        core: plan(graph, "cmsis-nn", core=core).layers[0].scratch_bytes
        for core in ("m0plus", "m3", "m4", "m4-soft", "m7", "m33", "m55")
    }
    assert scratch == dict.fromkeys(scratch, 0) | dict.fromkeys(("m4", "m4-soft", "m7", "m33"), 32)


def test_control_flow_counts_what_it_calls():
    calls = plan(dict(control_flow_models())["while"]).layers[0].calls
    assert calls[0].kernel == "WhileEval"
    assert len(calls) == 1 + 1 + 3
    assert all("its turns depend on data" in " ".join(call.warnings) for call in calls[1:])


def test_planning_imports_no_compiler():
    code = "import sys, mcusim.runtimes; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
