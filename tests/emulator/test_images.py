"""Firmware files: as pyelftools and intelhex read them, and refused in a sentence where damaged."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

elftools = pytest.importorskip("elftools")
intelhex = pytest.importorskip("intelhex")

from elftools.elf.elffile import ELFFile  # noqa: E402
from elftools.elf.sections import SymbolTableSection  # noqa: E402

from mcusim.emulator.image_types import MAX_MEMORY_BYTES  # noqa: E402
from mcusim.emulator.images import Image, Segment, load_image, parse_image  # noqa: E402
from mcusim.errors import ImageError, InputError  # noqa: E402
from mcusim.resources import data_path  # noqa: E402

FIRMWARE = sorted(data_path("kernels", "device", "firmware").glob("*.elf"))
_LOAD = 1


def elf(*segments: tuple[int, int, bytes, int], entry: int = 0x41, **changed: int) -> bytes:
    """An ELF of segments (load address, run address, data, size), with changed header fields."""
    header = {
        "class": 1,
        "data": 1,
        "type": 2,
        "machine": 40,
        "phentsize": 32,
        "shoff": 0,
        "phnum": len(segments),
        "shentsize": 40,
        "shnum": 0,
        "shstrndx": 0,
        **changed,
    }
    start = 52 + 32 * len(segments)
    table, content = b"", b""
    for load, run, data, size in segments:
        offset = start + len(content)
        table += struct.pack("<8I", _LOAD, offset, run, load, len(data), size, 5, 4)
        content += data
    ident = b"\x7fELF" + bytes([header["class"], header["data"], 1]) + bytes(9)
    words = struct.pack(
        "<HHIIIII", header["type"], header["machine"], 1, entry, 52, header["shoff"], 0
    )
    halves = struct.pack(
        "<6H",
        *(52, header["phentsize"], header["phnum"]),
        *(header["shentsize"], header["shnum"], header["shstrndx"]),
    )
    return ident + words + halves + table + content


VECTORS = struct.pack("<II", 0x2000_1000, 0x41).ljust(0x40, b"\0") + b"\xfe\xe7" * 32
GOOD = (0, 0, VECTORS, len(VECTORS))


@pytest.mark.parametrize("path", FIRMWARE, ids=lambda path: path.stem)
def test_segments_and_symbols_are_those_of_pyelftools(path: Path) -> None:
    image = load_image(path)
    with path.open("rb") as stream:
        reference = ELFFile(stream)
        expected = sorted(
            (s["p_paddr"], s["p_vaddr"], s.data(), s["p_memsz"])
            for s in reference.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_memsz"]
        )
        functions = {
            (symbol["st_value"] & ~1, symbol["st_size"], symbol.name)
            for section in reference.iter_sections()
            if isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF"
        }
        entry = reference["e_entry"]
    found = sorted((s.load_address, s.run_address, s.data, s.size) for s in image.segments)
    assert found == expected
    assert {(s.address, s.size, s.name) for s in image.symbols if s.kind == "function"} == functions
    assert image.entry == entry & ~1


@pytest.mark.parametrize("path", FIRMWARE, ids=lambda path: path.stem)
def test_source_lines_are_those_of_pyelftools(path: Path) -> None:
    image = load_image(path)
    expected: dict[int, tuple[str, int] | None] = {}
    with path.open("rb") as stream:
        reference = ELFFile(stream)
        if not reference.has_dwarf_info():
            assert image.lines == ()
            return
        dwarf = reference.get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            first = 0 if program["version"] >= 5 else 1
            for row in program.get_entries():
                if row.state is None:
                    continue
                if row.state.end_sequence:
                    expected.setdefault(row.state.address, None)
                    continue
                file = program["file_entry"][row.state.file - first].name.decode()
                expected[row.state.address] = (Path(file).name, row.state.line)
    found = {at: (Path(file).name, line) if line else None for at, file, line in image.lines}
    assert found == expected


def test_load_and_run_addresses_differ() -> None:
    data = (0x200, 0x2000_0000, b"data", 4)
    image = parse_image("a.elf", elf(GOOD, data))
    assert [(s.load_address, s.run_address) for s in image.segments] == [
        (0, 0),
        (0x200, 0x2000_0000),
    ]
    assert image.word(0x200) == int.from_bytes(b"data", "little")


def test_hex_file_is_that_of_intelhex() -> None:
    writer, text = intelhex.IntelHex(), io.StringIO()
    writer.puts(0x0800_0000, VECTORS)
    writer.puts(0x0802_FFF8, bytes(range(32)))  # across a record of the upper address
    writer.start_addr = {"EIP": 0x0800_0041}
    writer.write_hex_file(text)
    image = parse_image("a.hex", text.getvalue().encode())
    assert image.segments == (
        Segment(0x0800_0000, 0x0800_0000, VECTORS, len(VECTORS)),
        Segment(0x0802_FFF8, 0x0802_FFF8, bytes(range(32)), 32),
    )
    assert image.entry == 0x0800_0040


def test_raw_binary_lies_where_it_is_told() -> None:
    code = struct.pack("<II", 0x2000_1000, 0x0800_0041) + VECTORS[8:]
    image = parse_image("a.bin", code, base=0x0800_0000)
    assert image.vector_table == 0x0800_0000
    assert image.entry == 0x0800_0040


def test_vector_table_behind_boot_code() -> None:
    code = bytes(range(256)) + struct.pack("<II", 0x2004_2000, 0x1000_01F7) + bytes(512)
    assert parse_image("a.bin", code, base=0x1000_0000).vector_table == 0x1000_0100


HEX_LINE = b":0400000000001020CC"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x7fELF", "cut off"),
        (elf(GOOD)[:100], "cut off"),
        (elf(GOOD, **{"class": 2}), "64-bit"),
        (elf(GOOD, data=2), "big-endian"),
        (elf(GOOD, machine=62), "machine 62"),
        (elf(GOOD, type=1), "object file"),
        (elf(GOOD, phentsize=16), "program headers of 16"),
        (elf(GOOD, phnum=60_000), "cut off"),
        (elf(), "nothing to load"),
        (elf(GOOD, GOOD), "overlap"),
        (elf((0, 0, b"", MAX_MEMORY_BYTES + 1)), "bytes of memory"),
        (elf((0xFFFF_FFF0, 0xFFFF_FFF0, b"", 0x100)), "address space"),
        (elf((0, 0, VECTORS, 4)), "in the file and 4 in memory"),
        (elf(GOOD, entry=0x9000_0001), "loads nothing"),
        (b"\x00\x01\x02\x03", "base address"),
        (b":0400", "line 1"),
        (HEX_LINE[:-1] + b"D\n", "checksum"),
        (HEX_LINE, "end record"),
        (b":00000001FF\n" + HEX_LINE, "follows"),
        (b":00000009F7\n", "unknown type 09"),
        (b":020000041000EA\n:zz\n", "line 2"),
        (struct.pack("<I", 0x0A32_4655) + bytes(100), "whole UF2 blocks"),
        (struct.pack("<I", 0x0A32_4655) + bytes(508), "damaged"),
    ],
)
def test_damage_is_told_in_a_sentence(content: bytes, said: str) -> None:
    with pytest.raises(ImageError) as error:
        parse_image("a.elf", content)
    assert said in str(error.value)
    assert str(error.value).startswith("a.elf")


def test_good_image_is_read() -> None:
    """What the damaged ones of above are made of."""
    image = parse_image("a.elf", elf(GOOD))
    assert (image.entry, image.vector_table) == (0x40, 0)


def test_damaged_tables_of_names_do_not_matter() -> None:
    """Nothing is executed by them; sections that lie outside the file are as good as none."""
    image = parse_image("a.elf", elf(GOOD, shoff=0xFFFF_FF00, shnum=50))
    assert image.symbols == ()


def test_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.elf", tmp_path):
        with pytest.raises(InputError):
            load_image(path)


def test_base_of_what_knows_its_place() -> None:
    with pytest.raises(ImageError, match="only a raw binary"):
        parse_image("a.elf", elf(GOOD), base=0)


def test_name_that_is_not_there_has_a_close_one() -> None:
    image = load_image(FIRMWARE[0])
    with pytest.raises(ImageError, match="did you mean main"):
        image.named("maim")


def test_places_are_told_with_function_and_offset() -> None:
    image = load_image(FIRMWARE[0])
    main = image.named("main")
    assert "main+0x2" in image.describe(main.address + 2)
    assert Image.describe(image, 0xF000_0000) == "0xf0000000"
