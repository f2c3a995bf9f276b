"""Heim et al., "Measuring what Really Matters" (2021): LeNet-5 and ResNet-20 on three STM32 boards.

Published numbers are those of the slides' tables 5.1 to 5.11 and of arXiv:2104.10645.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcusim.experiments.heim_layers import layer_claims, layer_figures, layer_rows
from mcusim.experiments.prediction import Run, estimated, latency_row
from mcusim.experiments.reproduction import Claim, Figure, Reproduction, Row, Series
from mcusim.models import load_model
from mcusim.tflite import write

__all__ = ["reproduce"]

_L4, _F4, _F7 = "nucleo-l496zg", "disco-f469ni", "nucleo-f767zi"
_BOARDS = {"L4": _L4, "F4": _F4, "F7": _F7}
_LENET, _RESNET = "lenet-5", "resnet-20"
_CMSIS = "cmsis-nn@2020"

#: Table 5.8, int8, -Ofast, FPU on: without and with CMSIS-NN, in ms.
_TABLE_5_8 = {
    (_LENET, "L4"): (120.7, 36.4),
    (_RESNET, "L4"): (12088.46, 2217.0),
    (_LENET, "F4"): (65.6, 16.1),
    (_RESNET, "F4"): (6506.3, 984.3),
    (_LENET, "F7"): (17.9, 8.1),
    (_RESNET, "F7"): (1119.8, 449.3),
}
#: Table 5.9: float32 without FPU at -Os, and int8 with CMSIS-NN at -Ofast, in ms.
_TABLE_5_9 = {
    (_LENET, "L4"): (470.54, 36.39),
    (_LENET, "F4"): (227.6, 16.11),
    (_LENET, "F7"): (126.42, 8.05),
    (_RESNET, "L4"): (None, 2217.01),
    (_RESNET, "F4"): (28817.51, 984.32),
    (_RESNET, "F7"): (15565.85, 449.3),
}
#: Table 5.11: ResNet over LeNet, best and worst configuration.
_TABLE_5_11 = {"L4": (60.9, None), "F4": (61.1, 126.6), "F7": (55.8, 123.1)}

_UNKNOWN_BINARY = (
    "the reference kernels of the published code would run below one cycle an instruction at this "
    "time, so that another binary ran: the range is over builds of today's reference kernels"
)


def reproduce() -> Reproduction:
    """Every table that can be predicted, and the paper's conclusions."""
    return Reproduction(
        "heim",
        "Heim, Biri, Qu, Thiele: Measuring what Really Matters: Optimizing Neural Networks for "
        "TinyML (2021)",
        (*_sizes(), *_latencies(), *_ratios(), *_energies(), *layer_rows()),
        (*_claims(), *layer_claims()),
        (_pareto(), *layer_figures()),
        _REMARKS,
    )


_REMARKS = (
    "The F7's LeNet, which is mostly calls and loops of few turns, is predicted too fast while its "
    "ResNet, mostly SIMD products, is too slow: one scale serves both. The Cortex-M7 issues two "
    "instructions at a time where they suit; how often they do differs between kernels, and one "
    "share for each class of instructions holds the mean.",
    "Reference kernels (CMSIS-NN off) have no prediction of their own: the vendored code was "
    "counted, and the published times lie below one cycle for each of its instructions. A range "
    "over builds of today's reference kernels is given, and no error is claimed for it.",
    "Accuracies of tables 5.5 to 5.7 belong to trained weights on MNIST and CIFAR-10. "
    "`mcusim debug` measures them for a data set of one's own; a test trains a small network on "
    "scikit-learn's digits and holds float, TFLM and CMSIS-NN against each other.",
)


def _best(model: str, board: str) -> Run:
    return Run(model, _BOARDS[board], _CMSIS, "gcc-Ofast")


def _reference(model: str, board: str, fpu: bool | None = None) -> list[Run]:
    return [
        Run(model, _BOARDS[board], "tflm", build, fpu) for build in ("gcc-O3", "gcc-mk", "gcc-Os")
    ]


def _sizes() -> Iterator[Row]:
    published = {
        _LENET: (81_194, 290_840, 73.0),
        _RESNET: (274_442, 41_092_646, 72.0),
    }
    for model, (parameters, operations, saved) in published.items():
        graph = load_model(f"{model}:float32")
        held = [
            t.elements for t in graph.main.tensors if t.dtype.numpy.kind == "f" and t.is_constant
        ]
        yield Row(
            "Table 5.2", f"{model}: parameters", "count", parameters, float(sum(held)),
            note="batch normalization is folded into the convolutions, as the converter does",
        )  # fmt: skip
        yield Row(
            "Table 5.2", f"{model}: operations", "count", operations, _operations(model),
            note="multiply-accumulates, bias channels, ReLU outputs, sums, taps of pooling, and 15 "
            "an element of SOFTMAX, as the published numbers count",
        )  # fmt: skip
        sizes = [len(write(load_model(name))) for name in (f"{model}:float32", model)]
        yield Row(
            "Figures 5.2, 5.3", f"{model}: smaller by quantization", "%", saved,
            100 * (1 - sizes[1] / sizes[0]),
        )  # fmt: skip


