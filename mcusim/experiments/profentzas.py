"""Profentzas et al. 2021: one small network under uTensor, TF-Micro and CMSIS-NN, on an nRF52840.

"Performance of Deep Neural Networks on Low-Power IoT Devices", CPS-IoTBench 2021,
doi 10.1145/3458473.3458823; firmware at github.com/chrpro/TinyML-Evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcusim.estimates import Estimate
from mcusim.experiments.profentzas_claims import claims
from mcusim.experiments.profentzas_memory import sizes
from mcusim.experiments.profentzas_runs import (
    DATA_SETS,
    FILTERS,
    PARAMETERS,
    PUBLISHED,
    RUNTIMES,
    estimated,
    utensor_network,
)
from mcusim.experiments.reproduction import Figure, Reproduction, Row, Series
from mcusim.graph import DType
from mcusim.zoo import build

__all__ = ["FILTERS", "reproduce", "utensor_network"]

_DOES_NOT_COMPILE = (
    "does not compile as published: arm_relu_q7 takes its size as a uint16_t, and -Wall -Werror "
    "refuses a larger one; what was changed for it is not known"
)
#: Runs that the calibration leaves out, and why.
_LEFT_OUT = {
    ("CMSIS-NN", "mnist", 128): _DOES_NOT_COMPILE,
    ("CMSIS-NN", "cifar10", 64): (
        "1.34 cycles an instruction where its neighbours take 2.06 to 2.10: not of this build"
    ),
    ("CMSIS-NN", "cifar10", 96): _DOES_NOT_COMPILE,
    ("CMSIS-NN", "cifar10", 128): "exceeds the RAM, was not run",
}

#: Of the board, while its current was measured.
_SUPPLY_V = 3.3


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
    """Tables 2 to 4, and what the paper concludes from them."""
    rows = [row for case in _cases() for row in _rows(case)]
    return Reproduction(
        "profentzas",
        "Profentzas et al. 2021, Performance of Deep Neural Networks on Low-Power IoT Devices",
        (*_parameters(), *rows, *_currents(), *_without_copies()),
        tuple(claims()),
        _figures(),
        _REMARKS,
    )


def _cases() -> Iterator[_Case]:
    for (runtime, data_set), published in PUBLISHED.items():
        for filters, values in zip(FILTERS, published, strict=True):
            yield _Case(runtime, data_set, filters, values)


def _rows(case: _Case) -> Iterator[Row]:
    found = estimated(case.runtime, case.data_set, case.filters)
    whole = build(f"conv-{case.filters}-{case.data_set}")
    memory = sizes(case.runtime, case.data_set, case.filters, whole, found)
    table = DATA_SETS[case.data_set]
    held = (("RAM", memory.ram), ("flash", memory.flash))
    for (unit, size), published in zip(held, case.published, strict=False):
        constant_of_it = case.runtime == "TF-Micro" or (case.runtime, unit) == ("uTensor", "RAM")
        is_seen = constant_of_it and case.filters == 32
        low, high = size.bounds or (None, None)
        yield Row(
            table, case.name, f"{unit} bytes", published, size.size_bytes, low, high, size.note,
            is_seen,
        )  # fmt: skip
    quantities = (
        ("ms", found.latency_s, found.latency_interval_s),
        ("mJ", found.energy_j, found.energy_interval_j),
    )
    for (unit, value, bounds), published in zip(quantities, case.published[2:], strict=True):
        low, high = (1e3 * bound for bound in bounds)
        yield Row(
            table, case.name, unit, published, 1e3 * value, low, high, _note(case),
            _was_seen(case, found),
        )  # fmt: skip


def _was_seen(case: _Case, found: Estimate) -> bool:
    """Whether the board's calibration holds the run."""
    fitted = found.board.calibration
    if fitted is None or f"{found.runtime} {found.build}" not in fitted.software:
        return False
    return (case.runtime, case.data_set, case.filters) not in _LEFT_OUT


def _note(case: _Case) -> str:
    if case.runtime == "uTensor":
        return "with the instruction cache off, as Mbed OS leaves it"
    return _LEFT_OUT.get((case.runtime, case.data_set, case.filters), "")


def _parameters() -> Iterator[Row]:
    """Table 2; accuracies are of weights that are not published."""
    for data_set, published in PARAMETERS.items():
        for filters, (count, accuracy) in zip(FILTERS, published, strict=True):
            graph = build(f"conv-{filters}-{data_set}:float32")
            held = [
                t.elements for t in graph.main.tensors if t.is_constant and t.dtype is DType.FLOAT32
            ]
            what = f"Conv-{filters}, {data_set}"
            yield Row("Table 2", f"{what}: parameters", "count", count, float(sum(held)))
            yield Row(
                "Table 2", f"{what}: accuracy", "%", accuracy,
                note="of weights that are not published, on a data set that does not come with "
                "mcusim",
            )  # fmt: skip


