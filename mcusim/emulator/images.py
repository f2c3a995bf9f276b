"""Firmware images: what lies where, where it starts, and what its addresses are called."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

__all__ = ["Image", "Segment", "Symbol", "load_image"]


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
        kind: ``"function"`` or ``"object"``.
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
        segments: by load address.
        entry: address that the file names as its start, without the Thumb bit.
        vector_table: address of the vector table.
        symbols: by address.
        mapping: address and ``"t"``, ``"a"`` or ``"d"``, by address: code or data from there on.
        lines: address, source file and line, by address.
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

    def function_at(self, address: int) -> Symbol | None:
        """The function that an address lies in; None where none is known."""
        position = bisect.bisect_right(self._starts, address) - 1
        if position < 0:
            return None
        symbol = self.functions[position]
        if symbol.size and address >= symbol.address + symbol.size:
            return None
        return symbol

    def symbol(self, name: str) -> Symbol | None:
        """A symbol by its name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Symbol]:
        return {symbol.name: symbol for symbol in self.symbols}


def load_image(path: str | Path) -> Image:
    """Read a firmware image.

    Args:
        path: of an ELF file.

    Returns:
        The image.
    """
    file = Path(path)
    with file.open("rb") as stream:
        elf = ELFFile(stream)
        segments = tuple(
            Segment(s["p_paddr"], s["p_vaddr"], s.data(), s["p_memsz"], bool(s["p_flags"] & 1))
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_memsz"]
        )
        symbols, mapping = [], []
        for section in elf.iter_sections():
            if not isinstance(section, SymbolTableSection):
                continue
            for symbol in section.iter_symbols():
                value, name = symbol["st_value"], symbol.name
                if name[:2] in ("$t", "$d", "$a"):
                    mapping.append((value, name[1]))
                kind = {"STT_FUNC": "function", "STT_OBJECT": "object"}.get(
                    symbol["st_info"]["type"]
                )
                if kind and name and symbol["st_shndx"] != "SHN_UNDEF":
                    at = value & ~1 if kind == "function" else value
                    symbols.append(Symbol(at, symbol["st_size"], name, kind))
        entry = elf["e_entry"] & ~1
        hard_float = bool(elf["e_flags"] & 0x400)
    lowest = min((s.load_address for s in segments if s.data), default=0)
    return Image(
        file.name,
        segments,
        entry,
        lowest,
        tuple(sorted(symbols)),
        tuple(sorted(mapping)),
        (),
        hard_float,
    )
