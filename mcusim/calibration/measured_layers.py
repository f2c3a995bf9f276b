"""Layers, kernels alone and whole networks that somebody timed and no fit has seen.

``calibration/measured_layers.csv`` holds them, with what stands for the board where it has no file
here, and what software they are priced as where theirs was not counted. Layers that take less than
a few thousand cycles are left out: the timers around them take as long.
"""

from __future__ import annotations

import csv
import math
import statistics
from dataclasses import dataclass
from functools import cache

from mcusim.boards import load_board
from mcusim.calibration.measured_shapes import measured_network
from mcusim.estimator import estimate
from mcusim.resources import data_path

__all__ = ["WHOLE", "MeasuredLayer", "layer_spread", "measured_layers"]

#: What stands for the operator of a network that was timed as a whole.
WHOLE = "whole network"


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer, a kernel alone or a whole network that was timed.

    Attributes:
        network: which it is, or belongs to.
        board: whose files price it.
        operator: the schema's name; :data:`WHOLE` for a network.
        cycles: measured.
        predicted: cycles, with what is fitted to other boards.
        low: of its 90 % interval, in cycles.
        high: of it.
        source: where it is printed.
    """

    network: str
    board: str
    operator: str
    cycles: float
    predicted: float
    low: float
    high: float
    source: str

    @property
    def residual(self) -> float:
        """Logarithm of measured over predicted time."""
        return math.log(self.cycles / self.predicted)


@cache
def measured_layers() -> tuple[MeasuredLayer, ...]:
    """Everything that was timed, priced."""
    path = data_path("calibration", "measured_layers.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_layer(row) for row in csv.DictReader(file))


def layer_spread() -> list[float]:
    """What layers are off by beside the median of their board's, as logarithms."""
    by_board: dict[tuple[str, str], list[float]] = {}
    for layer in measured_layers():
        if layer.operator != WHOLE:
            by_board.setdefault((layer.board, layer.source), []).append(layer.residual)
    return [r - statistics.median(own) for own in by_board.values() for r in own]


def _layer(row: dict[str, str]) -> MeasuredLayer:
    clock_hz = float(row["clock_hz"]) if row["clock_hz"] else None
    found = estimate(
        measured_network(row["network"]),
        load_board(row["board"]),
        row["runtime"],
        row["build"],
        clock_hz=clock_hz,
    )
    layer = found.layers[int(row["layer"])] if row["layer"] else None
    low_s, high_s = (layer or found).latency_interval_s
    return MeasuredLayer(
        row["network"],
        row["board"],
        layer.operator if layer else WHOLE,
        float(row["cycles"]),
        (layer or found).cycles,
        low_s * found.clock_hz,
        high_s * found.clock_hz,
        row["source"],
    )
