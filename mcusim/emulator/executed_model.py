"""A model as firmware executed it: the same estimate layer by layer, and the bits it computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mcusim.boards import CodeTraffic, external_energy_j, price
from mcusim.emulator.counts import Counts
from mcusim.emulator.layers import Inference, LayerRun, LayerWatch, run_inference, tensor
from mcusim.emulator.machine import Machine
from mcusim.emulator.names import plain_name
from mcusim.emulator.profile import function_parts
from mcusim.emulator.timing import EXECUTED, ranges
from mcusim.errors import FirmwareError, ModelError
from mcusim.estimates import Estimate, LayerEstimate, dominant_family
from mcusim.estimator import estimate
from mcusim.graph import Array, Graph, Node, Tensor
from mcusim.interpreter import run
from mcusim.kernels.contract import KernelCall
from mcusim.layer_traffic import layer_traffic
from mcusim.pricing import with_intervals
from mcusim.runtimes import plan
from mcusim.tflite import read

__all__ = ["ComparedLayer", "Comparison", "compare", "executed_estimate", "models_within"]

_IDENTIFIER = b"TFL3"
#: Models looked for in an image at most.
_MOST_MODELS = 8


@dataclass(frozen=True)
class ComparedLayer:
    """An operator as it was predicted and as firmware executed it.

    Attributes:
        predicted: by the profiles.
        executed: by the firmware's own code.
        differing: values of its outputs whose bits differ.
        values: of its outputs.
    """

    predicted: LayerEstimate
    executed: LayerEstimate
    differing: int
    values: int


@dataclass(frozen=True)
class Comparison:
    """A model beside firmware that runs it.

    Attributes:
        predicted: the estimate.
        executed: what the firmware's own code took.
        layers: operator by operator.
    """

    predicted: Estimate
    executed: Estimate
    layers: tuple[ComparedLayer, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every bit agrees."""
        return not any(layer.differing for layer in self.layers)


def models_within(machine: Machine) -> Iterator[Graph]:
    """Models that lie in an image's memory, the first eight."""
    found = 0
    for segment in machine.image.segments:
        at = segment.data.find(_IDENTIFIER)
        while at >= 4 and found < _MOST_MODELS:
            if at % 4 == 0:
                try:
                    yield read(
                        segment.data[at - 4 :], f"model at {segment.run_address + at - 4:#x}"
                    )
                    found += 1
                except ModelError:
                    pass
            at = segment.data.find(_IDENTIFIER, at + 1)


def executed_estimate(
    graph: Graph, machine: Machine, inference: Inference, predicted: Estimate | None = None
) -> Estimate:
    """What an inference took that firmware executed, as an estimate.

    Memory, flash and what runs once are those of the prediction: nothing executed tells them.

    Args:
        graph: the model that the firmware runs.
        machine: where it ran.
        inference: all of it.
        predicted: the estimate of the same model; made here when None.

    Raises:
        FirmwareError: the firmware ran other operators than the model has.
    """
    library = _library(machine, inference)
    if predicted is None:
        predicted = estimate(graph, machine.board, library, clock_hz=machine.clock_hz)
    if len(inference.layers) != len(predicted.layers):
        raise FirmwareError(
            f"{machine.image.name}: ran {len(inference.layers)} operators, {graph.name} has "
            f"{len(predicted.layers)}"
        )
    planned = plan(graph, predicted.runtime, core=machine.board.core.profile)
    layers = tuple(
        _layer(machine, ran, layer.node, layer.calls, expected)
        for ran, layer, expected in zip(
            inference.layers, planned.layers, predicted.layers, strict=True
        )
    )
    invoke = machine.pricing.part("MicroInterpreter::Invoke", _between(inference))
    parts = (*layers, invoke)
    latency_s = sum(part.latency_s for part in parts)
    energy_j = sum(part.energy_j for part in parts)
    time, energy = ranges(machine.board, dominant_family(layers))
    return replace(
        predicted,
        board=machine.board,
        build=EXECUTED,
        clock_hz=machine.clock_hz,
        layers=with_intervals(layers, time, energy),
        invoke=invoke,
        latency_interval_s=(latency_s * time[0], latency_s * time[1]),
        energy_interval_j=(energy_j * energy[0], energy_j * energy[1]),
        warnings=tuple(w for w in predicted.warnings if w.startswith("uncalibrated")),
    )


