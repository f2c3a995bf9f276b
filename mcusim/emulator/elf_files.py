"""ELF files to :class:`Image`: segments, symbols and mapping symbols, with every number checked.

The tables of an ELF are fixed records, so they are read as arrays: a file of any content is read or
refused in time and memory that grow with its size alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.emulator.image_types import Image, Segment, Symbol, checked_segments
from mcusim.emulator.source_lines import read_source_lines
from mcusim.errors import ImageError

__all__ = ["read_elf"]

_HEADER = np.dtype(
    [
        ("magic", "V4"),
        ("class", "u1"),
        ("data", "u1"),
        ("ident", "V10"),
        ("type", "<u2"),
        ("machine", "<u2"),
        ("version", "<u4"),
        ("entry", "<u4"),
        ("phoff", "<u4"),
        ("shoff", "<u4"),
        ("flags", "<u4"),
        ("ehsize", "<u2"),
        ("phentsize", "<u2"),
        ("phnum", "<u2"),
        ("shentsize", "<u2"),
        ("shnum", "<u2"),
        ("shstrndx", "<u2"),
    ]
)
_PROGRAM = np.dtype(
    [(n, "<u4") for n in ("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align")]
)
_SECTION = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("name", "type", "flags", "addr", "offset", "size"),
            *("link", "info", "addralign", "entsize"),
        )
    ]
)
_SYMBOL = np.dtype(
    [
        ("name", "<u4"),
        ("value", "<u4"),
        ("size", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "<u2"),
    ]
)
_EXECUTABLE, _ARM, _LOAD = 2, 40, 1
_SYMTAB, _NOBITS = 2, 8
_NOTYPE, _OBJECT, _FUNCTION = 0, 1, 2
_LONGEST_NAME = 1_000
_KINDS = {_NOTYPE: "label", _OBJECT: "object", _FUNCTION: "function"}
_HARD_FLOAT = 0x400  # EF_ARM_ABI_FLOAT_HARD
_EXECUTABLE_SEGMENT = 1

_Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class _Section:
    name: str
    type: int
    offset: int
    size: int
    link: int


def read_elf(name: str, content: bytes) -> Image:
    """Read an ELF executable for an Arm Cortex-M.

    Args:
        name: of the file, for errors.
        content: of the file.

    Returns:
        The image; its vector table is looked for by nobody yet and stands at 0.

    Raises:
        ImageError: it is not a whole 32-bit little-endian Arm executable.
    """
    if len(content) < _HEADER.itemsize:
        raise ImageError(f"{name}: ends within the ELF header; the file is cut off")
    header = np.frombuffer(content, _HEADER, 1)[0]
    _check_header(name, header)
    segments = tuple(_segments(name, content, header))
    sections = _sections(name, content, header)
    symbols, mapping = _symbols(name, content, sections)
    found = checked_segments(name, segments)
    entry = int(header["entry"]) & ~1
    return Image(
        name=name,
        segments=found,
        entry=_checked_entry(name, entry, found) if entry else 0,
        vector_table=0,
        symbols=symbols,
        mapping=mapping,
        lines=_lines(content, sections),
        hard_float=bool(header["flags"] & _HARD_FLOAT),
    )


def _check_header(name: str, header: np.void) -> None:
    if header["class"] != 1:
        raise ImageError(f"{name}: is a 64-bit ELF; a Cortex-M runs 32-bit Arm code")
    if header["data"] != 1:
        raise ImageError(f"{name}: is a big-endian ELF; Cortex-M firmware is little-endian")
    if header["machine"] != _ARM:
        raise ImageError(f"{name}: is an ELF for machine {header['machine']}; Arm is {_ARM}")
    if header["type"] != _EXECUTABLE:
        kind = {1: "an object file", 3: "a shared object", 4: "a core dump"}.get(
            int(header["type"]), f"an ELF of type {header['type']}"
        )
        raise ImageError(f"{name}: is {kind}, not a linked firmware")


def _table(
    name: str,
    content: bytes,
    what: str,
    offset: int,
    count: int,
    size: int,
    record: np.dtype[np.void],
) -> _Records:
    if not count:
        return np.zeros(0, record)
    if size != record.itemsize:
        raise ImageError(f"{name}: has {what} of {size} bytes; they take {record.itemsize}")
    if offset + count * size > len(content):
        raise ImageError(f"{name}: ends before its {what}; the file is cut off")
    return np.frombuffer(content, record, count, offset)


def _segments(name: str, content: bytes, header: np.void) -> list[Segment]:
    table = _table(
        name,
        content,
        "program headers",
        int(header["phoff"]),
        int(header["phnum"]),
        int(header["phentsize"]),
        _PROGRAM,
    )
    found = []
    for row in table[(table["type"] == _LOAD) & (table["memsz"] > 0)]:
        offset, stored, size = int(row["offset"]), int(row["filesz"]), int(row["memsz"])
        if stored > size:
            raise ImageError(
                f"{name}: a segment holds {stored} bytes in the file and {size} in memory"
            )
        if offset + stored > len(content):
            raise ImageError(f"{name}: ends within a segment; the file is cut off")
        # The linker may have the ELF's own header lie in a segment; it is loaded like the rest.
        found.append(
            Segment(
                int(row["paddr"]),
                int(row["vaddr"]),
                content[offset : offset + stored],
                size,
                bool(row["flags"] & _EXECUTABLE_SEGMENT),
            )
        )
    return found


def _sections(name: str, content: bytes, header: np.void) -> tuple[_Section, ...]:
    """The sections; none where the table is damaged, as nothing is loaded by it."""
    try:
        table = _table(
            name,
            content,
            "section headers",
            int(header["shoff"]),
            int(header["shnum"]),
            int(header["shentsize"]),
            _SECTION,
        )
    except ImageError:
        return ()
    names = b""
    if header["shstrndx"] < len(table):
        row = table[header["shstrndx"]]
        names = content[int(row["offset"]) : int(row["offset"]) + int(row["size"])]
    return tuple(
        _Section(
            _string(names, int(row["name"])),
            int(row["type"]),
            int(row["offset"]),
            0 if row["type"] == _NOBITS else int(row["size"]),
            int(row["link"]),
        )
        for row in table
    )


def _symbols(
    name: str, content: bytes, sections: tuple[_Section, ...]
) -> tuple[tuple[Symbol, ...], tuple[tuple[int, str], ...]]:
    symbols: dict[tuple[int, str], Symbol] = {}
    mapping: set[tuple[int, str]] = set()
    for section in sections:
        if section.type != _SYMTAB or section.link >= len(sections):
            continue
        strings = sections[section.link]
        names = content[strings.offset : strings.offset + strings.size]
        held = content[section.offset : section.offset + section.size]
        table = np.frombuffer(held, _SYMBOL, len(held) // _SYMBOL.itemsize)
        for row in table[table["section"] != 0].tolist():
            text = _string(names, row[0])
            kind, value = row[3] & 15, row[1]
            if text[:2] in ("$t", "$d", "$a") and text[2:3] in ("", "."):
                mapping.add((value & ~1, text[1]))
            elif text and kind in _KINDS:
                address = value & ~1 if kind == _FUNCTION else value
                symbols[address, text] = Symbol(address, row[2], text, _KINDS[kind])
    return tuple(symbols[key] for key in sorted(symbols)), tuple(sorted(mapping))


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset, offset + _LONGEST_NAME)
    return strings[offset : end if end >= 0 else offset + _LONGEST_NAME].decode("utf-8", "replace")


def _checked_entry(name: str, entry: int, segments: tuple[Segment, ...]) -> int:
    if not any(s.run_address <= entry < s.run_address + s.size for s in segments):
        raise ImageError(f"{name}: begins at {entry:#x}, where it loads nothing")
    return entry


def _lines(content: bytes, sections: tuple[_Section, ...]) -> tuple[tuple[int, str, int], ...]:
    held = {s.name: content[s.offset : s.offset + s.size] for s in sections if s.size}
    line = held.get(".debug_line", b"")
    return read_source_lines(line, held.get(".debug_line_str", b""), held.get(".debug_str", b""))
