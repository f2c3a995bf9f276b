"""What a library's function is called with, and what it must leave behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.graph import Array, Node
from mcusim.kernels.contract import KernelCall

__all__ = ["Case", "FunctionCall", "LibraryFunction", "Version", "context", "dims"]


@dataclass(frozen=True, eq=False)
class Case:
    """A layer with values, and what mcusim computes of them.

    Attributes:
        number: of the case, for people.
        node: the operator.
        values: its inputs, constants and states included; None for one left out.
        expected: its output.
        kept: what its variable inputs hold afterwards, by position.
        calls: the library functions that run, with the glue around them.
        scratch_bytes: of the library's buffer.
    """

    number: int
    node: Node
    values: tuple[Array | None, ...]
    expected: Array
    kept: Mapping[int, Array]
    calls: tuple[KernelCall, ...]
    scratch_bytes: int

    @property
    def label(self) -> str:
        """Number, operator, types and shapes."""
        node = self.node
        inputs = [t for t in node.inputs if t is not None and len(t.shape) > 1][:2]
        of_inputs = " ".join("x".join(map(str, t.shape)) for t in inputs)
        output = node.output()
        made = "x".join(map(str, output.shape))
        said = f"case {self.number}, {node.name} {output.dtype.value} {of_inputs} to {made}"
        option = node.options.integer
        if "stride_h" in node.options:
            said += f", stride {option('stride_h')}x{option('stride_w')}"
        if max(dilation := (option("dilation_h_factor", 1), option("dilation_w_factor", 1))) > 1:
            said += f", dilation {dilation[0]}x{dilation[1]}"
        return said

    def runs(self, function: str) -> bool:
        """Whether the library chooses a function for the layer."""
        # Of the int4 functions around another, the calls name those of int8.
        return any(
            function in (call.kernel, call.kernel.replace("_x_n_s8", "_x_n_s4"))
            for call in self.calls
        )

    def value(self, position: int) -> Array:
        """An input that the operator cannot do without."""
        found = self.values[position]
        assert found is not None
        return found

    def optional(self, position: int) -> Array | None:
        """An input that may be left out."""
        return self.values[position] if position < len(self.values) else None

    def unwritten(self) -> Array:
        """An array for the output in which every value is wrong, so that none is left out."""
        return np.asarray(~self.expected)

    def scratch(self) -> Array:
        """The library's buffer, full of what memory may hold."""
        return np.full(self.scratch_bytes, 0xA5, np.uint8)


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """A function's arguments.

    Attributes:
        arguments: by the procedure call standard.
        output: the array among them that it writes.
        states: arrays that it changes, and what they must hold then; by name.
        buffers: arrays that it may change as it likes.
        returns_status: whether it returns zero for success.
    """

    arguments: tuple[Argument, ...]
    output: Array
    states: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    buffers: tuple[Array, ...] = ()
    returns_status: bool = True


@dataclass(frozen=True)
class Version:
    """One way in which releases of the library declare a function.

    Attributes:
        releases: that do, for people.
        parameters: names of its parameters as the header has them, which debug information tells.
        call: arguments for a case.
        takes: whether these releases take a layer.
    """

    releases: str
    parameters: tuple[str, ...]
    call: Callable[[Case], FunctionCall]
    takes: Callable[[Case], bool] = lambda case: True


@dataclass(frozen=True)
class LibraryFunction:
    """A function that can be checked.

    Attributes:
        name: of its symbol.
        cases: which layers are drawn for it: a key of :data:`~mcusim.emulator.checks.cases.DRAWN`.
        versions: how releases declare it, the newest first.
        is_entry: whether TFLM calls it for every such layer; else it is called for those for which
            the library itself chooses it, and may refuse others.
        chosen: whether the library chooses it, where the calls of the layer do not say.
    """

    name: str
    cases: str
    versions: tuple[Version, ...]
    is_entry: bool = True
    chosen: Callable[[Case], bool] | None = None

    def is_for(self, case: Case) -> bool:
        """Whether it is called for a layer of its kind."""
        if self.is_entry:
            return True
        return case.runs(self.name) if self.chosen is None else self.chosen(case)


def context(buffer: Array | None) -> Pointer:
    """``cmsis_nn_context``: a buffer and its size."""
    if buffer is None or not buffer.size:
        return Pointer(Struct.of(None, 0))
    return Pointer(Struct.of(buffer, buffer.size))


def dims(*extents: int) -> Pointer:
    """``cmsis_nn_dims``: batches, height, width, channels; the first of them 1 where left out."""
    return Pointer(Struct((1,) * (4 - len(extents)) + tuple(int(extent) for extent in extents)))
