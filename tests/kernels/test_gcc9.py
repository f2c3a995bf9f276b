"""CMSIS-NN of 2020 as GCC 9 compiles it, which mbed-os 5.15 and 6 ask for."""

from __future__ import annotations

import pytest

import mcusim
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.profile import load_profile
from tests.shared import SHARED, needs_shared

BUILDS = ("m4.gcc9-Ofast", "m4.gcc9-Os", "m7.gcc9-Ofast")
BOARD = {"m4": "nucleo-l496zg", "m7": "nucleo-f767zi"}
#: Instructions of all operators in the firmware that Heim et al. publish, compiled by gcc 9.3.0 and
#: run in an emulator, by build; no fit holds any of them.
COUNTED = {
    "heim/01a_LeNet-MNIST_Q-full": (1_886_193, 2_173_861, 1_920_696),
    "heim/01b_ResNet20_CIFAR-10_Q-full": (127_282_201, 159_165_116, 131_720_504),
    "mlperf_tiny/kws_ref_model": (11_460_001, 12_757_687, 11_169_909),
    "mlperf_tiny/pretrainedResnet_quant": (41_461_143, 51_355_571, 42_781_614),
    "mlperf_tiny/ad01_int8": (690_763, 731_578, 674_413),
    "mlperf_tiny/vww_96_int8": (36_190_143, 41_266_720, 34_973_434),
}


@needs_shared
@pytest.mark.parametrize("model", COUNTED)
def test_a_network_executes_what_was_counted(model: str) -> None:
    graph = mcusim.load_model(SHARED / "models" / f"{model}.tflite")
    for key, counted in zip(BUILDS, COUNTED[model], strict=True):
        core, build = key.split(".")
        board = mcusim.load_board(BOARD[core])
        found = mcusim.estimate(graph, board, "cmsis-nn@2020", build)
        total = sum(layer.instructions.total for layer in found.layers)
        assert total == pytest.approx(counted, rel=0.01), key
        assert all(layer.is_exact for layer in found.layers), key


@pytest.mark.parametrize(
    ("profile", "core", "build", "key", "distance"),
    [
        ("cmsis_nn@2020/arm_convolve_s8", "m7", "gcc9-Os", "m4.gcc9-Os", 0.27),
        ("cmsis_nn@2020/arm_convolve_s8", "m33", "gcc9-Ofast", "m4.gcc9-Ofast", 0.14),
        ("cmsis_nn/arm_convolve_s8", "m4", "gcc9-Os", "m4.gcc-Os", 0.04),
        ("cmsis_nn/arm_convolve_s8", "m7", "gcc9-Ofast", "m7.gcc-O3", 0.07),
        ("reference/conv_2d_int8", "m4", "gcc9-Ofast", "m4.gcc-O3", 0.52),
        ("tflm@2020/conv_2d_int8", "m4", "gcc9-Ofast", "m4.gcc-Ofast", 0.0),
    ],
)
def test_what_was_not_counted_is_priced_by_the_closest_build(
    profile: str, core: str, build: str, key: str, distance: float
) -> None:
    found = closest_profile(profile, core, build)
    assert found is not None
    assert (found.key, found.is_exact) == (key, distance == 0)
    assert found.distance == pytest.approx(distance)


def test_the_profiles_say_what_was_counted() -> None:
    profile = load_profile("cmsis_nn@2020/arm_convolve_s8")
    assert profile is not None
    assert set(BUILDS) <= set(profile.builds)
    assert "gcc 9.3.0 with the flags of mbed-os" in profile.source
