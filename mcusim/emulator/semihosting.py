"""Semihosting: what firmware asks of its debugger by ``BKPT 0xAB``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from mcusim.errors import InputError

__all__ = ["GuestMemory", "Semihosting"]

#: More than any one request of a microcontroller; a longer one is refused.
_LONGEST = 16 * 2**20
_LONGEST_TEXT = 2**16
_MOST_FILES = 64
_FAILED = 0xFFFF_FFFF
_CONSOLE = ":tt"
_APPLICATION_EXIT = 0x20026
_MODES = ("rb", "rb", "r+b", "r+b", "wb", "wb", "w+b", "w+b", "ab", "ab", "a+b", "a+b")
_PERMISSION_DENIED, _BAD_FILE, _IS_REFUSED = 13, 9, 1


@dataclass(frozen=True)
class GuestMemory:
    """How to reach the memory of the guest.

    Attributes:
        read: bytes at an address; raises InputError where nothing is mapped.
        write: bytes to an address; raises InputError where nothing is mapped.
    """

    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], None]

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Little-endian words."""
        return struct.unpack(f"<{count}I", self.read(address, 4 * count))


@dataclass
class Semihosting:
    """Answers the requests of Arm's *Semihosting for AArch32 and AArch64*.

    A guest opens the console and the files that it was allowed by name, and nothing else: it starts
    no command, renames and removes nothing, and its clock is the board's.

    Attributes:
        memory: of the guest.
        printed: takes what is written to the console.
        seconds: board time since reset.
        files: name as the guest says it -> file on this computer.
        command_line: what the guest is told it was started with.
        exit_code: what the guest ended with; None while it runs.
        refused: names of files that were asked for and not allowed.
    """

    memory: GuestMemory
    printed: Callable[[bytes], None]
    seconds: Callable[[], float]
    files: Mapping[str, Path] = field(default_factory=dict)
    command_line: str = ""
    exit_code: int | None = None
    refused: list[str] = field(default_factory=list)
    _open: dict[int, BinaryIO | None] = field(default_factory=dict)
    _errno: int = 0

    def request(self, operation: int, argument: int) -> int:
        """Answer one request.

        Args:
            operation: register r0.
            argument: register r1.

        Returns:
            What r0 becomes.
        """
        answer = _ANSWERS.get(operation)
        if answer is None:
            return self._fail(_IS_REFUSED)
        try:
            return answer(self, argument) & 0xFFFF_FFFF
        except (InputError, ValueError, OSError):
            return self._fail(_BAD_FILE)

    def close(self) -> None:
        """Close the files that the guest left open."""
        for file in self._open.values():
            if file:
                file.close()
        self._open.clear()

    def _fail(self, errno: int) -> int:
        self._errno = errno
        return _FAILED

    def _text(self, address: int, size: int) -> str:
        return self._bytes(address, size).decode("utf-8", "replace")

    def _bytes(self, address: int, size: int) -> bytes:
        if size > _LONGEST:
            raise InputError("longer than any memory")
        return self.memory.read(address, size)

    def _file(self, handle: int) -> BinaryIO | None:
        """The file of a handle; None for the console."""
        if handle not in self._open:
            raise InputError("no such handle")
        return self._open[handle]

    def _sys_open(self, argument: int) -> int:
        address, mode, size = self.memory.words(argument, 3)
        name = self._text(address, size)
        if mode >= len(_MODES):
            return self._fail(_IS_REFUSED)
        if len(self._open) >= _MOST_FILES:
            return self._fail(_IS_REFUSED)
        handle = next(i for i in range(1, _MOST_FILES + 1) if i not in self._open)
        if name == _CONSOLE:
            self._open[handle] = None
        elif name not in self.files:
            if len(self.refused) < _MOST_FILES and name not in self.refused:
                self.refused.append(name)
            return self._fail(_PERMISSION_DENIED)
        else:
            # Unbuffered: a run that is cut short has written what the guest wrote.
            self._open[handle] = cast(BinaryIO, self.files[name].open(_MODES[mode], buffering=0))
        return handle

    def _sys_close(self, argument: int) -> int:
        (handle,) = self.memory.words(argument, 1)
        file = self._file(handle)
        del self._open[handle]
        if file:
            file.close()
        return 0

    def _sys_writec(self, argument: int) -> int:
        self.printed(self.memory.read(argument, 1))
        return 0

    def _sys_write0(self, argument: int) -> int:
        found = bytearray()
        while (
            len(found) < _LONGEST_TEXT
            and (byte := self.memory.read(argument + len(found), 1)) != b"\0"
        ):
            found += byte
        self.printed(bytes(found))
        return 0

    def _sys_write(self, argument: int) -> int:
        handle, address, size = self.memory.words(argument, 3)
        file = self._file(handle)
        data = self._bytes(address, size)
        if file is None:
            self.printed(data)
        else:
            file.write(data)
        return 0

    def _sys_read(self, argument: int) -> int:
        handle, address, size = self.memory.words(argument, 3)
        file = self._file(handle)
        data = b"" if file is None else file.read(min(size, _LONGEST))
        self.memory.write(address, data)
        return size - len(data)

    def _sys_readc(self, _: int) -> int:
        return _FAILED

    def _sys_iserror(self, argument: int) -> int:
        (status,) = self.memory.words(argument, 1)
        return int(status >> 31)

    def _sys_istty(self, argument: int) -> int:
        (handle,) = self.memory.words(argument, 1)
        return int(self._file(handle) is None)

    def _sys_seek(self, argument: int) -> int:
        handle, position = self.memory.words(argument, 2)
        file = self._file(handle)
        if file is None:
            return self._fail(_BAD_FILE)
        file.seek(position)
        return 0

    def _sys_flen(self, argument: int) -> int:
        (handle,) = self.memory.words(argument, 1)
        file = self._file(handle)
        if file is None:
            return 0
        position = file.tell()
        size = file.seek(0, 2)
        file.seek(position)
        return size

    def _sys_clock(self, _: int) -> int:
        return int(self.seconds() * 100)

    def _sys_time(self, _: int) -> int:
        return int(self.seconds())

    def _sys_errno(self, _: int) -> int:
        return self._errno

    def _sys_get_cmdline(self, argument: int) -> int:
        address, room = self.memory.words(argument, 2)
        text = self.command_line.encode() + b"\0"
        if len(text) > room:
            return self._fail(_IS_REFUSED)
        self.memory.write(address, text)
        self.memory.write(argument + 4, struct.pack("<I", len(text) - 1))
        return 0

    def _sys_heapinfo(self, argument: int) -> int:
        (block,) = self.memory.words(argument, 1)
        self.memory.write(block, bytes(16))  # zeros: the library asks its linker script instead
        return 0

    def _sys_exit(self, argument: int) -> int:
        self.exit_code = 0 if argument == _APPLICATION_EXIT else 1
        return 0

    def _sys_exit_extended(self, argument: int) -> int:
        reason, code = self.memory.words(argument, 2)
        self.exit_code = code if reason == _APPLICATION_EXIT else 1
        return 0

    def _sys_elapsed(self, argument: int) -> int:
        self.memory.write(argument, struct.pack("<Q", int(self.seconds() * 1e6)))
        return 0

    def _sys_tickfreq(self, _: int) -> int:
        return 1_000_000


_ANSWERS: dict[int, Callable[[Semihosting, int], int]] = {
    0x01: Semihosting._sys_open,
    0x02: Semihosting._sys_close,
    0x03: Semihosting._sys_writec,
    0x04: Semihosting._sys_write0,
    0x05: Semihosting._sys_write,
    0x06: Semihosting._sys_read,
    0x07: Semihosting._sys_readc,
    0x08: Semihosting._sys_iserror,
    0x09: Semihosting._sys_istty,
    0x0A: Semihosting._sys_seek,
    0x0C: Semihosting._sys_flen,
    0x10: Semihosting._sys_clock,
    0x11: Semihosting._sys_time,
    0x13: Semihosting._sys_errno,
    0x15: Semihosting._sys_get_cmdline,
    0x16: Semihosting._sys_heapinfo,
    0x18: Semihosting._sys_exit,
    0x20: Semihosting._sys_exit_extended,
    0x30: Semihosting._sys_elapsed,
    0x31: Semihosting._sys_tickfreq,
}
