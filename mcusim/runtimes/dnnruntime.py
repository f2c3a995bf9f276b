"""``dnnruntime``: C code generated from a network, after Deutel et al. 2023; no interpreter.

Weights lie in one constant byte array, activations in one array whose size is planned ahead of
time, the "balloon"; what runs is a list of calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from mcusim.errors import InputError, McusimError
from mcusim.graph import Graph, Node, Tensor
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.dnnruntime import NAME, column_bytes, stored_weights
from mcusim.resources import data_path
from mcusim.runtimes.acceptance import accepted_nodes
from mcusim.runtimes.compiled_builds import compiled_build
from mcusim.runtimes.first_fit import computed_buffers, first_fit
from mcusim.runtimes.plan import FlashPart, LayerPlan, Plan
from mcusim.runtimes.selection import Runtime, select
from mcusim.runtimes.typical_zeros import is_soft, spared_calls, zero_shares

__all__ = ["flash", "has_simd", "own_calls", "plan"]

#: The converter pads tensors in the byte stream so that words are not read across two; descriptors
#: hold a pointer, a type and a shape of up to four dimensions.
_ALIGNMENT = 4
_DESCRIPTOR_BYTES = 4 + 4 + 4 * 4

_NOT_PUBLIC = (
    "dnnruntime is not public: its kernels are our own reading of the paper, and the interval "
    "reaches to the other plausible one"
)

#: Operators for which nothing runs: their output is their input, seen otherwise.
_VIEWS = ("RESHAPE", "PAD")


def has_simd(core: str) -> bool:
    """Whether the library is compiled with the DSP extension of the core."""
    return SIMD_OF_CORE.get(core.removesuffix("-soft"), "none") != "none"


def plan(graph: Graph, core: str, single_rounding: bool) -> Plan:
    """What the generated code calls for each operator, and its balloon.

    Args:
        graph: a network of the operators that the library has.
        core: the device's core.
        single_rounding: there is no such build.

    Raises:
        InputError: there is no such core or build.
        UnsupportedOperatorError: the library has no kernel for an operator.
        ModelError: the graph is inconsistent.
    """
    runtime = select(NAME, core, single_rounding)
    calls = own_calls(graph, runtime)
    if is_soft(core):
        zeros = zero_shares(graph.main)
        for node in graph.main.nodes:
            calls[node.index] += tuple(_spared_calls(node, calls[node.index], zeros))
    simd = has_simd(core)
    main = graph.main
    scratch = {node.index: column_bytes(node, simd) for node in main.nodes}
    aliases = {n.output().index: n.input(0).index for n in main.nodes if n.name in _VIEWS}
    layers = tuple(
        LayerPlan(node, _with_warning(calls[node.index]), scratch[node.index])
        for node in main.nodes
        if calls[node.index]
    )
    buffers = computed_buffers(graph, aliases, scratch, "unrolled window")
    return Plan(graph, NAME, layers, None, None, None, first_fit(buffers))


def _spared_calls(
    node: Node, calls: tuple[KernelCall, ...], zeros: Mapping[int, float]
) -> Iterable[KernelCall]:
    """What products with a zero spare in soft float; zeros of compressed rows are no products."""
    if any("crs" in call.kernel for call in calls):
        stored = replace(node.input(1), data=None)
        node = replace(node, inputs=(node.input(0), stored, *node.inputs[2:]))
    return spared_calls(node, calls, zeros)


def _with_warning(calls: tuple[KernelCall, ...]) -> tuple[KernelCall, ...]:
    first = replace(calls[0], warnings=(*calls[0].warnings, _NOT_PUBLIC))
    return (first, *calls[1:])


def own_calls(graph: Graph, runtime: Runtime) -> dict[int, tuple[KernelCall, ...]]:
    """Calls by operator of a network of one subgraph."""
    if len(graph.subgraphs) > 1:
        raise InputError(f"runtime {runtime.name!r} runs networks of one subgraph only")
    try:
        return {n.index: tuple(runtime.calls(n)) for _, n in accepted_nodes(graph, runtime)}
    except McusimError as error:
        raise type(error)(f"{graph.name}: {error}") from None


def flash(planned: Plan, core: str, build: str) -> tuple[FlashPart, ...]:
    """Weights, descriptors, and the code of the kernels that the network calls.

    Args:
        planned: the model under dnnruntime.
        core: the device's core.
        build: compiler and flag.
    """
    weights = descriptors = 0
    tensors = {t.index: t for n in planned.graph.main.nodes for t in (*n.inputs, *n.outputs) if t}
    matrices = {
        n.input(1).index
        for n in planned.graph.main.nodes
        if n.name in ("CONV_2D", "FULLY_CONNECTED")
    }
    for tensor in tensors.values():
        weights += _stored_bytes(tensor, tensor.index in matrices)
        descriptors += _DESCRIPTOR_BYTES
    names = {call.kernel for layer in planned.layers for call in layer.calls}
    code, source = _code(names, core, build)
    return (
        FlashPart("weights", weights, "dense, or in compressed rows where that is smaller"),
        FlashPart("descriptors", descriptors, f"{_DESCRIPTOR_BYTES} bytes a tensor, assumed"),
        FlashPart("kernels", code, source),
    )


def _stored_bytes(tensor: Tensor, is_matrix: bool) -> int:
    if not tensor.is_constant:
        return 0
    size = stored_weights(tensor).bytes if is_matrix else tensor.bytes
    return -(-size // _ALIGNMENT) * _ALIGNMENT


@cache
def _sizes() -> Mapping[str, Any]:
    path = data_path("calibration", "flash_dnnruntime.json")
    content: Mapping[str, Any] = json.loads(path.read_text())
    return content


def _code(kernels: set[str], core: str, build: str) -> tuple[int, str]:
    """Code of the kernels and of what they need of the C library, from the nearest build."""
    key = compiled_build(core, build)
    sizes = _sizes()["builds"][key]
    total = sum(sizes["kernels"].get(name, 0) for name in kernels) + sizes["arithmetic"]
    if any("softmax" in name for name in kernels):
        total += sizes["exponential"]
    return total, f"{_sizes()['source']}, {key}; without start-up and drivers"
