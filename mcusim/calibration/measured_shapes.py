"""Networks and kernels that somebody timed, built from what their sources say of their shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from mcusim.graph import Graph
from mcusim.zoo import build, names
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.description import described, is_description
from mcusim.zoo.quantization import quantized

__all__ = ["measured_network"]


@cache
def measured_network(name: str) -> Graph:
    """A network in int8, or in float32 where its name ends so; ranges do not change its cost.

    Args:
        name: one of those below, of the zoo, or a network in a line, as
            :func:`mcusim.zoo.description.described` takes it.
    """
    if name in names():
        return build(name)
    if is_description(name):
        return described(name)
    shape, _, dtype = name.partition(" ")
    family, _, size = shape.partition(":")
    graph = _NETWORKS[family](name, size).graph()
    if dtype == "float32":
        return graph
    computed = (i for i, tensor in enumerate(graph.main.tensors) if not tensor.is_constant)
    return quantized(graph, dict.fromkeys(computed, (-1.0, 1.0)))


def _image_example(name: str, _: str) -> NetworkBuilder:
    # mltk's image_example1.
    net = NetworkBuilder(name, (1, 96, 96, 1))
    net.convolution(24, (3, 3), stride=2)
    net.average_pool((2, 2))
    net.convolution(16, (3, 3), stride=2, padding="VALID")
    net.convolution(24, (3, 3), padding="VALID")
    net.average_pool((2, 2))
    net.dense(3, activation="NONE")
    net.softmax()
    return net


def _kernel(name: str, kind: str) -> NetworkBuilder:
    # Ambiq's benchmarks of single kernels.
    net = NetworkBuilder(name, (1, 512) if kind == "dense" else (1, 32, 32, 64))
    if kind == "convolution":
        net.convolution(64, (3, 3))
    elif kind == "depthwise":
        net.depthwise((3, 3))
    else:
        net.dense(256)
    return net


def _person_detect(name: str, _: str) -> NetworkBuilder:
    # TFLM's person_detect.tflite: MobileNetV1 of width 0.25, its first layer depthwise.
    net = NetworkBuilder(name, (1, 96, 96, 1))
    net.depthwise((3, 3), stride=2, multiplier=8)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)]
    for filters, stride in [*blocks, *[(128, 1)] * 5, (256, 2), (256, 1)]:
        net.depthwise((3, 3), stride=stride)
        net.convolution(filters, (1, 1))
    net.average_pool((3, 3))
    net.convolution(2, (1, 1), activation="NONE")
    net.flatten()
    net.softmax()
    return net


def _cifar_10(name: str, _: str) -> NetworkBuilder:
    # Lai, Suda and Chandra (2018), table 1.
    net = NetworkBuilder(name, (1, 32, 32, 3))
    for filters in (32, 32, 64):
        net.convolution(filters, (5, 5))
        net.max_pool((2, 2))
    net.dense(10, activation="NONE")
    return net


def _mnist(name: str, _: str) -> NetworkBuilder:
    # Keras' example of 2017 to 2020; its converter made the layer of one channel a depthwise one.
    net = NetworkBuilder(name, (1, 28, 28, 1))
    net.depthwise((3, 3), padding="VALID", multiplier=32)
    net.max_pool((2, 2))
    net.convolution(64, (3, 3), padding="VALID")
    net.max_pool((2, 2))
    net.convolution(64, (3, 3), padding="VALID")
    net.dense(64)
    net.dense(10, activation="NONE")
    net.softmax()
    return net


def _dense(name: str, size: str) -> NetworkBuilder:
    # Widths, input first, as "4-10-3".
    inputs, *widths = map(int, size.split("-"))
    net = NetworkBuilder(name, (1, inputs))
    for units in widths[:-1]:
        net.dense(units)
    net.dense(widths[-1], activation="NONE")
    return net


def _dense_softmax(name: str, size: str) -> NetworkBuilder:
    net = _dense(name, size)
    net.softmax()
    return net


#: Expanded channels, side of the depthwise filter, channels, and stride of each block of
#: mcunet-vww1, as its .tflite in mit-han-lab/tinyengine has them.
_VWW_1 = (
    (48, 3, 16, 2), (48, 3, 16, 1), (48, 3, 16, 1), (48, 7, 24, 2), (144, 3, 24, 1),
    (120, 5, 24, 1), (144, 7, 40, 2), (240, 7, 40, 1), (240, 3, 48, 1), (192, 3, 48, 1),
    (240, 5, 96, 2), (480, 3, 96, 1), (384, 3, 96, 1), (288, 7, 160, 1),
)  # fmt: skip


def _mcunet(name: str, _: str) -> NetworkBuilder:
    net = NetworkBuilder(name, (1, 80, 80, 3))
    _strided(net, 16, 3)
    net.depthwise((3, 3))
    net.convolution(8, (1, 1), activation="NONE")
    for expanded, side, filters, stride in _VWW_1:
        _inverted(net, expanded, side, filters, stride)
    net.average_pool((3, 3))
    net.dense(2, activation="NONE")
    return net


def _mobilenet_v2(name: str, _: str) -> NetworkBuilder:
    # Width 0.3 at 64 by 64: channels are rounded to multiples of 8, none below nine tenths.
    net = NetworkBuilder(name, (1, 64, 64, 3))
    _strided(net, 16, 3)
    net.depthwise((3, 3))
    net.convolution(8, (1, 1), activation="NONE")
    stages = [(8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (48, 3, 2), (96, 1, 1)]
    for filters, repeats, first in stages:
        for repeat in range(repeats):
            _inverted(net, 6 * net.shape()[-1], 3, filters, 1 if repeat else first)
    net.convolution(1280, (1, 1))
    net.average_pool((2, 2))
    net.dense(1000, activation="NONE")
    return net


def _strided(net: NetworkBuilder, filters: int, side: int) -> None:
    """As converters from PyTorch leave a convolution with a stride: behind a PAD of its own."""
    net.pad(side // 2)
    net.convolution(filters, (side, side), stride=2, padding="VALID")


def _inverted(net: NetworkBuilder, expanded: int, side: int, filters: int, stride: int) -> None:
    entry, channels = net.last, net.shape()[-1]
    net.convolution(expanded, (1, 1))
    if stride == 1 or net.shape()[1] % 2:  # SAME pads odd images alike on all sides
        net.depthwise((side, side), stride=stride)
    else:
        net.pad(side // 2)
        net.depthwise((side, side), stride=stride, padding="VALID")
    net.convolution(filters, (1, 1), activation="NONE")
    if stride == 1 and channels == filters:
        net.add(entry)


_NETWORKS: dict[str, Callable[[str, str], NetworkBuilder]] = {
    "image-example-1": _image_example,
    "kernel": _kernel,
    "person-detect": _person_detect,
    "cifar-10": _cifar_10,
    "mnist": _mnist,
    "dense": _dense,
    "dense-softmax": _dense_softmax,
    "mcunet-vww1": _mcunet,
    "mobilenet-v2-0.3-64": _mobilenet_v2,
}
