"""Advice: changed networks compute what they should, and what is advised is what was priced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcusim
from mcusim import cli
from mcusim.advice import Setting, advise
from mcusim.advice.channels import channel_groups, resized
from mcusim.advice.replacement import as_convolution
from mcusim.errors import InputError
from mcusim.graph import Graph
from mcusim.tflite import load, read, write
from mcusim.verify import random_inputs
from tests.oracles import tflm

NETWORKS = ("lenet-5", "resnet-8", "ds-cnn", "ad-autoencoder", "conv-16-mnist:float32")


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_padded_channels_change_no_bit_in_the_real_interpreter(data):
    graph = mcusim.load_model(data.draw(st.sampled_from(NETWORKS)))
    group = data.draw(st.sampled_from(channel_groups(graph)))
    wider = resized(graph, group, group.channels + data.draw(st.integers(1, 5)))
    inputs = random_inputs(graph, 1, seed=data.draw(st.integers(0, 100)))
    (before,), (after,) = (tflm(write(g), [x[0] for x in inputs]) for g in (graph, wider))
    np.testing.assert_array_equal(before[0], after[0])
    assert wider.main.nodes[group.makers[0]].outputs[0].shape[-1] > group.channels


def test_fewer_channels_are_a_network_that_runs():
    graph = mcusim.load_model("resnet-8")
    for group in channel_groups(graph):
        narrower = resized(graph, group, group.channels - 3)
        inputs = [x[0] for x in random_inputs(graph, 1)]
        (expected,) = tflm(write(narrower), inputs)
        (found,) = mcusim.run(read(write(narrower)), inputs).outputs
        np.testing.assert_array_equal(found, expected[0])


def test_channels_that_are_added_change_together():
    groups = channel_groups(mcusim.load_model("resnet-8"))
    assert (16, (0, 2)) in [(g.channels, g.makers) for g in groups]


def test_inputs_and_outputs_keep_their_channels():
    graph = mcusim.load_model("ad-autoencoder")
    changing = {i for group in channel_groups(graph) for i, _ in group.tensors}
    assert not changing & {t.index for t in (*graph.inputs, *graph.outputs)}


def test_a_depthwise_convolution_is_the_convolution_with_the_same_weights():
    graph = mcusim.load_model("ds-cnn")
    inputs = [x[0] for x in random_inputs(graph, 1)]
    changed = as_convolution(graph, graph.main.nodes[1])
    (before,), (after,) = (tflm(write(g), inputs) for g in (graph, changed))
    np.testing.assert_array_equal(before[0], after[0])
    assert changed.main.nodes[1].name == "CONV_2D"
    assert as_convolution(graph, graph.main.nodes[0]) is None


def test_a_memory_plan_that_no_longer_fits_is_dropped():
    graph = replace(
        mcusim.load_model("ds-cnn"), metadata={"OfflineMemoryAllocation": b"x", "notes": b"y"}
    )
    changed = resized(graph, channel_groups(graph)[0], 65)
    assert dict(changed.metadata) == {"notes": b"y"}


def test_what_is_advised_is_what_an_estimate_says():
    setting = Setting(mcusim.load_model("lenet-5"), mcusim.load_board("nucleo-l4r5zi"))
    found = advise(setting)
    assert [c.estimate.latency_s for c in found.changes] == sorted(
        c.estimate.latency_s for c in found.changes
    )
    runtime = next(c for c in found.changes if c.kind == "runtime")
    again = mcusim.estimate(setting.graph, setting.board, "cmsis-nn")
    assert runtime.estimate.latency_s == again.latency_s
    together = next(c for c in found.changes if c.kind == "together")
    alone = [c for c in found.changes if c.kind in ("runtime", "build", "cache", "placement")]
    assert together.estimate.latency_s < min(c.estimate.latency_s for c in alone)
    for change in found.changes:
        assert max(found.time_saved(change), found.energy_saved(change)) > 0


def test_the_kernels_alone_may_be_built_for_speed():
    """As fast as a program built so, but for the interpreter's loop, and smaller than it."""
    graph, board = mcusim.load_model("lenet-5"), mcusim.load_board("nucleo-l4r5zi")
    found = advise(Setting(graph, board, "cmsis-nn", "gcc-Os"))
    alone = next(c for c in found.changes if c.kind == "flags").estimate
    whole = mcusim.estimate(graph, board, "cmsis-nn", "gcc-O3")
    assert alone.flash_bytes < whole.flash_bytes
    assert [x.cycles for x in alone.layers] == [x.cycles for x in whole.layers]
    assert alone.invoke == found.before.invoke


def with_odd_channels() -> Graph:
    """A network with 15 channels in one place."""
    graph = mcusim.load_model("ds-cnn")
    return resized(graph, channel_groups(graph)[1], 15)


def test_channels_that_do_not_divide_are_padded_where_that_is_faster():
    """CMSIS-NN takes four channels of a product at a time."""
    odd = with_odd_channels()
    found = advise(Setting(odd, mcusim.load_board("nucleo-l4r5zi"), "cmsis-nn"))
    padded = [c for c in found.changes if c.kind == "channels" and c.keeps_bits]
    assert any("to 16" in change.what for change in padded)
    assert all("trim" in c.what for c in found.changes if not c.keeps_bits)


def test_a_deadline_picks_the_thriftiest_clock_that_meets_it():
    setting = Setting(mcusim.load_model("lenet-5"), mcusim.load_board("nucleo-l4r5zi"), "cmsis-nn")
    before = setting.estimate()
    found = advise(setting, below_s=10 * before.latency_interval_s[1])
    for change in (c for c in found.changes if c.kind == "clock"):
        assert change.estimate.latency_interval_s[1] <= 10 * before.latency_interval_s[1]
        assert change.estimate.energy_j < before.energy_j


def test_nothing_is_advised_for_what_has_no_price(monkeypatch):
    from mcusim.advice import advise as package  # noqa: F401
    from mcusim.estimates import LayerEstimate

    monkeypatch.setattr(LayerEstimate, "is_priced", property(lambda _: False))
    setting = Setting(mcusim.load_model("lenet-5"), mcusim.load_board("nucleo-l4r5zi"))
    with pytest.raises(InputError, match="nothing prices"):
        advise(setting)


def test_advise_writes_the_models_to_try(tmp_path, capsys):
    odd = tmp_path / "odd.tflite"
    odd.write_bytes(write(with_odd_channels()))
    folder = tmp_path / "try"
    command = ["advise", str(odd), "--board", "nucleo-l4r5zi", "--runtime", "cmsis-nn"]
    assert cli._run([*command, "--models", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "pad the 15 channels" in out
    written = sorted(folder.glob("*.tflite"))
    assert written
    assert all(str(path) in out for path in written)
    assert load(written[0]).main.nodes
