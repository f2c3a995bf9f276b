"""Q, affine and code-book weights on the F767: what products and unpacking take (section 6).

The paper's library is not published. Its kernels are our own reading of it, in
``kernels/weight_formats/``, counted in the emulator; CMSIS-NN's stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from mcusim.boards import (
    Board,
    Bounds,
    ConstantStream,
    Cycles,
    MemoryTraffic,
    WorkingTraffic,
    load_board,
    price,
    widened,
)
from mcusim.estimator import estimate
from mcusim.experiments.code_book import CodeBook, code_book, q_format
from mcusim.experiments.reproduction import Row
from mcusim.experiments.svoboda_layers import Layer, layers, network
from mcusim.graph import Graph, Node
from mcusim.kernels.profile import load_profile
from mcusim.models import load_model
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = [
    "BITS_OF_TRAINED",
    "CLUSTERS",
    "FORMATS",
    "Priced",
    "book_bits",
    "books",
    "format_rows",
    "layer_products_s",
    "priced_format",
]

_BOARD = "nucleo-f767zi"
_BUILD = "m7.gcc-O3"

#: Clusters of each tensor; the paper does not give its number. 256 keeps all of 8-bit Q.
CLUSTERS = (16, 32, 64, 256)
#: Fewest and most bits a weight, of trained int8 networks with these clusters: those of Heim et
#: al., MLPerf Tiny and Profentzas et al., computed from their published files.
BITS_OF_TRAINED = {16: (1.38, 3.41), 32: (1.53, 4.33), 64: (1.75, 5.49), 256: (2.09, 7.26)}

#: Kernel of each format, whether its weights are unpacked first, and by which kernel.
FORMATS: dict[str, tuple[str, str]] = {
    "Q with SIMD": ("q7_products_simd", ""),
    "Q without SIMD": ("q7_products", ""),
    "affine": ("affine_products", ""),
    "code book, 8 bits at once": ("q7_products_simd", "unpack_by_table"),
    "code book, bit by bit": ("q7_products_simd", "unpack_bit_by_bit"),
}
_USED_CLUSTERS = 64
_LIBRARIES = {
    "affine, CMSIS-NN of 2022": "cmsis-nn@2022",
    "affine, reference kernels of TFLM": "tflm",
}


@dataclass(frozen=True)
class Priced:
    """Time of a network in one format, in seconds.

    Attributes:
        products: of convolutions and dense layers.
        unpacking: of their weights.
        interval: low and high of the sum, 90 %.
    """

    products: float
    unpacking: float
    interval: tuple[float, float]

    @property
    def total(self) -> float:
        """Both."""
        return self.products + self.unpacking


@cache
def _board() -> Board:
    return load_board(_BOARD)


@cache
def books(clusters: int) -> tuple[CodeBook, ...]:
    """A book for each tensor of weights of the zoo's network, in the order of its layers."""
    found = []
    for node in load_model("mobilenet-v2-0.35-128:float32").main.nodes:
        if node.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights, _ = q_format(np.asarray(node.input(1).data))
            found.append(code_book(weights, clusters)[1])
    return tuple(found)


def book_bits(found: tuple[CodeBook, ...]) -> float:
    """Mean bits a weight of several tensors, with their books."""
    bits = sum(book.code_bits + book.table_bits for book in found)
    return bits / sum(book.weights for book in found)


@cache
def priced_format(name: str) -> Priced:
    """The whole network in one of :data:`FORMATS`."""
    kernel, unpacking = FORMATS[name]
    weighted = [layer for layer in layers() if layer.macs]
    products = sum(layer_products_s(layer, kernel, bool(unpacking)) for layer in weighted)
    unpacked = 0.0
    if unpacking:
        unpacked = sum(_unpacking_s(book, unpacking) for book in books(_USED_CLUSTERS))
    bounds = Bounds.of(_board(), f"weight_formats {_BUILD}", "pointwise")
    low, high = widened(bounds.time)
    total = products + unpacked
    return Priced(products, unpacked, (low * total, high * total))


