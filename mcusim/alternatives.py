"""A model under every runtime that is known: what each takes, or why it cannot run it."""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.boards import Board
from mcusim.errors import InputError, ModelError
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.graph import Graph
from mcusim.runtimes import known_runtimes, legacy_q7, plan
from mcusim.runtimes.closed import BUILD as CLOSED_BUILD

__all__ = ["SCHEMA", "Alternative", "alternatives", "alternatives_dict"]

#: Operators whose output cannot take the place of their input.
_NOT_IN_PLACE = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})

#: Name and version of what :func:`alternatives_dict` returns.
SCHEMA = "mcusim/alternatives/1"


@dataclass(frozen=True)
class Alternative:
    """A runtime for a model.

    Attributes:
        runtime: its name with the generation.
        estimate: what the model takes; None where the runtime cannot run it.
        reason: why it cannot; empty where it can.
        least_ram_bytes: what it takes at least, where the estimate does not know it all: the most
            that activations and scratch buffers of one layer take. None where that is not known
            either.
        note: how its numbers differ from those of the others; empty where they do not.
    """

    runtime: str
    estimate: Estimate | None
    reason: str = ""
    least_ram_bytes: int | None = None
    note: str = ""

    @property
    def knows_program(self) -> bool:
        """Whether flash holds the program, beside the network's constants."""
        return self.estimate is not None and len(self.estimate.flash) > 1


def alternatives(
    graph: Graph,
    board: Board,
    build: str = "gcc-O3",
    *,
    clock_hz: float | None = None,
    fpu: bool | None = None,
) -> tuple[Alternative, ...]:
    """Estimate a model under every runtime.

    Args:
        graph: the model.
        board: where it runs.
        build: compiler and flag.
        clock_hz: as for :func:`mcusim.estimate`.
        fpu: as for :func:`mcusim.estimate`.

    Returns:
        Those that run the model, the fastest first, then the others.

    Raises:
        InputError: a setting fits no runtime on this board.
    """
    found: list[Alternative] = []
    # A setting that not even the first runtime takes is wrong for all of them.
    for position, runtime in enumerate(known_runtimes()):
        try:
            result = estimate(graph, board, runtime, build, clock_hz=clock_hz, fpu=fpu)
        except ModelError as error:
            reason = str(error).removeprefix(f"{graph.name}: ").replace(f": {runtime} is", ":")
            found.append(Alternative(runtime, None, reason))
        except InputError as error:
            if position == 0:
                raise
            found.append(
                Alternative(runtime, None, str(error).removeprefix(f"runtime {runtime!r} "))
            )
        else:
            found.append(_alternative(graph, runtime, result))
    running = [a for a in found if a.estimate is not None]
    running.sort(key=lambda a: a.estimate.latency_s if a.estimate else 0.0)
    return (*running, *(a for a in found if a.estimate is None))


def _alternative(graph: Graph, runtime: str, result: Estimate) -> Alternative:
    """The estimate, unless a layer has no price: the sum of the others would mislead."""
    unpriced = [layer for layer in result.layers if not layer.is_priced]
    if unpriced:
        first = unpriced[0]
        where = f"operator {first.index} ({first.operator})"
        return Alternative(runtime, None, f"{where}: nothing counted prices its kernel there")
    least = None if result.ram_bytes is not None else _least_ram_bytes(graph, result)
    return Alternative(runtime, result, least_ram_bytes=least, note=_note(result))


def _note(result: Estimate) -> str:
    if result.build == CLOSED_BUILD:
        return "a measured factor over CMSIS-NN; its program and its RAM are not known"
    if result.runtime == legacy_q7.RUNTIME:
        return (
            "another network of the same shapes: 8 bits with scales of powers of two, not the "
            "model's own types; buffers are sized by hand"
        )
    return ""


def _least_ram_bytes(graph: Graph, result: Estimate) -> int | None:
    """The most that one layer's inputs, outputs and scratch buffer take together."""
    if result.build == CLOSED_BUILD:
        return None
    planned = plan(graph, result.runtime, core=result.board.core.profile)
    is_q7 = result.runtime == legacy_q7.RUNTIME
    most = 0
    for layer in planned.layers:
        if layer.node.name not in _NOT_IN_PLACE:
            continue
        moved = [t for t in (*layer.node.inputs, *layer.node.outputs) if t and not t.is_constant]
        size = sum(t.elements if is_q7 else t.bytes for t in moved)
        most = max(most, size + layer.scratch_bytes)
    return most or None


def alternatives_dict(found: tuple[Alternative, ...]) -> dict[str, object]:
    """JSON-ready: each runtime with its estimate, or with the reason why there is none."""
    return {
        "schema": SCHEMA,
        "alternatives": [
            {
                "runtime": a.runtime,
                "reason": a.reason,
                "note": a.note,
                "least_ram_bytes": a.least_ram_bytes,
                "estimate": None if a.estimate is None else a.estimate.to_dict(),
            }
            for a in found
        ],
    }
