"""Layers in Heim et al.: shares of a network's time, and sweeps of inputs and channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mcusim.boards import load_board
from mcusim.estimates import Estimate, LayerEstimate
from mcusim.estimator import estimate
from mcusim.experiments.prediction import Run, estimated
from mcusim.experiments.reproduction import Claim, Figure, Row, Series
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = ["layer_claims", "layer_figures", "layer_rows"]

_L4 = "nucleo-l496zg"
_RUNTIME, _BUILD = "cmsis-nn@2020", "gcc-Ofast"
#: Activation ranges of the sweeps' networks; the instructions do not depend on them.
_RANGE = (-6.0, 6.0)
_DENSE_INPUTS = range(20, 101)
_CHANNELS = range(1, 33)


def layer_rows() -> Iterator[Row]:
    """Shares of LeNet's time and operations by kind of layer (figure 5.17)."""
    found = estimated(Run("lenet-5", _L4, _RUNTIME, _BUILD))
    layers = found.layers
    # Published shares of the time add up to 100 %, so that pooling and the rest are not in them.
    time = sum(x.latency_s for x in layers if x.operator in ("CONV_2D", "FULLY_CONNECTED"))
    macs = sum(x.macs for x in layers)
    published = {"CONV_2D": ("convolutions", 72.0, 87.0), "FULLY_CONNECTED": ("dense", 30.0, 13.0)}
    for operator, (name, of_macs, of_time) in published.items():
        chosen = [x for x in layers if x.operator == operator]
        yield Row(
            "Figure 5.17", f"LeNet, {name}: share of operations", "%", of_macs,
            100 * sum(x.macs for x in chosen) / macs,
            note="the text says less than 30 % of dense layers" if name == "dense" else "",
        )  # fmt: skip
        yield Row(
            "Figure 5.17", f"LeNet, {name}: share of time, CMSIS-NN", "%", of_time,
            100 * sum(x.latency_s for x in chosen) / time,
            note="of convolutions and dense layers together",
        )  # fmt: skip
    best = max(1 - after / before for before, after in pairwise(_times(_channel_sweep())))
    yield Row(
        "Figure 5", "most that one more filter before a convolution saves", "%", 7.7, 100 * best,
        note="the swept layer's extent is not published: 16 x 16 pixels and 16 filters here",
    )  # fmt: skip


def layer_claims() -> Iterator[Claim]:
    """What the paper concludes of layers."""
    first, second = (
        x
        for x in estimated(Run("lenet-5", _L4, _RUNTIME, _BUILD)).layers
        if x.operator == "CONV_2D"
    )
    yield Claim(
        "With CMSIS-NN LeNet's first convolution takes longer than its second, with fewer MACs",
        first.latency_s > second.latency_s and first.macs < second.macs,
        f"{1e3 * first.latency_s:.3g} and {1e3 * second.latency_s:.3g} ms, {first.macs:,} and "
        f"{second.macs:,} MACs",
    )
    plain = [
        x
        for x in estimated(Run("lenet-5", _L4, "tflm", "gcc-O3")).layers
        if x.operator == "CONV_2D"
    ]
    yield Claim(
        "Without CMSIS-NN the second takes longer",
        plain[0].latency_s < plain[1].latency_s,
        f"{1e3 * plain[0].latency_s:.3g} and {1e3 * plain[1].latency_s:.3g} ms",
    )
    dense = _times(_dense_sweep())
    falls = {n: b / a - 1 for n, (a, b) in zip(_DENSE_INPUTS[1:], pairwise(dense), strict=True)}
    deepest = sorted(falls, key=lambda n: falls[n])[: sum(n % 16 == 0 for n in falls)]
    yield Claim(
        "More inputs of a dense layer can take less time, with a period of 16 inputs",
        all(n % 16 == 0 and falls[n] < 0 for n in deepest),
        "the deepest falls are at "
        + ", ".join(f"{n} ({100 * falls[n]:+.0f} %)" for n in sorted(deepest))
        + " inputs: the kernel takes blocks of 16, and what is left one by one",
    )
    rises = _mean_rise(dense, _DENSE_INPUTS)
    yield Claim(
        "Even numbers of inputs, and multiples of four, take less time than odd ones",
        rises[0] < min(rises[1], rises[3]),
        _listed("a dense layer's time changes on reaching inputs of remainder", rises),
    )
    convolution = _times(_channel_sweep())
    rises = _mean_rise(convolution, _CHANNELS)
    yield Claim(
        "A convolution can be faster with one more input channel, where their number becomes even "
        "or divides by four",
        rises[0] < 0 and min(rises[0], rises[2]) < min(rises[1], rises[3]),
        _listed("time changes on reaching channels of remainder", rises)
        + ": odd rows of weights and columns are loaded from odd addresses",
    )


def layer_figures() -> Iterator[Figure]:
    """Time by layer, and the two sweeps."""
    found = estimated(Run("lenet-5", _L4, _RUNTIME, _BUILD))
    numbers = [float(x.index) for x in found.layers]
    yield Figure(
        "heim-layers", "LeNet-5 by layer, int8 with CMSIS-NN, L4", "operator", "ms",
        (Series("time", numbers, [1e3 * x.latency_s for x in found.layers]),), "bars",
    )  # fmt: skip
    yield Figure(
        "heim-dense", "A dense layer of 32 units (figure 4)", "inputs", "µs",
        (Series("predicted", list(_DENSE_INPUTS), [1e6 * t for t in _times(_dense_sweep())]),),
    )  # fmt: skip
    yield Figure(
        "heim-convolution", "A 3x3 convolution of 16 filters (figure 5)", "input channels", "ms",
        (Series("predicted", list(_CHANNELS), [1e3 * t for t in _times(_channel_sweep())]),),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _dense_sweep() -> tuple[LayerEstimate, ...]:
    found = []
    for inputs in _DENSE_INPUTS:
        network = NetworkBuilder("dense", (1, inputs))
        network.dense(32)
        found.append(_priced(network).layers[0])
    return tuple(found)


@lru_cache(maxsize=1)
def _channel_sweep() -> tuple[LayerEstimate, ...]:
    found = []
    for channels in _CHANNELS:
        network = NetworkBuilder("convolution", (1, 16, 16, 3))
        network.convolution(channels, (3, 3))
        network.convolution(16, (3, 3))
        found.append(_priced(network).layers[1])
    return tuple(found)


def _priced(network: NetworkBuilder) -> Estimate:
    graph = network.graph()
    ranges = {t.index: _RANGE for t in graph.main.tensors if not t.is_constant}
    return estimate(quantized(graph, ranges), load_board(_L4), _RUNTIME, _BUILD)


def _times(layers: Sequence[LayerEstimate]) -> list[float]:
    return [layer.latency_s for layer in layers]


def _mean_rise(times: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Mean change of the time from one size to the next, by the remainder of the next by four."""
    rises: dict[int, list[float]] = {0: [], 1: [], 2: [], 3: []}
    for size, (before, after) in zip(sizes[1:], pairwise(times), strict=True):
        rises[size % 4].append(after / before - 1)
    return [float(np.mean(rises[r])) for r in range(4)]


def _listed(what: str, rises: Sequence[float]) -> str:
    return f"{what} " + ", ".join(f"{r}: {100 * x:+.1f} %" for r, x in enumerate(rises))