def _operations(model: str) -> float:
    total = 0.0
    for node in load_model(f"{model}:float32").main.nodes:
        out = node.outputs[0]
        name = node.name
        if name in ("CONV_2D", "FULLY_CONNECTED"):
            weights = node.input(1)
            total += out.elements * weights.elements / weights.shape[0]
            total += out.shape[-1] if name == "CONV_2D" else 0
        elif name == "AVERAGE_POOL_2D":
            window = node.options.integer("filter_width") * node.options.integer("filter_height")
            total += out.elements * window
        elif name == "ADD":
            total += out.elements
        elif name == "SOFTMAX":
            total += 15 * out.elements
        if node.options.text("fused_activation_function") == "RELU":
            total += out.elements
    return total


def _latencies() -> Iterator[Row]:
    for (model, board), (without, with_library) in _TABLE_5_8.items():
        yield latency_row(
            "Table 5.8", f"{model}, {board}, int8, reference kernels, -Ofast", without,
            _reference(model, board), _UNKNOWN_BINARY,
        )  # fmt: skip
        yield latency_row(
            "Table 5.8", f"{model}, {board}, int8, CMSIS-NN, -Ofast", with_library,
            [_best(model, board)],
        )  # fmt: skip
    for (model, board), (worst, best) in _TABLE_5_9.items():
        what = f"{model}, {board}, float32, reference kernels, -Os, FPU off"
        if worst is None:
            flash = estimated(Run(f"{model}:float32", _BOARDS[board], "tflm", "gcc-Os")).flash_bytes
            yield Row(
                "Table 5.9", what, "ms", None,
                note=f"not deployable: {flash:,} bytes of flash, the board has 1,048,576",
            )  # fmt: skip
        else:
            yield latency_row(
                "Table 5.9", what, worst, _reference(f"{model}:float32", board, False),
                _UNKNOWN_BINARY,
            )  # fmt: skip
        yield latency_row(
            "Table 5.9", f"{model}, {board}, int8, CMSIS-NN, -Ofast", best, [_best(model, board)]
        )


def _ratios() -> Iterator[Row]:
    for board, (best, worst) in _TABLE_5_11.items():
        ours = [estimated(_best(model, board)).latency_s for model in (_RESNET, _LENET)]
        yield Row("Table 5.11", f"{board}: ResNet over LeNet, best", "x", best, ours[0] / ours[1])
        if worst is not None:
            soft = [
                estimated(Run(f"{m}:float32", _BOARDS[board], "tflm", "gcc-Os", False)).latency_s
                for m in (_RESNET, _LENET)
            ]
            ratio = soft[0] / soft[1]
            yield Row("Table 5.11", f"{board}: ResNet over LeNet, worst", "x", worst, ratio)


def _energies() -> Iterator[Row]:
    """The slides' text gives no energy in numbers; power is what two runs of RocketLogger show."""
    for board in _BOARDS:
        for model in (_LENET, _RESNET):
            found = estimated(_best(model, board))
            low, high = found.energy_interval_j
            yield Row(
                "Energy", f"{model}, {board}, int8, CMSIS-NN, -Ofast", "mJ", None,
                1e3 * found.energy_j, 1e3 * low, 1e3 * high,
                "the texts hold this number in a figure only",
            )  # fmt: skip


def _claims() -> Iterator[Claim]:
    times = {key: estimated(_best(*key)).latency_s for key in _TABLE_5_8}
    for model in (_LENET, _RESNET):
        order = sorted(_BOARDS, key=lambda board: times[model, board])
        yield Claim(
            f"{model} with CMSIS-NN is fastest on the F7, then the F4, then the L4",
            order == ["F7", "F4", "L4"],
            ", ".join(f"{b} {1e3 * times[model, b]:.4g} ms" for b in order),
        )
    yield _deeper_gains_more()
    yield _fpu()
    yield _quantized_is_not_faster_alone()
    yield _resnet_does_not_fit()
    yield _compiler()
    yield from _energy_claims()


