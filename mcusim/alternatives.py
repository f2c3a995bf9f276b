"""A model under every runtime that is known: what each takes, or why it cannot run it."""

from __future__ import annotations

from dataclasses import dataclass

from mcusim.boards import Board
from mcusim.errors import InputError, ModelError
from mcusim.estimates import Estimate
from mcusim.estimator import estimate
from mcusim.graph import Graph
from mcusim.runtimes import known_runtimes

__all__ = ["SCHEMA", "Alternative", "alternatives", "alternatives_dict"]

#: Name and version of what :func:`alternatives_dict` returns.
SCHEMA = "mcusim/alternatives/1"


@dataclass(frozen=True)
class Alternative:
    """A runtime for a model.

    Attributes:
        runtime: its name with the generation.
        estimate: what the model takes; None where the runtime cannot run it.
        reason: why it cannot; empty where it can.
    """

    runtime: str
    estimate: Estimate | None
    reason: str = ""


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
            found.append(Alternative(runtime, None, str(error).removeprefix(f"{graph.name}: ")))
        except InputError as error:
            if position == 0:
                raise
            found.append(
                Alternative(runtime, None, str(error).removeprefix(f"runtime {runtime!r} "))
            )
        else:
            found.append(_alternative(runtime, result))
    running = [a for a in found if a.estimate is not None]
    running.sort(key=lambda a: a.estimate.latency_s if a.estimate else 0.0)
    return (*running, *(a for a in found if a.estimate is None))


def _alternative(runtime: str, result: Estimate) -> Alternative:
    """The estimate, unless a layer has no price: the sum of the others would mislead."""
    unpriced = [layer for layer in result.layers if not layer.is_priced]
    if unpriced:
        first = unpriced[0]
        where = f"operator {first.index} ({first.operator})"
        return Alternative(runtime, None, f"{where}: nothing counted prices its kernel there")
    return Alternative(runtime, result)


def alternatives_dict(found: tuple[Alternative, ...]) -> dict[str, object]:
    """JSON-ready: each runtime with its estimate, or with the reason why there is none."""
    return {
        "schema": SCHEMA,
        "alternatives": [
            {
                "runtime": a.runtime,
                "reason": a.reason,
                "estimate": None if a.estimate is None else a.estimate.to_dict(),
            }
            for a in found
        ],
    }
