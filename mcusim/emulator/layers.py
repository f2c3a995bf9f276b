"""Which operator of TFLite Micro is running, told by the symbols of what computes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mcusim.emulator.counting import Counts
from mcusim.emulator.images import Image, Symbol
from mcusim.emulator.machine import Machine, Stop, StopReason
from mcusim.errors import FirmwareError

__all__ = ["Inference", "LayerRun", "LayerWatch", "TensorBytes", "run_inference", "tensor"]

#: ``TfLiteStatus f(TfLiteContext*, TfLiteNode*)``: what an operator is invoked by.
_OPERATOR = re.compile(r"^_Z.*P13TfLiteContextP10TfLiteNode$")
_COMPUTES = re.compile(r"Eval|Invoke")
_INVOKE = re.compile(r"^_ZN6tflite16MicroInterpreter6InvokeEv$")
_CALLER = re.compile(r"Invoke(Subgraph)?")
#: Inferences watched, after which a run is as quick as without.
_MOST_INFERENCES = 16
_GET_INPUT = "_ZN6tflite5micro12GetEvalInputEPK13TfLiteContextPK10TfLiteNodei"
_GET_OUTPUT = "_ZN6tflite5micro13GetEvalOutputEPK13TfLiteContextPK10TfLiteNodei"


@dataclass(frozen=True)
class TensorBytes:
    """A tensor as memory held it.

    Attributes:
        address: of its first byte.
        data: its bytes.
    """

    address: int
    data: bytes


@dataclass(frozen=True, eq=False)
class LayerRun:
    """One execution of an operator.

    Attributes:
        index: position among the operators of this inference.
        function: what computed it.
        counts: blocks executed from its entry to its return.
        start_cycles: core cycles since reset at its entry.
        end_cycles: the same at its return.
        context: address of its ``TfLiteContext``.
        node: address of its ``TfLiteNode``.
    """

    index: int
    function: Symbol
    counts: Counts
    start_cycles: float
    end_cycles: float
    context: int
    node: int


@dataclass(eq=False)
class Inference:
    """One call of ``MicroInterpreter::Invoke``, or what is between the first and last operator.

    Attributes:
        layers: in order.
        counts: blocks executed in all.
        start_cycles: core cycles since reset at its begin.
        end_cycles: the same at its end.
        is_complete: whether it has ended.
    """

    layers: list[LayerRun] = field(default_factory=list)
    counts: Counts | None = None
    start_cycles: float = 0.0
    end_cycles: float = 0.0
    is_complete: bool = False


@dataclass
class _Open:
    """Something that has been entered and not left."""

    function: Symbol
    returns_to: int
    stack: int
    before: Counts
    start_cycles: float
    context: int = 0
    node: int = 0


class LayerWatch:
    """Watches the operators of a machine's firmware.

    Attributes:
        inferences: those seen, the last perhaps unfinished.
        pauses: whether a run is to end at the end of each operator, with :attr:`PAUSED`.
    """

    PAUSED = "an operator has returned"

    def __init__(self, machine: Machine, *, pauses: bool = False) -> None:
        """Begin to watch; costs nothing in firmware that has no such symbols."""
        self.inferences: list[Inference] = []
        self.pauses = pauses
        self._machine = machine
        self._layer: _Open | None = None
        self._invoke: _Open | None = None
        self._watched_returns: set[int] = set()
        self._operators = {symbol.address: symbol for symbol in _operators(machine.image)}
        self._invokes = {s.address: s for s in machine.image.functions if _INVOKE.match(s.name)}
        for address in (*self._operators, *self._invokes):
            machine.counter.watch(address, self._reached)

    @property
    def knows_operators(self) -> bool:
        """Whether the image has symbols of operators."""
        return bool(self._operators)

    def _end(self) -> None:
        for address in (*self._operators, *self._invokes, *self._watched_returns):
            self._machine.counter.watch(address, None)

    def _reached(self, address: int) -> None:
        if address in self._watched_returns:
            self._left(address)
        if address in self._invokes and self._invoke is None:
            self._invoke = self._entered(self._invokes[address])
            self.inferences.append(Inference(start_cycles=self._machine.cycles))
        elif address in self._operators and self._layer is None:
            self._enter_layer(self._operators[address])

    def _enter_layer(self, symbol: Symbol) -> None:
        from unicorn.arm_const import UC_ARM_REG_R0, UC_ARM_REG_R1

        found = self._entered(symbol)
        caller = self._machine.image.function_at(found.returns_to)
        if caller is not None and not _CALLER.search(caller.name):
            return  # an operator that computes its part by another's function
        registers = self._machine.uc
        found.context = int(registers.reg_read(UC_ARM_REG_R0))
        found.node = int(registers.reg_read(UC_ARM_REG_R1))
        if self._invoke is None and (not self.inferences or self.inferences[-1].is_complete):
            self.inferences.append(Inference(start_cycles=self._machine.cycles))
        self._layer = found

    def _entered(self, symbol: Symbol) -> _Open:
        from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_SP

        machine = self._machine
        returns_to = int(machine.uc.reg_read(UC_ARM_REG_LR)) & ~1
        if returns_to not in self._watched_returns:
            self._watched_returns.add(returns_to)
            machine.counter.watch(returns_to, self._reached)
        stack = int(machine.uc.reg_read(UC_ARM_REG_SP))
        return _Open(symbol, returns_to, stack, machine.counts(), machine.cycles)

    def _left(self, address: int) -> None:
        from unicorn.arm_const import UC_ARM_REG_SP

        stack = int(self._machine.uc.reg_read(UC_ARM_REG_SP))
        layer, invoke = self._layer, self._invoke
        if layer and (address, stack) == (layer.returns_to, layer.stack):
            self._layer = None
            inference = self.inferences[-1]
            now = self._machine.cycles
            counts = self._machine.counts().since(layer.before)
            inference.layers.append(
                LayerRun(
                    len(inference.layers),
                    layer.function,
                    counts,
                    layer.start_cycles,
                    now,
                    layer.context,
                    layer.node,
                )
            )
            inference.end_cycles = now
            if self.pauses:
                self._machine.halt(Stop(StopReason.PAUSED, self.PAUSED))
        elif invoke and (address, stack) == (invoke.returns_to, invoke.stack):
            self._invoke = None
            inference = self.inferences[-1]
            inference.counts = self._machine.counts().since(invoke.before)
            inference.end_cycles = self._machine.cycles
            inference.is_complete = True
            if len(self.inferences) >= _MOST_INFERENCES:
                self._end()
            if self.pauses:
                self._machine.halt(Stop(StopReason.PAUSED, "an inference has ended"))


def tensor(
    machine: Machine, layer: LayerRun, index: int, size: int, *, output: bool
) -> TensorBytes:
    """Read a tensor of an operator that has just returned, with the firmware's own functions.

    Args:
        machine: paused behind the operator.
        layer: the operator.
        index: position among its inputs or outputs.
        size: bytes of the tensor.
        output: whether it is an output.

    Raises:
        FirmwareError: the firmware has no function that tells where its tensors are.
    """
    name = _GET_OUTPUT if output else _GET_INPUT
    symbol = machine.image.symbol(name)
    if symbol is None:
        raise FirmwareError(
            f"{machine.image.name}: has no symbol {name}, so its tensors cannot be read"
        )
    with machine.aside():
        result = machine.call(symbol.address, layer.context, layer.node, index, returns=np.uint32)
    # The first word of a TfLiteEvalTensor is the address of its data.
    address = int.from_bytes(machine.read(int(result.value), 4), "little")
    return TensorBytes(address, machine.read(address, size))


def run_inference(machine: Machine, watch: LayerWatch, max_seconds: float) -> Iterator[LayerRun]:
    """Run until one inference has ended, and stop behind each of its operators.

    Args:
        machine: with firmware that infers.
        watch: of the same machine, with pauses.
        max_seconds: of board time.

    Yields:
        Each operator, with the machine behind it.

    Raises:
        FirmwareError: the firmware ends or runs too long before it.
    """
    seen = 0
    limit = machine.cycles + max_seconds * machine.clock_hz
    while True:
        stop = machine.run(max_seconds=max(1e-9, (limit - machine.cycles) / machine.clock_hz))
        layers = watch.inferences[0].layers if watch.inferences else []
        if len(layers) > seen:
            seen = len(layers)
            yield layers[-1]
        if watch.inferences and watch.inferences[0].is_complete:
            return
        if stop.reason is not StopReason.PAUSED:
            said = f": {stop.detail}" if stop.detail else ""
            raise FirmwareError(
                f"{machine.image.name}: no inference ended; {stop.reason.value}{said}"
            )


def _operators(image: Image) -> list[Symbol]:
    return [s for s in image.functions if _OPERATOR.match(s.name) and _COMPUTES.search(s.name)]