def _deeper_gains_more() -> Claim:
    gains = {}
    for model in (_LENET, _RESNET):
        best = estimated(_best(model, "L4")).latency_s
        gains[model] = [estimated(run).latency_s / best for run in _reference(model, "L4")]
    text = ", ".join(f"{m} {min(g):.1f} to {max(g):.1f}" for m, g in gains.items())
    return Claim(
        "Deeper networks gain more from CMSIS-NN (L4: 3.3 for LeNet, 5.5 for ResNet)",
        all(deep > flat for flat, deep in zip(gains[_LENET], gains[_RESNET], strict=True)),
        f"times faster over builds of today's reference kernels, each compared with itself: {text}",
    )


def _fpu() -> Claim:
    name = f"{_LENET}:float32"
    hard, soft = (
        estimated(Run(name, _L4, "tflm", "gcc-O3", fpu)).latency_s for fpu in (True, False)
    )
    return Claim(
        "The FPU makes the float LeNet 3.6 to 4 times as fast (L4, -Ofast)",
        abs(soft / hard / 4 - 1) < 0.25,
        f"{soft / hard:.1f} times, soft-float library calls counted; within a quarter counts as so",
    )


def _quantized_is_not_faster_alone() -> Claim:
    hard = estimated(Run(f"{_LENET}:float32", _L4, "tflm", "gcc-O3", True)).latency_s
    whole = estimated(Run(_LENET, _L4, "tflm", "gcc-O3")).latency_s
    best = estimated(_best(_LENET, "L4")).latency_s
    return Claim(
        "Without CMSIS-NN the int8 LeNet is no faster than float32 with the FPU; with it, it is",
        whole > hard > best,
        f"int8 {1e3 * whole:.4g} ms, float32 {1e3 * hard:.4g} ms, CMSIS-NN {1e3 * best:.4g} ms",
    )


def _resnet_does_not_fit() -> Claim:
    found = {
        board: estimated(Run(f"{_RESNET}:float32", name, "tflm", "gcc-Ofast"))
        for board, name in _BOARDS.items()
    }
    too_big = [b for b, e in found.items() if e.flash_bytes > e.board.flash.bytes]
    return Claim(
        "The float ResNet does not fit the L4's 1 MiB of flash, and fits the others",
        too_big == ["L4"],
        f"{found['L4'].flash_bytes:,} bytes of flash on the L4",
    )


def _compiler() -> Claim:
    sizes = [
        estimated(Run(_LENET, _L4, _CMSIS, build)).flash_bytes for build in ("gcc-Ofast", "gcc-Os")
    ]
    saved = sizes[0] - sizes[1]
    return Claim(
        "-Os makes the binary smaller than -Ofast (by 115 KiB with Mbed OS and its libraries)",
        saved > 0,
        f"{saved / 1024:.0f} KiB of model, TFLM and kernels; Mbed OS is not in our figure",
    )


def _energy_claims() -> Iterator[Claim]:
    points = {key: estimated(_best(*key)) for key in _TABLE_5_8}
    slowest = [
        estimated(Run(model, name, _CMSIS, build))
        for model in (_LENET, _RESNET)
        for name in _BOARDS.values()
        for build in ("gcc-Ofast", "gcc-Os")
    ]
    within = []
    for name in _BOARDS.values():
        chosen = [e for e in slowest if e.board.name == name]
        x, y = [e.latency_s for e in chosen], [e.energy_j for e in chosen]
        within.append(float(np.corrcoef(x, y)[0, 1]))
    yield Claim(
        "Energy is linear in latency on each board, r > 0.99",
        min(within) > 0.99,
        f"smallest r over builds and networks of a board {min(within):.4f}; by construction nearly "
        "so, as power hardly depends on what runs",
    )
    for model in (_LENET, _RESNET):
        l4, f4, f7 = (points[model, board] for board in _BOARDS)
        beaten = any(e.latency_s <= f4.latency_s and e.energy_j <= f4.energy_j for e in (l4, f7))
        yield Claim(
            f"The F4 is not on the Pareto front of {model}",
            beaten,
            ", ".join(
                f"{b} {1e3 * points[model, b].latency_s:.4g} ms "
                f"{1e3 * points[model, b].energy_j:.3g} mJ"
                for b in _BOARDS
            ),
        )


def _pareto() -> Figure:
    series = []
    for board in _BOARDS:
        chosen = [estimated(_best(model, board)) for model in (_LENET, _RESNET)]
        series.append(
            Series(board, [1e3 * e.latency_s for e in chosen], [1e3 * e.energy_j for e in chosen])
        )
    return Figure(
        "heim-pareto", "Energy against latency, int8 with CMSIS-NN", "latency in ms",
        "energy in mJ", tuple(series), "points", True,
    )  # fmt: skip
