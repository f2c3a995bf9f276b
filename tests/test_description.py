"""Networks described in a line: those that TFLite Micro runs, and sentences for the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcusim
from mcusim.errors import ModelError
from mcusim.tflite import read, write
from mcusim.zoo import described, is_description
from tests.oracles import tflm

DS_CNN = "49x10x1 c64k10x4s2 d3 c64k1 d3 c64k1 d3 c64k1 d3 c64k1 a f12 softmax"


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        (DS_CNN, (1, 12)),
        ("32x32x3 c16k3 (c16k3 c16k3)+ m2 c32k3s2v d3s2 a f10 softmax", (1, 10)),
        ("640 f128 f8 f128 f640", (1, 640)),
        ("16x16 c4k5 a2s1 ((d3)+ c4k1)+ f3", (1, 3)),
    ],
)
def test_tflite_micro_runs_what_is_described(line: str, shape: tuple[int, ...]) -> None:
    model = write(described(line))
    inputs = [np.zeros(tensor.shape, np.int8) for tensor in read(model).inputs]
    ((output,),) = tflm(model, inputs)
    assert output.shape == shape
    if line.endswith("softmax"):
        # Without weights every class is as likely: 256ths, beginning at -128.
        assert set(output.ravel().tolist()) == {round(256 / shape[1]) - 128}


def test_a_described_network_is_priced_as_the_one_with_weights() -> None:
    board = mcusim.load_board("nucleo-l496zg")
    trained, untrained = (
        mcusim.estimate(mcusim.load_model(model), board, "cmsis-nn") for model in ("ds-cnn", DS_CNN)
    )
    assert untrained.latency_s == pytest.approx(trained.latency_s, rel=2e-3)
    assert untrained.energy_j == pytest.approx(trained.energy_j, rel=2e-3)
    assert untrained.arena_bytes == trained.arena_bytes
    assert untrained.macs == trained.macs
    assert untrained.flash_bytes == pytest.approx(trained.flash_bytes, rel=0.01)


def test_lines_are_told_from_paths_and_names() -> None:
    assert is_description(DS_CNN)
    for text in ("ds-cnn", "model.tflite", "49x10x1", "my model.tflite", ""):
        assert not is_description(text)
    assert mcusim.load_model(DS_CNN).description == "untrained"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("8x8x1 c4k3 hello", "'hello' is no layer"),
        ("8x8x1", "has no layer"),
        ("", "begins with the input's shape"),
        ("8x8x1x1 c4k3", "begins with the input's shape"),
        ("8x0x1 c4k3", "no elements"),
        ("8x8x1 c0k3", "no elements"),
        ("8x8x1 c4k0", "size or a stride of 0"),
        ("8x8x1 d3s0", "size or a stride of 0"),
        ("8x8x1 m9", "does not fit into an image of 8x8"),
        ("8x8x1 (c4k3", "never closed"),
        ("8x8x1 c4k3)+", "closes no"),
        ("8x8x1 (c4k3s2)+", "cannot be added"),
        ("8x8x1 f4 c4k3", "needs an image"),
        ("8x8x1 c999999999k1", "fit no device"),
        ("999999999x999999999x9 f9", "fits no device"),
        (f"8x8x1 c{'9' * 5000}k1", "is no layer"),
    ],
)
def test_hostile_lines_are_one_sentence(line: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        described(line)
    assert "\n" not in str(raised.value)


_SMALL = st.integers(0, 9)
_LAYERS = st.one_of(
    st.builds("c{}k{}x{}s{}{}".format, _SMALL, _SMALL, _SMALL, _SMALL, st.sampled_from(["", "v"])),
    st.builds("d{}s{}".format, _SMALL, _SMALL),
    st.builds("f{}".format, _SMALL),
    st.builds("{}{}".format, st.sampled_from("am"), _SMALL),
    st.sampled_from(["a", "softmax", "(d3 c4k1)+", "(d3)+", "(", ")+"]),
)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=3), st.lists(_LAYERS, max_size=6))
def test_every_line_is_a_network_that_runs_or_a_sentence(
    extents: list[int], layers: list[str]
) -> None:
    line = " ".join(["x".join(map(str, extents)), *layers])
    try:
        graph = described(line)
    except ModelError as error:
        assert "\n" not in str(error)
        return
    ((output,),) = tflm(write(graph), [np.zeros(graph.inputs[0].shape, np.int8)])
    assert output.shape == graph.outputs[0].shape
    assert mcusim.estimate(graph, mcusim.load_board("nucleo-l496zg")).latency_s > 0
