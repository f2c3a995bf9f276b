"""Float32 without an FPU: zeros, of which a ReLU makes many, are multiplied and added faster."""

from __future__ import annotations

import numpy as np
import pytest

from mcusim.graph import DType, Graph, Options
from mcusim.kernels.closest import closest_profile
from mcusim.runtimes import plan
from mcusim.tflite import load
from tests.oracles import activation, constant, single_operator
from tests.shared import SHARED, needs_shared


def predicted(graph: Graph, core: str, build: str) -> float:
    """Instructions of the operators."""
    total = 0.0
    for layer in plan(graph, core=core).layers:
        for call in layer.calls:
            priced = closest_profile(call.profile, core, build)
            assert priced is not None
            total += priced.mix(call.trips).total
    return total


@needs_shared
@pytest.mark.parametrize(
    ("model", "core", "build", "counted"),
    [
        ("mlperf_tiny/vww_96_float", "m4-soft", "gcc-O3", 534_921_707),
        ("mlperf_tiny/vww_96_float", "m0plus", "gcc-O3", 1_192_646_202),
        ("mlperf_tiny/pretrainedResnet", "m3", "gcc-O3", 930_195_489),
        ("mlperf_tiny/ad01_fp32", "m4-soft", "gcc-Os", 21_061_246),
        ("heim/01b_ResNet20_CIFAR-10_Q-none", "m4-soft", "gcc-O3", 2_544_722_632),
        ("heim/01a_LeNet-MNIST_Q-none", "m0plus", "gcc-Os", 65_979_210),
    ],
)
def test_a_network_takes_what_was_counted(model, core, build, counted):
    """Executed with random inputs; how many zeros these trained networks make is their own."""
    graph = load(SHARED / "models" / f"{model}.tflite")
    assert predicted(graph, core, build) == pytest.approx(counted, rel=0.12)


def dense(weights: np.ndarray, activation_function: str = "NONE") -> Graph:
    outputs, inputs = weights.shape
    return single_operator(
        "FULLY_CONNECTED",
        [
            activation((1, inputs), DType.FLOAT32, None),
            constant(weights.astype(np.float32)),
            constant(np.zeros(outputs, np.float32)),
        ],
        [activation((1, outputs), DType.FLOAT32, None)],
        Options({"fused_activation_function": activation_function}),
        "FullyConnectedOptions",
    )


def test_zero_weights_are_known():
    weights = np.ones((10, 40))
    weights[:3] = 0
    (layer,) = plan(dense(weights), core="m0plus").layers
    spared = layer.calls[-1]
    assert spared.trips == {"zero_product": pytest.approx(-3 * 40)}
    assert "30% of its products" in spared.reason


@pytest.mark.parametrize(("core", "calls"), [("m4", 1), ("m4-soft", 2), ("m33", 1), ("m3", 2)])
def test_an_fpu_multiplies_zeros_as_fast_as_others(core, calls):
    weights = np.zeros((10, 40))
    assert len(plan(dense(weights), core=core).layers[0].calls) == calls
