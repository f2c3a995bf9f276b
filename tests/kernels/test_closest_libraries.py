"""What prices the functions of a library: builds of the same code, and other generations."""

from __future__ import annotations

import json

import pytest

from mcusim.kernels import closest, profile
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.profile import load_profile
from mcusim.resources import data_path

BUILD = {
    "rows": 4,
    "held_out_median": 0.001,
    "held_out_p95": 0.02,
    "spread": 0.0,
    "unseen": [],
    "levels": {"call": {"alu": 10}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A kernels folder with the project's tables and no profile."""
    for module in (profile, closest):
        monkeypatch.setattr(module, "data_path", lambda *parts: tmp_path.joinpath(*parts[1:]))
    for name in ("closest.toml", "stand_ins.toml"):
        (tmp_path / name).write_text(data_path("kernels", name).read_text())
    caches = (load_profile, closest_profile, closest._tables, closest._stand_ins)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def write(folder, name, *builds):
    path = folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"source": "a test", "builds": dict.fromkeys(builds, BUILD)}))


@pytest.mark.parametrize(
    ("core", "build"),
    [("m4", "gcc-O3"), ("m4", "gcc-Ofast"), ("m4", "gcc-O3nc"), ("m4-soft", "gcc-O3")],
)
def test_integer_c_is_the_same_code_in_several_builds(folder, core, build):
    """Ofast gives a byte-identical binary, and nothing in the library calls the FPU."""
    write(folder, "cmsis_nn/arm_x_s8", "m4.gcc-O3", "m3.gcc-O3")
    found = closest_profile("cmsis_nn/arm_x_s8", core, build)
    assert (found.key, found.is_exact, found.distance) == ("m4.gcc-O3", True, 0.0)


@pytest.mark.parametrize("build", ["gcc-O3-asm", "gcc-O3-sr"])
def test_the_library_s_own_switches_leave_reference_kernels_alone(folder, build):
    write(folder, "reference/softmax_int8", "m4.gcc-O3")
    write(folder, "cmsis_nn/arm_x_s8", "m4.gcc-O3")
    assert closest_profile("reference/softmax_int8", "m4", build).is_exact
    assert not closest_profile("cmsis_nn/arm_x_s8", "m4", build).is_exact


def test_float_kernels_differ_without_an_fpu(folder):
    write(folder, "reference/conv_2d_float32", "m4.gcc-O3", "m4-soft.gcc-Os")
    found = closest_profile("reference/conv_2d_float32", "m4-soft", "gcc-O3")
    assert (found.key, found.is_exact) == ("m4-soft.gcc-Os", False)


def test_a_function_that_a_generation_lacks_is_priced_by_another_and_says_so(folder):
    write(folder, "cmsis_nn@2022/arm_x_s8", "m4.gcc-O3")
    found = closest_profile("cmsis_nn@2021/arm_x_s8", "m4", "gcc-O3")
    assert found.profile == "cmsis_nn@2022/arm_x_s8"
    assert not found.is_exact
    assert "cmsis_nn@2021 was not counted" in found.reason
    assert closest_profile("cmsis_nn@2021/arm_y_s8", "m4", "gcc-O3") is None


def test_an_operator_that_2020_was_not_counted_on_is_priced_as_today_s(folder):
    write(folder, "reference/tanh_int8", "m4.gcc-O3")
    found = closest_profile("tflm@2020/tanh_int8", "m4", "gcc-O3")
    assert found.profile == "reference/tanh_int8"
    assert found.distance == pytest.approx(0.4)
    assert found.reason


def test_loops_with_mve_are_not_priced_by_loops_without(folder):
    write(folder, "cmsis_nn/arm_x_s8", "m33.gcc-O3")
    found = closest_profile("cmsis_nn/arm_x_s8", "m55", "gcc-O3")
    assert found.key == "m33.gcc-O3"
    assert found.has_loops_of({"call": 1})
    assert not found.has_loops_of({"call": 1, "vector": 4})
