"""Layers put in the place of others that compute the same values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcusim.advice.channels import kept_metadata
from mcusim.graph import Graph, Node, Operator, Options, Quantization, Tensor

__all__ = ["as_convolution"]


def as_convolution(graph: Graph, node: Node) -> Graph | None:
    """The network with a depthwise convolution as a convolution whose other weights are zero.

    With one input channel the weights are the same ones in another order. The sums, scales and
    roundings are the same, so every bit is.

    Args:
        graph: the network.
        node: one of its operators.

    Returns:
        The network; None where the layer is no depthwise convolution that this can be done to.
    """
    if node.name != "DEPTHWISE_CONV_2D" or len(graph.subgraphs) != 1:
        return None
    weights, source = node.input(1), node.input(0)
    if weights.data is None or weights.dtype.bits < 8:
        return None
    uses = sum(t is weights for n in graph.main.nodes for t in n.inputs)
    depth, channels = source.shape[-1], node.outputs[0].shape[-1]
    if uses != 1 or depth == 0 or channels % depth:
        return None
    fill = 0 if weights.quantization is None else weights.quantization.zero_point
    _, rows, columns, _ = weights.shape
    data = np.full((channels, rows, columns, depth), fill, weights.data.dtype)
    for channel in range(channels):
        data[channel, :, :, channel * depth // channels] = weights.data[0, :, :, channel]
    q = weights.quantization
    filters = replace(
        weights,
        buffer=1 + max(t.buffer for t in graph.main.tensors),
        shape=data.shape,
        data=data,
        quantization=None if q is None else Quantization(q.scales, q.zero_points, 0),
    )
    old = graph.main.operators[node.index]
    options = Options({k: v for k, v in node.options.items() if k != "depth_multiplier"})
    convolution = Operator(
        "CONV_2D",
        old.inputs,
        old.outputs,
        options,
        "Conv2DOptions",
        max(old.version, 3),
        intermediates=old.intermediates,
    )
    operators = list(graph.main.operators)
    operators[node.index] = convolution
    tensors: list[Tensor] = list(graph.main.tensors)
    tensors[weights.index] = filters
    main = replace(graph.main, tensors=tuple(tensors), operators=tuple(operators))
    return replace(graph, subgraphs=(main,), model_bytes=0, metadata=kept_metadata(graph))
