"""MobileNetV2 as Svoboda et al. deploy it: what each layer holds at once, and what that spills.

Keras writes a layer that pads before every convolution of stride 2, and averages over all pixels in
one layer: layers are numbered so here, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from mcusim.graph import Graph, Node
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = ["FIRST", "Layer", "Spill", "layers", "network", "spills"]

#: Layers that get more filters in Figure 4.
FIRST = 10
#: Filters, repeats and the first stride of each stage; Sandler et al. 2018, width 0.35.
_STAGES = ((8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1))
#: Activation ranges; nothing here depends on them.
_RANGE = (-6.0, 6.0)


@dataclass(frozen=True)
class Layer:
    """A layer and its working set, in bytes of int8 and of int32 biases.

    Attributes:
        number: from 1.
        kind: ``"pad"``, or the schema's name of its operator.
        inputs: bytes; both of a sum.
        outputs: bytes.
        weights: bytes, biases included.
        im2col: bytes of the buffer that CMSIS-NN's legacy q7 kernels ask for.
        filters: outputs of one pixel.
        taps: products of one output.
        macs: multiply-accumulates.
        operator: index of its operator in the network; that which follows, of a padding.
    """

    number: int
    kind: str
    inputs: int
    outputs: int
    weights: int
    im2col: int
    filters: int
    taps: int
    macs: int
    operator: int

    @property
    def activations(self) -> int:
        """Inputs and outputs."""
        return self.inputs + self.outputs

    @property
    def working_set(self) -> int:
        """All that it needs while it runs."""
        return self.activations + self.weights + self.im2col


@dataclass(frozen=True)
class Spill:
    """What a layer moves to and from a card.

    Attributes:
        number: of the layer.
        written: bytes of its output that do not fit.
        read: bytes of its input that lie on the card.
    """

    number: int
    written: int
    read: int


@cache
def network(extra: int = 0) -> Graph:
    """MobileNetV2 0.35 at 128 with more filters in its first ten layers.

    A depthwise layer has as many filters as its input; the eleventh layer gets them too, since its
    output is added to that of the eighth.

    Args:
        extra: filters more.
    """
    net = NetworkBuilder("mobilenet-v2-0.35-128", (1, 128, 128, 3))
    net.convolution(16 + extra, (3, 3), stride=2, activation="RELU6")
    net.depthwise((3, 3), activation="RELU6")
    net.convolution(8 + extra, (1, 1), activation="NONE")
    channels = 8
    for stage, (filters, repeats, first_stride) in enumerate(_STAGES):
        more = 0 if stage else extra
        for repeat in range(repeats):
            entry = net.last
            stride = 1 if repeat else first_stride
            net.convolution(6 * channels + more, (1, 1), activation="RELU6")
            net.depthwise((3, 3), stride=stride, activation="RELU6")
            net.convolution(filters + more, (1, 1), activation="NONE")
            if repeat:
                net.add(entry)
            channels = filters
    net.convolution(1280, (1, 1), activation="RELU6")
    net.average_pool((4, 4))
    net.dense(1000, activation="NONE")
    net.softmax()
    graph = net.graph()
    ranges = {t.index: _RANGE for t in graph.main.tensors if not t.is_constant}
    return quantized(graph, ranges)


@cache
def layers(extra: int = 0) -> tuple[Layer, ...]:
    """Every layer of the network, those that pad included."""
    return tuple(_numbered(network(extra)))


def _numbered(graph: Graph) -> Iterator[Layer]:
    number = 0
    for node in graph.main.nodes:
        if node.name == "RESHAPE":
            continue
        padded = _padded(node)
        if padded:
            number += 1
            given = node.input(0).elements
            yield Layer(number, "pad", given, padded, 0, 0, 0, 0, 0, node.index)
        number += 1
        yield _layer(number, node, padded)


def _padded(node: Node) -> int:
    """Bytes of the padded input of a layer that strides; 0 where nothing is padded apart."""
    windowed = node.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
    if not windowed or node.options.integer("stride_w") != 2:
        return 0
    _, height, width, channels = node.input(0).shape
    return (height + 1) * (width + 1) * channels


def _layer(number: int, node: Node, padded: int) -> Layer:
    given = sum(t.bytes for t in node.inputs if t is not None and not t.is_constant)
    held = sum(t.bytes for t in node.inputs if t is not None and t.is_constant)
    out = node.output()
    filters = taps = im2col = 0
    if node.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        filters = out.shape[-1]
        taps = node.input(1).elements // filters
        # Two columns of int16; the depthwise kernel takes a column of all its channels.
        wide = filters if node.name == "DEPTHWISE_CONV_2D" else 1
        im2col = 2 * taps * (1 if node.name == "FULLY_CONNECTED" else 2 * wide)
    macs = taps * out.elements
    return Layer(
        number, node.name, padded or given, out.bytes, held, im2col, filters, taps, macs, node.index
    )


def spills(found: Sequence[Layer], sram_bytes: float) -> tuple[Spill, ...]:
    """What lies outside of a RAM, layer by layer, when inputs and outputs shall lie in it.

    A layer whose input lies on the card reads it in pieces, so that only its output takes room.

    Args:
        found: layers in order.
        sram_bytes: the room for inputs and outputs.
    """
    moved, outside = [], False
    for layer in found:
        read = layer.inputs if outside else 0
        outside = layer.outputs + (0 if read else layer.inputs) > sram_bytes
        if read or outside:
            moved.append(Spill(layer.number, layer.outputs if outside else 0, read))
    return tuple(moved)
