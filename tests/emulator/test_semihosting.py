"""Semihosting: what a guest is given, and what it is not (Arm, "Semihosting for AArch32")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcusim.emulator.rtt import RealTimeTransfer
from mcusim.emulator.semihosting import GuestMemory, Semihosting
from mcusim.errors import InputError

_FAILED = 0xFFFF_FFFF
_OPEN, _CLOSE, _WRITEC, _WRITE0, _WRITE, _READ, _ERRNO, _REMOVE, _SYSTEM = (
    *(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x13),
    *(0x0E, 0x12),
)
_SIZE = 0x4000


class Guest:
    """A guest's memory, and what it was answered."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.memory = bytearray(_SIZE)
        self.said = bytearray()
        self.host = Semihosting(
            GuestMemory(self.read, self.write), self.said.extend, lambda: 2.5, files
        )

    def read(self, address: int, size: int) -> bytes:
        if address + size > _SIZE:
            raise InputError("no memory")
        return bytes(self.memory[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        if address + len(data) > _SIZE:
            raise InputError("no memory")
        self.memory[address : address + len(data)] = data

    def ask(self, operation: int, *words: int) -> int:
        self.write(0x100, struct.pack(f"<{len(words)}I", *words))
        return self.host.request(operation, 0x100)

    def open(self, name: str, mode: int = 0) -> int:
        self.write(0x1800, name.encode() + b"\0")
        return self.ask(_OPEN, 0x1800, mode, len(name.encode()))


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    (tmp_path / "in.txt").write_bytes(b"0123456789")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    found = Guest({"in.txt": tmp_path / "in.txt", "out.bin": tmp_path / "deep.bin"})
    yield found
    found.host.close()


def test_console(guest: Guest) -> None:
    guest.write(0x1000, b"hello\0")
    guest.host.request(_WRITE0, 0x1000)
    guest.host.request(_WRITEC, 0x1001)
    handle = guest.open(":tt", 4)
    assert guest.ask(_WRITE, handle, 0x1000, 5) == 0
    assert bytes(guest.said) == b"helloehello"


def test_allowed_file_is_read_and_written(guest: Guest, tmp_path: Path) -> None:
    handle = guest.open("in.txt")
    assert guest.ask(_READ, handle, 0x2000, 4) == 0
    assert guest.read(0x2000, 4) == b"0123"
    assert guest.ask(_READ, handle, 0x2000, 100) == 94  # what was not read
    handle = guest.open("out.bin", 5)
    assert guest.ask(_WRITE, handle, 0x2000, 6) == 0
    assert guest.ask(_CLOSE, handle) == 0
    assert (tmp_path / "deep.bin").read_bytes() == b"456789"


@pytest.mark.parametrize(
    "name",
    [
        "secret.txt",
        "/etc/passwd",
        "../secret.txt",
        "./in.txt",
        "in.txt/../secret.txt",
        "",
        "IN.TXT",
    ],
)
def test_other_files_are_refused(guest: Guest, name: str) -> None:
    assert guest.open(name) == _FAILED
    assert guest.host.request(_ERRNO, 0) == 13
    assert guest.host.refused == [name]


@pytest.mark.parametrize("operation", [_REMOVE, 0x0F, _SYSTEM, 0x0D, 0x99])
def test_commands_and_changes_of_files_are_refused(guest: Guest, operation: int) -> None:
    guest.write(0x1000, b"in.txt\0")
    assert guest.ask(operation, 0x1000, 6, 0x1000, 6) == _FAILED


@pytest.mark.parametrize("operation", range(0x32))
@pytest.mark.parametrize("word", [0, 3, _SIZE - 2, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_wild_requests_are_answered(guest: Guest, operation: int, word: int) -> None:
    guest.host.request(operation, word)
    guest.ask(operation, word, word, word)


def test_time_is_the_boards(guest: Guest) -> None:
    assert guest.host.request(0x10, 0) == 250
    assert guest.host.request(0x11, 0) == 2


@pytest.mark.parametrize(
    ("operation", "words", "code"),
    [(0x18, None, 0), (0x20, (0x20026, 7), 7), (0x20, (0x20023, 0), 1)],
)
def test_exit(guest: Guest, operation: int, words: tuple[int, ...] | None, code: int) -> None:
    if words is None:
        guest.host.request(operation, 0x20026)
    else:
        guest.ask(operation, *words)
    assert guest.host.exit_code == code


def test_too_many_files_are_refused(guest: Guest) -> None:
    handles = [guest.open(":tt") for _ in range(100)]
    assert handles[-1] == _FAILED
    assert len(set(handles) - {_FAILED}) == 64


def _control_block(guest: Guest, ahead: int, behind: int) -> RealTimeTransfer:
    guest.write(0x800, b"SEGGER RTT\0\0\0\0\0\0" + struct.pack("<II", 1, 0))
    guest.write(0x818, struct.pack("<6I", 0, 0x900, 16, ahead, behind, 0))
    guest.write(0x900, b"0123456789abcdef")
    return RealTimeTransfer(guest.read, guest.write, None, [(0, 0x1000)])


def test_up_buffer_is_read_out_and_the_firmware_told(guest: Guest) -> None:
    rtt = _control_block(guest, ahead=5, behind=2)
    assert rtt.drain() == [(0, b"234")]
    assert rtt.drain() == []


def test_up_buffer_wraps(guest: Guest) -> None:
    assert _control_block(guest, ahead=3, behind=14).drain() == [(0, b"ef012")]


@pytest.mark.parametrize(("ahead", "behind"), [(16, 0), (0, 99), (0xFFFF_FFFF, 1)])
def test_wild_up_buffer_is_left_alone(guest: Guest, ahead: int, behind: int) -> None:
    assert _control_block(guest, ahead, behind).drain() == []
