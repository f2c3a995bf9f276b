"""Networks written as C tables for the bench firmware in ``kernels/device``.

python -m mcusim.calibration.device_network ds-cnn my-model.tflite -o network_data.c
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.calibration.device_layers import DeviceLayer, Field, device_layer
from mcusim.errors import McusimError, UnsupportedOperatorError
from mcusim.graph import Array, Graph
from mcusim.runtimes.greedy_planner import BufferRequirement, place

__all__ = [
    "DeviceNetwork",
    "bench_input",
    "device_name",
    "device_network",
    "network_source",
    "output_digest",
]

_MOST_LAYERS = 128
_ALIGNMENT = 4


@dataclass(frozen=True, eq=False)
class DeviceNetwork:
    """A network with a place in memory for each tensor.

    Attributes:
        name: what the firmware calls it.
        layers: in order, each with the index of its operator.
        offsets: where each tensor lies in the arena, in bytes.
        columns: where the working memory of each layer lies.
        output_bytes: of each layer.
        input_tensor: index of the input.
        input_bytes: its size.
        arena_bytes: of tensors and working memory.
    """

    name: str
    layers: tuple[tuple[int, DeviceLayer], ...]
    offsets: dict[int, int]
    columns: tuple[int, ...]
    output_bytes: tuple[int, ...]
    input_tensor: int
    input_bytes: int
    arena_bytes: int

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and biases."""
        constants = (array for _, layer in self.layers for array in (layer.weights, layer.bias))
        return sum(array.nbytes for array in constants if array is not None)


