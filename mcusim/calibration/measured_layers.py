"""Single layers and kernels that were timed: how far a layer may be off beside its network.

``calibration/measured_layers.csv`` holds them. No fit has seen any of them. Layers that take less
than a few thousand cycles are left out: the timers around them take as long.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from mcusim.boards import load_board
from mcusim.estimator import estimate
from mcusim.graph import Graph
from mcusim.resources import data_path
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = ["MeasuredLayer", "layer_spread", "measured_layers"]


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer, or a kernel alone, that was timed.

    Attributes:
        network: which it belongs to.
        board: whose files price it.
        operator: the schema's name.
        cycles: measured.
        predicted: cycles, with what is fitted to other boards.
        low: of the layer's 90 % interval, in cycles.
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
    """Every timed layer, priced."""
    path = data_path("calibration", "measured_layers.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_layer(row) for row in csv.DictReader(file))


def layer_spread() -> list[float]:
    """What layers are off by beside the median of their board's, as logarithms."""
    by_board: dict[str, list[float]] = {}
    for layer in measured_layers():
        by_board.setdefault(layer.board, []).append(layer.residual)
    return [r - statistics.median(own) for own in by_board.values() for r in own]


def _layer(row: dict[str, str]) -> MeasuredLayer:
    graph = _network(row["network"])
    found = estimate(graph, load_board(row["board"]), row["runtime"], row["build"])
    layer = found.layers[int(row["layer"])]
    return MeasuredLayer(
        row["network"],
        row["board"],
        layer.operator,
        float(row["cycles"]),
        layer.cycles,
        layer.latency_interval_s[0] * found.clock_hz,
        layer.latency_interval_s[1] * found.clock_hz,
        row["source"],
    )


@cache
def _network(name: str) -> Graph:
    """The network in int8; ranges do not change what it costs."""
    graph = _NETWORKS[name](name).graph()
    computed = (i for i, tensor in enumerate(graph.main.tensors) if not tensor.is_constant)
    return quantized(graph, dict.fromkeys(computed, (-1.0, 1.0)))


def _image_example(name: str) -> NetworkBuilder:
    net = NetworkBuilder(name, (1, 96, 96, 1))
    net.convolution(24, (3, 3), stride=2)
    net.average_pool((2, 2))
    net.convolution(16, (3, 3), stride=2, padding="VALID")
    net.convolution(24, (3, 3), padding="VALID")
    net.average_pool((2, 2))
    net.dense(3, activation="NONE")
    net.softmax()
    return net


def _convolution(name: str) -> NetworkBuilder:
    net = NetworkBuilder(name, (1, 32, 32, 64))
    net.convolution(64, (3, 3))
    return net


def _depthwise(name: str) -> NetworkBuilder:
    net = NetworkBuilder(name, (1, 32, 32, 64))
    net.depthwise((3, 3))
    return net


def _dense(name: str) -> NetworkBuilder:
    net = NetworkBuilder(name, (1, 512))
    net.dense(256)
    return net


_NETWORKS: dict[str, Callable[[str], NetworkBuilder]] = {
    "image-example-1": _image_example,
    "kernel-convolution": _convolution,
    "kernel-depthwise": _depthwise,
    "kernel-dense": _dense,
}
