"""Profentzas et al. 2021: one small network under uTensor, TF-Micro and CMSIS-NN, on an nRF52840.

"Performance of Deep Neural Networks on Low-Power IoT Devices", CPS-IoTBench 2021,
doi 10.1145/3458473.3458823; firmware at github.com/chrpro/TinyML-Evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from mcusim.boards import load_board
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.experiments.reproduction import Claim, Figure, Reproduction, Row, Series
from mcusim.graph import DType, Graph, Operator, Options, Quantization, Tensor
from mcusim.zoo import build

__all__ = ["FILTERS", "reproduce", "utensor_network"]

#: Filters of each convolution: Conv-16 to Conv-128.
FILTERS = (16, 32, 64, 96, 128)

_BOARD = "nrf52840-dk"
_DATA_SETS = {"mnist": "Table 3", "cifar10": "Table 4"}
_RUNTIMES = {"CMSIS-NN": "cmsis-nn@q7", "uTensor": "utensor", "TF-Micro": "tflm@ncs1.4"}
_BUILDS = {
    "CMSIS-NN": "gcc-O3-nobuiltin-bytecpy",
    "uTensor": "gcc-Os",  # mbed-cli's profile "develop"
    "TF-Micro": "gcc-Os",
}

#: Tables 3 and 4: bytes of RAM and of flash, milliseconds, millijoules.
_PUBLISHED: dict[tuple[str, str], tuple[tuple[float | None, ...], ...]] = {
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

#: Published RAM of uTensor beyond its pools, the same for nine of ten networks: Mbed OS with a main
#: stack of 8,024 bytes (``mbed_app.json``), C library, drivers. None of it depends on the network.
_MBED_BYTES = {"mnist": 11_000, "cifar10": 14_816}

#: RAM and flash of TF-Micro beyond the model, from the binaries published for Conv-32 and their
#: models of 23,632 and 27,792 bytes: Zephyr, every operator, the hand-sized arena's margin.
_ZEPHYR_BYTES = {"mnist": (49_008, 147_948), "cifar10": (54_608, 157_008)}

#: What TensorFlow's converter writes beyond our own writer, on the models of Conv-32.
_CONVERTER_BYTES = {"mnist": 23_632 - 21_744, "cifar10": 27_792 - 25_840}

_NOTES = {
    ("CMSIS-NN", "ram_bytes"): "the firmware's static buffers are its own choice",
    ("CMSIS-NN", "flash_bytes"): "weights in a program that was not measured",
    ("uTensor", "ram_bytes"): (
        "pools as utensor_cgen sizes them, and what Mbed OS takes: the published remainder, which "
        "does not depend on the network"
    ),
    ("uTensor", "flash_bytes"): (
        "published without weights, with Mbed OS; ours is uTensor and its C++ library alone"
    ),
    ("TF-Micro", "ram_bytes"): (
        "the arena is sized by hand, to the model's length and more; the rest is that of Conv-32"
    ),
    ("TF-Micro", "flash_bytes"): "the model, and the program of the binary published for Conv-32",
}


#: Runs that the calibration leaves out.
_LEFT_OUT = (("CMSIS-NN", "cifar10", 64), ("CMSIS-NN", "cifar10", 128))


@dataclass(frozen=True)
class _Case:
    """One network under one runtime."""

    runtime: str
    data_set: str
    filters: int
    published: tuple[float | None, ...]

    @property
    def name(self) -> str:
        return f"Conv-{self.filters} {self.runtime}"


def reproduce() -> Reproduction:
    """Tables 3 and 4, and what the paper concludes from them."""
    rows = [row for case in _cases() for row in _rows(case)]
    return Reproduction(
        "profentzas",
        "Profentzas et al. 2021, Performance of Deep Neural Networks on Low-Power IoT Devices",
        tuple(rows),
        tuple(_claims()),
        _figures(),
        _REMARKS,
    )


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


def _cases() -> Iterator[_Case]:
    for (runtime, data_set), published in _PUBLISHED.items():
        for filters, values in zip(FILTERS, published, strict=True):
            yield _Case(runtime, data_set, filters, values)


@cache
def _estimate(runtime: str, data_set: str, filters: int, build_name: str = "") -> Estimate:
    if runtime == "uTensor":
        graph = utensor_network(data_set, filters)
    else:
        graph = build(f"conv-{filters}-{data_set}")
    if runtime == "TF-Micro":
        graph = _with_float_ends(graph)
    board = load_board(_BOARD)
    return estimate(graph, board, _RUNTIMES[runtime], build_name or _BUILDS[runtime])


def _rows(case: _Case) -> Iterator[Row]:
    found = _estimate(case.runtime, case.data_set, case.filters)
    ram, flash = _memory(case, found)
    quantities: tuple[tuple[str, float | None, float, tuple[float, float] | None], ...] = (
        ("RAM bytes", ram, 1.0, None),
        ("flash bytes", flash, 1.0, None),
        ("ms", found.latency_s, 1e3, found.latency_interval_s),
        ("mJ", found.energy_j, 1e3, found.energy_interval_j),
    )
    names = ("ram_bytes", "flash_bytes", "latency_ms", "energy_mj")
    for (unit, value, factor, bounds), name, published in zip(
        quantities, names, case.published, strict=True
    ):
        low, high = (None, None) if bounds is None else (bounds[0] * factor, bounds[1] * factor)
        yield Row(
            _DATA_SETS[case.data_set],
            case.name,
            unit,
            published,
            None if value is None else value * factor,
            low,
            high,
            _note(case, name),
            seen=_was_seen(case, name, found),
        )


def _memory(case: _Case, found: Estimate) -> tuple[int | None, int | None]:
    """RAM and flash as the paper counts them; None where the program is not known."""
    if case.runtime == "uTensor":
        # The published figure "counts only program code and input vectors".
        program = next(p.size_bytes for p in found.flash if p.name.startswith("uTensor"))
        return (found.arena_bytes or 0) + _MBED_BYTES[case.data_set], program
    if case.runtime == "TF-Micro":
        model = found.flash_bytes + _CONVERTER_BYTES[case.data_set]
        ram, flash = _ZEPHYR_BYTES[case.data_set]
        return ram + model, flash + model
    return None, None


def _was_seen(case: _Case, name: str, found: Estimate) -> bool:
    """Whether the board's calibration, or a constant here, holds the number."""
    if name in ("latency_ms", "energy_mj"):
        fitted = found.board.calibration
        if fitted is None or f"{found.runtime} {found.build}" not in fitted.software:
            return False
        return (case.runtime, case.data_set, case.filters) not in _LEFT_OUT
    return case.runtime == "TF-Micro" and case.filters == 32