def device_network(graph: Graph) -> DeviceNetwork:
    """Prepare an int8 network of one input for the device kernels.

    Raises:
        UnsupportedOperatorError: an operator has no device kernel, or there are too many.
    """
    if len(graph.inputs) != 1 or len(graph.subgraphs) != 1:
        raise UnsupportedOperatorError(
            f"{graph.name}: the bench firmware runs networks of one input and one subgraph"
        )
    subgraph, layers = graph.main, []
    place_of: dict[int, int] = {}
    for node in subgraph.nodes:
        try:
            layer = device_layer(node)
        except McusimError as error:
            raise type(error)(f"{graph.name}: {error}") from None
        if layer is not None:
            layers.append((node.index, layer))
            continue
        # A reshaped tensor is the same memory.
        source = node.operator.inputs[0]
        place_of[node.operator.outputs[0]] = place_of.get(source, source)
    if not 0 < len(layers) <= _MOST_LAYERS:
        raise UnsupportedOperatorError(
            f"{graph.name}: has {len(layers)} layers, where the bench firmware takes 1 to "
            f"{_MOST_LAYERS}"
        )
    first, last = _lifetimes([layer for _, layer in layers], subgraph.inputs[0], place_of)
    size = {index: -(-subgraph.tensors[index].bytes // _ALIGNMENT) * _ALIGNMENT for index in first}
    buffers = [BufferRequirement(size[i], first[i], last[i]) for i in first]
    columns = [-(-layer.column_bytes // _ALIGNMENT) * _ALIGNMENT for _, layer in layers]
    buffers += [BufferRequirement(size, i, i) for i, size in enumerate(columns)]
    placed = place(buffers)
    offsets = dict(zip(first, placed, strict=False))
    offsets |= {renamed: offsets[source] for renamed, source in place_of.items()}
    return DeviceNetwork(
        device_name(graph),
        tuple(layers),
        offsets,
        tuple(placed[len(first) :]),
        tuple(subgraph.tensors[layer.output].bytes for _, layer in layers),
        subgraph.inputs[0],
        subgraph.tensors[subgraph.inputs[0]].bytes,
        max(o + b.size_bytes for o, b in zip(placed, buffers, strict=True)),
    )


def device_name(graph: Graph) -> str:
    """What the firmware calls a network: a name that neither CSV nor C has to quote."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", Path(graph.name).name)[:48]


def _lifetimes(
    layers: Sequence[DeviceLayer], source: int, place_of: dict[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last layer that needs each tensor."""
    first, last = {source: 0}, {source: 0}
    for position, layer in enumerate(layers):
        first.setdefault(layer.output, position)
        for index in (*layer.inputs, layer.output):
            last[place_of.get(index, index)] = position
    # The output stays until it is read.
    last[layers[-1].output] = len(layers)
    return first, last


def bench_input(elements: int) -> npt.NDArray[np.int8]:
    """The input that the bench firmware gives a network, as it makes it; int8, flat."""
    state, values = 1, bytearray()
    for _ in range(elements):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values.append(state >> 24)
    return np.frombuffer(bytes(values), np.int8)


def output_digest(values: Array) -> int:
    """The number by which the bench firmware tells a layer's output: 32-bit FNV-1a."""
    digest = 2166136261
    for byte in np.ascontiguousarray(values).tobytes():
        digest = (digest ^ byte) * 16777619 & 0xFFFFFFFF
    return digest


def network_source(graphs: Sequence[Graph]) -> str:
    """C source of networks, for ``kernels/device/source/network.h``.

    Raises:
        UnsupportedOperatorError: a network has no form on the device.
    """
    networks = [device_network(graph) for graph in graphs]
    arena = max((network.arena_bytes for network in networks), default=1)
    parts = [
        "/* Written by mcusim.calibration.device_network. */",
        '#include "network.h"',
        "",
        f"int8_t mcusim_arena[{arena}] __attribute__((aligned(16)));",
    ]
    for number, network in enumerate(networks):
        parts += _network(f"n{number}", network)
    parts += ["", "const struct mcusim_network mcusim_networks[] = {"]
    parts += [
        f'    {{"{network.name}", n{number}_layers, {len(network.layers)}, '
        f"{network.offsets[network.input_tensor]}, {network.input_bytes}}},"
        for number, network in enumerate(networks)
    ]
    parts += ["};", "", f"const int32_t mcusim_network_count = {len(networks)};", ""]
    return "\n".join(parts)


def _network(prefix: str, network: DeviceNetwork) -> Iterator[str]:
    rows = []
    for position, (index, layer) in enumerate(network.layers):
        stem = f"{prefix}_l{position}"
        constants = {"weights": layer.weights, "bias": layer.bias}
        names = dict.fromkeys(constants, "0")
        for name, data in constants.items():
            if data is not None:
                names[name] = f"{stem}_{name}"
                yield from _array(names[name], data)
        body, arrays = _structure(layer.fields, stem)
        for name, data in arrays.items():
            yield from _array(name, data)
        yield f"\nstatic const struct mcusim_{layer.structure} {stem} = {body};"
        inputs = ", ".join(str(network.offsets[i]) for i in layer.inputs)
        rows.append(
            f'    {{MCUSIM_{layer.operator}, {index}, "{layer.operator}", &{stem}, '
            f"{names['weights']}, {names['bias']}, {{{inputs}}}, "
            f"{network.offsets[layer.output]}, {network.output_bytes[position]}, "
            f"{network.columns[position]}}},"
        )
    yield f"\nstatic const struct mcusim_layer {prefix}_layers[] = {{"
    yield from rows
    yield "};"


def _structure(fields: tuple[Field, ...], stem: str) -> tuple[str, dict[str, Array]]:
    """An initializer, and the arrays that it points to."""
    arrays: dict[str, Array] = {}

    def text(field: Field) -> str:
        if isinstance(field, tuple):
            return "{" + ", ".join(text(part) for part in field) + "}"
        if isinstance(field, int):
            return str(field)
        name = f"{stem}_scale{len(arrays)}"
        arrays[name] = field
        return name

    return text(fields), arrays


def _array(name: str, data: Array) -> Iterator[str]:
    values = data.reshape(-1).tolist()
    yield f"\nstatic const {data.dtype.name}_t {name}[] = {{"
    for start in range(0, len(values), 24):
        yield "    " + ",".join(str(value) for value in values[start : start + 24]) + ","
    yield "};"
