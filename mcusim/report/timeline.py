"""An estimate for viewers: a timeline for Perfetto, an overlay for Model Explorer."""

from __future__ import annotations

from typing import Any

from mcusim.estimates import Estimate, PartEstimate
from mcusim.graph import Graph

__all__ = ["model_explorer_overlay", "perfetto_trace"]


def perfetto_trace(estimate: Estimate) -> dict[str, Any]:
    """Layers one after the other, what each waits for, and the current, in Chrome's JSON format.

    Args:
        estimate: of one inference; what nothing prices takes no time in it and says so.
    """
    events: list[dict[str, Any]] = [
        _named("process_name", 0, f"{estimate.model} on {estimate.board.name}, {estimate.runtime}"),
        _named("thread_name", 1, "layers"),
        _named("thread_name", 2, "where the cycles go"),
    ]
    supply_v = estimate.board.power.supply_v
    start_us = 0.0
    parts: list[tuple[str, int, PartEstimate]] = [
        (f"{x.index} {x.operator}", x.macs, x) for x in estimate.layers
    ]
    if estimate.invoke.is_priced:
        parts.append(("interpreter", 0, estimate.invoke))
    for name, macs, part in parts:
        length_us = 1e6 * part.latency_s
        shown = name if part.is_priced else f"{name} (nothing prices it)"
        arguments = {
            "kernel": part.kernel,
            "macs": macs,
            "instructions": part.instructions.total,
            "cycles": part.cycles,
            "energy_mj": 1e3 * part.energy_j,
        }
        events.append(_slice(1, shown, start_us, length_us, arguments))
        cycles = part.cycles_by_cause
        causes = {
            "executing": cycles.core,
            "waiting for code": cycles.fetch,
            "waiting for constants": cycles.data,
            "waiting for activations": cycles.working,
        }
        inside_us = start_us
        for cause, count in causes.items():
            if count:
                share_us = 1e6 * count / estimate.clock_hz
                events.append(_slice(2, cause, inside_us, share_us, {"cycles": count}))
                inside_us += share_us
        if length_us:
            current_ma = 1e3 * part.energy_j / part.latency_s / supply_v
            events.append(_counter(start_us, current_ma))
        start_us += length_us
    events.append(_counter(start_us, 0.0))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": thread, "name": kind, "args": {"name": name}}


def _slice(
    thread: int, name: str, start_us: float, length_us: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "name": name,
        "ts": start_us,
        "dur": length_us,
        "args": arguments,
    }


def _counter(at_us: float, current_ma: float) -> dict[str, Any]:
    return {"ph": "C", "pid": 1, "name": "current", "ts": at_us, "args": {"mA": current_ma}}


def model_explorer_overlay(graph: Graph, estimate: Estimate) -> dict[str, Any]:
    """Milliseconds of each operator, as node data of Model Explorer.

    Args:
        graph: the model.
        estimate: of it.

    Source: ``model_explorer.node_data_builder`` of ai-edge-model-explorer 0.1.34, by which a key is
    the name of a node's output tensor.
    """
    nodes = graph.main.nodes
    return {
        "name": f"ms on {estimate.board.name}, {estimate.runtime}",
        "results": {
            nodes[layer.index].outputs[0].name: {"value": 1e3 * layer.latency_s}
            for layer in estimate.layers
            if layer.is_priced and nodes[layer.index].outputs
        },
        "gradient": [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d1495b"}],
    }
