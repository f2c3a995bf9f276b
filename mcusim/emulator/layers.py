"""Which operator of TFLite Micro is running, told by the symbols of what computes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mcusim.emulator.calls import aside
from mcusim.emulator.counts import Counts
from mcusim.emulator.images import Image, Symbol
from mcusim.emulator.machine import Machine, Stop, StopReason
from mcusim.errors import FirmwareError

__all__ = ["Inference", "LayerRun", "LayerWatch", "TensorBytes", "run_inference", "tensor"]

#: What optimizing at link time adds to the names of functions that were local to a file.
_MOVED = r"(?:\.(?:lto_priv|llvm)\.\d+)*$"
#: ``TfLiteStatus f(TfLiteContext*, TfLiteNode*)``: what an operator is invoked by.
_OPERATOR = re.compile(r"^_Z.*P13TfLiteContextP10TfLiteNode" + _MOVED)
_COMPUTES = re.compile(r"Eval|Invoke")
_INVOKE = re.compile(r"^_ZN6tflite16MicroInterpreter6InvokeEv" + _MOVED)
#: What calls operators: the interpreter, or what the interpreter was inlined into.
_CALLER = re.compile(r"Invoke(Subgraph)?|^(?!_ZN?K?6tflite)")
#: A profiler that the interpreter tells of each operator: what lies between is the operator's, as
#: it was counted for the kernel profiles.
_BEGIN = re.compile(r"^_ZN.*10BeginEventEPKc" + _MOVED)
_END = re.compile(r"^_ZN.*8EndEventE[mj]" + _MOVED)
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
    ends_with_event: bool = False


class LayerWatch:
    """Watches the operators of a machine's firmware.

    Attributes:
        inferences: those seen, the last perhaps unfinished.
        pauses: whether a run is to end at the end of each operator, with :attr:`PAUSED`.
    """

    PAUSED = "an operator has returned"

    def __init__(
        self, machine: Machine, *, pauses: bool = False, operators: int | None = None
    ) -> None:
        """Begin to watch; costs nothing in firmware that has no such symbols.

        Args:
            machine: whose firmware it is.
            pauses: see above.
            operators: of the model, if it is known: where ``Invoke`` was inlined and has no symbol,
                an inference ends with the last of them.
        """
        self._last = operators
        self.inferences: list[Inference] = []
        self.pauses = pauses
        self._machine = machine
        self._layer: _Open | None = None
        self._invoke: _Open | None = None
        self._event: _Open | None = None
        self._has_begun = False
        self._watched_returns: set[int] = set()
        self._operators = {symbol.address: symbol for symbol in _operators(machine.image)}
        self._invokes = {s.address: s for s in machine.image.functions if _INVOKE.match(s.name)}
        functions = machine.image.functions
        self._begins = {s.address: s for s in functions if _BEGIN.match(s.name)}
        self._ends = {s.address: s for s in functions if _END.match(s.name)}
        for address in (*self._operators, *self._invokes, *self._begins, *self._ends):
            machine.counter.watch(address, self._reached)

    @property
    def knows_operators(self) -> bool:
        """Whether the image has symbols of operators."""
        return bool(self._operators)

    def _end(self) -> None:
        watched = (self._operators, self._invokes, self._begins, self._ends, self._watched_returns)
        for address in {address for group in watched for address in group}:
            self._machine.counter.watch(address, None)

    def _reached(self, address: int) -> None:
        if address in self._watched_returns:
            self._left(address)
        if address in self._begins and self._layer is None:
            self._event, self._has_begun = self._entered(self._begins[address]), False
        elif address in self._ends:
            if self._layer is not None and self._layer.ends_with_event:
                self._close(self._layer)
            self._event = None
        elif address in self._invokes and self._invoke is None:
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
        if self._event is not None and self._has_begun:
            found.before, found.start_cycles = self._event.before, self._event.start_cycles
            found.ends_with_event = True
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
        event, layer, invoke = self._event, self._layer, self._invoke
        machine = self._machine
        if event and not self._has_begun and (address, stack) == (event.returns_to, event.stack):
            event.before, event.start_cycles = machine.counts(), machine.cycles
            self._has_begun = True
        elif layer and (address, stack) == (layer.returns_to, layer.stack):
            if not layer.ends_with_event:
                self._close(layer)
        elif invoke and (address, stack) == (invoke.returns_to, invoke.stack):
            self._invoke = None
            inference = self.inferences[-1]
            inference.counts = machine.counts().since(invoke.before)
            inference.end_cycles = machine.cycles
            inference.is_complete = True
            if len(self.inferences) >= _MOST_INFERENCES:
                self._end()
            if self.pauses:
                machine.halt(Stop(StopReason.PAUSED, "an inference has ended"))

    def _close(self, layer: _Open) -> None:
        """An operator has ended."""
        self._layer = None
        inference, machine = self.inferences[-1], self._machine
        inference.layers.append(
            LayerRun(
                len(inference.layers),
                layer.function,
                machine.counts().since(layer.before),
                layer.start_cycles,
                machine.cycles,
                layer.context,
                layer.node,
            )
        )
        inference.end_cycles = machine.cycles
        if not self._invokes and len(inference.layers) == self._last:
            inference.is_complete = True
        if self.pauses:
            machine.halt(Stop(StopReason.PAUSED, self.PAUSED))


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
    with aside(machine):
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
            if machine.faults and stop.fault is None:
                said += f"; before that, {machine.faults[0].detail}"
            raise FirmwareError(
                f"{machine.image.name}: no inference ended; {stop.reason.value}{said}"
            )


def _operators(image: Image) -> list[Symbol]:
    return [s for s in image.functions if _OPERATOR.match(s.name) and _COMPUTES.search(s.name)]