def compare(
    graph: Graph, machine: Machine, predicted: Estimate, max_seconds: float = 60.0
) -> Comparison:
    """Run firmware through one inference, and lay it beside the prediction and our own bits.

    Args:
        graph: the model that the firmware runs.
        machine: in reset.
        predicted: the estimate of the model.
        max_seconds: of board time until the inference has ended.

    Raises:
        FirmwareError: the firmware does not tell its operators by symbols, ends before an
            inference does, or runs other operators.
    """
    watch = LayerWatch(machine, pauses=True, operators=len(graph.main.nodes))
    if not watch.knows_operators:
        raise FirmwareError(
            f"{machine.image.name}: has no symbols of TFLite Micro's operators; "
            "build it without stripping them"
        )
    nodes = graph.main.nodes
    inputs: dict[int, Array] = {}
    outputs: list[list[Array]] = []
    wanted = {t.index for t in graph.inputs}
    for ran in run_inference(machine, watch, max_seconds):
        if ran.index >= len(nodes):
            raise FirmwareError(
                f"{machine.image.name}: runs more operators than the {len(nodes)} of {graph.name}"
            )
        node = nodes[ran.index]
        for position, given in enumerate(node.inputs):
            if given is not None and given.index in wanted - set(inputs):
                inputs[given.index] = _read(machine, ran, position, given, output=False)
        outputs.append([_read(machine, ran, n, t, output=True) for n, t in enumerate(node.outputs)])
    executed = executed_estimate(graph, machine, watch.inferences[0], predicted)
    own = run(
        graph,
        [inputs[t.index] for t in graph.inputs],
        runtime=predicted.runtime,
        core=machine.board.core.profile,
        tensors=True,
    )
    layers = []
    for number, (node, theirs) in enumerate(zip(nodes, outputs, strict=True)):
        pairs = [(own.tensors[t.index], a) for t, a in zip(node.outputs, theirs, strict=True)]
        layers.append(
            ComparedLayer(
                predicted.layers[number],
                executed.layers[number],
                sum(_differing(ours.reshape(a.shape), a) for ours, a in pairs),
                sum(a.size for _, a in pairs),
            )
        )
    return Comparison(predicted, executed, tuple(layers))


def _layer(
    machine: Machine,
    ran: LayerRun,
    node: Node,
    calls: tuple[KernelCall, ...],
    expected: LayerEstimate,
) -> LayerEstimate:
    """A layer priced by its executed blocks, with the model's tensors as its data."""
    board, counts = machine.board, ran.counts
    functions = function_parts(machine, counts)
    mix = counts.mix()
    traffic = layer_traffic(node, calls, mix, _code(counts))
    cycles = price(
        board,
        machine.clock_hz,
        mix,
        traffic,
        misaligned_accesses=expected.misaligned_accesses,
    )
    latency_s = cycles.total / machine.clock_hz
    energy_j = latency_s * board.power.active_w(machine.clock_hz)
    return replace(
        expected,
        kernel=functions[0].name if functions else plain_name(ran.function.name),
        reason=f"executed from {plain_name(ran.function.name)}",
        instructions=mix,
        cycles_by_cause=cycles,
        latency_s=latency_s,
        energy_j=energy_j + external_energy_j(board, traffic),
        priced_by=EXECUTED,
        is_exact=True,
        error=0.0,
        warnings=(),
    )


def _code(counts: Counts) -> CodeTraffic | None:
    ran = np.flatnonzero(counts.executed)
    if not len(ran):
        return None
    executed = counts.executed[ran].astype(np.float64)
    sizes = np.array([float(counts.blocks[number].size) for number in ran])
    return CodeTraffic.nested(executed, sizes, counts.taken[ran] / executed)


def _between(inference: Inference) -> Counts:
    """What an inference executed beside its operators."""
    whole = inference.counts
    if whole is None:
        return inference.layers[0].counts.chosen([])
    executed, taken = whole.executed.copy(), whole.taken.copy()
    for layer in inference.layers:
        executed[: len(layer.counts.executed)] -= layer.counts.executed
        taken[: len(layer.counts.taken)] -= layer.counts.taken
    return Counts(whole.blocks, executed, taken)


def _library(machine: Machine, inference: Inference) -> str:
    """The runtime whose kernels the operators ran."""
    for layer in inference.layers:
        for number in np.flatnonzero(layer.counts.executed):
            function = machine.image.function_at(layer.counts.blocks[number].address)
            if function and function.name.startswith("arm_"):
                return "cmsis-nn"
    return "tflm"


def _read(machine: Machine, ran: LayerRun, position: int, of: Tensor, *, output: bool) -> Array:
    found = tensor(machine, ran, position, of.bytes, output=output)
    kind = np.dtype(of.dtype.numpy)
    values: Array = np.frombuffer(found.data, kind).reshape(of.shape)
    return values


def _differing(ours: Array, theirs: Array) -> int:
    return int((ours.view(np.uint8) != theirs.view(np.uint8)).reshape(ours.size, -1).any(1).sum())
