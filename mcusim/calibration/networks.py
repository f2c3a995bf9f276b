"""Whole networks, predicted and counted: what no profile of a single operator has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcusim.calibration.counted import CountedSet
from mcusim.graph import Graph
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference import KERNELS
from mcusim.runtimes.abi import ARM_EABI
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.framework import allocate_call, construct_call, invoke_call
from mcusim.runtimes.kernel_requests import Target
from mcusim.tflite import read

__all__ = ["NetworkLine", "framework_calls", "network_lines", "network_table"]

_ONCE = ("construct", "allocate_tensors")


@dataclass(frozen=True)
class NetworkLine:
    """One operator, or one framework line, of a network in one build.

    Attributes:
        network: name of the model.
        build: ``"<core>.<build>"``.
        index: number of the operator, or ``construct``, ``allocate_tensors``, ``invoke_overhead``.
        operator: the schema's name, or ``FRAMEWORK``.
        counted: instructions executed.
        predicted: instructions predicted; None where no profile prices the line.
    """

    network: str
    build: str
    index: str
    operator: str
    counted: float
    predicted: float | None

    @property
    def error(self) -> float | None:
        """Relative error, signed."""
        return None if self.predicted is None else self.predicted / self.counted - 1.0


def network_lines(counted: CountedSet, builds: Sequence[str] = ()) -> list[NetworkLine]:
    """Every counted line of the whole networks beside its prediction."""
    paths = counted.network_models()
    calls: dict[str, dict[str, KernelCall]] = {}
    lines = []
    for row in counted.networks():
        if builds and row.build not in builds:
            continue
        if row.id not in calls:
            calls[row.id] = _calls(read(paths[row.id].read_bytes(), row.id))
        call = calls[row.id].get(row.index)
        predicted = None if call is None else _predicted(call, row.build)
        lines.append(NetworkLine(row.id, row.build, row.index, row.operator, row.total, predicted))
    return lines


def framework_calls(graph: Graph) -> dict[str, KernelCall]:
    """Calls of the framework's lines by the name that the counted runs give them."""
    return {
        "construct": construct_call(graph),
        "allocate_tensors": allocate_call(
            graph, plan_arena(graph, Target(ARM_EABI)).memory.placements
        ),
        "invoke_overhead": invoke_call(graph),
    }


def network_table(lines: Sequence[NetworkLine]) -> str:
    """Errors of each network's Invoke and of its framework lines, in percent, as text."""
    text = [
        f"{'network':32} {'build':12} {'counted':>12} {'predicted':>12} {'error %':>8}   "
        f"{'constr.':>8} {'allocate':>8} {'invoke':>8}   worst operators"
    ]
    for network, build in sorted({(line.network, line.build) for line in lines}):
        found = [line for line in lines if (line.network, line.build) == (network, build)]
        invoke = [line for line in found if line.index not in _ONCE]
        once = {line.index: line for line in found if line.operator == "FRAMEWORK"}
        total = sum(line.counted for line in invoke)
        predicted = sum(line.predicted or 0.0 for line in invoke)
        worst = sorted(
            (line for line in invoke if line.operator != "FRAMEWORK"),
            key=lambda line: -abs((line.predicted or 0.0) - line.counted),
        )[:3]
        text.append(
            f"{network:32} {build:12} {total:12.0f} {predicted:12.0f} "
            f"{100 * (predicted / total - 1):+8.3f}   "
            + " ".join(f"{_percent(once[name].error):>8}" for name in (*_ONCE, "invoke_overhead"))
            + "   "
            + " ".join(f"{line.index}:{line.operator}:{_percent(line.error)}" for line in worst)
        )
    return "\n".join(text)


def _calls(graph: Graph) -> dict[str, KernelCall]:
    calls = framework_calls(graph)
    for node in graph.main.nodes:
        kernel = KERNELS.get(node.name)
        if kernel is not None:
            calls[str(node.index)] = kernel.call(node)
    return calls


def _predicted(call: KernelCall, build: str) -> float | None:
    core, _, flag = build.partition(".")
    found = closest_profile(call.profile, core, flag)
    return None if found is None else found.mix(call.trips).total


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:+.2f}"
