"""Runs a Graph on arrays, operator by operator, with the kernels of a runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcusim.errors import InputError, McusimError
from mcusim.graph import Array, DType, Graph, Node, Subgraph, Tensor
from mcusim.kernels.contract import BoundKernel, placed
from mcusim.kernels.reference import control_flow
from mcusim.runtimes import Runtime, select
from mcusim.runtimes.acceptance import accepted_nodes

__all__ = ["Interpreter", "RunResult", "run"]

#: A batch runs in parts whose activations take about this much, so that they stay in the cache.
_PART_BYTES = 1 << 20


@dataclass(frozen=True)
class RunResult:
    """What a run computed.

    Attributes:
        outputs: the graph's outputs, in order.
        tensors: every tensor of the main subgraph by index, when they were asked for.
    """

    outputs: tuple[Array, ...]
    tensors: Mapping[int, Array] = field(default_factory=dict)


class Interpreter:
    """A prepared model; variables keep their values from call to call.

    A batch is that many devices, each with variables of its own: the first call after
    construction or :meth:`reset` decides how many, when the model has variables.

    Args:
        graph: the model.
        runtime: whose kernels compute it: ``"tflm"``, ``"cmsis-nn"`` or an older generation such
            as ``"cmsis-nn@2020"``.
        core: the device's core, on whose SIMD instructions some bits of CMSIS-NN depend.
        single_rounding: CMSIS-NN is built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Raises:
        InputError: there is no such runtime or core.
        UnsupportedOperatorError: the runtime itself would refuse an operator.
        ModelError: the graph is inconsistent.
    """

    def __init__(
        self,
        graph: Graph,
        runtime: str = "tflm",
        *,
        core: str = "m4",
        single_rounding: bool = False,
    ) -> None:
        self._program = _Program(graph, select(runtime, core, single_rounding))
        self._machines: list[_Machine] = []
        self._holds_values = False

    def reset(self) -> None:
        """Set all variables to zero, those of int8 to their zero point.

        As on the device, what CALL_ONCE assigned is gone and it does not run again. A batch of
        another size may follow: those are new devices.

        Source: ``MicroInterpreter::Reset``.
        """
        for machine in self._machines:
            machine.reset()
        self._holds_values = False

    def invoke(self, inputs: Array | Sequence[object] = (), *, tensors: bool = False) -> RunResult:
        """Run once, on one set of inputs or on a batch of independent ones.

        Args:
            inputs: an array for each input of the graph, of its shape and dtype; with one extra
                leading axis on every one, that many independent inferences. Nested lists of
                numbers will do for arrays.
            tensors: return every tensor, not only the outputs.

        Returns:
            The outputs, with the leading axis when the inputs had it.

        Raises:
            InputError: number, shapes or dtypes do not fit the model, or the batch is not of the
                size that its variables have.
            ModelError: the model does what the runtime refuses while it runs, such as an index
                out of bounds.
        """
        graph = self._program.graph
        arrays, batched = _checked(graph, inputs)
        size = len(arrays[0]) if batched else 1
        held = sum(m.size for m in self._machines)
        if held != size:
            if self._holds_values and self._program.has_variables:
                raise InputError(
                    f"{graph.name}: holds the variables of {held} inferences, a batch of {size} "
                    "was given; reset() starts anew"
                )
            self._machines = list(self._program.machines(size))
        self._holds_values = True
        parts: list[RunResult] = []
        start = 0
        for machine in self._machines:
            stop = start + machine.size
            parts.append(machine.run([a[start:stop] for a in arrays], tensors))
            start = stop
        outputs = [_joined([p.outputs[i] for p in parts]) for i in range(len(graph.outputs))]
        every = {i: _joined([p.tensors[i] for p in parts]) for i in parts[0].tensors}

        def shaped(array: Array) -> Array:
            return array if batched else array[0, ...]

        return RunResult(
            tuple(shaped(a) for a in outputs), {i: shaped(a) for i, a in every.items()}
        )


def run(
    graph: Graph,
    inputs: Array | Sequence[object] = (),
    *,
    runtime: str = "tflm",
    core: str = "m4",
    single_rounding: bool = False,
    tensors: bool = False,
) -> RunResult:
    """Run a model once: :class:`Interpreter` and one :meth:`Interpreter.invoke`.

    Raises:
        UnsupportedOperatorError: the runtime itself would refuse an operator.
        ModelError: the graph is inconsistent.
        InputError: inputs do not fit the model, or there is no such runtime.
    """
    interpreter = Interpreter(graph, runtime, core=core, single_rounding=single_rounding)
    return interpreter.invoke(inputs, tensors=tensors)


@dataclass(frozen=True)
class _Step:
    """An operator ready to run.

    Attributes:
        node: the operator.
        kernel: what computes it from arrays; None for control flow.
        control: what runs it on a machine; None for all else.
        last_uses: tensors that nothing reads after it.
        overwritten: what computes what its first input holds afterwards, where something reads
            that; None where the kernel leaves its input alone.
    """

    node: Node
    kernel: BoundKernel | None
    control: control_flow.Step | None
    last_uses: tuple[int, ...]
    overwritten: BoundKernel | None = None


class _Program:
    """A model with every operator prepared, shared by the machines that run it."""

    def __init__(self, graph: Graph, runtime: Runtime) -> None:
        self.graph = graph
        self.resources = control_flow.Resources()
        self._runtime = runtime
        last_uses = [_last_uses(s) for s in graph.subgraphs]
        self.steps: list[list[_Step]] = [[] for _ in graph.subgraphs]
        try:
            for index, node in accepted_nodes(graph, runtime):
                self.steps[index].append(self._step(index, node, last_uses[index][node.index]))
        except McusimError as error:
            raise type(error)(f"{graph.name}: {error}") from None
        self.constants = [
            {t.index: t.data[np.newaxis] for t in s.tensors if t.data is not None}
            | {
                # A constant without elements, such as the shape of a scalar, has no data.
                t.index: np.empty((1, *t.shape), t.dtype.numpy)
                for t in s.tensors
                if not t.elements
            }
            for s in graph.subgraphs
        ]
        self.has_control = any(step.control for steps in self.steps for step in steps)
        self.has_variables = self.has_control or any(
            t.is_variable for s in graph.subgraphs for t in s.tensors
        )

    def machines(self, size: int) -> Iterator[_Machine]:
        """As many machines as a batch of ``size`` inferences takes."""
        part = 1 if self.has_control else _PART_BYTES // max(1, _live_bytes(self.graph.main))
        part = max(1, min(size, part))
        for start in range(0, size, part):
            yield _Machine(self, min(part, size - start))

    def _step(self, subgraph: int, node: Node, last_uses: tuple[int, ...]) -> _Step:
        if node.name in control_flow.CONTROL_FLOW:
            control = control_flow.prepare(node, self.graph, subgraph, self.resources)
            return _Step(node, None, control, last_uses)
        kernel = self._runtime.bind(node)
        x = node.optional_input(0)
        if x is None or x.is_constant or x.index in last_uses:
            return _Step(node, kernel, None, last_uses)
        return _Step(node, kernel, None, last_uses, self._runtime.overwritten(node))


class _Machine:
    """The memory of some inferences: variable tensors, resource variables, what ran once."""

    def __init__(self, program: _Program, size: int) -> None:
        self.size = size
        self.called: set[tuple[int, int]] = set()
        self.variables = {i: v.copy() for i, v in program.resources.initial.items()}
        self._program = program
        self._states = [
            {t.index: _initial(t, size) for t in s.tensors if t.is_variable}
            for s in program.graph.subgraphs
        ]

    def reset(self) -> None:
        """Variables as after construction; what ran once does not run again."""
        for subgraph, states in zip(self._program.graph.subgraphs, self._states, strict=True):
            for index, state in states.items():
                state[...] = _initial(subgraph.tensors[index], 1)
        for identifier, value in self.variables.items():
            value[...] = self._program.resources.initial[identifier]

    def run(self, inputs: Sequence[Array], keep: bool) -> RunResult:
        """Run the main subgraph; arrays have a leading axis of ``size`` inferences."""
        kept: dict[int, Array] = {}
        # A device overflows, divides by zero and goes on.
        with np.errstate(all="ignore"):
            outputs = self._run(0, inputs, kept if keep else None)
        if keep:
            for index, array in self._program.constants[0].items():
                kept[index] = np.repeat(array, self.size, axis=0)
        return RunResult(tuple(outputs), kept)

    def run_subgraph(self, index: int, inputs: Sequence[Array]) -> list[Array]:
        """Run another subgraph, for control flow."""
        tensors = self._program.graph.subgraphs[index].tensors
        indices = self._program.graph.subgraphs[index].inputs
        shaped = [
            a.reshape(self.size, *tensors[i].shape) for a, i in zip(inputs, indices, strict=True)
        ]
        return self._run(index, shaped, None)

    def _run(
        self, index: int, inputs: Sequence[Array], kept: dict[int, Array] | None
    ) -> list[Array]:
        subgraph = self._program.graph.subgraphs[index]
        states = self._states[index]
        values = {**self._program.constants[index], **states}
        values.update(zip(subgraph.inputs, inputs, strict=True))
        if kept is not None:
            kept.update(zip(subgraph.inputs, inputs, strict=True))
        for step in self._program.steps[index]:
            node = step.node
            arguments = [values[i] if i >= 0 else None for i in node.operator.inputs]
            try:
                if step.control is not None:
                    results = step.control(self, arguments)
                elif step.kernel is not None:
                    results = step.kernel(arguments)
            except McusimError as error:
                raise self._named(placed(error, node)) from None
            if step.overwritten is not None:
                values[node.operator.inputs[0]] = step.overwritten(arguments)[0]
            for tensor, result in zip(node.outputs, results, strict=True):
                array = result
                if len(array) != self.size:
                    # Computed from constants alone: the same for every inference.
                    array = np.repeat(array, self.size, axis=0)
                if tensor.index in states:
                    states[tensor.index][...] = array
                else:
                    values[tensor.index] = array
                if kept is not None:
                    kept[tensor.index] = array.copy()
            if kept is None:
                for dead in step.last_uses:
                    values.pop(dead, None)
        if kept is not None:
            kept.update((i, s.copy()) for i, s in states.items())
        return [
            np.repeat(a, self.size, axis=0) if len(a) != self.size else a.copy()
            for a in (values[i] for i in subgraph.outputs)
        ]

    def _named(self, error: McusimError) -> McusimError:
        name = self._program.graph.name
        return error if str(error).startswith(f"{name}: ") else type(error)(f"{name}: {error}")


def _last_uses(subgraph: Subgraph) -> list[tuple[int, ...]]:
    """For each operator, the tensors that neither a later one nor the caller reads."""
    seen = set(subgraph.outputs)
    last_uses: list[tuple[int, ...]] = []
    for operator in reversed(subgraph.operators):
        here = {i for i in (*operator.inputs, *operator.outputs) if i >= 0} - seen
        seen |= here
        last_uses.append(tuple(sorted(here)))
    return last_uses[::-1]


def _live_bytes(subgraph: Subgraph) -> int:
    """Most bytes of computed tensors alive at once, for one inference."""
    size = {
        t.index: t.elements * t.dtype.numpy.itemsize
        for t in subgraph.tensors
        if not t.is_constant and t.dtype not in (DType.STRING, DType.VARIANT)
    }
    live = sum(size.get(i, 0) for i in subgraph.inputs)
    most = live
    for operator, dead in zip(subgraph.operators, _last_uses(subgraph), strict=True):
        live += sum(size.get(i, 0) for i in operator.outputs)
        most = max(most, live)
        live -= sum(size.get(i, 0) for i in dead)
    return most


def _initial(tensor: Tensor, size: int) -> Array:
    """A variable tensor after a reset: zero, or the zero point of an int8 tensor.

    Source: ``MicroInterpreterGraph::ResetTensorData``.
    """
    value = np.int64(tensor.zero_point).astype(np.int8) if tensor.dtype is DType.INT8 else 0
    return np.full((size, *tensor.shape), value, tensor.dtype.numpy)


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _checked(graph: Graph, inputs: Array | Sequence[object]) -> tuple[list[Array], bool]:
    """Inputs as contiguous arrays with a leading axis, and whether they came with it."""
    wanted = graph.inputs
    given = _as_list(inputs, wanted)
    if len(given) != len(wanted):
        raise InputError(
            f"{graph.name}: takes {len(wanted)} inputs, {len(given)} were given; "
            f"they are {', '.join(t.name for t in wanted) or 'none'}"
        )
    arrays = [_as_array(graph, a, t) for a, t in zip(given, wanted, strict=True)]
    batched = bool(wanted) and all(
        a.ndim == len(t.shape) + 1 for a, t in zip(arrays, wanted, strict=True)
    )
    for array, tensor in zip(arrays, wanted, strict=True):
        shape = array.shape[1:] if batched else array.shape
        if shape != tensor.shape or array.dtype != tensor.dtype.numpy:
            raise InputError(
                f"{graph.name}: input {tensor.name!r} takes {tensor.dtype.value} of shape "
                f"{tensor.shape}, {array.dtype} of shape {array.shape} was given"
                f"{_remedy(array, tensor, shape)}"
            )
    if batched and len({len(a) for a in arrays}) > 1:
        sizes = ", ".join(str(len(a)) for a in arrays)
        raise InputError(f"{graph.name}: inputs are batches of different sizes: {sizes}")
    if batched and not len(arrays[0]):
        raise InputError(f"{graph.name}: the batch is empty")
    return [np.ascontiguousarray(a if batched else a[np.newaxis]) for a in arrays], batched


def _remedy(array: Array, tensor: Tensor, shape: tuple[int, ...]) -> str:
    """What would make an array fit an input, where that can be told."""
    if shape != tensor.shape:
        if array.size == tensor.elements:
            return "; give it that shape"
        return "; a batch has one axis more, the first, on every input"
    if array.dtype.kind == "f" and tensor.scale:
        return (
            f"; quantize it: round(x / {tensor.scale:.9g}) + {tensor.zero_point}, "
            f"as {tensor.dtype.value}"
        )
    return f"; convert it to {tensor.dtype.value}"


def _as_list(inputs: Array | Sequence[object], wanted: Sequence[Tensor]) -> list[object]:
    if isinstance(inputs, np.ndarray):
        return [inputs]
    listed = list(inputs)
    if len(wanted) == 1 and not any(isinstance(a, np.ndarray) for a in listed):
        try:
            shape = np.shape(np.asarray(listed))
        except ValueError:
            return listed
        if wanted[0].shape in (shape, shape[1:]):
            return [listed]
    return listed


def _as_array(graph: Graph, given: object, tensor: Tensor) -> Array:
    if isinstance(given, (np.ndarray, np.generic)):
        return np.asarray(given)
    try:
        array = np.asarray(given)
        # Plain numbers have no type of their own: they take the tensor's where they fit.
        cast = array.astype(
            tensor.dtype.numpy, casting="same_kind" if array.dtype.kind == "f" else "unsafe"
        )
    except (TypeError, ValueError):
        raise InputError(
            f"{graph.name}: input {tensor.name!r} is not an array of numbers"
        ) from None
    if array.dtype.kind != "f" and not np.array_equal(cast, array):
        raise InputError(
            f"{graph.name}: input {tensor.name!r} has values that {tensor.dtype.value} cannot hold"
        )
    return cast
