"""Sweeps of one layer's inputs in Heim et al.: figures 4 and 5, and table 4.

The networks are those that the authors published (github.com/lheim/TFLM-Toolchain): a dense layer
of 450 units on 440 to 499 inputs (``M_01e_DenseBenchmark``), a convolution of 60 filters on 32x32
pixels of 100 to 120 channels (``M_01df_SingleConvBenchmark``), and a depthwise convolution on 24x24
pixels of as many (``M_01f_Depthwise-Conv``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from mcusim.boards import load_board
from mcusim.estimates import LayerEstimate
from mcusim.estimator import estimate
from mcusim.experiments.reproduction import Claim, Figure, Row, Series
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = ["sweep_claims", "sweep_figures", "sweep_rows"]

_BOARD = "nucleo-l496zg"
_CMSIS = ("cmsis-nn@2020", "gcc9-Ofast")
#: Which build of the reference kernels ran is not known.
_REFERENCE = (("tflm", "gcc-O3"), ("tflm", "gcc-mk"), ("tflm", "gcc-Os"))
#: Activation ranges; the instructions do not depend on them.
_RANGE = (-6.0, 6.0)

_DENSE_INPUTS = range(440, 500)
_CHANNELS = range(100, 121)
#: Turns of the dense kernel's main loop take as many inputs; the paper sees the same period.
_BLOCK = 16

_NOT_IN_TEXT = "the texts hold the table's caption only"


@dataclass(frozen=True)
class _Layer:
    """A layer that was swept.

    Attributes:
        name: as table 4 calls it.
        sizes: lengths of its input that were swept.
        network: the layer alone, for one of them.
    """

    name: str
    sizes: range
    network: Callable[[int], NetworkBuilder]


def _dense(inputs: int) -> NetworkBuilder:
    net = NetworkBuilder("dense", (1, inputs))
    net.dense(450)
    return net


def _convolution(kernel: int) -> Callable[[int], NetworkBuilder]:
    def built(channels: int) -> NetworkBuilder:
        net = NetworkBuilder("convolution", (1, 32, 32, channels))
        net.convolution(60, (kernel, kernel))
        return net

    return built


def _depthwise(channels: int) -> NetworkBuilder:
    net = NetworkBuilder("depthwise", (1, 24, 24, channels))
    net.depthwise((3, 3))
    return net


_DENSE = _Layer("dense", _DENSE_INPUTS, _dense)
_CONVOLUTIONS = {
    kernel: _Layer(f"2D convolution {kernel}x{kernel}", _CHANNELS, _convolution(kernel))
    for kernel in (1, 3, 5)
}
_DEPTHWISE = _Layer("depthwise 2D convolution 3x3", _CHANNELS, _depthwise)
_TABLE_4 = (_DENSE, _CONVOLUTIONS[3], _DEPTHWISE)

#: Kinds of input lengths as table 4 has them.
_KINDS: dict[str, Callable[[int], bool]] = {
    "odd": lambda size: size % 2 == 1,
    "even": lambda size: size % 4 == 2,
    "divisible by 4": lambda size: size % 4 == 0,
}


@cache
def _priced(layer: _Layer, size: int, runtime: str, build: str) -> LayerEstimate:
    graph = layer.network(size).graph()
    ranges = {t.index: _RANGE for t in graph.main.tensors if not t.is_constant}
    return estimate(quantized(graph, ranges), load_board(_BOARD), runtime, build).layers[0]


def _times(layer: _Layer) -> list[float]:
    return [_priced(layer, size, *_CMSIS).latency_s for size in layer.sizes]


def _per_operation(layer: _Layer, kind: str) -> float:
    """Mean time of a multiply-accumulate with CMSIS-NN over the lengths of a kind, in seconds."""
    chosen = [_priced(layer, s, *_CMSIS) for s in layer.sizes if _KINDS[kind](s)]
    return sum(x.latency_s / x.macs for x in chosen) / len(chosen)


def _reference(layer: _Layer) -> list[float]:
    """The same without CMSIS-NN, by build; hardly dependent on the length."""
    found = (_priced(layer, layer.sizes[0], *software) for software in _REFERENCE)
    return [x.latency_s / x.macs for x in found]


def sweep_rows() -> Iterator[Row]:
    """Table 4, and the number that the text gives of figure 5."""
    for layer in _TABLE_4:
        plain = _reference(layer)
        yield Row(
            "Table 4", f"{layer.name}: time of an operation, reference kernels", "ns", None, None,
            1e9 * min(plain), 1e9 * max(plain),
            f"{_NOT_IN_TEXT}; a range over builds, as which binary ran is not known",
        )  # fmt: skip
        for kind in _KINDS:
            ours = _per_operation(layer, kind)
            yield Row(
                "Table 4", f"{layer.name}, {kind}: time of an operation, CMSIS-NN", "ns", None,
                1e9 * ours, note=_NOT_IN_TEXT,
            )  # fmt: skip
            yield Row(
                "Table 4", f"{layer.name}, {kind}: gain", "x", None, None, min(plain) / ours,
                max(plain) / ours, "over builds of the reference kernels",
            )  # fmt: skip
    notes = {
        1: "not in the text: where channels divide by four, the library has another kernel for 1x1",
        3: "the text does not say of which of the swept kernels this is",
        5: "see 3x3",
    }
    for kernel, layer in _CONVOLUTIONS.items():
        yield Row(
            "Figure 5", f"{kernel}x{kernel}: most that one more input channel saves", "%",
            None if kernel == 1 else 7.7, 100 * _most_saved(layer), note=notes[kernel],
        )  # fmt: skip


def _most_saved(layer: _Layer) -> float:
    return max(1 - after / before for before, after in pairwise(_times(layer)))


def sweep_claims() -> Iterator[Claim]:
    """What the paper concludes of input lengths."""
    yield from _dense_claims()
    found = {kernel: _rises(_CONVOLUTIONS[kernel]) for kernel in (3, 5)}
    yield Claim(
        "A convolution is faster with one more input channel, where their number becomes even or "
        "divides by four",
        all(max(r[0] + r[2]) < 0 < min(r[1] + r[3]) for r in found.values()),
        "; ".join(
            f"{kernel}x{kernel}: {_listed('channels of remainder', rises)}"
            for kernel, rises in found.items()
        ),
    )
    yield from _table_4_claims()


def _dense_claims() -> Iterator[Claim]:
    times = dict(zip(_DENSE.sizes, _times(_DENSE), strict=True))
    falls = {n: times[n] / times[n - 1] - 1 for n in _DENSE.sizes[1:]}
    whole = [n for n in falls if n % _BLOCK == 0]
    deepest = sorted(sorted(falls, key=lambda n: falls[n])[: len(whole)])
    yield Claim(
        "More inputs of a dense layer can take less time, with a period of 16 inputs",
        deepest == whole,
        f"{sum(fall < 0 for fall in falls.values())} of {len(falls)} steps take less time, most at "
        + ", ".join(f"{n} ({100 * falls[n]:+.1f} %)" for n in deepest),
    )
    rises = _rises(_DENSE)
    yield Claim(
        "Even numbers of inputs, and multiples of four, take less time than odd ones",
        max(rises[0] + rises[2]) < 0 < min(rises[1] + rises[3]),
        _listed("a dense layer's inputs of remainder", rises),
    )
    first, second = _clusters()
    yield Claim(
        "Of each 16 inputs the first nine are consistently more efficient than the other seven",
        all(max(first[kind]) < min(second[kind]) for kind in _KINDS),
        ", ".join(
            f"{kind}: {min(first[kind]):.1f} to {max(first[kind]):.1f} against "
            f"{min(second[kind]):.1f} to {max(second[kind]):.1f} ns an operation"
            for kind in _KINDS
        ),
    )
    apart = min(min(second[k]) / max(first[k]) for k in _KINDS) - 1
    within = max(max(first[k]) / min(first[k]) for k in _KINDS) - 1
    yield Claim(
        "These are two distinct clusters",
        apart > within,
        f"at least {100 * apart:.1f} % lie between the two, {100 * within:.1f} % within the first: "
        "what is left of 16 inputs is worked off in a loop, one turn more at a time",
    )


def _clusters() -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Nanoseconds an operation by kind: the first nine lengths of each sixteen, and the others.

    Of one period, as operations get cheaper with every further block.
    """
    period = range(448, 448 + _BLOCK)
    first: dict[str, list[float]] = {}
    second: dict[str, list[float]] = {}
    for kind, is_kind in _KINDS.items():
        for size in filter(is_kind, period):
            found = _priced(_DENSE, size, *_CMSIS)
            chosen = first if size % _BLOCK < 9 else second
            chosen.setdefault(kind, []).append(1e9 * found.latency_s / found.macs)
    return first, second


