"""What TFLite Micro does with a model, with its reference kernels or with those of CMSIS-NN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mcusim.errors import McusimError
from mcusim.graph import Graph, Node
from mcusim.kernels.cmsis_nn.alignment import misaligned
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.dnnruntime import NAME as DNNRUNTIME
from mcusim.kernels.reference import control_flow
from mcusim.kernels.tflm_ncs import NAME as TFLM_NCS
from mcusim.kernels.utensor import NAME as UTENSOR
from mcusim.runtimes import dnnruntime, legacy_q7, tflm_2020, tflm_ncs, utensor
from mcusim.runtimes.abi import ARM_EABI
from mcusim.runtimes.acceptance import accepted_nodes
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.framework import allocate_call, construct_call, invoke_call
from mcusim.runtimes.kernel_requests import Target
from mcusim.runtimes.older_requests import older_scratch_bytes
from mcusim.runtimes.plan import LayerPlan, Plan
from mcusim.runtimes.selection import Runtime, select
from mcusim.runtimes.typical_zeros import is_soft, spared_calls, zero_shares

__all__ = ["plan"]


def plan(
    graph: Graph, runtime: str = "tflm", *, core: str = "m4", single_rounding: bool = False
) -> Plan:
    """Decide what a runtime executes for a model and where every byte of its arena lies.

    Args:
        graph: the model.
        runtime: ``"tflm"``: TFLite Micro with its reference kernels; ``"cmsis-nn"``: with those of
            CMSIS-NN where it has one; ``"cmsis-nn@2022"``, ``"@2021"``, ``"@2020"``: an older
            library in the TFLM of its day; ``"cmsis-nn@q7"``: firmware that calls the legacy q7
            functions.
        core: the device's core, on which CMSIS-NN's kernels and scratch buffers depend:
            ``"m0plus"``, ``"m3"``, ``"m4"``, ``"m7"``, ``"m33"``, ``"m55"`` or ``"m85"``, with or
            without ``"-soft"``.
        single_rounding: CMSIS-NN is built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Returns:
        Kernels by layer, the framework's own work and the arena, exact for a 32-bit build of
        tflite-micro 90b983c with CMSIS-NN 4ab83cc (August 2026), built for speed. Older generations
        have no arena: their TFLM does not tell what it uses.

    Raises:
        InputError: there is no such runtime or core.
        UnsupportedOperatorError: the runtime has no kernel for an operator, or refuses it.
        ModelError: the runtime could not plan the model.
    """
    if runtime == legacy_q7.RUNTIME:
        return legacy_q7.plan(graph, core, single_rounding)
    if runtime == DNNRUNTIME:
        return dnnruntime.plan(graph, core, single_rounding)
    if runtime == TFLM_NCS:
        return tflm_ncs.plan(graph, core, single_rounding)
    if runtime == UTENSOR:
        return utensor.plan(graph, core, single_rounding)
    chosen = select(runtime, core, single_rounding)
    configuration = chosen.configuration
    own_calls = _own_calls(graph, chosen, is_soft(core))
    # The arena next: it refuses subgraphs whose calls of each other multiply beyond measure.
    arena = plan_arena(graph, Target(ARM_EABI, chosen.has_cmsis_nn, configuration.simd))
    newest = configuration.generation == "2026"
    layers = []
    for node in graph.main.nodes:
        calls = tuple(_calls(graph, own_calls, 0, node))
        if newest:
            scratch = arena.scratch_bytes.get((0, node.index), 0)
        else:
            scratch = older_scratch_bytes(node, configuration, calls[0].kernel)
            if configuration.generation == "2020":
                calls = tflm_2020.with_scratch_warning(calls, scratch)
        loads = misaligned(node, calls[0].kernel, configuration)
        layers.append(LayerPlan(node, calls, scratch, loads))
    if configuration.generation == "2020":
        return Plan(
            graph,
            chosen.name,
            tuple(layers),
            tflm_2020.construct_call(graph),
            tflm_2020.allocate_call(graph),
            tflm_2020.invoke_call(graph),
            None,
        )
    framework = (
        construct_call(graph),
        allocate_call(graph, arena.memory.placements),
        invoke_call(graph),
    )
    if not newest:
        said = f"TFLM of {configuration.generation} was not counted: that of 2026 stands for it"
        construct, allocate, invoke = (
            replace(call, warnings=(*call.warnings, said)) for call in framework
        )
        return Plan(graph, chosen.name, tuple(layers), construct, allocate, invoke, None)
    return Plan(graph, chosen.name, tuple(layers), *framework, arena.memory)


def _own_calls(
    graph: Graph, runtime: Runtime, soft_float: bool
) -> dict[tuple[int, int], tuple[KernelCall, ...]]:
    """What each operator runs itself, by subgraph and operator; refused as a run refuses it."""
    resources = control_flow.Resources()
    zeros = [zero_shares(each) if soft_float else {} for each in graph.subgraphs]
    calls = {}
    try:
        for subgraph, node in accepted_nodes(graph, runtime):
            if node.name in control_flow.CONTROL_FLOW:
                control_flow.prepare(node, graph, subgraph, resources)
            own = tuple(runtime.calls(node))
            if soft_float:
                own += tuple(spared_calls(node, own, zeros[subgraph]))
            calls[subgraph, node.index] = own
    except McusimError as error:
        raise type(error)(f"{graph.name}: {error}") from None
    return calls


def _calls(
    graph: Graph,
    own: Mapping[tuple[int, int], tuple[KernelCall, ...]],
    at: int,
    node: Node,
) -> Iterator[KernelCall]:
    """The node's own kernels, and those of the subgraph that it runs."""
    yield from own[at, node.index]
    for subgraph, warning in _inner(node):
        for inner in graph.subgraphs[subgraph].nodes:
            for inner_call in _calls(graph, own, subgraph, inner):
                yield replace(inner_call, warnings=(*inner_call.warnings, warning))


def _inner(node: Node) -> Iterator[tuple[int, str]]:
    """Subgraphs that one run of the operator is taken to execute, and what that leaves out."""
    called = tuple(control_flow.called_subgraphs(node))
    if node.name == "WHILE":
        for subgraph in called:
            yield subgraph, f"counted once for WHILE {node.index}: its turns depend on data"
    elif node.name == "IF":
        yield called[0], f"IF {node.index} is taken to run its first branch: that depends on data"
