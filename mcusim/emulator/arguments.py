"""Arguments of C functions, laid out as the procedure call standard has them.

Source: Procedure Call Standard for the Arm Architecture (IHI 0042), sections 5.5 and 6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.errors import InputError

__all__ = ["Argument", "Layout", "Pointer", "Struct", "lay_out"]


@dataclass(frozen=True)
class Struct:
    """A C struct, passed by value.

    Attributes:
        members: values in order; what is said of arguments holds for them.
    """

    members: tuple[Argument, ...]

    @classmethod
    def of(cls, *members: Argument) -> Struct:
        """A struct of these members."""
        return cls(members)


@dataclass(frozen=True)
class Pointer:
    """The address of a struct, which is laid out in memory.

    Attributes:
        target: the struct.
    """

    target: Struct


#: An int is 32 bits, a float is a C double; numpy scalars are what their types say. An array is
#: passed as the address of a copy of it, None as a null pointer.
Argument: TypeAlias = "int | float | np.generic | npt.NDArray[np.generic] | Struct | Pointer | None"

#: Puts bytes into memory at an alignment, and gives their address.
Place = Callable[[bytes, int], int]


@dataclass
class Layout:
    """Where arguments go.

    Attributes:
        core: r0 to r3, as far as used.
        floats: s0 to s15 as words, by number.
        stack: bytes from the stack pointer upwards.
    """

    core: list[int] = field(default_factory=list)
    floats: dict[int, int] = field(default_factory=dict)
    stack: bytearray = field(default_factory=bytearray)


def lay_out(
    arguments: Sequence[Argument],
    place: Place,
    address_of: Callable[[npt.NDArray[np.generic]], int],
    *,
    hard_float: bool,
    result_address: int | None = None,
) -> Layout:
    """Lay out the arguments of a call.

    Args:
        arguments: them.
        place: puts the targets of pointers into memory.
        address_of: address of an array's copy in memory.
        hard_float: whether floats go to FPU registers.
        result_address: where the function is to write a struct that it returns.

    Returns:
        Registers and stack.

    Raises:
        InputError: an argument is of no type that C has.
    """
    layout = Layout()
    free_floats = list(range(16)) if hard_float else []
    if result_address is not None:
        layout.core.append(result_address)
    for argument in arguments:
        data, alignment = _bytes_of(argument, place, address_of)
        kind = _float_kind(argument)
        if hard_float and kind:
            taken = _float_registers(free_floats, len(data), kind)
            if taken:
                for number, at in enumerate(taken):
                    layout.floats[at] = _word(data, 4 * number)
                continue
            free_floats = []  # what follows goes to the stack as well
            _push(layout, data, alignment)
            continue
        _to_core(layout, data, alignment)
    layout.stack.extend(bytes(-len(layout.stack) % 8))
    return layout


def _to_core(layout: Layout, data: bytes, alignment: int) -> None:
    data += bytes(-len(data) % 4)
    if alignment == 8 and len(layout.core) % 2 and len(layout.core) < 4:
        layout.core.append(0)
    words = [_word(data, at) for at in range(0, len(data), 4)]
    room = 4 - len(layout.core)
    if len(words) > room and (layout.stack or not room):
        # A struct may lie half in registers, but only while nothing is on the stack.
        layout.core.extend([0] * room)
        _push(layout, data, alignment)
        return
    layout.core.extend(words[:room])
    if words[room:]:
        _push(layout, data[4 * room :], 4)


def _push(layout: Layout, data: bytes, alignment: int) -> None:
    layout.stack.extend(bytes(-len(layout.stack) % max(4, alignment)))
    layout.stack.extend(data + bytes(-len(data) % 4))


def _float_registers(free: list[int], size: int, kind: int) -> list[int]:
    """Take consecutive single registers; doubles begin at even ones. Empty if there are none."""
    count, step = size // 4, kind // 4
    for first in list(free):
        wanted = list(range(first, first + count))
        if first % step == 0 and all(number in free for number in wanted):
            for number in wanted:
                free.remove(number)
            return wanted
    return []


def _float_kind(argument: Argument) -> int:
    """Bytes of the one type of float that a value consists of, of at most four; else 0."""
    if isinstance(argument, Struct):
        kinds = {_float_kind(member) for member in argument.members}
        flat = len(list(_leaves(argument)))
        return kinds.pop() if len(kinds) == 1 and flat <= 4 else 0
    if isinstance(argument, np.float32):
        return 4
    return 8 if isinstance(argument, float) else 0


def _leaves(value: Argument) -> Sequence[Argument]:
    if isinstance(value, Struct):
        return [leaf for member in value.members for leaf in _leaves(member)]
    return [value]


def _bytes_of(
    value: Argument, place: Place, address_of: Callable[[npt.NDArray[np.generic]], int]
) -> tuple[bytes, int]:
    """A value as memory holds it, and its alignment."""
    if isinstance(value, Struct):
        packed, widest = bytearray(), 1
        for member in value.members:
            data, alignment = _bytes_of(member, place, address_of)
            packed.extend(bytes(-len(packed) % alignment))
            packed.extend(data)
            widest = max(widest, alignment)
        packed.extend(bytes(-len(packed) % widest))
        return bytes(packed), widest
    if isinstance(value, Pointer):
        data, alignment = _bytes_of(value.target, place, address_of)
        return place(data, alignment).to_bytes(4, "little"), 4
    if isinstance(value, np.ndarray):
        return address_of(value).to_bytes(4, "little"), 4
    if value is None:
        return bytes(4), 4
    if isinstance(value, np.generic) and value.dtype.kind in "iufb":
        little = value.astype(value.dtype.newbyteorder("<"))
        return little.tobytes(), value.dtype.itemsize
    if isinstance(value, bool | int):
        if not -(1 << 31) <= value < 1 << 32:
            raise InputError(f"{value} does not fit into 32 bits; give np.int64 for a long one")
        return (value & 0xFFFF_FFFF).to_bytes(4, "little"), 4
    if isinstance(value, float):
        return np.float64(value).tobytes(), 8
    raise InputError(f"{type(value).__name__} is no type of an argument")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
