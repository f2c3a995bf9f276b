"""Firmware images: what lies where, where it starts, and what its addresses are called."""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from mcusim.emulator.names import plain_name
from mcusim.errors import ImageError

__all__ = [
    "MAX_MEMORY_BYTES",
    "Image",
    "Segment",
    "Symbol",
    "checked_segments",
    "find_vector_table",
]

#: What the segments of an image may take together.
MAX_MEMORY_BYTES = 64 * 2**20

_TABLE_SYMBOLS = (
    "g_pfnVectors",
    "__isr_vector",
    "__Vectors",
    "_vector_table",
    "__vector_table",
    "__vectors",
    "vector_table",
    "_vectors",
    "vectors",
    "__VECTOR_TABLE",
    "isr_vector",
    "__isr_vectors",
)
#: The others are where boot code of an RP2040 comes first.
_TABLE_OFFSETS = (0, 0x100, 0x200)


@dataclass(frozen=True)
class Segment:
    """Bytes of an image.

    Attributes:
        load_address: where they lie after programming.
        run_address: where the program expects them, once its startup code has copied them.
        data: the bytes.
        size: bytes in memory, with the zeros behind ``data``.
        is_executable: whether code is in it.
    """

    load_address: int
    run_address: int
    data: bytes
    size: int
    is_executable: bool = True


@dataclass(frozen=True, order=True)
class Symbol:
    """A named address.

    Attributes:
        address: without the Thumb bit.
        size: in bytes; 0 if unknown.
        name: as the linker knows it.
        kind: ``"function"``, ``"object"``, or ``"label"`` where the file does not say.
    """

    address: int
    size: int
    name: str
    kind: str


@dataclass(frozen=True)
class Image:
    """A program, as it is to be put into memory.

    Attributes:
        name: of the file.
        segments: by load address; none overlap.
        entry: address of the first instruction, without the Thumb bit.
        vector_table: address of the vector table; the lowest that is loaded if none is recognised.
        symbols: by address.
        mapping: address and ``"t"``, ``"a"`` or ``"d"``, by address: code or data from there on.
        lines: address, source file and line, by address; line 0 where the source is not known.
        hard_float: whether functions take floats in FPU registers.
    """

    name: str
    segments: tuple[Segment, ...]
    entry: int
    vector_table: int
    symbols: tuple[Symbol, ...] = ()
    mapping: tuple[tuple[int, str], ...] = ()
    lines: tuple[tuple[int, str, int], ...] = ()
    hard_float: bool = False

    @cached_property
    def functions(self) -> tuple[Symbol, ...]:
        """Functions by address, the longest of those at one address."""
        found: dict[int, Symbol] = {}
        for symbol in self.symbols:
            if symbol.kind == "function":
                known = found.get(symbol.address)
                if known is None or symbol.size > known.size:
                    found[symbol.address] = symbol
        return tuple(sorted(found.values()))

    @cached_property
    def _starts(self) -> list[int]:
        return [symbol.address for symbol in self.functions]

    @cached_property
    def _by_name(self) -> dict[str, Symbol]:
        return {symbol.name: symbol for symbol in self.symbols}

    def function_at(self, address: int) -> Symbol | None:
        """The function that an address lies in; None where none is known."""
        position = bisect.bisect_right(self._starts, address) - 1
        if position < 0:
            return None
        symbol = self.functions[position]
        if symbol.size and address >= symbol.address + symbol.size:
            return None
        return symbol

    @cached_property
    def _objects(self) -> tuple[Symbol, ...]:
        return tuple(sorted(s for s in self.symbols if s.kind == "object" and s.size))

    @cached_property
    def _object_starts(self) -> list[int]:
        return [symbol.address for symbol in self._objects]

    def object_at(self, address: int) -> Symbol | None:
        """The object that an address lies in; None where none is known."""
        position = bisect.bisect_right(self._object_starts, address) - 1
        if position < 0:
            return None
        symbol = self._objects[position]
        return symbol if address < symbol.address + symbol.size else None

    def symbol(self, name: str) -> Symbol | None:
        """A symbol by its name."""
        return self._by_name.get(name)

    def named(self, name: str) -> Symbol:
        """The symbol of a name that a user gave.

        Raises:
            ImageError: there is none; names the closest.
        """
        if name in self._by_name:
            return self._by_name[name]
        if not self.symbols:
            raise ImageError(f"{self.name}: has no symbols, so `{name}` cannot be found by name")
        close = difflib.get_close_matches(name, list(self._by_name)[:20_000], n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ImageError(f"{self.name}: has no symbol `{name}`{hint}")

    def line_at(self, address: int) -> tuple[str, int] | None:
        """Source file and line of an address, where the image tells."""
        position = bisect.bisect_right(self.lines, address, key=lambda row: row[0]) - 1
        if position < 0 or not self.lines[position][2]:
            return None
        return self.lines[position][1:]

    def describe(self, address: int) -> str:
        """An address for people: ``0x8001234 (main+0x12, main.c:40)``."""
        notes = []
        function = self.function_at(address)
        if function:
            offset = address - function.address
            name = plain_name(function.name)
            notes.append(f"{name}+{offset:#x}" if offset else name)
        line = self.line_at(address)
        if line:
            notes.append(f"{Path(line[0]).name}:{line[1]}")
        return f"{address:#x} ({', '.join(notes)})" if notes else f"{address:#x}"

    def word(self, address: int) -> int | None:
        """The little-endian word that the file loads at an address, if it does."""
        for segment in self.segments:
            offset = address - segment.load_address
            if 0 <= offset <= len(segment.data) - 4:
                return int.from_bytes(segment.data[offset : offset + 4], "little")
        return None


def checked_segments(name: str, segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments by rising load address.

    Raises:
        ImageError: two overlap, one leaves the address space, or they are too large.
    """
    ordered = tuple(sorted(segments, key=lambda s: (s.load_address, s.run_address)))
    if not ordered:
        raise ImageError(f"{name}: holds nothing to load")
    total = 0
    for segment in ordered:
        total += segment.size
        for address in (segment.load_address, segment.run_address):
            if address + segment.size > 2**32:
                raise ImageError(
                    f"{name}: a segment of {segment.size} bytes at {address:#x}"
                    " leaves the 32-bit address space"
                )
    if total > MAX_MEMORY_BYTES:
        raise ImageError(
            f"{name}: takes {total} bytes of memory; an image of a microcontroller may take"
            f" {MAX_MEMORY_BYTES}"
        )
    for before, after in pairwise(ordered):
        if (
            before.data
            and after.data
            and before.load_address + len(before.data) > after.load_address
        ):
            raise ImageError(
                f"{name}: the segments at {before.load_address:#x}"
                f" and {after.load_address:#x} overlap"
            )
    return ordered


def find_vector_table(image: Image) -> int | None:
    """The vector table: by a name that startup code gives it, or by what its first words hold."""
    for name in _TABLE_SYMBOLS:
        symbol = image.symbol(name)
        if symbol and _is_table(image, symbol.address):
            return symbol.address
    for segment in image.segments:
        for offset in _TABLE_OFFSETS:
            if _is_table(image, segment.load_address + offset):
                return segment.load_address + offset
    return None


def _is_table(image: Image, address: int) -> bool:
    stack, reset = image.word(address), image.word(address + 4)
    if stack is None or reset is None or stack % 4 or not 0x1000_0000 <= stack < 0x4000_0000:
        return False
    return bool(reset % 2) and image.word((reset - 1) & ~3) is not None
