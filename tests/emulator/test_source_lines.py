"""Line tables that GNU as wrote for one small C file, against ``objdump --dwarf=decodedline``."""

from __future__ import annotations

import pytest

from mcusim.emulator.source_lines import read_source_lines

#: Two functions of tiny2.c from 0x100 on, in DWARF 3, 4 and 5; the programs are the same.
_TABLES = {
    3: bytes.fromhex(
        "6200000003001e0000000201fb0e0d0001010101000000010000010074696e79322e63000000000005010005"
        "02000100001405031305010613200622050300020401210505000204011305090002040106010507000204014a"
        "050300020401061f0204000101"
    ),
    4: bytes.fromhex(
        "6300000004001f000000020101fb0e0d0001010101000000010000010074696e79322e630000000000050100"
        "0502000100001405031305010613200622050300020401210505000204011305090002040106010507000204"
        "014a050300020401061f0204000101"
    ),
    5: bytes.fromhex(
        "70000000050004002a000000020101fb0e0d00010101010000000100000101011f010000000002011f020f02"
        "0500000000050000000005010005020001000014050313050106132006220503000204012105050002040113"
        "05090002040106010507000204014a050300020401061f0204000101"
    ),
}
_STRINGS = b"/tmp\0tiny2.c\0"

#: Address and line, as objdump lists them; where it lists several of an address, the last.
_ROWS = [(0x100, 5), (0x102, 5), (0x104, 7), (0x106, 9), (0x10E, 9), (0x110, 8), (0x118, 0)]


@pytest.mark.parametrize("version", sorted(_TABLES))
def test_rows_are_those_of_objdump(version: int) -> None:
    rows = read_source_lines(_TABLES[version], _STRINGS, b"")
    assert [(address, line) for address, _, line in rows] == _ROWS
    assert {file.rpartition("/")[2] for _, file, line in rows if line} == {"tiny2.c"}


@pytest.mark.parametrize("version", sorted(_TABLES))
def test_damaged_tables_end_without_an_error(version: int) -> None:
    table = _TABLES[version]
    for size in range(len(table)):
        read_source_lines(table[:size], _STRINGS, b"")
    for at in range(len(table)):
        for value in (0, 0x7F, 0xFF):
            read_source_lines(table[:at] + bytes([value]) + table[at + 1 :], _STRINGS, b"")
