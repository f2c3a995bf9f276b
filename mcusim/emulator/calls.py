"""Calls one function of an image, as C code would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.emulator.arguments import Argument, Layout, lay_out
from mcusim.emulator.counts import Counts
from mcusim.emulator.machine import RETURN_ADDRESS, Machine, Stop, StopReason
from mcusim.emulator.memories import MemoryRegion
from mcusim.errors import FirmwareError, InputError
from mcusim.instruction_mix import InstructionMix

__all__ = ["CallResult", "NotReturnedError", "aside", "call", "copy_initial_data"]

_BREAKPOINT = b"\x00\xbe"
_PAGE = 0x1000
#: Stack that a function has at least.
_LEAST_STACK = 2048


@dataclass(frozen=True, eq=False)
class CallResult:
    """What a function did.

    Attributes:
        value: what it returned; None for nothing.
        arrays: the arrays it was given, as it left them, in order; those within structs too.
        given: the same arrays as they were given.
        counts: blocks executed.
        cycles: core cycles, memory without waits.
    """

    value: Any
    arrays: tuple[npt.NDArray[np.generic], ...]
    given: tuple[npt.NDArray[np.generic], ...]
    counts: Counts
    cycles: float

    def array_of(self, given: npt.NDArray[np.generic]) -> npt.NDArray[np.generic] | None:
        """What became of an array that was given; None if it was not."""
        pairs = zip(self.given, self.arrays, strict=True)
        return next((after for before, after in pairs if before is given), None)

    @property
    def instructions(self) -> InstructionMix:
        """What it executed."""
        return self.counts.mix()


class NotReturnedError(FirmwareError):
    """A function that was called did not return.

    Attributes:
        stop: how it ended.
    """

    def __init__(self, image: str, function: str, stop: Stop) -> None:
        detail = f": {stop.detail}" if stop.detail else ""
        super().__init__(f"{image}: {function} did not return: {stop.reason.value}{detail}")
        self.stop = stop


def call(
    machine: Machine,
    function: str | int,
    arguments: Sequence[Argument] = (),
    *,
    returns: npt.DTypeLike | None = np.int32,
    max_seconds: float | None = 60.0,
    max_instructions: int | None = None,
) -> CallResult:
    """Call a function and wait for its return.

    Arrays and the targets of pointers lie below the stack pointer while it runs, as if they were
    local variables of the caller.

    Args:
        machine: where.
        function: its name, or its address.
        arguments: by the procedure call standard.
        returns: type of what it returns; a structured one for a struct, None for nothing.
        max_seconds: of the board's time.
        max_instructions: at most.

    Returns:
        The value, the arrays and what was executed.

    Raises:
        InputError: there is no such function, or the arguments do not fit into memory.
        NotReturnedError: it did not return.
    """
    entry, name = _entry(machine, function)
    caller = _Caller(machine)
    kind = None if returns is None else np.dtype(returns)
    hard_float = machine.image.hard_float
    through_memory = (
        kind is not None
        and kind.names is not None
        and not (kind.itemsize <= 4 or (hard_float and _same_floats(kind)))
    )
    result_address = None
    if through_memory and kind is not None:
        result_address = caller.place(bytes(kind.itemsize), 8)
    layout = lay_out(
        arguments,
        caller.place,
        caller.address_of,
        hard_float=hard_float,
        result_address=result_address,
    )
    before = machine.counts()
    started = machine.cycles
    stop = caller.run(entry, layout, max_seconds, max_instructions)
    if stop.reason is not StopReason.RETURNED:
        raise NotReturnedError(machine.image.name, name, stop)
    value = None
    if kind is not None:
        data = (
            machine.read(result_address, kind.itemsize)
            if result_address is not None
            else caller.returned(kind, hard_float)
        )
        value = np.frombuffer(data[: kind.itemsize], kind)[0]
    arrays = tuple(
        np.frombuffer(machine.read(at, max(1, array.nbytes)), array.dtype, array.size)
        .reshape(array.shape)
        .copy()
        for array, at in caller.arrays
    )
    executed = machine.counts().since(before)
    given = tuple(array for array, _ in caller.arrays)
    return CallResult(value, arrays, given, executed, machine.cycles - started)


@contextmanager
def aside(machine: Machine) -> Iterator[None]:
    """Execute something that leaves neither registers nor counts behind, only memory."""
    registers = machine.uc.context_save()
    counted = machine.counter.save()
    try:
        yield
    finally:
        machine.counter.restore(counted)
        machine.uc.context_restore(registers)


def copy_initial_data(machine: Machine) -> None:
    """Do what startup code does: copy variables to where they are used, and clear the others."""
    for segment in machine.image.segments:
        region = machine.memories.region_at(segment.run_address)
        if region is None or region.is_flash:
            continue
        machine.write(segment.run_address, segment.data.ljust(segment.size, b"\0"))


class _Caller:
    """Memory and registers of one call."""

    def __init__(self, machine: Machine) -> None:
        from unicorn import arm_const

        self.machine = machine
        self.names = arm_const
        self.arrays: list[tuple[npt.NDArray[np.generic], int]] = []
        self.stack = int(machine.uc.reg_read(arm_const.UC_ARM_REG_SP)) & ~7
        self._free = self.stack
        region = machine.memories.region_at(self.stack - 1)
        if region is None:
            raise InputError(
                f"{machine.image.name}: the stack pointer, {self.stack:#010x}, lies in no memory "
                f"of {machine.board.name}"
            )
        ends = [s.run_address + s.size for s in machine.image.segments]
        within = [end for end in ends if region.address <= end <= self.stack]
        self._lowest = max(within, default=region.address) + _LEAST_STACK

    def place(self, data: bytes, alignment: int) -> int:
        """Put bytes below the stack."""
        at = (self._free - len(data)) & -max(8, alignment)
        if at < self._lowest:
            raise InputError(
                f"{self.machine.image.name}: arguments take {self._free - at:,} bytes of RAM "
                f"more than there are below the stack"
            )
        self.machine.write(at, data)
        self._free = at
        return at

    def address_of(self, array: npt.NDArray[np.generic]) -> int:
        """Copy an array into memory, once: it has the same address wherever it is passed."""
        for known, at in self.arrays:
            if known is array:
                return at
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        at = self.place(little.tobytes(), 16)
        self.arrays.append((array, at))
        return at

    def run(
        self, entry: int, layout: Layout, max_seconds: float | None, max_instructions: int | None
    ) -> Stop:
        machine, uc, names = self.machine, self.machine.uc, self.names
        if machine.memories.region_at(RETURN_ADDRESS) is None:
            machine.memories.add(MemoryRegion("return", RETURN_ADDRESS, _PAGE))
            machine.write(RETURN_ADDRESS, _BREAKPOINT)
        top = self._free - len(layout.stack) & ~7
        machine.write(top, bytes(layout.stack))
        uc.reg_write(names.UC_ARM_REG_SP, top)
        uc.reg_write(names.UC_ARM_REG_LR, RETURN_ADDRESS | 1)
        for number, word in enumerate(layout.core):
            uc.reg_write(names.UC_ARM_REG_R0 + number, word)
        for number, word in layout.floats.items():
            uc.reg_write(names.UC_ARM_REG_S0 + number, word)
        machine.pc = entry
        machine.counter.detach()
        stop = machine.run(
            max_seconds=max_seconds,
            max_instructions=max_instructions,
            return_address=RETURN_ADDRESS,
        )
        uc.reg_write(names.UC_ARM_REG_SP, self.stack)
        return stop

    def returned(self, kind: np.dtype[Any], hard_float: bool) -> bytes:
        """The registers that hold a value of a type."""
        in_floats = kind.kind == "f" or (kind.names is not None and _same_floats(kind))
        first = self.names.UC_ARM_REG_S0 if hard_float and in_floats else self.names.UC_ARM_REG_R0
        words = [int(self.machine.uc.reg_read(first + number)) for number in range(4)]
        if first == self.names.UC_ARM_REG_S0:
            words += [int(self.machine.uc.reg_read(first + number)) for number in range(4, 8)]
        return b"".join((word & 0xFFFF_FFFF).to_bytes(4, "little") for word in words)


def _same_floats(kind: np.dtype[Any]) -> bool:
    fields = [kind[name] for name in kind.names or ()]
    return 0 < len(fields) <= 4 and len(set(fields)) == 1 and fields[0].kind == "f"


def _entry(machine: Machine, function: str | int) -> tuple[int, str]:
    if isinstance(function, int):
        return function & ~1, machine.place(function & ~1)
    return machine.image.named(function).address & ~1, function
