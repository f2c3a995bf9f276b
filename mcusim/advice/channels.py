"""Channels that belong together across a network, and the same network with more or fewer of them.

Convolutions make channels; depthwise convolutions, pooling, sums and flattening pass them on. The
channels of tensors that must agree form a group. A group is widened by channels whose weights and
biases are zero and that nothing reads with another weight, so that every other value stays the
same to the bit; it is narrowed by leaving the last channels out, which is another network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mcusim.graph import Array, Graph, Node, Options, Quantization, Subgraph, Tensor

__all__ = ["ChannelGroup", "channel_groups", "kept_metadata", "resized"]

#: Operators whose output has the channels of its only computed input.
_PASSING = frozenset(
    {
        "AVERAGE_POOL_2D",
        "MAX_POOL_2D",
        "L2_POOL_2D",
        "RELU",
        "RELU6",
        "HARD_SWISH",
        "LEAKY_RELU",
        "QUANTIZE",
        "DEQUANTIZE",
    }
)
#: TFLM's offline memory plan.
_MEMORY_PLAN = "OfflineMemoryAllocation"
_ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"})


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only change together.

    Attributes:
        channels: how many.
        tensors: indices of the computed tensors that have them, and how often each channel stands
            in the last axis of each: once, or a pixel's number of times where it was flattened.
        makers: indices of the operators whose filters make them.
    """

    channels: int
    tensors: tuple[tuple[int, int], ...]
    makers: tuple[int, ...]