def _note(case: _Case, name: str) -> str:
    own = {
        ("CMSIS-NN", "cifar10", 64): (
            "1.34 cycles an instruction where its neighbours take 2.06 to 2.28: not of this build"
        ),
        ("CMSIS-NN", "cifar10", 128): "exceeds the RAM, was not run",
    }
    if name in ("latency_ms", "energy_mj"):
        found = own.get((case.runtime, case.data_set, case.filters))
        if found:
            return found
    if (case.runtime, case.data_set, case.filters, name) == ("uTensor", "mnist", 96, "ram_bytes"):
        return "3,928 bytes above the line of the other four, unexplained"
    return _NOTES.get((case.runtime, name), "")


def _claims() -> Iterator[Claim]:
    order = [
        (d, f, [_estimate(r, d, f).energy_j for r in ("CMSIS-NN", "TF-Micro", "uTensor")])
        for d in _DATA_SETS
        for f in FILTERS
    ]
    wrong = [f"Conv-{f} {d}" for d, f, energies in order if energies != sorted(energies)]
    yield Claim(
        "CMSIS-NN is the most energy-efficient, followed by TF-Micro and then uTensor",
        not wrong,
        f"so in all {len(order)} networks" if not wrong else f"not in {', '.join(wrong)}",
    )
    ratios = [_ratio(f, "uTensor", "TF-Micro") for f in FILTERS]
    yield Claim(
        "uTensor takes 3.0 to 3.2 times as long as TF-Micro (Table 3)",
        2.7 <= min(ratios) <= max(ratios) <= 3.5,
        f"{min(ratios):.2f} to {max(ratios):.2f} times on MNIST",
    )
    small, large = (_estimate("uTensor", "mnist", f).arena_bytes or 0 for f in (16, 128))
    yield Claim(
        "uTensor's RAM grows with what it allocates, 845 bytes a filter on MNIST",
        large - small == 845 * 112,
        f"{(large - small) / 112:g} bytes a filter: both activations of the first layer",
    )
    sizes = {_estimate("uTensor", "mnist", f).flash[-1].size_bytes for f in FILTERS}
    yield Claim(
        "uTensor's program is of one size for all networks",
        len(sizes) == 1,
        f"{min(sizes):,} bytes without Mbed OS",
    )
    gains = [
        _estimate("CMSIS-NN", d, f).latency_s / _estimate("CMSIS-NN", d, f, "gcc-O3").latency_s
        for d in _DATA_SETS
        for f in FILTERS
    ]
    yield Claim(
        "CMSIS-NN is specialized for the DSP instructions of the core",
        None,
        "as compiled, with -fno-builtin, every access to four bytes is a call of a memcpy that "
        f"copies bytes; without that the same kernels are {min(gains):.1f} to {max(gains):.1f} "
        "times as fast",
    )


