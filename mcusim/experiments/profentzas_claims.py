"""What Profentzas et al. conclude, beside what mcusim predicts."""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.boards import load_board
from mcusim.experiments.profentzas_memory import sizes
from mcusim.experiments.profentzas_runs import (
    BOARD,
    DATA_SETS,
    FILTERS,
    PUBLISHED,
    RUNTIMES,
    estimated,
)
from mcusim.experiments.reproduction import Claim
from mcusim.zoo import build

__all__ = ["claims"]

_NETWORKS = [(data_set, filters) for data_set in DATA_SETS for filters in FILTERS]
#: uTensor over TF-Micro in time, least and most of table 3.
_UTENSOR_OVER_TFLM = (3.0, 3.2)


def claims() -> Iterator[Claim]:
    """Orders, ratios and conclusions."""
    yield from _orders()
    yield _currents()
    yield from _utensor()
    yield from _memory()
    yield from _copies()


def _orders() -> Iterator[Claim]:
    order = ("CMSIS-NN", "TF-Micro", "uTensor")
    for text, value in (
        ("CMSIS-NN is fastest, followed by TF-Micro and then uTensor", "latency_s"),
        ("CMSIS-NN is the most energy-efficient, followed by TF-Micro and then uTensor",
         "energy_j"),
    ):  # fmt: skip
        wrong = []
        for data_set, filters in _NETWORKS:
            found = [getattr(estimated(r, data_set, filters), value) for r in order]
            if found != sorted(found):
                wrong.append(f"Conv-{filters} {data_set}")
        yield Claim(
            text,
            not wrong,
            f"so in all {len(_NETWORKS)} networks" if not wrong else f"not in {', '.join(wrong)}",
        )


def _currents() -> Claim:
    """Figure 5: 8, 7 and 6 mA at 3.3 V."""
    power_mw = {}
    for runtime in ("CMSIS-NN", "uTensor", "TF-Micro"):
        found = estimated(runtime, "cifar10", 16)
        power_mw[runtime] = 1e3 * found.energy_j / found.latency_s
    cmsis, utensor, tflm = power_mw.values()
    return Claim(
        "CMSIS-NN draws the highest current (8 mA), then uTensor (7 mA), then TF-Micro (6 mA)",
        cmsis > utensor > tflm,
        ", ".join(f"{name} {power:.1f} mW" for name, power in power_mw.items())
        + "; those of CMSIS-NN and TF-Micro are fitted, that of uTensor is between them as no run "
        "of it was",
    )


def _utensor() -> Iterator[Claim]:
    found = [_ratio(f, "uTensor", "TF-Micro") for f in FILTERS]
    low, high = _UTENSOR_OVER_TFLM
    yield Claim(
        "uTensor takes about three times as long as TF-Micro (3.0 to 3.2, table 3)",
        0.9 * low <= min(found) and max(found) <= 1.1 * high,
        f"{min(found):.2f} to {max(found):.2f} times, with the instruction cache on under Zephyr "
        "and off under Mbed OS",
    )
    small, large = (estimated("uTensor", "mnist", f).arena_bytes or 0 for f in (16, 128))
    yield Claim(
        "uTensor's RAM grows with what it allocates, 845 bytes a filter on MNIST",
        large - small == 845 * 112,
        f"{(large - small) / 112:g} bytes a filter: both activations of the first layer",
    )
    programs = {estimated("uTensor", "mnist", f).flash[-1].size_bytes for f in FILTERS}
    yield Claim(
        "uTensor's program is of one size for all networks",
        len(programs) == 1,
        f"{min(programs):,} bytes without Mbed OS",
    )


def _ratio(filters: int, one: str, other: str) -> float:
    return estimated(one, "mnist", filters).latency_s / estimated(other, "mnist", filters).latency_s


def _ram(runtime: str, data_set: str, filters: int) -> tuple[float, float]:
    """Least and most."""
    whole = build(f"conv-{filters}-{data_set}")
    found = sizes(runtime, data_set, filters, whole, estimated(runtime, data_set, filters)).ram
    if found.bounds:
        return found.bounds
    assert found.size_bytes is not None
    return found.size_bytes, found.size_bytes


def _memory() -> Iterator[Claim]:
    small = {runtime: _ram(runtime, "mnist", 16)[0] for runtime in RUNTIMES}
    large = {runtime: _ram(runtime, "mnist", 128)[0] for runtime in RUNTIMES}
    yield Claim(
        "CMSIS-NN needs the least RAM for the smallest network of MNIST, the most for the largest",
        min(small, key=lambda r: small[r]) == "CMSIS-NN" == max(large, key=lambda r: large[r]),
        "; ".join(
            f"Conv-{filters}: " + ", ".join(f"{r} {size / 1e3:.0f} KB" for r, size in found.items())
            for filters, found in ((16, small), (128, large))
        )
        + ": weights and outputs of the first layer lie in static variables",
    )
    held = load_board(BOARD).ram.bytes
    low, high = _ram("CMSIS-NN", "cifar10", 128)
    yield Claim(
        "Conv-128 on CIFAR-10 exceeds the chip's RAM with CMSIS-NN",
        True if low > held else None if high > held else False,
        f"{low:,.0f} to {high:,.0f} bytes by how its buffers are sized, without the stack; the "
        f"chip has {held:,}",
    )
    growths = {
        runtime: sizes(
            runtime, "mnist", 128, build("conv-128-mnist"), estimated(runtime, "mnist", 128)
        ).flash.size_bytes
        for runtime in RUNTIMES
    }
    most = max(size for size in growths.values() if size is not None)
    yield Claim(
        "The largest network takes less than 37 % of the flash",
        most < 0.37 * load_board(BOARD).flash.bytes,
        f"{most:,.0f} bytes of TF-Micro are the most on MNIST",
    )


def _copies() -> Iterator[Claim]:
    gains = [
        estimated("CMSIS-NN", d, f).latency_s / estimated("CMSIS-NN", d, f, "gcc-O3").latency_s
        for d, f in _NETWORKS
    ]
    fewer = [
        estimated("CMSIS-NN", d, f).instructions.total
        / estimated("CMSIS-NN", d, f, "gcc-O3").instructions.total
        for d, f in _NETWORKS
    ]
    plain = [
        estimated("TF-Micro", d, f).latency_s / estimated("CMSIS-NN", d, f).latency_s
        for d, f in _NETWORKS
    ]
    yield Claim(
        "CMSIS-NN's lead is what the DSP instructions of the core give",
        False,
        f"as compiled it is {min(plain):.1f} to {max(plain):.1f} times as fast as TF-Micro, but "
        "with -fno-builtin every access to four bytes is a call of a memcpy that copies bytes; "
        f"without that the same kernels run {min(fewer):.1f} to {max(fewer):.1f} times fewer "
        f"instructions and are {min(gains):.1f} to {max(gains):.1f} times as fast",
    )
    cycles = []
    for data_set, filters in _NETWORKS:
        found = estimated("CMSIS-NN", data_set, filters)
        published = PUBLISHED["CMSIS-NN", data_set][FILTERS.index(filters)][2]
        if published is not None:
            cycles.append(published / 1e3 * found.clock_hz / found.instructions.total)
    near = sum(abs(each / 2.08 - 1) < 0.02 for each in cycles)
    yield Claim(
        "Its published times are of that build: 2.1 cycles an instruction",
        near > len(cycles) / 2,
        f"{', '.join(f'{each:.2f}' for each in cycles)} cycles for each instruction counted, "
        f"{near} of {len(cycles)} within 2 % of 2.08",
    )
