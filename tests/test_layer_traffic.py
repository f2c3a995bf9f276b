"""What layers ask of memory, held against their shapes."""

import numpy as np
import pytest

import mcusim
from mcusim.boards import CodeTraffic
from mcusim.instruction_mix import InstructionMix
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.contract import KernelCall
from mcusim.layer_traffic import code_traffic, layer_traffic
from mcusim.runtimes import plan
from mcusim.zoo.builder import NetworkBuilder

#: Ample loads, so that the share of constants among them never bounds a stream.
LOADS = InstructionMix.of({"load_word": 1e9, "load_accesses": 1e9})


def layers(model, runtime):
    found = plan(mcusim.load_model(model), runtime, core="m4")
    return [(layer.node, layer.calls) for layer in found.layers]


def stream(node, calls, mix=LOADS):
    [found] = layer_traffic(node, calls, mix, None).constants
    return found


@pytest.mark.parametrize(("runtime", "pixels"), [("tflm", 1), ("cmsis-nn", 2)])
def test_a_convolution_streams_its_filter_once_a_pixel_or_once_for_two(runtime, pixels):
    for node, calls in layers("ds-cnn", runtime):
        if node.name == "CONV_2D":
            weights = node.inputs[1]
            out = node.outputs[0]
            turns = out.shape[1] * out.shape[2] / pixels
            assert stream(node, calls).bytes_read == pytest.approx(turns * weights.bytes)


def test_a_pointwise_convolution_holds_two_filters_while_it_runs_over_the_pixels():
    """arm_nn_mat_mult_nt_t_s8: pairs of output channels outside, pairs of pixels inside."""
    windows = {
        stream(node, calls).window_bytes
        for node, calls in layers("ds-cnn", "cmsis-nn")
        if node.name == "CONV_2D" and node.inputs[1].shape[1:3] == (1, 1)
    }
    # 64 channels of 64 weights and a bias.
    assert windows == {2 * (64 + 4)}


def test_a_dense_layer_reads_its_weights_once():
    for node, calls in layers("ad-autoencoder", "cmsis-nn"):
        if node.name == "FULLY_CONNECTED":
            found = stream(node, calls)
            assert found.bytes_read == found.bytes_held
            assert found.rows <= 8


def test_a_depthwise_convolution_reads_as_many_rows_as_it_has_taps():
    rows = {
        stream(node, calls).rows
        for node, calls in layers("ds-cnn", "cmsis-nn")
        if node.name == "DEPTHWISE_CONV_2D"
    }
    assert rows == {9}


def test_constants_are_at_most_half_of_what_is_loaded():
    node, calls = layers("ds-cnn", "tflm")[0]
    few = InstructionMix.of({"load_byte": 100, "load_accesses": 100})
    assert stream(node, calls, few).bytes_read == 50


def test_loops_that_turn_more_often_lie_within_those_that_turn_less_often():
    code = CodeTraffic.nested(np.array([1, 1000, 10]), np.array([400, 30, 100]), np.zeros(3))
    assert code.footprint_bytes.tolist() == [30, 130, 530]
    # The inner loop comes back to its 30 bytes 990 times; nine times 130 bytes lie between.
    assert code.instruction_bytes.tolist() == [990 * 30, 9 * 130, 530]


def test_loops_of_another_function_lie_within_those_that_call_it_once_a_turn():
    """A product called twice a row, behind a copy that turns more often than both."""
    turns, size = np.array([1000, 500, 20, 10]), np.array([40, 30, 200, 100])
    calls, function = np.array([1, 20, 20, 1]), np.array([0, 1, 1, 0])
    taken = np.array([1, 1, 0, 0])
    code = CodeTraffic.nested(turns, size, taken, calls, function)
    assert code.footprint_bytes.tolist() == [40, 30, 230, 370]
    assert code.instruction_bytes.sum() == (turns * size).sum()
    assert code.taken_branches.sum() == (turns * taken).sum()
    assert code.footprint_branches.tolist() == [1, 1, 1, 2]


def test_loops_of_a_profile_fetch_every_instruction_that_is_executed():
    build = closest_profile("reference/conv_2d_int8", "m4", "gcc-O3")
    for _, calls in layers("lenet-5", "tflm"):
        for call in calls:
            if call.profile == "reference/conv_2d_int8":
                code = code_traffic([(call, build)], 3.0)
                mix = build.mix(call.trips)
                assert code.instruction_bytes.sum() == pytest.approx(3 * mix.total, rel=1e-3)
                assert code.taken_branches.sum() == pytest.approx(mix.taken_branches)


def test_without_kernels_nothing_is_fetched():
    assert code_traffic([], 3.0) is None
    build = closest_profile("reference/conv_2d_int8", "m4", "gcc-O3")
    still = KernelCall("Conv", "reference/conv_2d_int8", dict.fromkeys(build.build.levels, 0.0))
    assert code_traffic([(still, build)], 3.0) is None


@pytest.mark.parametrize("board", ["nucleo-f207zg", "nucleo-g0b1re", "nucleo-f091rc"])
def test_what_soft_float_is_spared_is_no_loop_that_waits_for_code(board):
    """Without an FPU, products with a zero are calls of negative turns: no time was negative."""
    for runtime in ("tflm", "dnnruntime"):
        found = mcusim.estimate(
            mcusim.load_model("resnet-8:float32"), mcusim.load_board(board), runtime
        )
        for layer in found.layers:
            assert layer.cycles_by_cause.fetch >= 0
            assert layer.latency_s > 0


def dense(*widths):
    net = NetworkBuilder("dense", (1, widths[0]))
    for width in widths[1:]:
        net.dense(width)
    return net.graph()


def waits(graph, board, **settings):
    found = mcusim.estimate(graph, mcusim.load_board(board), build="gcc-Os", **settings)
    return [(layer.cycles_by_cause.fetch, layer.cycles_by_cause.data) for layer in found.layers]


def test_a_small_network_finds_its_code_and_constants_in_the_cache_when_it_runs_again():
    """The Pico's XIP cache holds 16 KB. Of published times of such networks none was slower by a
    half than what is executed takes, where code read anew each time would make some five times
    as slow (B1-B7_benchmark_results.csv of bharathsudharsan/TinyML-Benchmark-NNs-on-MCUs).
    """
    assert set(waits(dense(4, 10, 3), "raspberry-pi-pico")) == {(0, 0)}


def test_what_other_layers_use_meanwhile_leaves_the_cache():
    """All three run the same code; 26 and 40 KB of weights are read between, and 2 KB at last."""
    (first, _), (second, waits_2), (third, waits_3) = waits(
        dense(64, 100, 100, 4), "raspberry-pi-pico"
    )
    assert first == 0
    assert min(second, third, waits_2, waits_3) > 0


def test_a_cache_for_code_alone_keeps_no_constants():
    """The nRF52840's holds 2 KB of code; what it reads beside waits."""
    for fetch, data in waits(dense(4, 10, 3), "nrf52840-dk"):
        assert fetch == 0
        assert data > 0


def test_soft_float_code_is_no_longer_than_its_functions():
    """One exponential without FPU calls 26 to 37 of them: 2,600 to 3,400 instructions, 9 KB if
    each call had code of its own, which no softmax has (1.4 KB of expf and soft float in newlib).
    """
    net = NetworkBuilder("softmax", (1, 10))
    net.softmax()
    found = mcusim.estimate(net.graph(), mcusim.load_board("raspberry-pi-pico"), build="gcc-Os")
    [layer] = found.layers
    assert layer.cycles_by_cause.fetch == 0
