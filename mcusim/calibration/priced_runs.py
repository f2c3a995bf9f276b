"""What the model of a board says of published runs before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from mcusim.boards import Board, load_board, without_fpu
from mcusim.calibration.published import PublishedRun
from mcusim.estimates import FAMILIES, Estimate, PartEstimate, dominant_family
from mcusim.estimator import estimate
from mcusim.graph import DType, Graph, Operator, Tensor
from mcusim.models import load_model

__all__ = ["PricedRun", "price_run", "uncalibrated", "with_float_ends"]


@dataclass(frozen=True)
class PricedRun:
    """A published run with the cycles that its board's files predict, by cause.

    Attributes:
        run: as published.
        core: name of the board's core.
        profile: how kernel profiles call it.
        core_cycles: executing.
        fetch_cycles: waiting for instructions.
        data_cycles: waiting for constants and working memory.
        kind: family of operators that takes most of it.
        by_family: cycles of each of :data:`FAMILIES`, of all causes.
    """

    run: PublishedRun
    core: str
    profile: str
    core_cycles: float
    fetch_cycles: float
    data_cycles: float
    kind: str
    by_family: tuple[float, ...]

    @property
    def measured(self) -> float:
        """Measured cycles."""
        return self.run.latency_s * self.run.clock_hz

    @property
    def predicted(self) -> float:
        """Predicted cycles, all causes."""
        return self.core_cycles + self.fetch_cycles + self.data_cycles


@cache
def uncalibrated(name: str) -> Board:
    """A board as its datasheets describe it, without what was fitted."""
    return load_board(name).unscaled


def price_run(run: PublishedRun, runtime: str = "", build: str = "") -> PricedRun:
    """Predict a published run with its board's own files.

    Args:
        run: with a network.
        runtime: in place of the run's own, such as that which a closed one is compared with.
        build: in place of the run's own.

    Raises:
        McusimError: the runtime does not run the network.
    """
    board = _as_its_firmware_sets_it(run)
    graph = _graph(run.model, run.float_ends)
    found = estimate(
        graph,
        board,
        runtime or run.runtime,
        build or run.build,
        clock_hz=run.clock_hz,
        placement={"weights": run.weights} if run.weights else None,
    )
    causes = [part.cycles_by_cause for part in _parts(found, run)]
    by_family = dict.fromkeys(FAMILIES, 0.0)
    for layer in found.layers:
        by_family[layer.family] += layer.cycles
    core = uncalibrated(run.board).core
    return PricedRun(
        run,
        core.name,
        core.profile,
        sum(cause.core for cause in causes),
        sum(cause.fetch for cause in causes),
        sum(cause.total - cause.core - cause.fetch for cause in causes),
        dominant_family(found.layers),
        tuple(by_family.values()),
    )


def _as_its_firmware_sets_it(run: PublishedRun) -> Board:
    board = uncalibrated(run.board)
    if run.fpu == "off":
        # The core without its FPU is a file of its own, which comes with what was fitted.
        board = without_fpu(board).unscaled
    if run.icache == "off":
        board = board.with_flash(icache_on=False)
    return board


def _parts(found: Estimate, run: PublishedRun) -> tuple[PartEstimate, ...]:
    return (*found.layers, found.invoke) if run.has_interpreter else found.layers


@cache
def _graph(model: str, float_ends: bool) -> Graph:
    graph = load_model(model)
    return with_float_ends(graph) if float_ends else graph


def with_float_ends(graph: Graph) -> Graph:
    """The network with QUANTIZE before its input and DEQUANTIZE behind its output.

    Converters leave these where the inputs and outputs of a quantized network stay float32.
    """
    main = graph.main
    tensors, operators = list(main.tensors), list(main.operators)
    inputs, outputs = [], []
    for index in main.inputs:
        inputs.append(_float_copy(tensors, index))
        operators.insert(0, Operator("QUANTIZE", (inputs[-1],), (index,)))
    for index in main.outputs:
        outputs.append(_float_copy(tensors, index))
        operators.append(Operator("DEQUANTIZE", (index,), (outputs[-1],)))
    wrapped = replace(
        main,
        tensors=tuple(tensors),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        operators=tuple(operators),
    )
    return replace(graph, subgraphs=(wrapped, *graph.subgraphs[1:]))


def _float_copy(tensors: list[Tensor], index: int) -> int:
    """Add a float32 tensor of the same shape; its index."""
    original = tensors[index]
    new = len(tensors)
    tensors.append(
        replace(
            original,
            index=new,
            name=f"{original.name}/float",
            dtype=DType.FLOAT32,
            quantization=None,
        )
    )
    return new
