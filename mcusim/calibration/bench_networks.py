"""Small networks that each lean on one part of a board: arithmetic, fetching, or constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mcusim.graph import Graph
from mcusim.tflite import read, write
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import quantized

__all__ = ["MICRO_NETWORKS", "micro_network"]

_FLOAT = "float-"


def _convolution(extent: int, channels: int, filters: int, kernel: int) -> NetworkBuilder:
    net = NetworkBuilder("", (1, extent, extent, channels))
    net.convolution(filters, (kernel, kernel))
    return net


def _depthwise(extent: int, channels: int) -> NetworkBuilder:
    net = NetworkBuilder("", (1, extent, extent, channels))
    net.depthwise((3, 3))
    return net


def _dense(*units: int) -> NetworkBuilder:
    net = NetworkBuilder("", (1, units[0]))
    for count in units[1:]:
        net.dense(count)
    return net


def _pool(extent: int, channels: int) -> NetworkBuilder:
    net = NetworkBuilder("", (1, extent, extent, channels))
    net.average_pool((2, 2))
    return net


def _softmax(rows: int, features: int) -> NetworkBuilder:
    net = NetworkBuilder("", (rows, features))
    net.softmax()
    return net


def _many_kernels(extent: int, channels: int) -> NetworkBuilder:
    # Few turns of many different loops: their code does not stay in a small cache.
    net = NetworkBuilder("", (1, extent, extent, channels))
    for _ in range(4):
        entry = net.last
        net.depthwise((3, 3))
        net.convolution(channels, (1, 1))
        net.add(entry)
    net.average_pool((2, 2))
    net.dense(16)
    net.softmax()
    return net


#: Networks to choose from, by name.
MICRO_NETWORKS: Mapping[str, Callable[[], NetworkBuilder]] = {
    "convolution-3x3": lambda: _convolution(16, 16, 16, 3),
    "convolution-3x3-rgb": lambda: _convolution(32, 3, 8, 3),
    "convolution-1x1": lambda: _convolution(16, 32, 32, 1),
    "convolution-wide": lambda: _convolution(4, 64, 64, 3),
    "depthwise-3x3": lambda: _depthwise(24, 16),
    "depthwise-narrow": lambda: _depthwise(40, 3),
    "dense-64": lambda: _dense(64, 64),
    "dense-256": lambda: _dense(256, 256),
    "dense-512": lambda: _dense(512, 512),
    "dense-long": lambda: _dense(2048, 16),
    "dense-stack": lambda: _dense(48, 48, 48, 48, 48, 48, 48, 48),
    "pool": lambda: _pool(32, 16),
    # Short rows: TFLite Micro stops where hundreds of inputs are alike, as in an empty arena.
    "softmax-10": lambda: _softmax(60, 10),
    "softmax-32": lambda: _softmax(30, 32),
    "many-kernels": lambda: _many_kernels(6, 8),
    "float-convolution": lambda: _convolution(8, 8, 8, 3),
    "float-dense": lambda: _dense(128, 64),
    "float-dense-long": lambda: _dense(512, 16),
    "float-depthwise": lambda: _depthwise(8, 16),
    "float-softmax": lambda: _softmax(20, 12),
    "float-many-kernels": lambda: _many_kernels(4, 8),
}


def micro_network(name: str) -> Graph:
    """Build one of :data:`MICRO_NETWORKS`: int8, unless its name begins with ``float-``.

    Its values mean nothing: weights are random, and every activation is taken to lie in [-1, 1).
    """
    graph = replace(MICRO_NETWORKS[name]().graph(), name=name, description="mcusim bench plan")
    if not name.startswith(_FLOAT):
        ranges = {t.index: (-1.0, 1.0) for t in graph.main.tensors if not t.is_constant}
        graph = quantized(graph, ranges)
    return read(write(graph), name)
