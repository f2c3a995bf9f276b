"""Every figure carries an interval, wider the further a run is from what was measured."""

import math

import pytest

import mcusim
from mcusim.boards import Bounds, half_width
from mcusim.calibration.measured_layers import WHOLE, layer_spread, measured_layers
from mcusim.calibration.measured_shapes import measured_network


def relative(board, runtime="cmsis-nn", build="gcc-O3", model="ds-cnn"):
    """High over low of the interval of time."""
    found = mcusim.estimate(mcusim.load_model(model), mcusim.load_board(board), runtime, build)
    return found.latency_interval_s[1] / found.latency_interval_s[0]


#: What ran on the NUCLEO-L4R5ZI for MLPerf Tiny's reference.
MEASURED = ("cmsis-nn@2020", "gcc-Os")


def test_intervals_widen_with_the_distance_from_measured_runs():
    measured = relative("nucleo-l4r5zi", *MEASURED)
    never = relative("nucleo-f429zi")
    no_such_core = relative("ek-ra8d1")
    assert measured < never < no_such_core


def test_software_that_was_never_measured_carries_more():
    assert relative("nucleo-l4r5zi", "tflm") > relative("nucleo-l4r5zi", *MEASURED)
    for name in ("nucleo-l4r5zi", "nucleo-f429zi"):
        board = mcusim.load_board(name)
        known = Bounds.of(board, "cmsis-nn gcc-mk", "dense").time
        strange = Bounds.of(board, "utensor gcc-O3", "dense").time
        assert strange[0] < known[0]
        assert strange[1] > known[1]


def test_layers_are_less_sure_than_their_network():
    found = mcusim.estimate(mcusim.load_model("ds-cnn"), mcusim.load_board("nucleo-l4r5zi"))
    low, high = found.latency_interval_s
    for layer in found.layers:
        below, above = layer.latency_interval_s
        assert below <= layer.latency_s <= above
        if layer.latency_s:
            assert above / below > high / low
    assert found.to_dict()["layers"][0]["latency_interval_s"] == list(
        found.layers[0].latency_interval_s
    )


def test_what_no_fit_has_seen_lies_within_its_interval():
    """Layers and networks timed elsewhere, on boards of five cores."""
    found = measured_layers()
    assert len(found) == 112
    assert sum(layer.low <= layer.cycles <= layer.high for layer in found) >= 0.86 * len(found)


def test_whole_networks_elsewhere_are_told_apart_from_layers():
    found = measured_layers()
    assert sum(layer.operator != WHOLE for layer in found) == len(layer_spread())
    names = {layer.network for layer in found if layer.operator == WHOLE}
    assert {"person-detect", "mcunet-vww1", "mobilenet-v2-0.3-64"} < names


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("person-detect", 7_157_888),  # TFLM's person_detect.tflite
        ("mcunet-vww1", 11_578_816),  # tinyengine's vww.tflite
        # CMSIS-NN's paper, table 1, counts two operations a product: 4.9, 13.1, 6.6, 0.02 million.
        ("cifar-10", 2_457_600 + 6_553_600 + 3_276_800 + 10_240),
        ("dense:1-16-16-1", 16 + 256 + 16),  # TFLM's hello_world
    ],
)
def test_networks_rebuilt_from_their_sources_have_their_products(name, macs):
    graph = measured_network(name)
    assert mcusim.estimate(graph, mcusim.load_board("nucleo-f746zg")).macs == macs


def test_memory_is_exact_where_it_is_and_bounded_where_it_is_not():
    board = mcusim.load_board("nucleo-l4r5zi")
    found = mcusim.estimate(mcusim.load_model("ds-cnn"), board)
    assert found.arena_interval_bytes == (found.arena_bytes, found.arena_bytes)
    low, high = found.flash_interval_bytes
    assert low < found.flash_bytes < high
    assert high / low < 1.02
    scaled = mcusim.estimate(mcusim.load_model("ds-cnn"), mcusim.load_board("nucleo-f767zi"))
    wider = scaled.flash_interval_bytes
    assert wider[1] / wider[0] >= high / low
    unknown = mcusim.estimate(mcusim.load_model("conv-16-mnist"), board, "cmsis-nn@q7")
    assert unknown.flash_interval_bytes is None


@pytest.mark.parametrize("quantity", ["latency", "power"])
def test_a_width_is_a_share_between_nothing_and_half(quantity):
    for distance in ("network", "software", "board"):
        assert 0.01 < half_width(quantity, distance) < math.log(1.5)