def _table_4_claims() -> Iterator[Claim]:
    ordered = [[_per_operation(layer, kind) for kind in _KINDS] for layer in _TABLE_4]
    yield Claim(
        "Lengths divisible by four gain most from CMSIS-NN, odd ones least, of dense layers and "
        "convolutions",
        all(odd > even > four for odd, even, four in ordered[:2]),
        "; ".join(
            f"{layer.name} {', '.join(f'{1e9 * t:.1f}' for t in times)} ns an operation"
            for layer, times in zip(_TABLE_4[:2], ordered[:2], strict=True)
        )
        + " of odd, even and divisible lengths",
    )
    spreads = [times[0] / times[2] - 1 for times in ordered]
    yield Claim(
        "Depthwise convolutions cannot make use of aligned access",
        spreads[2] < min(spreads[:2]) / 2,
        "odd lengths cost "
        + ", ".join(
            f"{layer.name} {100 * spread:.1f} %"
            for layer, spread in zip(_TABLE_4, spreads, strict=True)
        )
        + " more than those divisible by four",
    )
    gains = {
        layer.name: [plain / times[2] for plain in _reference(layer)]
        for layer, times in zip(_TABLE_4, ordered, strict=True)
    }
    told = ", ".join(f"{name} {min(g):.1f} to {max(g):.1f}" for name, g in gains.items())
    yield Claim(
        "CMSIS-NN makes layers of every type faster",
        all(min(g) > 1 for g in gains.values()),
        f"times faster over builds of the reference kernels: {told}",
    )
    dense, convolution, depthwise = gains.values()
    yield Claim(
        "Depthwise convolutions gain less from it than the others",
        all(g < min(others) for g, *others in zip(depthwise, dense, convolution, strict=True)),
        "build by build: "
        + ", ".join(
            f"{build} {d:.1f}, {c:.1f} and {w:.1f}"
            for (_, build), d, c, w in zip(_REFERENCE, dense, convolution, depthwise, strict=True)
        )
        + " times for dense, convolution and depthwise",
    )