def layer_products_s(layer: Layer, kernel: str, in_ram: bool) -> float:
    """Time of a layer's products, in seconds.

    Args:
        layer: with weights.
        kernel: of :data:`FORMATS`.
        in_ram: whether its weights lie in RAM, as unpacked ones do.
    """
    outputs = layer.macs // layer.taps
    pixels = outputs // layer.filters
    turns = {"call": 1, "pixel": pixels, "output": outputs}
    if kernel == "q7_products_simd":
        turns |= {"quad": outputs * (layer.taps // 4), "product": outputs * (layer.taps % 4)}
    else:
        turns |= {"product": layer.macs}
    access = 4.0 if kernel == "q7_products_simd" else 1.0
    # All weights for one pixel, then all of them for the next.
    stream = ConstantStream(layer.macs, layer.weights, access)
    return _seconds(kernel, turns, stream, "ram" if in_ram else "flash")


def _unpacking_s(book: CodeBook, kernel: str) -> float:
    long = book.lengths > 8
    turns = {"call": 1, "weight": book.weights}
    if kernel == "unpack_by_table":
        turns |= {
            "long_weight": int(book.counts[long].sum()),
            "bit": int((book.counts * book.lengths)[long].sum()),
        }
    else:
        turns |= {"bit": book.code_bits}
    packed = book.code_bits / 8
    return _seconds(kernel, turns, ConstantStream(packed, packed, 1.0), "flash")


def _seconds(kernel: str, turns: dict[str, int], stream: ConstantStream, place: str) -> float:
    board = _board()
    profile = load_profile(f"weight_formats/{kernel}")
    assert profile is not None
    mix = profile.builds[_BUILD].mix(turns)
    traffic = MemoryTraffic(constants=(stream,), stack=WorkingTraffic())
    clock_hz = board.clock.default_hz
    cycles: Cycles = price(board, clock_hz, mix, traffic, placement={"weights": place})
    return cycles.total / clock_hz


def format_rows() -> Iterator[Row]:
    """Figure 7, whose numbers the text does not hold, and the real bits of code books."""
    note = "plotted only; products of convolutions and dense layers by our own kernels"
    for name in FORMATS:
        found = priced_format(name)
        told = f"; {1e3 * found.unpacking:.0f} ms of it unpack" if found.unpacking else ""
        low, high = found.interval
        yield Row(
            "Figure 7", name, "ms", None, 1e3 * found.total, 1e3 * low, 1e3 * high, note + told
        )
        power_w = _board().power.active_w(_board().clock.default_hz)
        yield Row("Figure 7", name, "mJ", None, 1e3 * power_w * found.total, note=note)
    for name, runtime in _LIBRARIES.items():
        whole = estimate(network(), _board(), runtime, "gcc-O3")
        low, high = whole.latency_interval_s
        yield Row(
            "Figure 7", name, "ms", None, 1e3 * whole.latency_s, 1e3 * low, 1e3 * high,
            "not of the paper: what a library takes for the whole network",
        )  # fmt: skip
    yield from _convolution_rows()
    for clusters in CLUSTERS:
        own = book_bits(books(clusters))
        low, high = BITS_OF_TRAINED[clusters]
        yield Row(
            "Section 6: real bits", f"{clusters} clusters a tensor", "bits a weight", None, own,
            low, high,
            "8-bit Q, k-means, Huffman, book included: predicted, the zoo's MobileNetV2, whose "
            "weights are drawn from normal distributions; range, trained networks of the other "
            "papers. The number of clusters is not published",
        )  # fmt: skip


def _convolution_rows() -> Iterator[Row]:
    """Our kernel beside those of CMSIS-NN, which the paper wraps, where those are known."""
    note = "not of the paper: convolutions that are not depthwise, "
    told = {"ours": 0.0, "q7": 0.0, "s8": 0.0}
    for layer in layers():
        if layer.kind == "CONV_2D":
            alone = _alone(network().main.node(layer.operator))
            told["ours"] += layer_products_s(layer, "q7_products_simd", False)
            told["q7"] += estimate(alone, _board(), "cmsis-nn@q7", "gcc-O3").latency_s
            told["s8"] += estimate(alone, _board(), "cmsis-nn@2022", "gcc-O3").layers[0].latency_s
    for name, key in (
        ("Q with SIMD, our kernel", "ours"),
        ("Q with SIMD, CMSIS-NN's q7 kernels with im2col", "q7"),
        ("affine with SIMD, CMSIS-NN of 2022", "s8"),
    ):
        yield Row(
            "Figure 7: convolutions alone", name, "ms", None, 1e3 * told[key],
            note=note + "to hold our kernel against published ones",
        )  # fmt: skip


def _alone(node: Node) -> Graph:
    """A network of one convolution."""
    filters, height, width, _ = node.input(1).shape
    net = NetworkBuilder("convolution", node.input(0).shape)
    stride = node.options.integer("stride_w")
    net.convolution(filters, (height, width), stride=stride, activation="NONE")
    graph = net.graph()
    ranges = {t.index: (-6.0, 6.0) for t in graph.main.tensors if not t.is_constant}
    return quantized(graph, ranges)
