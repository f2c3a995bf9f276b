"""The legacy q7 functions: their loops, and the networks whose instructions were counted."""

from __future__ import annotations

import csv
from collections import defaultdict

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim import estimate, load_board, run
from mcusim.calibration.counted import CountedSet
from mcusim.calibration.legacy_rows import FITTED_FILTERS, legacy_network_rows
from mcusim.errors import InputError, UnsupportedOperatorError
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.cmsis_nn.legacy_q7 import firmware_layers
from mcusim.kernels.cmsis_nn.legacy_q7_arithmetic import (
    Shifts,
    avepool_q7,
    convolve_q7,
    fully_connected_q7,
    maxpool_q7,
    relu_q7,
    softmax_q7,
)
from mcusim.kernels.cmsis_nn.legacy_q7_trips import (
    SquareConvolution,
    SquarePooling,
    convolve_q7_basic_trips,
    convolve_q7_fast_trips,
    convolve_q7_rgb_trips,
    fully_connected_q7_opt_trips,
    fully_connected_q7_trips,
    relu_q7_trips,
)
from mcusim.kernels.profile import load_profile
from mcusim.report import estimate_schema
from mcusim.runtimes import plan
from mcusim.zoo import build
from tests.shared import SHARED, needs_shared

SMALL = st.integers(1, 4)


@st.composite
def convolutions(draw: st.DrawFn) -> SquareConvolution:
    kernel, stride = draw(SMALL), draw(st.integers(1, 2))
    padding = draw(st.integers(0, kernel - 1))
    extent = draw(st.integers(kernel, 6))
    outputs = (extent + 2 * padding - kernel) // stride + 1
    return SquareConvolution(
        extent, draw(st.integers(1, 6)), kernel, padding, stride, outputs, draw(st.integers(1, 5))
    )


