"""Firmware files to :class:`Image`: ELF, Intel HEX, UF2 and raw binaries."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mcusim.emulator.elf_files import read_elf
from mcusim.emulator.image_types import (
    Image,
    Segment,
    Symbol,
    checked_segments,
    find_vector_table,
)
from mcusim.errors import ImageError

__all__ = ["Image", "Segment", "Symbol", "load_image", "parse_image"]

#: No image of a microcontroller is larger: it is refused before it is read.
_MAX_FILE_BYTES = 256 * 2**20
_UF2_FIRST, _UF2_SECOND, _UF2_LAST = 0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30
_UF2_NOT_MAIN_FLASH = 0x0000_0001


def load_image(path: str | os.PathLike[str], base: int | None = None) -> Image:
    """Load a firmware image.

    Args:
        path: of an ELF, an Intel HEX file, a UF2 file or a raw binary.
        base: where a raw binary lies; no other kind takes one.

    Returns:
        The image.

    Raises:
        ImageError: it cannot be read, or is not a whole image; one sentence names the place.
    """
    file = Path(path)
    try:
        if not file.is_file():
            there = "is not a file" if file.exists() else "there is no such file"
            raise ImageError(f"{path}: {there}")
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise ImageError(f"{path}: is larger than {_MAX_FILE_BYTES >> 20} MiB")
        content = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ImageError(f"{path!r}: is not the name of a file ({error})") from None
    return parse_image(str(path), content, base)


def parse_image(name: str, content: bytes, base: int | None = None) -> Image:
    """Read the content of a firmware image as :func:`load_image` does.

    Raises:
        ImageError: as :func:`load_image`.
    """
    if not content:
        raise ImageError(f"{name}: is empty")
    if content[:4] == b"\x7fELF":
        image = read_elf(name, content)
    elif content[:4] == _UF2_FIRST.to_bytes(4, "little"):
        image = _of_runs(name, _uf2_runs(name, content), 0)
    elif base is None and content.lstrip()[:1] == b":":
        image = _read_hex(name, content)
    else:
        return _read_raw(name, content, base)
    if base is not None:
        raise ImageError(f"{name}: says itself where it lies; only a raw binary takes a base")
    return _with_vectors(image)


def _with_vectors(image: Image) -> Image:
    """The image with its vector table, and the entry that stands there if the file has none."""
    table = find_vector_table(image)
    if table is None:
        lowest = min(s.load_address for s in image.segments)
        return replace(image, vector_table=lowest, entry=image.entry or lowest)
    reset = image.word(table + 4) or 0
    return replace(image, vector_table=table, entry=image.entry or reset & ~1)


def _read_raw(name: str, content: bytes, base: int | None) -> Image:
    if base is None:
        raise ImageError(
            f"{name}: is no ELF, Intel HEX or UF2 file; for a raw binary, give its base address"
        )
    if base < 0 or base % 4:
        raise ImageError(f"{name}: a base address is a multiple of 4 and not negative")
    return _with_vectors(_of_runs(name, iter([(base, content)]), 0))


def _of_runs(name: str, runs: Iterator[tuple[int, bytes]], entry: int) -> Image:
    """An image of pieces of bytes, joined where they touch."""
    joined: list[tuple[int, bytearray]] = []
    for address, data in sorted((run for run in runs if run[1]), key=lambda run: run[0]):
        if joined and joined[-1][0] + len(joined[-1][1]) == address:
            joined[-1][1].extend(data)
        else:
            joined.append((address, bytearray(data)))
    segments = [Segment(at, at, bytes(data), len(data)) for at, data in joined]
    return Image(name, checked_segments(name, segments), entry, 0)


def _read_hex(name: str, content: bytes) -> Image:
    """Read Intel HEX (Intel, "Hexadecimal Object File Format Specification", 1988)."""
    runs: list[tuple[int, bytes]] = []
    upper = 0
    entry = 0
    ended = False
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        if ended:
            raise ImageError(f"{name}, line {number}: follows the record that ends the file")
        kind, offset, data = _hex_record(name, number, text)
        if kind == 0:
            runs.append((upper + offset, data))
        elif kind == 1:
            ended = True
        elif kind in (2, 4):
            if len(data) != 2:
                raise ImageError(f"{name}, line {number}: an address record holds 2 bytes")
            upper = int.from_bytes(data, "big") << (4 if kind == 2 else 16)
        elif kind == 5 and len(data) == 4:
            entry = int.from_bytes(data, "big") & ~1
        elif kind not in (3, 5):
            raise ImageError(f"{name}, line {number}: has a record of unknown type {kind:02X}")
    if not ended:
        raise ImageError(f"{name}: ends without an end record; the file is cut off")
    return _of_runs(name, iter(runs), entry)


def _hex_record(name: str, number: int, text: bytes) -> tuple[int, int, bytes]:
    """Type, offset and data of a record."""
    try:
        if text[:1] != b":":
            raise ValueError
        record = bytes.fromhex(text[1:].decode("ascii"))
    except ValueError:
        raise ImageError(f"{name}, line {number}: is not a record of an Intel HEX file") from None
    if len(record) < 5 or len(record) != record[0] + 5:
        raise ImageError(f"{name}, line {number}: is shorter or longer than it says")
    if sum(record) % 256:
        raise ImageError(f"{name}, line {number}: has a wrong checksum")
    return record[3], int.from_bytes(record[1:3], "big"), record[4:-1]


def _uf2_runs(name: str, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Blocks of 512 bytes (Microsoft, "USB Flashing Format", UF2)."""
    if len(content) % 512:
        raise ImageError(f"{name}: is not a number of whole UF2 blocks; the file is cut off")
    for at in range(0, len(content), 512):
        block = content[at : at + 512]
        first, second, flags, address, size = struct.unpack_from("<5I", block)
        last = int.from_bytes(block[-4:], "little")
        if (first, second, last) != (_UF2_FIRST, _UF2_SECOND, _UF2_LAST) or size > 476:
            raise ImageError(f"{name}: the UF2 block at byte {at} is damaged")
        if not flags & _UF2_NOT_MAIN_FLASH:
            yield address, block[32 : 32 + size]
