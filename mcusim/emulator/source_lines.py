"""File and line of an address, from the DWARF line tables of an ELF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["read_source_lines"]

#: Line tables beyond this are not read: a firmware has a few megabytes.
_MAX_BYTES = 32 * 2**20

# Forms of DWARF 5 (section 7.5.6) that a list of files uses.
_STRING, _LINE_STRP, _STRP, _UDATA, _DATA1, _DATA2, _DATA4, _DATA8, _DATA16, _BLOCK = (
    *(0x08, 0x1F, 0x0E, 0x0F, 0x0B),
    *(0x05, 0x06, 0x07, 0x1E, 0x09),
)
_PATH, _DIRECTORY = 1, 2
_NOWHERE = ("", 0)


class _DamagedError(Exception):
    """The table is cut off or of a form that is not known."""


@dataclass
class _Reader:
    data: bytes
    at: int
    end: int

    def take(self, count: int) -> bytes:
        if count > self.end - self.at:
            raise _DamagedError
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value & 0xFFFF_FFFF
            if shift > 63:
                raise _DamagedError

    def signed(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if byte & 0x40 else value
            if shift > 63:
                raise _DamagedError

    def text(self) -> str:
        end = self.data.find(b"\0", self.at, self.end)
        if end < 0:
            raise _DamagedError
        found = self.data[self.at : end].decode("utf-8", "replace")
        self.at = end + 1
        return found


@dataclass
class _Header:
    version: int
    step: int
    line_base: int
    line_range: int
    opcode_base: int
    lengths: bytes
    files: list[str] = field(default_factory=list)

    def file(self, index: int) -> str:
        position = index if self.version >= 5 else index - 1
        return self.files[position] if 0 <= position < len(self.files) else "?"


def read_source_lines(
    line: bytes, line_strings: bytes, strings: bytes
) -> tuple[tuple[int, str, int], ...]:
    """Read the line tables of DWARF 2 to 5.

    A table that is damaged ends the reading without an error: what was read until there is kept, as
    nothing that is executed depends on it.

    Args:
        line: section ``.debug_line``.
        line_strings: section ``.debug_line_str``.
        strings: section ``.debug_str``.

    Returns:
        Address, file and line of each row, by address; line 0 where a sequence ends.
    """
    if len(line) > _MAX_BYTES:
        return ()
    rows: dict[int, tuple[str, int]] = {}
    reader = _Reader(line, 0, len(line))
    try:
        while reader.at < len(line):
            length = reader.number(4)
            if length >= 0xFFFF_FFF0 or length > len(line) - reader.at:
                break
            unit = _Reader(line, reader.at, reader.at + length)
            reader.at += length
            header = _header(unit, line_strings, strings)
            for address, place in _run(unit, header):
                # The row that begins at the end of another function's sequence counts.
                if place[1] or address not in rows:
                    rows[address] = place
    except _DamagedError:
        pass
    return tuple((address, *rows[address]) for address in sorted(rows))


def _header(unit: _Reader, line_strings: bytes, strings: bytes) -> _Header:
    version = unit.number(2)
    if not 2 <= version <= 5:
        raise _DamagedError
    if version >= 5:
        unit.take(2)  # sizes of an address and of a segment selector
    program = unit.number(4)
    program += unit.at
    step = unit.number(1)
    if version >= 4:
        unit.take(1)  # operations of an instruction: 1 but for VLIW machines
    unit.take(1)  # whether a row is a statement unless told otherwise
    line_base = unit.number(1)
    line_range, opcode_base = unit.number(1), unit.number(1)
    if not line_range or not opcode_base or program > unit.end:
        raise _DamagedError
    header = _Header(
        version,
        step,
        line_base - 256 if line_base > 127 else line_base,
        line_range,
        opcode_base,
        unit.take(opcode_base - 1),
    )
    header.files = (
        _entries(unit, line_strings, strings) if version >= 5 else list(_old_entries(unit))
    )
    unit.at = program
    return header


def _old_entries(unit: _Reader) -> Iterator[str]:
    """Names of files of DWARF 2 to 4."""
    directories = [""]
    while text := unit.text():
        directories.append(text)
    while text := unit.text():
        directory = unit.unsigned()
        unit.unsigned()  # time
        unit.unsigned()  # length
        yield _joined(directories, directory, text)


def _entries(unit: _Reader, line_strings: bytes, strings: bytes) -> list[str]:
    """Names of files of DWARF 5."""
    directories = [text for text, _ in _entry_list(unit, line_strings, strings)]
    files = _entry_list(unit, line_strings, strings)
    return [_joined(directories, directory, text) for text, directory in files]


def _joined(directories: list[str], index: int, name: str) -> str:
    directory = directories[index] if index < len(directories) else ""
    return f"{directory}/{name}" if directory and not name.startswith("/") else name


def _entry_list(unit: _Reader, line_strings: bytes, strings: bytes) -> list[tuple[str, int]]:
    formats = [(unit.unsigned(), unit.unsigned()) for _ in range(unit.number(1))]
    count = unit.unsigned()
    if count and not formats:
        raise _DamagedError
    found = []
    for _ in range(count):
        text, directory = "", 0
        for content, form in formats:
            value = _form(unit, form, line_strings, strings)
            if content == _PATH and isinstance(value, str):
                text = value
            elif content == _DIRECTORY and isinstance(value, int):
                directory = value
        found.append((text, directory))
    return found


def _form(unit: _Reader, form: int, line_strings: bytes, strings: bytes) -> str | int:
    if form == _STRING:
        return unit.text()
    if form in (_LINE_STRP, _STRP):
        held = line_strings if form == _LINE_STRP else strings
        return _Reader(held, unit.number(4), len(held)).text()
    if form == _UDATA:
        return unit.unsigned()
    if form == _BLOCK:
        unit.take(unit.unsigned())
        return 0
    sizes = {_DATA1: 1, _DATA2: 2, _DATA4: 4, _DATA8: 8, _DATA16: 16}
    if form not in sizes:
        raise _DamagedError
    return unit.number(sizes[form])


def _run(unit: _Reader, header: _Header) -> Iterator[tuple[int, tuple[str, int]]]:
    """Rows of a line-number program (DWARF 5, section 6.2.5)."""
    address, file, line = 0, 1, 1
    while unit.at < unit.end:
        opcode = unit.number(1)
        if opcode >= header.opcode_base:
            steps, lines = divmod(opcode - header.opcode_base, header.line_range)
            address += steps * header.step
            line += header.line_base + lines
            yield address, (header.file(file), line)
        elif opcode == 0:
            length = unit.unsigned()
            after = unit.at + length
            extended = unit.number(1) if length else 0
            if extended == 1:
                yield address, _NOWHERE
                address, file, line = 0, 1, 1
            elif extended == 2:
                address = unit.number(4)
            if after > unit.end:
                raise _DamagedError
            unit.at = after
        elif opcode == 1:
            yield address, (header.file(file), line)
        elif opcode == 2:
            address += unit.unsigned() * header.step
        elif opcode == 3:
            line += unit.signed()
        elif opcode == 4:
            file = unit.unsigned()
        elif opcode == 8:
            address += (255 - header.opcode_base) // header.line_range * header.step
        elif opcode == 9:
            address += unit.number(2)
        else:
            for _ in range(header.lengths[opcode - 1]):
                unit.unsigned()
