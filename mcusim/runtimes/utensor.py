"""``utensor``: C++ code that utensor_cgen generates, on uTensor 1.0 of June 2020.

Each operator is called in turn; its output is allocated from a pool when it runs and freed behind
its last reader. The code generator sizes the pools.

Source: utensor_cgen eccd685, ``uTensorRearchCodeGenerator``; the pools in the headers of
Profentzas et al. 2021 (github.com/chrpro/TinyML-Evaluation) are what this gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from mcusim.graph import Graph, Node
from mcusim.kernels.utensor import NAME
from mcusim.resources import data_path
from mcusim.runtimes.compiled_builds import compiled_build
from mcusim.runtimes.dnnruntime import own_calls
from mcusim.runtimes.first_fit import Buffer, computed_buffers, first_fit
from mcusim.runtimes.plan import FlashPart, LayerPlan, MemoryPlan, PersistentPart, Plan
from mcusim.runtimes.selection import select

__all__ = ["flash", "plan"]

#: What the code generator adds to the planned pool of activations.
_POOL_MARGIN_BYTES = 3000
#: What it takes for each tensor, constants included, in the pool of descriptors.
_TENSOR_BYTES = 64


def plan(graph: Graph, core: str, single_rounding: bool) -> Plan:
    """What the generated code calls for each operator, and its pools.

    Args:
        graph: a network of the operators that the code generator has.
        core: the device's core.
        single_rounding: there is no such build.

    Raises:
        InputError: there is no such core or build.
        UnsupportedOperatorError: the code generator or an operator refuses a node.
        ModelError: the graph is inconsistent.
    """
    runtime = select(NAME, core, single_rounding)
    calls = own_calls(graph, runtime)
    main = graph.main
    layers = tuple(LayerPlan(n, calls[n.index], _depthwise_bytes(n)) for n in main.nodes)
    added = {n.index: _added_tensor_bytes(n) for n in main.nodes}
    ends = {*main.inputs, *main.outputs}
    buffers = [
        _in_half_steps(buffer, added)
        for buffer in computed_buffers(graph, {}, added, "tensor that the code generator adds")
        if buffer.tensor not in ends
    ]
    # The code generator's solver finds the least pool; the better of two orders comes close.
    plans = (first_fit(buffers), first_fit(sorted(buffers, key=lambda b: -b.size_bytes)))
    least = min(plans, key=lambda found: found.head_bytes)
    return Plan(graph, NAME, layers, None, None, None, _with_pools(least, graph))


def flash(planned: Plan, core: str, build: str) -> tuple[FlashPart, ...]:
    """Weights, scales and zero points, and the code of uTensor with its C++ library.

    Args:
        planned: the model under uTensor.
        core: the device's core.
        build: compiler and flag.
    """
    constants = {
        t.index: t
        for n in planned.graph.main.nodes
        for t in n.inputs
        if t is not None and t.is_constant and n.name != "RESHAPE"
    }
    quantizations = (t.quantization for t in constants.values())
    channels = sum(q.scales.size for q in quantizations if q is not None)
    code, source = _code(core, build)
    return (
        FlashPart("weights", sum(t.bytes for t in constants.values()), "arrays in the header"),
        FlashPart("scales and zero points", 8 * channels, "4 bytes each, of weights and biases"),
        FlashPart("uTensor and C++ library", code, source),
    )


def _added_tensor_bytes(node: Node) -> int:
    """A convolution's output before its ReLU; a dense layer's input as a vector."""
    if node.name == "CONV_2D" and node.options.text("fused_activation_function") == "RELU":
        return node.output().bytes
    if node.name == "FULLY_CONNECTED" and len(node.input(0).shape) > 2:
        return node.input(0).bytes
    return 0


def _in_half_steps(buffer: Buffer, added: Mapping[int, int]) -> Buffer:
    """The buffer's life with two steps an operator: an operator that was added runs in one.

    What the first of two computes is read by the second, which no longer needs what the first read.
    """
    if buffer.tensor is None:
        return replace(buffer, first=2 * buffer.first, last=2 * buffer.last + 1)
    first = 2 * buffer.first + (1 if added.get(buffer.first) else 0)
    return replace(buffer, first=first, last=max(first, 2 * buffer.last))


def _depthwise_bytes(node: Node) -> int:
    """Multipliers and shifts, allocated from the pool's margin while the operator runs."""
    return 8 * node.input(1).shape[3] if node.name == "DEPTHWISE_CONV_2D" else 0


def _with_pools(planned: MemoryPlan, graph: Graph) -> MemoryPlan:
    tensors = {
        t.index
        for n in graph.main.nodes
        for t in (*(n.inputs[:1] if n.name == "RESHAPE" else n.inputs), *n.outputs)
        if t is not None
    }
    added = sum(bool(_added_tensor_bytes(n)) for n in graph.main.nodes)
    descriptors = _TENSOR_BYTES * (len(tensors) + added)
    placements = tuple(
        replace(p, first_operator=p.first_operator // 2, last_operator=p.last_operator // 2)
        for p in planned.placements
    )
    return replace(
        planned,
        placements=placements,
        arena_bytes=planned.head_bytes + _POOL_MARGIN_BYTES + descriptors,
        persistent=(
            PersistentPart("margin of the pool of activations", _POOL_MARGIN_BYTES),
            PersistentPart("pool of descriptors", descriptors),
        ),
    )


@cache
def _sizes() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(
        data_path("calibration", "flash_utensor.json").read_text()
    )
    return content


def _code(core: str, build: str) -> tuple[int, str]:
    key = compiled_build(core, build)
    return _sizes()["builds"][key], f"{_sizes()['source']}, {key}; without Mbed OS"
