"""Reference kernels of TensorFlow 2.2.0: what single operators tell of networks never fitted."""

from __future__ import annotations

import pytest

import mcusim
from mcusim.calibration.priced_runs import with_float_ends
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.profile import load_profile
from mcusim.runtimes import plan, select
from tests.oracles import activation, quantized, single_operator


@pytest.mark.parametrize(
    ("model", "board", "counted"),
    [
        ("lenet-5", "disco-f469ni", 6_792_976),
        ("lenet-5", "nucleo-f767zi", 5_793_483),
        ("resnet-20", "disco-f469ni", 652_925_243),
        ("resnet-20", "nucleo-f767zi", 387_656_128),
    ],
)
def test_int8_networks_execute_what_the_published_files_do(model, board, counted):
    """The firmware of Heim et al., gcc 9.3.0 -Ofast, executed with their .tflite files."""
    graph = with_float_ends(mcusim.load_model(model))
    found = mcusim.estimate(graph, mcusim.load_board(board), "tflm@2020", "gcc-Ofast")
    total = sum(layer.instructions.total for layer in found.layers)
    assert total == pytest.approx(counted, rel=0.005)


@pytest.mark.parametrize(
    ("model", "counted"), [("lenet-5:float32", 30_581_487), ("resnet-20:float32", 3_698_270_206)]
)
def test_float_networks_execute_about_as_much(model, counted):
    """As published, a digit of MNIST and a random image given: how many zeros there are decides."""
    found = mcusim.estimate(
        mcusim.load_model(model),
        mcusim.load_board("disco-f469ni"),
        "tflm@2020",
        "gcc-Os",
        fpu=False,
    )
    total = sum(layer.instructions.total for layer in found.layers)
    assert total == pytest.approx(counted, rel=0.08)


@pytest.mark.parametrize(
    # For the M4, two of the four questions whether a tap is in the image stay inside.
    ("core", "instructions"),
    [("m4", 15), ("m7", 8)],
)
def test_the_inner_loop_is_as_disassembled(core, instructions):
    build = load_profile("tflm@2020/conv_2d_int8").builds[f"{core}.gcc-Ofast"]
    turns = dict(zip(build.levels, build.per_turn[:, : len(CLASSES)].sum(axis=1), strict=True))
    found = turns["product"] + sum(turns[level] for level in turns if level.endswith(".channel"))
    assert found == pytest.approx(instructions, abs=0.1)


def test_int8_maximum_is_refused():
    """MAX_POOL_2D is registered in version 1 only: float32 and uint8."""
    image = activation((1, 4, 4, 2), mcusim.graph.DType.INT8, quantized(0.1))
    pooled = activation((1, 2, 2, 2), mcusim.graph.DType.INT8, quantized(0.1))
    options = mcusim.graph.Options(
        {"padding": "VALID", "stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2}
    )
    graph = single_operator("MAX_POOL_2D", [image], [pooled], options, "Pool2DOptions")
    with pytest.raises(mcusim.McusimError, match="no int8 maximum"):
        plan(graph, "tflm@2020")


def test_the_newest_is_not_told_by_its_year():
    assert select("tflm").name == "tflm"
    assert select("tflm@2020").name == "tflm@2020"


def test_broadcasting_is_priced_as_of_today():
    wide, narrow = (activation(s, mcusim.graph.DType.FLOAT32) for s in ((1, 4, 4, 2), (1, 1, 1, 2)))
    graph = single_operator("ADD", [wide, narrow], [wide], mcusim.graph.Options(), "AddOptions")
    (layer,) = plan(graph, "tflm@2020").layers
    assert layer.calls[0].profile == "reference/add_float32"
