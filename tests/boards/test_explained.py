"""What docs/boards.md says the model explains from the manuals alone, on firmware that is known."""

import pytest

import mcusim
from tests.boards.test_timing import stated
from tests.shared import SHARED, needs_shared

LENET, RESNET = "heim/01a_LeNet-MNIST_Q-full", "heim/01b_ResNet20_CIFAR-10_Q-full"
KWS, IC, AD, VWW = (
    f"mlperf_tiny/{name}"
    for name in ("kws_ref_model", "pretrainedResnet_quant", "ad01_int8", "vww_96_int8")
)

#: Network, board, runtime, build, measured ms: MLPerf Tiny v0.5 closed/reference and v1.0 OctoML;
#: Heim et al., tables 5.8 and 5.9. The last column is measured over predicted.
KNOWN = [
    (KWS, "nucleo-l4r5zi", "cmsis-nn@2020", "gcc-Os", 181.9174, 1.00),
    (IC, "nucleo-l4r5zi", "cmsis-nn@2020", "gcc-Os", 704.2254, 1.03),
    (AD, "nucleo-l4r5zi", "cmsis-nn@2020", "gcc-Os", 10.0516, 1.01),
    (VWW, "nucleo-l4r5zi", "cmsis-nn@2020", "gcc-Os", 600.6006, 0.94),
    (KWS, "nucleo-l4r5zi", "cmsis-nn@2022", "gcc-O3", 99.8104, 1.07),
    (IC, "nucleo-l4r5zi", "cmsis-nn@2022", "gcc-O3", 389.5598, 0.97),
    (AD, "nucleo-l4r5zi", "cmsis-nn@2022", "gcc-O3", 8.6050, 1.05),
    (LENET, "nucleo-l496zg", "cmsis-nn@2020", "gcc-Ofast", 36.39, 0.98),
    (RESNET, "nucleo-l496zg", "cmsis-nn@2020", "gcc-Ofast", 2217.01, 1.02),
    (LENET, "disco-f469ni", "cmsis-nn@2020", "gcc-Ofast", 16.11, 0.96),
    (RESNET, "disco-f469ni", "cmsis-nn@2020", "gcc-Ofast", 984.32, 1.02),
    (LENET, "nucleo-f767zi", "cmsis-nn@2020", "gcc-Ofast", 8.05, 0.98),
    (RESNET, "nucleo-f767zi", "cmsis-nn@2020", "gcc-Ofast", 449.3, 0.98),
]


def predicted(model, board, runtime, build):
    graph = mcusim.load_model(SHARED / "models" / f"{model}.tflite")
    return mcusim.estimate(graph, stated(board), runtime, build)


@needs_shared
@pytest.mark.parametrize(("model", "board", "runtime", "build", "milliseconds", "ratio"), KNOWN)
def test_a_board_from_its_manuals_is_within_ten_percent(
    model, board, runtime, build, milliseconds, ratio
):
    found = milliseconds / 1e3 / predicted(model, board, runtime, build).latency_s
    assert 0.93 < found < 1.11
    assert found == pytest.approx(ratio, abs=0.03), "docs/boards.md says otherwise"


@needs_shared
def test_an_f469_takes_more_cycles_than_an_l496_for_reference_kernels_alone():
    """Heim et al., table 5.8: 1.22 and 1.21 times with reference kernels, 1.00 with CMSIS-NN."""
    for model in (LENET, RESNET):
        ratios = [
            predicted(model, "disco-f469ni", *software).cycles
            / predicted(model, "nucleo-l496zg", *software).cycles
            for software in (("tflm", "gcc-Os"), ("cmsis-nn@2020", "gcc-Ofast"))
        ]
        assert ratios[0] > 1.05
        assert ratios[1] < 1.04 < ratios[0]