def _rises(layer: _Layer) -> list[list[float]]:
    """Changes of the time from one length to the next, by the remainder of the next by four."""
    rises: list[list[float]] = [[], [], [], []]
    for size, (before, after) in zip(layer.sizes[1:], pairwise(_times(layer)), strict=True):
        rises[size % 4].append(after / before - 1)
    return rises


def _listed(what: str, rises: Sequence[Sequence[float]]) -> str:
    means = (f"{r}: {100 * sum(x) / len(x):+.1f} %" for r, x in enumerate(rises))
    return f"time changes on reaching {what} {', '.join(means)}"


def sweep_figures() -> Iterator[Figure]:
    """Figures 4 and 5, and table 4 as a plot."""
    yield Figure(
        "heim-dense", "A dense layer of 450 units (figure 4)", "inputs", "ms",
        (Series("predicted", list(_DENSE.sizes), [1e3 * t for t in _times(_DENSE)]),),
    )  # fmt: skip
    series = []
    for kernel in (3, 5):
        times = _times(_CONVOLUTIONS[kernel])
        series.append(Series(f"{kernel}x{kernel}", list(_CHANNELS), [t / times[0] for t in times]))
    yield Figure(
        "heim-convolution", "A convolution of 60 filters, 32x32 pixels (figure 5)",
        "input channels", "time over that of 100 channels", tuple(series),
    )  # fmt: skip
    yield Figure(
        "heim-operations", "Time of an operation with CMSIS-NN, L4 (table 4)",
        "odd, even, divisible by 4", "ns",
        tuple(
            Series(layer.name, range(len(_KINDS)), [1e9 * _per_operation(layer, k) for k in _KINDS])
            for layer in _TABLE_4
        ),
        "points",
    )  # fmt: skip
