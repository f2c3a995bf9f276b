"""What Deutel et al. conclude, beside what mcusim predicts."""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.estimates import Estimate
from mcusim.experiments.deutel_runs import (
    ARDUINO,
    PICO,
    Run,
    estimated,
    graphs,
    likely,
    measured,
    pi_runs,
    possible,
    tflm_software,
)
from mcusim.experiments.deutel_sizes import size_claims
from mcusim.experiments.reproduction import TIE, Claim
from mcusim.graph import Graph

__all__ = ["claims"]

#: RAM that Arduino's Mbed OS and its stacks take before a sketch takes any; the Pico's SDK, next to
#: none. Rounded down from what the Arduino IDE reports of an empty sketch.
_SYSTEM_BYTES = {ARDUINO: 40_000, PICO: 0}

#: What could not be deployed on a board, and what could: network, float, element, share.
_DEPLOYED = {
    ARDUINO: (
        (("AlexNet", True, False, 0.959), False),
        (("AlexNet", False, False, 0.959), False),
        (("AlexNet", True, False, 0.982), False),
        (("AlexNet", False, False, 0.982), True),
        (("AlexNet", True, False, 0.996), True),
        (("ResNet", True, False, 0.932), False),
        (("ResNet", False, False, 0.932), True),
        (("LeNet", True, True, 0.95), False),
        (("LeNet", False, True, 0.95), True),
    ),
    PICO: (
        (("AlexNet", True, False, 0.959), False),
        (("AlexNet", False, False, 0.959), True),
        (("AlexNet", True, False, 0.982), False),
        (("AlexNet", False, False, 0.982), True),
        (("ResNet", True, False, 0.932), False),
        (("ResNet", False, False, 0.932), True),
        (("LeNet", True, True, 0.95), True),
        (("LeNet", False, True, 0.95), True),
    ),
}
#: Networks that were measured in both types on both boards.
_BOTH = (
    ("LeNet", 0.9918),
    ("LeNet", 0.997),
    ("AlexNet", 0.996),
    ("ResNet", 0.987),
    ("ResNet", 0.996),
)


def claims() -> Iterator[Claim]:
    """Orders, ratios and conclusions."""
    yield from _time_claims()
    yield from _energy_claims()
    yield from _deployment_claims()
    yield from _pruning_claims()
    yield from size_claims()
    yield from _comparison_claims()


def _time_claims() -> Iterator[Claim]:
    gains = {
        board: [
            likely(n, True, c, board).latency_s / likely(n, False, c, board).latency_s
            for n, c in _BOTH
        ]
        for board in (ARDUINO, PICO)
    }
    here, there = gains[ARDUINO], gains[PICO]
    yield Claim(
        "Quantized models always outperform their float32 counterparts, much more so on the Pico",
        min(here + there) > 1 and min(there) > max(here),
        f"{min(here):.1f} to {max(here):.1f} times on the Arduino, {min(there):.1f} to "
        f"{max(there):.1f} on the Pico",
    )
    slower = [
        likely(n, f, c, PICO).latency_s / likely(n, f, c, ARDUINO).latency_s
        for n, c in _BOTH
        for f in (True, False)
    ]
    yield Claim(
        "The Pico takes longer than the Arduino, at twice its clock",
        min(slower) > 1,
        f"{min(slower):.2f} to {max(slower):.2f} times as long",
    )
    kept, total, wrong = 0, 0, []
    runs = [pair for pair in measured() if pair[1].table in ("Table 3", "Table 4")]
    for position, (one, of_one) in enumerate(runs):
        for other, of_other in runs[:position]:
            apart = of_one.latency_ms / of_other.latency_ms
            if one.board != other.board or max(apart, 1 / apart) < 1 + TIE:
                continue
            ours = possible(one)[0].latency_s / possible(other)[0].latency_s
            total += 1
            if (ours > 1) == (apart > 1):
                kept += 1
            else:
                wrong.append(f"{other.what} and {one.what}")
    yield Claim(
        "Models in order of time, board by board (tables 3 and 4)",
        not wrong,
        f"{kept} of {total} pairs that differ by {100 * TIE:.0f} % and more"
        + (f"; other way round: {', '.join(wrong)}" if wrong else ""),
    )


def _energy_claims() -> Iterator[Claim]:
    powers = {board: likely("LeNet", False, 0.9918, board) for board in (ARDUINO, PICO)}
    by_board = {b: 1e3 * e.energy_j / e.latency_s for b, e in powers.items()}
    ratios = {
        (n, c, f): likely(n, f, c, PICO).energy_j / likely(n, f, c, ARDUINO).energy_j
        for n, c in _BOTH
        for f in (True, False)
    }
    losing = [f"{n} {'float32' if f else 'uint8'}" for (n, _, f), r in ratios.items() if r < 1]
    floats = [r for (_, _, f), r in ratios.items() if f]
    yield Claim(
        "Faster inference compensates for higher power: the Arduino takes less energy than the "
        "Pico in float32",
        min(floats) > 1 and by_board[ARDUINO] > by_board[PICO],
        f"{by_board[ARDUINO]:.0f} and {by_board[PICO]:.0f} mW; the Pico takes {min(floats):.1f} to "
        f"{max(floats):.1f} times the energy in float32, {min(ratios.values()):.2f} times at least"
        + (f" (less in {', '.join(losing)})" if losing else ""),
    )
    power = [p.power_mw for r, p in measured() if r.board == ARDUINO and p.table != "Table 5"]
    yield Claim(
        "Compression and deployment have almost no impact on power",
        None,
        "by construction here, power does not depend on what runs; what was published for the "
        f"Arduino lies between {min(power):.0f} and {max(power):.0f} mW",
    )
    pi = [(run, min(e.latency_interval_s[0] for e in possible(run))) for run, _ in pi_runs()]
    there = [(run, _on(run, PICO)) for run, _ in pi]
    faster = [slow.latency_s / low for (_, low), (_, slow) in zip(pi, there, strict=True) if slow]
    sure = [
        slow.latency_s / max(e.latency_interval_s[1] for e in possible(run))
        for run, slow in there
        if slow
    ]
    yield Claim(
        "The Pi 4B is faster by far than the microcontrollers",
        True if min(sure) > 1 else None,
        f"than the Pico {min(sure):.1f} times and more with scalar loops on one core, up to "
        f"{max(faster):,.0f} with NEON on four",
    )


