"""SEGGER RTT: what firmware leaves in the up-buffers of its control block."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from mcusim.errors import InputError

__all__ = ["RealTimeTransfer"]

_ID = b"SEGGER RTT\0\0\0\0\0\0"
_MOST_BUFFERS = 32
_BUFFER = struct.Struct("<6I")  # name, memory, size, write offset, read offset, flags


class RealTimeTransfer:
    """Reads up-buffers as a debug probe does, and tells the firmware how far it has read.

    Args:
        read: bytes at an address; raises InputError where nothing is mapped.
        write: bytes to an address.
        address: of the control block, such as the symbol ``_SEGGER_RTT``; None to look for it.
        regions: address and size of the RAM in which to look for it.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        write: Callable[[int, bytes], None],
        address: int | None,
        regions: Iterable[tuple[int, int]] = (),
    ) -> None:
        self._read = read
        self._write = write
        self._address = address
        self._regions = tuple(regions)

    def drain(self) -> list[tuple[int, bytes]]:
        """What was written since the last time, by number of the up-buffer."""
        try:
            if self._address is None:
                self._address = self._found()
            if self._address is None or self._read(self._address, 16) != _ID:
                return []
            (buffers,) = struct.unpack("<I", self._read(self._address + 16, 4))
            drained = []
            for number in range(min(buffers, _MOST_BUFFERS)):
                data = self._drain_one(self._address + 24 + number * _BUFFER.size)
                if data:
                    drained.append((number, data))
        except InputError:
            return []
        return drained

    def _drain_one(self, descriptor: int) -> bytes:
        _, memory, size, ahead, behind, _ = _BUFFER.unpack(self._read(descriptor, _BUFFER.size))
        if not memory or ahead == behind or ahead >= size or behind >= size or size > 2**24:
            return b""
        if ahead > behind:
            data = self._read(memory + behind, ahead - behind)
        else:
            data = self._read(memory + behind, size - behind) + self._read(memory, ahead)
        self._write(descriptor + 16, struct.pack("<I", ahead))
        return data

    def _found(self) -> int | None:
        for start, size in self._regions:
            position = self._read(start, size).find(_ID)
            if position >= 0:
                return start + position
        return None
