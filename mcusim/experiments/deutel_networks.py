"""The networks of Deutel et al., table 1, whole and pruned to a share of their parameters.

The shapes of the pruned networks are not published. A compression rate is met with a range of
them: all structures pruned alike, or one half of the network keeps twice the share of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mcusim.graph import Graph, Tensor
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = [
    "NETWORKS",
    "SKEWS",
    "Network",
    "element_pruned",
    "kept_widths",
    "structure_pruned",
]

#: How much more of the first half's structures is kept than of the second's.
SKEWS = (1.0, 2.0, 0.5)

#: Activations of a network that is only priced: any range does.
_ANY_RANGE = (-1.0, 1.0)
_BISECTIONS = 40

#: Inputs and outputs of each weight matrix.
Matrices = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Network:
    """A network by the sizes of what structural pruning removes.

    Attributes:
        name: as the paper calls it.
        widths: filters of each convolution and units of each dense layer but the last.
        split: how many of ``widths`` are in the first half: convolutions, or early ones.
        build: makes the float32 network of widths.
        layers: inputs and outputs of each weight matrix of the network of widths, without making
            it.
    """

    name: str
    widths: tuple[int, ...]
    split: int
    build: Callable[[Sequence[int]], NetworkBuilder]
    layers: Callable[[Sequence[int]], Matrices]

    def parameters(self, widths: Sequence[int]) -> int:
        """Weights and biases of the network of widths."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers(widths))


def _lenet(widths: Sequence[int]) -> NetworkBuilder:
    net = NetworkBuilder("LeNet", (1, 28, 28, 1))
    for filters in widths[:2]:
        net.convolution(filters, (3, 3), padding="VALID")
    net.max_pool((2, 2))
    net.dense(widths[2])
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _alexnet(widths: Sequence[int]) -> NetworkBuilder:
    net = NetworkBuilder("AlexNet", (1, 32, 32, 3))
    net.convolution(widths[0], (2, 2), stride=2, padding="VALID")
    for filters in widths[1:4]:
        net.convolution(filters, (3, 3), padding="VALID")
    net.max_pool((2, 2))
    for units in widths[4:]:
        net.dense(units)
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _resnet(widths: Sequence[int]) -> NetworkBuilder:
    """A convolution, four blocks without padding, pooling.

    The table prints neither the first convolution nor the shortcuts. 25,088 inputs of the last
    layer are 7 x 7 x 512: with pooling, 14 x 14, which is 32 less two rows for each of nine 3x3
    convolutions. A shortcut that loses as many rows as its block is a 5x5 convolution, and with
    them the network has 9.38 M parameters, of which the table says 9.4 M.
    """
    net = NetworkBuilder("ResNet", (1, 32, 32, 3))
    net.convolution(widths[0], (3, 3), padding="VALID")
    for filters in widths[1:]:
        entry = net.last
        net.convolution(filters, (3, 3), padding="VALID")
        block = net.convolution(filters, (3, 3), padding="VALID", activation="NONE")
        net.convolution(filters, (5, 5), padding="VALID", activation="NONE", source=entry)
        net.add(block, activation="RELU")
    net.max_pool((2, 2))
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _lenet_layers(widths: Sequence[int]) -> Matrices:
    first, second, units = widths
    return ((9, first), (9 * first, second), (144 * second, units), (units, 10))


def _alexnet_layers(widths: Sequence[int]) -> Matrices:
    a, b, c, d, e, f = widths
    dense = ((25 * d, e), (e, f), (f, 10))
    return ((12, a), (9 * a, b), (9 * b, c), (9 * c, d), *dense)


def _resnet_layers(widths: Sequence[int]) -> Matrices:
    blocks = [
        ((9 * before, after), (9 * after, after), (25 * before, after))
        for before, after in pairwise(widths)
    ]
    return ((27, widths[0]), *(layer for block in blocks for layer in block), (49 * widths[-1], 10))


NETWORKS = {
    "LeNet": Network("LeNet", (32, 64, 128), 2, _lenet, _lenet_layers),
    "AlexNet": Network("AlexNet", (64, 192, 384, 256, 4096, 4096), 4, _alexnet, _alexnet_layers),
    "ResNet": Network("ResNet", (64, 64, 128, 256, 512), 3, _resnet, _resnet_layers),
}


def structure_pruned(name: str, compression: float, skew: float, is_float: bool) -> Graph:
    """A network with structures removed until a share of the parameters is left.

    Args:
        name: one of :data:`NETWORKS`.
        compression: share of the parameters that is removed.
        skew: one of :data:`SKEWS`.
        is_float: float32, or int8, which dnnruntime takes as uint8.
    """
    network = NETWORKS[name]
    graph = network.build(kept_widths(name, compression, skew)).graph()
    return graph if is_float else _priced_int8(graph)


def kept_widths(name: str, compression: float, skew: float) -> tuple[int, ...]:
    """Filters and units that are kept when structures are removed.

    Args:
        name: one of :data:`NETWORKS`.
        compression: share of the parameters that is removed.
        skew: one of :data:`SKEWS`.
    """
    network = NETWORKS[name]
    left = (1 - compression) * network.parameters(network.widths)
    least, most = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (least + most) / 2
        if network.parameters(_kept(network, middle, skew)) > left:
            most = middle
        else:
            least = middle
    return _kept(network, most, skew)


def element_pruned(compression: float, *, dense_only: bool, is_float: bool) -> Graph:
    """LeNet with the smallest weights set to zero.

    Args:
        compression: share of the weights that is zero.
        dense_only: convolutions are kept whole; otherwise every layer has the same share.
        is_float: as for :func:`structure_pruned`.
    """
    graph = NETWORKS["LeNet"].build(NETWORKS["LeNet"].widths).graph()
    matrices = [n.input(1) for n in graph.main.nodes if n.name in ("CONV_2D", "FULLY_CONNECTED")]
    total = sum(t.elements for t in matrices)
    pruned = [t for t in matrices if len(t.shape) == 2 or not dense_only]
    share = min(1.0, compression * total / sum(t.elements for t in pruned))
    tensors = list(graph.main.tensors)
    for tensor in pruned:
        tensors[tensor.index] = _sparse(tensor, share)
    graph = replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))
    return graph if is_float else _priced_int8(graph)


def _sparse(tensor: Tensor, share: float) -> Tensor:
    data = np.asarray(tensor.data).copy()
    sizes = np.abs(data)
    data[sizes <= np.quantile(sizes, share)] = 0.0
    # What is kept must not be quantized to zero, as training sees to.
    data[data != 0.0] = np.copysign(1.0, data[data != 0.0])
    return replace(tensor, data=data)


def _kept(network: Network, share: float, skew: float) -> tuple[int, ...]:
    factors = (share * min(1.0, skew), share * min(1.0, 1.0 / skew))
    return tuple(
        max(1, round(width * factors[0 if position < network.split else 1]))
        for position, width in enumerate(network.widths)
    )


def _priced_int8(graph: Graph) -> Graph:
    return quantized(graph, {t.index: _ANY_RANGE for t in graph.main.tensors})