def _on(run: Run, board: str) -> Estimate | None:
    """The same network on a microcontroller; None where it does not fit."""
    graph = graphs(run.network, run.is_float, run.is_element, run.compression)[0]
    return estimated(graph, board, "dnnruntime") if _fits(graph, board) else None


def _deployment_claims() -> Iterator[Claim]:
    for board, cases in _DEPLOYED.items():
        wrong = []
        for key, deployed in cases:
            if _fits(graphs(*key)[0], board) is not deployed:
                kind = "float32" if key[1] else "uint8"
                wrong.append(f"{key[0]} {kind} {100 * key[3]:g} %")
        name = "Arduino" if board == ARDUINO else "Pico"
        yield Claim(
            f"What could be deployed on the {name}, and what could not, of {len(cases)} models",
            not wrong,
            "as published" if not wrong else f"otherwise: {', '.join(wrong)}",
        )
    alexnet, resnet = (
        likely(n, False, c, PICO) for n, c in (("AlexNet", 0.959), ("ResNet", 0.932))
    )
    yield Claim(
        "For AlexNet memory is the bottleneck, for ResNet time",
        alexnet.flash_bytes > resnet.flash_bytes and resnet.latency_s > 3 * alexnet.latency_s,
        f"the least compressed ones on the Pico: AlexNet {alexnet.flash_bytes / 1e6:.2f} MB of "
        f"flash and {alexnet.latency_s:.1f} s, ResNet {resnet.flash_bytes / 1e6:.2f} MB and "
        f"{resnet.latency_s:.0f} s",
    )


def _fits(graph: Graph, board: str) -> bool:
    found = estimated(graph, board, "dnnruntime")
    ram = (found.ram_bytes or 0) + _SYSTEM_BYTES[board]
    return found.flash_bytes <= found.board.flash.bytes and ram <= found.board.ram.bytes


def _pruning_claims() -> Iterator[Claim]:
    structure = likely("LeNet", False, 0.9918, PICO)
    element = estimated(graphs("LeNet", False, True, 0.95)[0], PICO, "dnnruntime")
    yield Claim(
        "Structural pruning saves more time and memory than element-wise at the same accuracy "
        "(LeNet, more than 99 %)",
        structure.latency_s < element.latency_s
        and structure.flash_bytes < element.flash_bytes
        and (structure.arena_bytes or 0) < (element.arena_bytes or 0),
        f"uint8 on the Pico: {1e3 * structure.latency_s:.0f} and {1e3 * element.latency_s:.0f} ms, "
        f"{structure.flash_bytes:,} and {element.flash_bytes:,} bytes of flash, "
        f"{structure.arena_bytes:,} and {element.arena_bytes:,} of SRAM",
    )


def _comparison_claims() -> Iterator[Claim]:
    here, there = (
        [_over_dnnruntime(True, 0.996, board, "tflm", build) for build in tflm_software(board)[1]]
        for board in (ARDUINO, PICO)
    )
    told = f"{min(here):.2f} to {max(here):.2f} times as long on the Arduino by how it is compiled"
    yield Claim(
        "float32 AlexNet takes longer under TF-Micro",
        min(here + there) > 1,
        f"{told}, {there[0]:.2f} times on the Pico; published are 2.36 and 1.28 times",
    )
    yield Claim(
        "That is so above all on the Arduino", min(here) > (1 + TIE) * max(there),
        f"{told}, {there[0]:.2f} times on the Pico",
    )  # fmt: skip
    quantized = {
        runtime: [
            _over_dnnruntime(False, share, ARDUINO, runtime, build)
            for share in (0.982, 0.996)
            for build in tflm_software(ARDUINO)[1]
        ]
        for runtime in ("tflm", "cmsis-nn")
    }
    own, library = quantized["tflm"], quantized["cmsis-nn"]
    yield Claim(
        "Quantized, TF-Micro is slightly faster on the Arduino: 12 to 13 % less time",
        None if min(library) < 1 < max(own) else False,
        f"{min(own):.2f} to {max(own):.2f} times the time of dnnruntime with TFLM's own kernels, "
        f"{min(library):.2f} to {max(library):.2f} with those of CMSIS-NN: which ran, and of which "
        "year, is not said",
    )


def _over_dnnruntime(
    is_float: bool, compression: float, board: str, runtime: str, build: str
) -> float:
    """Time of AlexNet under a runtime over that under dnnruntime, both of one build."""
    one, other = (
        likely("AlexNet", is_float, compression, board, r, build) for r in (runtime, "dnnruntime")
    )
    return one.latency_s / other.latency_s