class _Groups:
    """Tensors joined where their channels must agree."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self.repeats: dict[int, int] = {}
        self.frozen: set[int] = set()

    def find(self, tensor: int) -> int:
        while (above := self._parent.setdefault(tensor, tensor)) != tensor:
            tensor = above
        return tensor

    def join(self, first: Tensor, second: Tensor, repeats: int = 1) -> None:
        """The second has the channels of the first, each ``repeats`` times as often."""
        often = self.repeats.setdefault(first.index, 1) * repeats
        if self.repeats.setdefault(second.index, often) != often:
            self.freeze(first, second)
        self._parent[self.find(second.index)] = self.find(first.index)

    def freeze(self, *tensors: Tensor) -> None:
        self.frozen |= {t.index for t in tensors}


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """Groups of channels that may be widened or narrowed; none where inputs or outputs are in it.

    Args:
        graph: a network of one subgraph.

    Returns:
        The groups in the order of the operators that make them.
    """
    if len(graph.subgraphs) != 1:
        return ()
    groups = _Groups()
    makers: dict[int, int] = {}
    uses = [t.index for n in graph.main.nodes for t in n.inputs if t is not None and t.is_constant]
    for node in graph.main.nodes:
        if any(t is not None and t.is_constant and uses.count(t.index) > 1 for t in node.inputs):
            groups.freeze(*_computed(node))  # a filter that several layers share
        elif _makes(node):
            makers[node.outputs[0].index] = node.index
            groups.find(node.outputs[0].index)
        elif not _joined(groups, node):
            groups.freeze(*_computed(node))
    groups.freeze(*graph.inputs, *graph.outputs)
    members: dict[int, list[int]] = {}
    tensors = graph.main.tensors
    for node in graph.main.nodes:
        for tensor in node.outputs:
            members.setdefault(groups.find(tensor.index), []).append(tensor.index)
    frozen = {groups.find(index) for index in groups.frozen}
    found = []
    for root, indices in members.items():
        made = tuple(makers[i] for i in indices if i in makers)
        if root in frozen or not made:
            continue
        repeats = {i: groups.repeats.get(i, 1) for i in indices}
        channels = {tensors[i].shape[-1] // repeats[i] for i in indices}
        if len(channels) == 1:
            found.append(ChannelGroup(channels.pop(), tuple(repeats.items()), made))
    return tuple(found)


def _computed(node: Node) -> list[Tensor]:
    return [t for t in (*node.inputs, *node.outputs) if t is not None and not t.is_constant]


def _makes(node: Node) -> bool:
    if node.name == "CONV_2D":
        weights, source = node.input(1), node.input(0)
        return weights.is_constant and weights.shape[3] == source.shape[-1]
    if node.name == "FULLY_CONNECTED":
        weights, source = node.input(1), node.input(0)
        return weights.is_constant and len(source.shape) == 2
    return False


def _joined(groups: _Groups, node: Node) -> bool:
    """Join what an operator passes on; False where it is not known to pass channels on."""
    computed = [t for t in node.inputs if t is not None and not t.is_constant]
    if not computed or len(node.outputs) != 1:
        return False
    source, target = computed[0], node.outputs[0]
    if node.name in _PASSING:
        groups.join(source, target)
        return True
    if node.name == "DEPTHWISE_CONV_2D":
        if not node.input(1).is_constant or source.shape[-1] != target.shape[-1]:
            return False
        groups.join(source, target)
        return True
    if node.name in _ELEMENTWISE:
        if len(computed) != 2 or {t.shape for t in computed} != {target.shape}:
            return False
        groups.join(computed[0], computed[1])
        groups.join(computed[0], target)
        return True
    if node.name == "RESHAPE" and len(target.shape) == 2 and target.shape[0] == 1:
        last = source.shape[-1]
        if not last or target.shape[1] % last:
            return False
        groups.join(source, target, target.shape[1] // last)
        return True
    if node.name == "MEAN" and len(source.shape) == 4 and target.shape[-1] == source.shape[-1]:
        groups.join(source, target)
        return target.elements == source.shape[-1]
    return False


def resized(graph: Graph, group: ChannelGroup, channels: int) -> Graph:
    """The network with another number of channels in one group.

    Args:
        graph: the network.
        group: one of its :func:`channel_groups`.
        channels: how many there shall be, at least one.

    Returns:
        The network; with more channels it computes the same as before.
    """
    repeats = dict(group.tensors)
    tensors = {t.index: t for t in graph.main.tensors}
    for index, often in repeats.items():
        tensor = tensors[index]
        tensors[index] = replace(tensor, shape=(*tensor.shape[:-1], often * channels))
    operators = list(graph.main.operators)
    # Converters let equal constants share a buffer; one that changes needs its own.
    buffer = max((t.buffer for t in graph.main.tensors), default=0)
    for node in graph.main.nodes:
        for index, data, axis_scales in _constants(node, repeats, channels):
            tensor = tensors[index]
            buffer += 1
            tensors[index] = replace(
                tensor,
                buffer=buffer,
                shape=data.shape,
                data=data,
                quantization=_scales(tensor.quantization, axis_scales),
            )
        if node.name == "RESHAPE" and node.outputs[0].index in repeats:
            options = dict(node.options)
            if "new_shape" in options:
                options["new_shape"] = tensors[node.outputs[0].index].shape
            operators[node.index] = replace(operators[node.index], options=Options(options))
    main = graph.main
    subgraph = Subgraph(
        main.name,
        tuple(tensors[t.index] for t in main.tensors),
        main.inputs,
        main.outputs,
        tuple(operators),
    )
    return replace(graph, subgraphs=(subgraph,), model_bytes=0, metadata=kept_metadata(graph))


def kept_metadata(graph: Graph) -> dict[str, bytes]:
    """What a file says beside the network, but for a memory plan, which no longer fits."""
    return {name: blob for name, blob in graph.metadata.items() if name != _MEMORY_PLAN}


def _constants(
    node: Node, repeats: dict[int, int], channels: int
) -> Iterator[tuple[int, Array, int | None]]:
    """Constants of an operator that change: index, new data, new number of scales if that does."""
    out_changes = node.outputs[0].index in repeats
    sources = [t for t in node.inputs if t is not None and not t.is_constant]
    in_repeats = next((repeats[t.index] for t in sources if t.index in repeats), None)
    if node.name == "RESHAPE" and out_changes and len(node.inputs) > 1:
        shape = node.input(1)
        if shape.data is not None:
            wanted = shape.data.copy()
            often = repeats[node.outputs[0].index]
            wanted[-1] = often * channels if wanted[-1] >= 0 else -1
            yield shape.index, wanted, None
    if node.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return
    weights = node.input(1)
    data = weights.data
    if data is None:
        return
    depthwise = node.name == "DEPTHWISE_CONV_2D"
    zero = 0 if weights.quantization is None else weights.quantization.zero_point
    if in_repeats is not None and not depthwise:
        if node.name == "FULLY_CONNECTED":
            split = data.reshape(data.shape[0], in_repeats, -1)
            data = _cut(split, 2, channels, zero).reshape(data.shape[0], -1)
        else:
            data = _cut(data, 3, channels, zero)
    axis_scales = None
    if out_changes:
        data = _cut(data, 3 if depthwise else 0, channels, zero)
        if weights.quantization is not None and weights.quantization.is_per_channel:
            axis_scales = channels
        bias = node.optional_input(2)
        if bias is not None and bias.data is not None:
            yield bias.index, _cut(bias.data, 0, channels, 0), axis_scales
    yield weights.index, data, axis_scales


def _cut(data: Array, axis: int, size: int, fill: int) -> Array:
    """The first elements along an axis, and ``fill`` behind them where there are too few."""
    kept = data.take(range(min(size, data.shape[axis])), axis)
    missing = size - kept.shape[axis]
    if missing <= 0:
        return kept
    padding = [(0, missing if i == axis else 0) for i in range(data.ndim)]
    return np.pad(kept, padding, constant_values=fill)


def _scales(quantization: Quantization | None, count: int | None) -> Quantization | None:
    if quantization is None or count is None or not quantization.is_per_channel:
        return quantization

    def repeated(values: Array) -> Array:
        taken: Iterable[int] = (min(i, values.size - 1) for i in range(count))
        return values if values.size < 2 else values[list(taken)]

    return Quantization(
        repeated(quantization.scales), repeated(quantization.zero_points), quantization.axis
    )
