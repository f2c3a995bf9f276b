"""How a compiler lays out C and C++ structures: the sizes that an arena is made of.

A structure is written down as its source declares it, member by member, and its size follows from
the platform's rules. The same declarations then answer for a Cortex-M and for the x86-64 build of
the interpreter, so that the second can check them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

__all__ = ["ARM_EABI", "X86_64", "Abi", "Struct", "align_up"]

_FIXED_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "float": 4,
    "int64": 8,
    "double": 8,
}


@dataclass(frozen=True)
class Abi:
    """An application binary interface, as far as it decides the size of a structure.

    Attributes:
        name: what it is called.
        pointer_bytes: size of a pointer, and of ``size_t``.
        enum_bytes: size of an enumeration without a declared type and with few values.
    """

    name: str
    pointer_bytes: int
    enum_bytes: int

    def scalar_bytes(self, kind: str) -> int:
        """Size and alignment of a scalar member, in bytes."""
        if kind == "pointer":
            return self.pointer_bytes
        return self.enum_bytes if kind == "enum" else _FIXED_BYTES[kind]


#: AAPCS as ``arm-none-eabi-gcc`` follows it for bare metal: enumerations as short as they can be.
ARM_EABI = Abi("arm-none-eabi", pointer_bytes=4, enum_bytes=1)
X86_64 = Abi("x86-64 System V", pointer_bytes=8, enum_bytes=4)


class Struct:
    """A structure by its members, in order of declaration.

    A member is a scalar (``"int32"``, ``"pointer"``, ``"enum"``), an array or a run of one kind
    (``"5 int32"``), or another structure. A class with virtual functions starts with a pointer.

    >>> Struct("Pair", "bool", "2 int64").bytes(ARM_EABI)
    24
    """

    def __init__(self, name: str, *members: str | Struct | tuple[int, Struct]) -> None:
        self.name = name
        self.members = members

    def bytes(self, abi: Abi) -> int:
        """``sizeof``: its members with the gaps that alignment leaves, and the gap at its end."""
        return _layout(self, abi)[0]

    def alignment(self, abi: Abi) -> int:
        """``alignof``: the strictest of its members'."""
        return _layout(self, abi)[1]

    def __repr__(self) -> str:
        return f"<struct {self.name}: {self.bytes(ARM_EABI)} bytes on {ARM_EABI.name}>"


def align_up(size: int, alignment: int) -> int:
    """The smallest multiple of ``alignment`` that is not below ``size``."""
    return -(-size // alignment) * alignment


@cache
def _layout(struct: Struct, abi: Abi) -> tuple[int, int]:
    offset, alignment = 0, 1
    for member in struct.members:
        if isinstance(member, Struct):
            count, (size, member_alignment) = 1, _layout(member, abi)
        elif isinstance(member, tuple):
            count, (size, member_alignment) = member[0], _layout(member[1], abi)
        else:
            number, _, kind = member.rpartition(" ")
            count, size = int(number or 1), abi.scalar_bytes(kind)
            member_alignment = size
        offset = align_up(offset, member_alignment) + count * size
        alignment = max(alignment, member_alignment)
    return align_up(offset, alignment), alignment