def random(seed: int, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.random.default_rng(seed).integers(-128, 128, shape, np.int8)


@settings(max_examples=40, deadline=None)
@given(shape=convolutions(), seed=st.integers(0, 999), out_shift=st.integers(0, 9))
def test_convolution(shape: SquareConvolution, seed: int, out_shift: int) -> None:
    """Against a plain convolution; the loops of the products against their formulas."""
    x = random(seed, shape.extent, shape.extent, shape.channels)
    weights = random(seed + 1, shape.filters, shape.kernel, shape.kernel, shape.channels)
    bias = random(seed + 2, shape.filters)
    out, turns = convolve_q7(shape, x, weights, bias, Shifts(2, out_shift))
    padded = np.pad(x.astype(np.int64), [(shape.padding,) * 2] * 2 + [(0, 0)])
    for y in range(shape.outputs):
        for column in range(shape.outputs):
            top, left = y * shape.stride, column * shape.stride
            window = padded[top : top + shape.kernel, left : left + shape.kernel]
            sums = np.einsum("fyxc,yxc->f", weights.astype(np.int64), window)
            scaled = (sums + (bias.astype(int) << 2) + ((1 << out_shift) >> 1)) >> out_shift
            np.testing.assert_array_equal(out[y, column], np.clip(scaled, -128, 127))
    trips = convolve_q7_basic_trips(shape)
    own = ("pair", "tile", "odd_tile", "left")
    expected = {k: v for k, v in trips.items() if v and k.split(".")[0] in own}
    assert expected == {k: v for k, v in turns.items() if v}


def test_taps_inside_and_outside_are_counted() -> None:
    """Four of the nine taps of each corner lie inside, six of each edge, all in the middle."""
    trips = convolve_q7_basic_trips(SquareConvolution(3, 1, 3, 1, 1, 3, 2))
    assert trips["tap"] == 9 * 9
    assert trips["tap_inside"] == 4 * 4 + 4 * 6 + 9
    assert trips["fill.call"] == 9 * 9 - trips["tap_inside"]


def test_functions_refuse_what_they_cannot_compute() -> None:
    """As counted: 25 and 28 instructions, and the output left as it was."""
    one_channel = convolve_q7_rgb_trips(SquareConvolution(8, 1, 3, 1, 1, 8, 8))
    assert {name for name, turns in one_channel.items() if turns} == {"refused"}
    odd_filters = convolve_q7_fast_trips(SquareConvolution(8, 8, 3, 1, 1, 8, 7))
    assert {name for name, turns in odd_filters.items() if turns} == {"refused"}


@settings(max_examples=40, deadline=None)
@given(columns=st.integers(1, 20), rows=st.integers(1, 9), interleaved=st.booleans(), seed=SMALL)
def test_dense_layers(columns: int, rows: int, interleaved: bool, seed: int) -> None:
    x, weights, bias = random(seed, columns), random(seed + 1, rows, columns), random(2, rows)
    out, turns = fully_connected_q7(x, weights, bias, Shifts(0, 7), interleaved)
    sums = weights.astype(np.int64) @ x.astype(np.int64) + bias + 64
    np.testing.assert_array_equal(out, np.clip(sums >> 7, -128, 127))
    count = fully_connected_q7_opt_trips if interleaved else fully_connected_q7_trips
    own = ("four", "single") if interleaved else ("pair", "odd")
    trips = {k: v for k, v in count(columns, rows).items() if v and k.split(".")[0] in own}
    assert trips == {k: v for k, v in turns.items() if v}


def test_pooling_works_in_place() -> None:
    x = np.array([[3, 4, -3, -4], [1, 2, 7, 8], [0] * 4, [1, 0, 0, 0]], np.int8)[..., None]
    shape = SquarePooling(4, 1, 2, 0, 2, 2)
    out, left = maxpool_q7(shape, x)
    np.testing.assert_array_equal(out[..., 0], [[4, 8], [1, 0]])
    np.testing.assert_array_equal(left[:2, :, 0], [[4, -3, -3, -4], [2, 8, 7, 8]])
    # Means of rows: trunc(7/2), trunc(-7/2), trunc(3/2), trunc(15/2); then of those.
    out, left = avepool_q7(shape, x)
    np.testing.assert_array_equal(out[..., 0], [[2, 2], [0, 0]])
    np.testing.assert_array_equal(left[:2, :2, 0], [[3, -3], [1, 7]])


def test_relu_counts_its_size_in_sixteen_bits() -> None:
    x = np.full(65_540, -1, np.int8)
    out = relu_q7(x, x.size)
    assert out[:4].tolist() == [0, 0, 0, 0]
    assert set(out[4:].tolist()) == {-1}
    assert relu_q7_trips(x.size) == relu_q7_trips(4)


def test_softmax_of_2020_wraps_large_differences() -> None:
    x = np.array([100, -100, 90, 98, 97], np.int8)
    scalar, wrapping = softmax_q7(x), softmax_q7(x, wraps=True)
    # Powers of two of 7, 0, 0, 6 and 5, of 2**20 over their sum, 31 less the distance of 8.
    total = 128 + 1 + 1 + 64 + 32
    assert scalar[0] == min((1 << 20) // total >> 5, 127)
    assert scalar[1] == 0
    # 200 less is 56 more in eight bits, which saturates to the largest power.
    assert wrapping[0] == min((1 << 20) // (total + 127) >> 5, 127)


def test_firmware_calls_the_functions_in_order() -> None:
    layers = firmware_layers(build("conv-32-mnist"))
    names = [call.kernel.removeprefix("arm_") for layer in layers for call in layer.calls]
    assert names == [
        "convolve_HWC_q7_RGB",
        "relu_q7",
        "maxpool_q7_HWC",
        "convolve_HWC_q7_fast",
        "relu_q7",
        "maxpool_q7_HWC",
        "fully_connected_q7_opt",
        "softmax_q7",
    ]
    first = layers[0].calls[0]
    assert "refuses 1 channels" in first.warnings[0]
    basic = firmware_layers(build("conv-32-mnist"), "basic")[0].calls[0]
    assert basic.kernel == "arm_convolve_HWC_q7_basic"
    assert basic.macs == first.macs == 26 * 26 * 9 * 32


def test_relu_of_large_layers_is_warned_of() -> None:
    layers = firmware_layers(build("conv-128-mnist"))
    assert "of 86528 elements it changes 20992" in layers[0].calls[1].warnings[0]


def test_networks_of_other_operators_are_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="DEPTHWISE_CONV_2D"):
        firmware_layers(build("mobilenet-v1-0.25"))


@needs_shared
def test_networks_that_the_fit_has_not_seen() -> None:
    """Instructions of whole networks of 32, 64 and 128 filters, in six builds, within 0.05 %."""
    real: dict[tuple[str, str, str], float] = defaultdict(float)
    guess: dict[tuple[str, str, str], float] = defaultdict(float)
    for name, _, year, key, call, vector in legacy_network_rows(CountedSet(SHARED / "counted")):
        network = name.split(" ", 1)[1]
        if int(network.split("-")[1]) in FITTED_FILTERS:
            continue
        profile = load_profile(call.profile)
        assert profile is not None
        real[network, year, key] += vector[: len(CLASSES)].sum()
        guess[network, year, key] += profile.builds[key].mix(call.trips).total
    assert len(real) == 9 * 6
    for key_of_network, total in real.items():
        assert guess[key_of_network] == pytest.approx(total, rel=0.0005), key_of_network


@needs_shared
def test_counted_networks_call_what_the_firmware_calls() -> None:
    with (SHARED / "counted" / "q7_networks.csv").open(newline="") as file:
        named = {(r["dataset"], r["K"], r["variant"], r["layer"]): r for r in csv.DictReader(file)}
    for (data, filters, variant, layer), row in named.items():
        if layer == "conv1":
            graph = build(f"conv-{filters}-{'cifar10' if 'cifar' in data else 'mnist'}")
            first = "basic" if variant == "conv1_basic" else "as_firmware"
            call = firmware_layers(graph, first)[0].calls[0]  # type: ignore[arg-type]
            assert (call.kernel, call.macs) == (row["layer_function"], int(row["layer_macs"]))


def test_networks_are_priced_under_the_runtime() -> None:
    graph, board = build("conv-32-mnist"), load_board("nrf52840-dk")
    plain = estimate(graph, board, "cmsis-nn@q7")
    calling = estimate(graph, board, "cmsis-nn@q7", "gcc-O3-nobuiltin-bytecpy")
    assert [layer.operator for layer in plain.layers] == [
        "CONV_2D",
        "MAX_POOL_2D",
        "CONV_2D",
        "MAX_POOL_2D",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    assert plain.layers[0].kernel == "arm_convolve_HWC_q7_basic"
    assert plain.layers[0].scratch_bytes == 4 * 9
    # As counted: 3.14 and 18.2 million instructions.
    assert plain.instructions.total == pytest.approx(3_142_221, rel=0.001)
    assert calling.instructions.total == pytest.approx(18_169_000, rel=0.001)
    assert plain.invoke.instructions.total == 0
    assert plain.arena_bytes is None
    jsonschema.validate(plain.to_dict(), estimate_schema())


@pytest.mark.parametrize(
    ("runtime", "build_name", "board", "reason"),
    [
        ("cmsis-nn@q7", "gcc-O3-nobuiltin", "nrf52840-dk", "did you mean"),
        ("cmsis-nn", "gcc-O3-nobuiltin-armcpy", "nrf52840-dk", "there is no build"),
        ("cmsis-nn@q7", "gcc-O3-sr", "nrf52840-dk", "rounds once"),
    ],
)
def test_what_the_runtime_has_not_is_said(
    runtime: str, build_name: str, board: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        estimate(build("conv-16-mnist"), load_board(board), runtime, build_name)


def test_cores_without_dsp_are_refused() -> None:
    with pytest.raises(InputError, match="only for cores with DSP"):
        plan(build("conv-16-mnist"), "cmsis-nn@q7", core="m0plus")


def test_the_runtime_computes_nothing() -> None:
    graph = build("conv-16-mnist")
    with pytest.raises(InputError, match="priced only"):
        run(graph, np.zeros((1, 28, 28, 1), np.int8), runtime="cmsis-nn@q7")
