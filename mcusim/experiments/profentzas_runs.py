"""Networks and runs of Profentzas et al. 2021, with what was published of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from mcusim.boards import load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.graph import DType, Graph, Operator, Options, Quantization, Tensor
from mcusim.zoo import build

__all__ = [
    "BOARD",
    "DATA_SETS",
    "FILTERS",
    "PARAMETERS",
    "PUBLISHED",
    "RUNTIMES",
    "estimated",
    "utensor_network",
]

#: Filters of each convolution: Conv-16 to Conv-128.
FILTERS = (16, 32, 64, 96, 128)

BOARD = "nrf52840-dk"
DATA_SETS = {"mnist": "Table 3", "cifar10": "Table 4"}
RUNTIMES = {"CMSIS-NN": "cmsis-nn@q7", "uTensor": "utensor", "TF-Micro": "tflm@ncs1.4"}
_BUILDS = {
    "CMSIS-NN": "gcc-O3-nobuiltin-bytecpy",
    "uTensor": "gcc-Os",  # mbed-cli's profile "develop"
    "TF-Micro": "gcc-Os",
}

#: Table 2: parameters, and accuracy in percent.
PARAMETERS = {
    "mnist": ((6_490, 97), (17_578, 98), (53_578, 98), (108_010, 99), (180_874, 99)),
    "cifar10": ((8_538, 67), (21_674, 68), (61_771, 70), (120_298, 71), (197_258, 72)),
}

#: Tables 3 and 4: bytes of RAM and of flash, milliseconds, millijoules.
PUBLISHED: dict[tuple[str, str], tuple[tuple[float | None, ...], ...]] = {
    ("CMSIS-NN", "mnist"): (
        (22_788, 29_724, 188, 5),
        (47_396, 40_828, 597, 16),
        (110_436, 76_828, 2_091, 57),
        (191_908, 105_336, 4_495, 122),
        (253_042, 166_470, 8_445, 230),
    ),
    ("CMSIS-NN", "cifar10"): (
        (77_720, 34_076, 357, 10),
        (80_856, 78_360, 1_004, 27),
        (120_952, 87_336, 2_100, 58),
        (182_288, 148_660, 6_021, 164),
        (265_684, 193_068, None, None),
    ),
    ("uTensor", "mnist"): (
        (28_544, 70_712, 3_034, 70),
        (42_064, 70_776, 10_001, 231),
        (69_104, 70_840, 34_960, 808),
        (100_072, 70_904, 76_338, 1_763),
        (123_184, 70_968, 138_668, 3_203),
    ),
    ("uTensor", "cifar10"): (
        (47_704, 78_248, 5_986, 138),
        (76_504, 78_264, 17_148, 396),
        (134_104, 78_280, 56_824, 1_313),
        (191_704, 78_344, 119_265, 2_755),
        (249_304, 78_472, 209_073, 4_830),
    ),
    ("TF-Micro", "mnist"): (
        (60_432, 159_372, 973, 19),
        (72_640, 171_580, 3_218, 64),
        (110_880, 209_820, 11_526, 228),
        (167_552, 266_492, 24_939, 494),
        (242_656, 341_596, 43_415, 860),
    ),
    ("TF-Micro", "cifar10"): (
        (62_048, 170_544, 1_961, 39),
        (82_400, 184_800, 5_720, 113),
        (124_736, 227_136, 18_641, 369),
        (185_536, 287_936, 38_775, 768),
        (251_736, 367_136, 66_113, 1_309),
    ),
}


def utensor_network(data_set: str, filters: int) -> Graph:
    """The network as it was given to utensor_cgen: from float32 to logits in float32.

    Softmax, which the code generator lacks, is left out. TensorFlow's converter of 2020 writes a
    convolution of one channel as a depthwise one, which the generated code shows.

    Args:
        data_set: ``"mnist"`` or ``"cifar10"``.
        filters: of each convolution.
    """
    graph = build(f"conv-{filters}-{data_set}")
    main = graph.main
    tensors, operators = list(main.tensors), [o for o in main.operators if o.name != "SOFTMAX"]
    if data_set == "mnist":
        operators[0] = _as_depthwise(tensors, operators[0])
    logits = operators[-1].outputs
    changed = replace(main, tensors=tuple(tensors), operators=tuple(operators), outputs=logits)
    return _with_float_ends(replace(graph, subgraphs=(changed,)))


def _with_float_ends(graph: Graph) -> Graph:
    """The network with float32 inputs and outputs, as both converters were told to leave it."""
    main = graph.main
    tensors = list(main.tensors)
    ends = []
    for index in (main.inputs[0], main.outputs[0]):
        ends.append(len(tensors))
        shape = tensors[index].shape
        tensors.append(Tensor(len(tensors), f"{tensors[index].name} float", shape, DType.FLOAT32))
    operators = (
        Operator("QUANTIZE", (ends[0],), main.inputs),
        *main.operators,
        Operator("DEQUANTIZE", main.outputs, (ends[1],)),
    )
    changed = replace(
        main,
        tensors=tuple(tensors),
        operators=operators,
        inputs=(ends[0],),
        outputs=(ends[1],),
    )
    return replace(graph, subgraphs=(changed,))


def _as_depthwise(tensors: list[Tensor], convolution: Operator) -> Operator:
    """A convolution of one channel as the depthwise one that computes the same."""
    index = convolution.inputs[1]
    weights = tensors[index]
    filters = weights.shape[0]
    data = np.ascontiguousarray(np.asarray(weights.data).transpose(3, 1, 2, 0))
    old = weights.quantization
    scales = Quantization(old.scales, old.zero_points, 3) if old else None
    tensors[index] = replace(weights, shape=data.shape, data=data, quantization=scales)
    options = Options({**convolution.options, "depth_multiplier": filters})
    return replace(convolution, name="DEPTHWISE_CONV_2D", options=options)


@cache
def estimated(runtime: str, data_set: str, filters: int, build_name: str = "") -> Estimate:
    """The estimate of a network of the paper.

    The chip's instruction cache is off after reset. The bare firmware of CMSIS-NN leaves it so and
    holds weights in ``.data``, as its published ELF shows; Mbed OS under uTensor leaves it so in
    its ``system_nrf52840.c``; Zephyr under TF-Micro turns it on.

    Args:
        runtime: as the paper calls it.
        data_set: ``"mnist"`` or ``"cifar10"``.
        filters: of each convolution.
        build_name: compiler and flags; as published when empty.
    """
    graph = _network(runtime, data_set, filters)
    flags = build_name or _BUILDS[runtime]
    board = load_board(BOARD)
    if runtime != "TF-Micro":
        board = board.with_flash(icache_on=False)
    places = {"weights": "ram"} if runtime == "CMSIS-NN" else None
    return estimate(graph, board, RUNTIMES[runtime], flags, placement=places)


def _network(runtime: str, data_set: str, filters: int) -> Graph:
    if runtime == "uTensor":
        return utensor_network(data_set, filters)
    graph = build(f"conv-{filters}-{data_set}")
    return _with_float_ends(graph) if runtime == "TF-Micro" else graph
