"""Energy in Heim et al.: its relation to latency, and what the choice of a board buys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mcusim.estimates import Estimate, LayerEstimate
from mcusim.experiments.heim_runs import BOARDS, CMSIS, LENET, RESNET, best, plain, reference
from mcusim.experiments.measured_power import told
from mcusim.experiments.prediction import Run, estimated
from mcusim.experiments.reproduction import TIE, Claim, Figure, Row, Series

__all__ = ["energy_claims", "energy_figures", "energy_rows"]

_IN_A_FIGURE = "the texts hold this number in a figure only"
_BY_CONSTRUCTION = "by construction nearly one: see the conclusions"


def energy_rows() -> Iterator[Row]:
    """The relations that the text gives, and energies that it plots."""
    yield Row(
        "Energy", "correlation of energy and latency over optimizations, least of the boards", "r",
        0.9946, min(_correlation(_configurations(board)) for board in BOARDS),
        note=_BY_CONSTRUCTION,
    )  # fmt: skip
    yield Row(
        "Energy", "correlation of energy and latency of layers, L4", "r", 0.9995,
        _correlation(_layers()), note=_BY_CONSTRUCTION,
    )  # fmt: skip
    for board in BOARDS:
        for model in (LENET, RESNET):
            found = estimated(best(model, board))
            low, high = found.energy_interval_j
            yield Row(
                "Energy", f"{model}, {board}, int8, CMSIS-NN, -Ofast", "mJ", None,
                1e3 * found.energy_j, 1e3 * low, 1e3 * high, _IN_A_FIGURE,
            )  # fmt: skip
    most, least = estimated(plain(f"{RESNET}:float32", "F7")), estimated(best(RESNET, "F7"))
    yield Row(
        "Energy", "resnet-20, F7: longer on a battery by all optimizations", "x", 34,
        most.energy_j / least.energy_j,
    )  # fmt: skip


def energy_claims() -> Iterator[Claim]:
    """What the paper concludes of energy and of the choice of a board."""
    by_board = {board: _correlation(_configurations(board)) for board in BOARDS}
    yield Claim(
        "Energy is linear in latency on each board, r > 0.99",
        min(by_board.values()) > 0.99,
        ", ".join(f"{board} r = {r:.4f}" for board, r in by_board.items())
        + f" over networks and optimizations; {told()}",
    )
    slopes = {board: _slope(_configurations(board)) for board in BOARDS}
    yield Claim(
        "Each board has a characteristic of its own",
        len({round(1e3 * slope) for slope in slopes.values()}) == len(slopes),
        ", ".join(f"{board} {1e3 * slope:.0f} mJ a second" for board, slope in slopes.items()),
    )
    same = {
        (model, min(_int8(model, board), key=lambda e: e.energy_j).build)
        for model in (LENET, RESNET)
        for board in BOARDS
    }
    yield Claim(
        "The optimizations that are most efficient are the same on every board",
        len(same) == 2,
        "int8, CMSIS-NN and -Ofast everywhere"
        if {build for _, build in same} == {"gcc9-Ofast"}
        else ", ".join(f"{model} {build}" for model, build in sorted(same)),
    )
    points = {(m, b): estimated(best(m, b)) for m in (LENET, RESNET) for b in BOARDS}
    for model in (LENET, RESNET):
        l4, f4, f7 = (points[model, board] for board in BOARDS)
        beaten = any(e.latency_s <= f4.latency_s and e.energy_j <= f4.energy_j for e in (l4, f7))
        yield Claim(
            f"The F4 is not on the Pareto front of {model}, the L4 and the F7 are",
            beaten and f7.latency_s < l4.latency_s and l4.energy_j < f7.energy_j,
            ", ".join(
                f"{b} {1e3 * points[model, b].latency_s:.4g} ms "
                f"{1e3 * points[model, b].energy_j:.3g} mJ"
                for b in BOARDS
            ),
        )
    slower = [points[m, "L4"].latency_s / points[m, "F7"].latency_s for m in (LENET, RESNET)]
    thriftier = [points[m, "F7"].energy_j / points[m, "L4"].energy_j for m in (LENET, RESNET)]
    yield Claim(
        "Energy and latency scale differently between boards",
        min(slower) > (1 + TIE) * max(thriftier),
        f"the L4 takes {min(slower):.1f} to {max(slower):.1f} times the time of the F7, which "
        f"takes {min(thriftier):.1f} to {max(thriftier):.1f} times its energy",
    )
    ratios = [points[m, "F4"].energy_j / points[m, "F7"].energy_j for m in (LENET, RESNET)]
    yield Claim(
        "The F7 requires less energy than the F4",
        min(ratios) > 1,
        f"the F4 takes {min(ratios):.2f} to {max(ratios):.2f} times as much",
    )


def _int8(model: str, board: str) -> list[Estimate]:
    return [
        estimated(Run(model, BOARDS[board], CMSIS, build)) for build in ("gcc9-Ofast", "gcc9-Os")
    ] + [estimated(run) for run in reference(model, board)]


def _configurations(board: str) -> list[Estimate]:
    """Both networks under every optimization that the board can hold."""
    exact = [
        estimated(run)
        for model in (LENET, RESNET)
        for fpu in (True, False)
        for run in reference(f"{model}:float32", board, fpu)
    ]
    whole = [found for model in (LENET, RESNET) for found in _int8(model, board)]
    return [e for e in (*exact, *whole) if e.flash_bytes <= e.board.flash.bytes]


def _layers() -> list[LayerEstimate]:
    return [
        layer for model in (LENET, RESNET) for found in _int8(model, "L4") for layer in found.layers
    ]


def _correlation(found: Sequence[Estimate] | Sequence[LayerEstimate]) -> float:
    times, energies = [e.latency_s for e in found], [e.energy_j for e in found]
    return float(np.corrcoef(times, energies)[0, 1])


def _slope(found: Sequence[Estimate]) -> float:
    """Watts."""
    return sum(e.energy_j for e in found) / sum(e.latency_s for e in found)


def energy_figures() -> Iterator[Figure]:
    """Figure 3."""
    series = []
    for board in BOARDS:
        chosen = _configurations(board)
        series.append(
            Series(board, [1e3 * e.latency_s for e in chosen], [1e3 * e.energy_j for e in chosen])
        )
    yield Figure(
        "heim-pareto", "Energy against latency, every optimization (figure 3)", "latency in ms",
        "energy in mJ", tuple(series), "points", True,
    )  # fmt: skip