def _ratio(filters: int, one: str, other: str) -> float:
    return _estimate(one, "mnist", filters).latency_s / _estimate(other, "mnist", filters).latency_s


def _figures() -> tuple[Figure, ...]:
    series = []
    for runtime in _RUNTIMES:
        published = [values[2] for values in _PUBLISHED[runtime, "mnist"]]
        ours = [_estimate(runtime, "mnist", f).latency_s * 1e3 for f in FILTERS]
        series.append(
            Series(f"{runtime}, published", FILTERS, [float(p or 0.0) for p in published])
        )
        series.append(Series(f"{runtime}, predicted", FILTERS, ours))
    return (
        Figure(
            "profentzas-latency",
            "Latency of Conv-N on MNIST, nRF52840 at 64 MHz",
            "filters",
            "ms",
            tuple(series),
            logarithmic=True,
        ),
    )


_REMARKS = (
    "uTensor's source is known to the commit (2cb1b70, June 2020, pinned by the benchmark), and so "
    "is the code that was generated. Its times are predicted from instructions counted in that "
    "source, compiled with GCC 12.2 at -Os, with no row of it in any fit. As pinned it does not "
    "compile for Arm: a sum of type int is ambiguous. We cast it to the element type; the authors "
    "must have done something of the kind.",
    "uTensor's convolution sums stored int8 values in an int8, without zero point, bias or scale: "
    "the measured firmware does not compute the network. The paper reports the accuracy of the "
    "float32 networks only.",
    "TF-Micro's firmware for Conv-32 is published as a binary, with assertions on. Given models of "
    "one operator, it was counted in an emulator; with its own model, it computes what mcusim "
    "computes, bit for bit. It executes 138,488,153 instructions on MNIST and 242,491,313 on "
    "CIFAR-10, so that the published times are 1.49 and 1.51 cycles an instruction: Zephyr turns "
    "the instruction cache on. uTensor's times are 2.3 to 2.4 cycles an instruction of ours; "
    "whether Mbed OS left the cache off is not said, and its compiler was an older one.",
    "RAM of CMSIS-NN's firmware is what its authors reserved by hand and cannot be predicted from "
    "the network. That of TF-Micro is Conv-32's published binary with another model, which six of "
    "the other eight networks meet within one percent; uTensor's is what its code generator takes.",
)
