"""What the builds of Heim et al. need: sizes of networks and programs, the FPU, the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from mcusim.boards import load_board
from mcusim.errors import ModelError
from mcusim.estimator import estimate
from mcusim.experiments.heim_runs import (
    BOARDS,
    CMSIS,
    LENET,
    RESNET,
    best,
    ratio_row,
    reference,
)
from mcusim.experiments.prediction import Run, estimated
from mcusim.experiments.reproduction import Claim, Row
from mcusim.graph import DType, Graph, Quantization
from mcusim.models import load_model
from mcusim.runtimes.program_memory import function_sizes
from mcusim.tflite import write
from mcusim.zoo.networks import NETWORKS

__all__ = ["build_claims", "build_rows", "mixed"]

#: Table 5.1: clock in MHz, RAM in KiB, flash in MiB.
_TABLE_5_1 = {"L4": (80, 320, 1), "F4": (180, 384, 2), "F7": (216, 512, 2)}

#: Table 5.2: parameters, trainable ones, operations; figures 5.2 and 5.3: percent saved.
_TABLE_5_2 = {
    LENET: (81_194, 81_194, 290_840, 73.0),
    RESNET: (274_442, 273_066, 41_092_646, 72.0),
}

#: Kinds of builds: what the network computes in, and what is linked.
_SOFTWARE = {
    "float32, reference kernels": (":float32", "tflm"),
    "int8, reference kernels": ("", "tflm"),
    "int8, CMSIS-NN": ("", CMSIS),
}
_KIB = 1024


def build_rows() -> Iterator[Row]:
    """Tables 5.1 and 5.2, sizes, what -Os saves, and what the FPU and CMSIS-NN gain."""
    for board, (clock_mhz, ram_kib, flash_mib) in _TABLE_5_1.items():
        ours = load_board(BOARDS[board])
        yield Row("Table 5.1", f"{board}: clock", "MHz", clock_mhz, ours.clock.max_hz / 1e6)
        yield Row("Table 5.1", f"{board}: RAM", "KiB", ram_kib, ours.ram.bytes / _KIB)
        yield Row("Table 5.1", f"{board}: flash", "MiB", flash_mib, ours.flash.bytes / _KIB**2)
    yield from _network_rows()
    yield from _memory_rows()
    yield _saved_row()
    yield from _gain_rows()


def _network_rows() -> Iterator[Row]:
    for model, (parameters, trainable, operations, saved) in _TABLE_5_2.items():
        graph = load_model(f"{model}:float32")
        folded = sum(
            t.elements for t in graph.main.tensors if t.dtype.numpy.kind == "f" and t.is_constant
        )
        ours = NETWORKS[model]().parameters
        # Half of batch normalization's four a channel are running means and variances.
        ours_trained = ours - (ours - folded) / 2
        yield Row("Table 5.2", f"{model}: parameters", "count", parameters, ours)
        yield Row("Table 5.2", f"{model}: trainable parameters", "count", trainable, ours_trained)
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
        if model == LENET:
            yield Row(
                "Figures 5.2, 5.3", f"{model}: int8 of the float32 network", "%", 26.6,
                100 * sizes[1] / sizes[0],
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


def _memory_rows() -> Iterator[Row]:
    """Flash of each build, and what of the arena is known; figures 5.2 to 5.5 plot them."""
    for model in (LENET, RESNET):
        for kind, (suffix, runtime) in _SOFTWARE.items():
            for flag in ("-Ofast", "-Os"):
                run = Run(f"{model}{suffix}", BOARDS["L4"], runtime, f"gcc{flag}")
                found = estimated(run)
                low, high = found.flash_interval_bytes or (found.flash_bytes, found.flash_bytes)
                over = [b for b, n in BOARDS.items() if low > load_board(n).flash.bytes]
                note = "plotted only; model, TFLM and kernels, without Mbed OS"
                if over:
                    note += f"; more than the {' and '.join(over)} has"
                yield Row(
                    "Memory of each build", f"{model} {kind}, {flag}: flash", "KiB", None,
                    found.flash_bytes / _KIB, low / _KIB, high / _KIB, note,
                )  # fmt: skip
            today = "cmsis-nn" if runtime == CMSIS else runtime
            arena = estimated(Run(f"{model}{suffix}", BOARDS["L4"], today, "gcc-Os")).arena_bytes
            yield Row(
                "Memory of each build", f"{model} {kind}: tensor arena", "KiB", None,
                (arena or 0) / _KIB, note="of today's TFLM; that of 2020 does not tell",
            )  # fmt: skip


def _saved_row() -> Row:
    few = _flash(LENET, "gcc-Ofast") - _flash(LENET, "gcc-Os")
    every = sum(
        sum(row.bytes.get("m4.gcc-O3", ())[:3]) - sum(row.bytes.get("m4.gcc-Os", ())[:3])
        for row in function_sizes("cmsis-nn")
    )
    return Row(
        "Figures 5.4, 5.5", "smaller by -Os instead of -Ofast", "KiB", 115, None, few / _KIB,
        every / _KIB,
        "from the operators of LeNet alone to every operator of today's TFLM: which were linked is "
        "not said; Mbed OS comes on top",
    )  # fmt: skip


def _flash(model: str, build: str) -> int:
    return estimated(Run(model, BOARDS["L4"], CMSIS, build)).flash_bytes


def _gain_rows() -> Iterator[Row]:
    table = "Figures 2, 5.6"
    exact = f"{LENET}:float32"
    hard, soft = reference(exact, "L4", True), reference(exact, "L4", False)
    for published in (3.6, 4.0):
        source = "slides" if published < 4 else "paper"
        yield ratio_row(table, f"{LENET}, L4, float32: FPU on ({source})", published, soft, hard)
    whole, top = reference(LENET, "L4"), [best(LENET, "L4")]
    for published in (3.3, 4.0):
        source = "slides" if published < 4 else "paper"
        yield ratio_row(
            table, f"{LENET}, L4, int8: with CMSIS-NN ({source})", published, whole, top
        )
    gaps = [
        1e3 * (estimated(i).latency_s - estimated(f).latency_s)
        for i, f in zip(whole, hard, strict=True)
    ]
    yield Row(
        table, f"{LENET}, L4: int8 less float32 with FPU, reference kernels", "ms", 10, None,
        min(gaps), max(gaps), "a range over builds of today's reference kernels",
    )  # fmt: skip


@cache
def mixed(name: str) -> Graph:
    """A network of the zoo with float32 activations and int8 weights in its dense layers.

    This is what the converter's dynamic-range quantization writes of LeNet; convolutions are too
    small for it. Scales are per tensor, the largest weight being 127.

    Args:
        name: of a float32 network of the zoo.
    """
    graph = load_model(name)
    tensors = list(graph.main.tensors)
    for node in graph.main.nodes:
        if node.name != "FULLY_CONNECTED":
            continue
        weights = node.input(1)
        data = np.asarray(weights.data)
        scale = float(np.abs(data).max()) / 127
        tensors[weights.index] = replace(
            weights,
            data=np.round(data / scale).astype(np.int8),
            dtype=DType.INT8,
            quantization=Quantization(np.array([scale], np.float32), np.zeros(1, np.int64), 0),
        )
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def build_claims() -> Iterator[Claim]:
    """What the paper concludes of quantization, the FPU and the compiler."""
    yield _fpu()
    yield _quantized_is_not_faster_alone()
    yield _resnet_does_not_fit()
    yield from _compiler()
    yield _mixed_is_refused()


def _fpu() -> Claim:
    name = f"{LENET}:float32"
    pairs = zip(reference(name, "L4", False), reference(name, "L4", True), strict=True)
    gains = [estimated(soft).latency_s / estimated(hard).latency_s for soft, hard in pairs]
    return Claim(
        "The FPU makes the float LeNet several times as fast (L4: 3.6 to 4 times)",
        min(gains) > 2,
        f"{min(gains):.1f} to {max(gains):.1f} times over builds, calls of the soft-float library "
        "counted",
    )


def _quantized_is_not_faster_alone() -> Claim:
    hard = estimated(Run(f"{LENET}:float32", BOARDS["L4"], "tflm", "gcc-O3", True)).latency_s
    whole = estimated(Run(LENET, BOARDS["L4"], "tflm", "gcc-O3")).latency_s
    fastest = estimated(best(LENET, "L4")).latency_s
    return Claim(
        "Without CMSIS-NN the int8 LeNet is no faster than float32 with the FPU; with it, it is",
        whole > hard > fastest,
        f"int8 {1e3 * whole:.4g} ms, float32 {1e3 * hard:.4g} ms, CMSIS-NN {1e3 * fastest:.4g} ms",
    )


def _resnet_does_not_fit() -> Claim:
    found = {
        board: estimated(Run(f"{RESNET}:float32", name, "tflm", "gcc-Ofast"))
        for board, name in BOARDS.items()
    }
    too_big = [b for b, e in found.items() if e.flash_bytes > e.board.flash.bytes]
    model = next(p.size_bytes for p in found["L4"].flash if p.name == "model")
    return Claim(
        "The float ResNet does not fit the L4's 1 MiB of flash, and fits the others",
        too_big == ["L4"],
        f"{found['L4'].flash_bytes:,} bytes of flash on the L4, {model:,} of them the model alone",
    )


def _compiler() -> Iterator[Claim]:
    sizes = {flag: _flash(LENET, f"gcc{flag}") for flag in ("-Ofast", "-Os")}
    yield Claim(
        "-Os makes the program smaller than -Ofast",
        sizes["-Os"] < sizes["-Ofast"],
        f"{sizes['-Ofast']:,} and {sizes['-Os']:,} bytes of model, TFLM and kernels",
    )
    shares = {
        model: 1 - _flash(model, "gcc-Os") / _flash(model, "gcc-Ofast") for model in (LENET, RESNET)
    }
    yield Claim(
        "That is relatively more of LeNet than of ResNet, whose model is most of the binary",
        shares[LENET] > shares[RESNET],
        ", ".join(f"{model} {100 * share:.1f} %" for model, share in shares.items()),
    )
    slower = [
        estimated(Run(m, n, CMSIS, "gcc9-Os")).latency_s
        / estimated(Run(m, n, CMSIS, "gcc9-Ofast")).latency_s
        for m in (LENET, RESNET)
        for n in BOARDS.values()
    ]
    yield Claim(
        "-Ofast is faster than -Os",
        min(slower) > 1,
        f"-Os takes {min(slower):.2f} to {max(slower):.2f} times as long, int8 with CMSIS-NN",
    )


def _mixed_is_refused() -> Claim:
    refusals = []
    for runtime in ("tflm", "cmsis-nn", CMSIS):
        try:
            estimate(mixed(f"{LENET}:float32"), load_board(BOARDS["L4"]), runtime)
        except ModelError as error:
            refusals.append(str(error))
    return Claim(
        "The mixed model (int8 weights, float32 activations) is not supported by TFLM",
        len(refusals) == 3,
        f"{refusals[0] if refusals else 'it runs'}; where the published firmware gave 10 % of "
        "accuracy, that of guessing, today's TFLM stops",
    )
