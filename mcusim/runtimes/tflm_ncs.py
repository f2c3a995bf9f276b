"""``tflm@ncs1.4``: TFLite Micro as the nRF Connect SDK 1.4.0 builds it for Zephyr.

Only its kernels were counted. Its arena and its program are not modelled: the firmware that was
published reserves an arena by hand.
"""

from __future__ import annotations

from mcusim.errors import InputError
from mcusim.graph import Graph
from mcusim.kernels.tflm_ncs import NAME
from mcusim.runtimes.dnnruntime import own_calls
from mcusim.runtimes.plan import FlashPart, LayerPlan, Plan
from mcusim.runtimes.selection import library_configuration, select

__all__ = ["flash", "plan"]


def plan(graph: Graph, core: str, single_rounding: bool) -> Plan:
    """Kernels by operator.

    Args:
        graph: an int8 network of the operators that were counted.
        core: the device's core.
        single_rounding: there is no such build.

    Raises:
        InputError: there is no such core or build, or no kernel was counted on one like it.
        UnsupportedOperatorError: an operator was not counted.
        ModelError: the graph is inconsistent.
    """
    if library_configuration(core).simd != "dsp":
        raise InputError(
            f"runtime {NAME!r} was counted on an m4 and prices only m4, m7 and m33, not {core}"
        )
    calls = own_calls(graph, select(NAME, core, single_rounding))
    layers = tuple(LayerPlan(n, calls[n.index]) for n in graph.main.nodes if calls[n.index])
    return Plan(graph, NAME, layers, None, None, None, None)


def flash(planned: Plan) -> tuple[FlashPart, ...]:
    """The model; the program was not measured."""
    graph = planned.graph
    held = {t.buffer or -t.index: t.bytes for t in graph.main.tensors if t.is_constant}
    size = graph.model_bytes or sum(held.values())
    return (FlashPart("model", size, "the file, or its constants; the program was not measured"),)