def _currents() -> Iterator[Row]:
    """Figure 5: mean currents at 3.3 V."""
    for runtime, published_ma in (("CMSIS-NN", 8.0), ("uTensor", 7.0), ("TF-Micro", 6.0)):
        found = estimated(runtime, "cifar10", 16)
        per_ma = 1e3 / (_SUPPLY_V * found.latency_s)
        low, high = (bound * per_ma for bound in found.energy_interval_j)
        yield Row(
            "Figure 5", f"Conv-16, cifar10, {runtime}: current", "mA", published_ma,
            found.energy_j * per_ma, low, high, "the interval is that of energy",
            runtime != "uTensor",
        )  # fmt: skip


def _without_copies() -> Iterator[Row]:
    """What CMSIS-NN's kernels would take if accesses to four bytes were no calls."""
    for data_set in DATA_SETS:
        for filters in FILTERS:
            slow = estimated("CMSIS-NN", data_set, filters)
            fast = estimated("CMSIS-NN", data_set, filters, "gcc-O3")
            low, high = (1e3 * bound for bound in fast.latency_interval_s)
            told = slow.instructions.total / fast.instructions.total
            yield Row(
                "CMSIS-NN without byte copies", f"Conv-{filters}, {data_set}", "ms", None,
                1e3 * fast.latency_s, low, high,
                f"{slow.latency_s / fast.latency_s:.1f} times as fast, {told:.1f} times fewer "
                "instructions",
            )  # fmt: skip


def _figures() -> tuple[Figure, ...]:
    found = []
    for data_set, name in (("mnist", "MNIST"), ("cifar10", "CIFAR-10")):
        series = []
        for runtime in RUNTIMES:
            published = [values[2] for values in PUBLISHED[runtime, data_set]]
            ours = [estimated(runtime, data_set, f).latency_s * 1e3 for f in FILTERS]
            both = [(f, p) for f, p in zip(FILTERS, published, strict=True) if p is not None]
            series.append(
                Series(f"{runtime}, published", [f for f, _ in both], [p for _, p in both])
            )
            series.append(Series(f"{runtime}, predicted", FILTERS, ours))
        fast = [1e3 * estimated("CMSIS-NN", data_set, f, "gcc-O3").latency_s for f in FILTERS]
        series.append(Series("CMSIS-NN without byte copies", FILTERS, fast))
        found.append(
            Figure(
                f"profentzas-latency-{data_set}", f"Conv-N on {name}, nRF52840 at 64 MHz",
                "filters", "ms", tuple(series), logarithmic=True,
            )
        )  # fmt: skip
    return tuple(found)


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
    "the instruction cache on. uTensor's times are 2.40 to 2.44 cycles an instruction of ours on "
    "MNIST. With the cache off, as the system_nrf52840.c of Mbed OS leaves it, 2.22 are predicted, "
    "and 1.77 with it on.",
    "CMSIS-NN's firmware is published as an ELF for Conv-32 on MNIST. Its program, and what the "
    "source declares, give flash and RAM of seven networks within 2 %. Three published sizes of "
    "flash are less than the weights that must lie in them, and buffers for CIFAR-10 were sized by "
    "hand: those of Conv-64 are as large as those of Conv-32, whose outputs are half as large.",
    "That ELF never writes the register that turns the instruction cache on, and keeps weights in "
    ".data: its times are predicted so. A flash without a cache makes the place of a loop matter: "
    "four instructions of 12 bytes, the loop of memcpy, take most of the time. Replayed with that "
    "loop and the kernels at each place of a line of 16 bytes, with two wait states and the line "
    "last read held, Conv-32 on CIFAR-10 takes 0.91 to 1.15 times the published cycles, 1.00 in "
    "the mean.",
    "RAM of TF-Micro is Conv-32's published binary with another model, which six of the other "
    "eight networks meet within one percent; uTensor's is what its code generator takes.",
    "CMSIS-NN is compiled with -fno-builtin, so that each access to four bytes calls a memcpy of "
    "single bytes. What was measured is 2.06 to 2.10 cycles for each instruction of that build on "
    "six of nine networks. Without the flag four to seven times fewer instructions run, and each "
    "takes less: how much faster that is was not measured, and is predicted.",
)
