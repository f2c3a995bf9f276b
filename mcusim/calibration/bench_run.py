"""Reads what the bench firmware in ``kernels/device`` prints, over a serial port or a socket.

Each line of the firmware is CSV with a checksum in its last column, and a report names how many
rows it has; boards print report after report. So a reader may come late, lose bytes or hear
garbage: it takes the lines that are whole, until it has every row.
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from mcusim.errors import InputError

__all__ = [
    "BenchReport",
    "BenchRow",
    "ByteSource",
    "ReportReader",
    "SavedOutput",
    "SerialPort",
    "measurements_csv",
    "open_source",
    "read_report",
]

_BANNER, _END = "mcusim-bench", "mcusim-bench-end"
_VERSION = "1"
#: No line of the firmware is as long; what is longer without an end is noise.
_LONGEST_LINE = 1024
_MOST_ROWS = 100_000
#: Of the largest number of 64 bits.
_DIGITS = 20


@dataclass(frozen=True)
class BenchRow:
    """One measurement of a report.

    Attributes:
        index: from 0.
        model: name of the network; ``"micro"`` for a microbenchmark.
        layer: index of the operator; None for a whole network or a microbenchmark.
        operator: the schema's name, or that of the microbenchmark; empty for a whole network.
        cycles: the fewest of its repetitions.
        digest: 32-bit FNV-1a of what was computed.
    """

    index: int
    model: str
    layer: int | None
    operator: str
    cycles: int
    digest: int

    @property
    def network(self) -> str:
        """The model as files of measurements call it."""
        return f"micro-{self.operator}" if self.model == "micro" else self.model


@dataclass(frozen=True)
class BenchReport:
    """What a board measured.

    Attributes:
        board: that the firmware was built for.
        core: such as ``"m4"``.
        timer: ``"dwt"`` or ``"systick"``.
        clock_hz: of the core, as the firmware knows it; 0 when it does not.
        build: compiler and flags.
        rows: in order, all of them.
    """

    board: str
    core: str
    timer: str
    clock_hz: int
    build: str
    rows: tuple[BenchRow, ...] = ()

    @property
    def shipped(self) -> str:
        """Name of the ELF that ships and prints such reports; empty for any other."""
        is_shipped = (self.board, self.build) == ("generic", "clang-O2")
        return f"bench-{self.core}" if is_shipped else ""


class ByteSource(Protocol):
    """Where bytes come from."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    def read(self) -> bytes:
        """What has arrived, empty when nothing has for a moment.

        Raises:
            InputError: nothing will come any more.
        """


class SerialPort:
    """A serial port, or anything else that pySerial opens by a URL.

    Args:
        port: such as ``/dev/ttyACM0``, ``COM3`` or ``socket://localhost:4321``.
        baud_rate: of the firmware.

    Raises:
        InputError: it cannot be opened.
    """

    _MOMENT_S = 0.1

    def __init__(self, port: str, baud_rate: int) -> None:
        try:
            import serial
        except ImportError:
            raise InputError(
                "reading a board needs pySerial: pip install pyserial, or mcusim[serial]"
            ) from None
        self.name = port
        self._error: type[Exception] = serial.SerialException
        try:
            self._port = serial.serial_for_url(port, baud_rate, timeout=self._MOMENT_S)
        except (serial.SerialException, OSError, ValueError) as error:
            raise InputError(f"{port}: cannot be opened ({_reason(error)})") from None

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._port.close()

    def read(self) -> bytes:
        """What has arrived within a moment."""
        try:
            # One byte is waited for; what is there beside it comes along.
            first: bytes = self._port.read(1)
            waiting = self._port.in_waiting
            more: bytes = self._port.read(waiting) if waiting else b""
        except (self._error, OSError) as error:
            raise InputError(f"{self.name}: the connection broke ({_reason(error)})") from None
        return first + more


class SavedOutput:
    """What a board has said, in a file: of a debugger's semihosting, or of a terminal program.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._left: bytes | None = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def __enter__(self) -> SavedOutput:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = None

    def read(self) -> bytes:
        """All of it, once."""
        if self._left is None:
            raise InputError(f"{self.name}: holds no whole report of the bench firmware")
        found, self._left = self._left, None
        return found


def open_source(port: str, baud_rate: int) -> SerialPort | SavedOutput:
    """Where bytes come from: a port, a URL, or a file that holds them.

    Raises:
        InputError: it cannot be opened.
    """
    return SavedOutput(port) if Path(port).is_file() else SerialPort(port, baud_rate)


def _reason(error: Exception) -> str:
    # pySerial puts the whole story into the text, the port's name twice.
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def read_report(
    source: ByteSource, silence_s: float = 30.0, now: Callable[[], float] = time.monotonic
) -> BenchReport:
    """Read until every row of a report is there.

    Args:
        source: where the bytes come from.
        silence_s: how long to wait for the next line that is whole, in seconds.
        now: a clock in seconds.

    Returns:
        The report. A row that arrives twice counts with the fewer cycles.

    Raises:
        InputError: no whole line arrives in time, the connection breaks, the firmware speaks
            another version or reports a fault.
    """
    reader = ReportReader(source.name)
    heard = now()
    while True:
        try:
            received = source.read()
        except InputError as error:
            raise InputError(f"{error}{reader.progress()}") from None
        if reader.take(received):
            heard = now()
        if (report := reader.report()) is not None:
            return report
        if now() - heard > silence_s:
            raise InputError(reader.silence(silence_s))


class ReportReader:
    """What has been understood so far of what a port sent.

    Args:
        name: of the port, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pending = b""
        self._received = 0
        self._header: tuple[str, ...] | None = None
        self._rows: dict[int, BenchRow] = {}

    def take(self, received: bytes) -> bool:
        """Take bytes in; returns whether a whole line was among them."""
        self._received += len(received)
        *lines, rest = (self._pending + received).split(b"\n")
        self._pending = rest[-_LONGEST_LINE:]
        whole = sum(self._line(line) for line in lines)
        return whole > 0

    def report(self) -> BenchReport | None:
        """The report once it is complete."""
        if self._header is None or len(self._rows) < self._count:
            return None
        board, core, timer, clock_hz, build, _ = self._header
        rows = tuple(self._rows[index] for index in range(self._count))
        return BenchReport(board, core, timer, int(clock_hz), build, rows)

    @property
    def has_started(self) -> bool:
        """Whether the first line of a report was among them."""
        return self._header is not None

    @property
    def _count(self) -> int:
        return int(self._header[-1]) if self._header else 0

    def progress(self) -> str:
        """What is there of a report, as the end of a sentence."""
        if self._header is None:
            return ""
        return f", with {len(self._rows)} of {self._count} rows received"

    def silence(self, seconds: float) -> str:
        """Why a report is not complete when nothing more comes."""
        if self._header is not None:
            return f"{self._name}: fell silent for {seconds:g} s{self.progress()}"
        if self._received:
            return (
                f"{self._name}: sent {self._received} bytes, but no report of the bench firmware "
                f"in {seconds:g} s; is the baud rate right?"
            )
        return f"{self._name}: nothing was heard in {seconds:g} s; is the bench firmware running?"

    def _line(self, line: bytes) -> bool:
        text = line.rstrip(b"\r").decode("ascii", "replace")
        if text == "fault":
            raise InputError(f"{self._name}: the firmware met a fault{self.progress()}")
        body, _, check = text.rpartition(",")
        if not re.fullmatch("[0-9a-f]{4}", check) or int(check, 16) != _check(body.encode()):
            return False
        cells = tuple(body.split(","))
        if cells[0] == _BANNER:
            self._start(cells)
        elif self._header is not None and cells[0] != _END:
            self._row(cells)
        return True

    def _start(self, cells: tuple[str, ...]) -> None:
        version, header = cells[1] if len(cells) > 1 else "", cells[2:]
        if version != _VERSION:
            raise InputError(
                f"{self._name}: the firmware prints reports of version {version or 'none'}, "
                f"where this mcusim reads version {_VERSION}"
            )
        numbers = (header[3], header[-1]) if len(header) == 6 else ("",)
        if not all(n.isdecimal() and len(n) < _DIGITS for n in numbers) or not (
            0 < int(numbers[-1]) <= _MOST_ROWS
        ):
            raise InputError(f"{self._name}: {','.join(cells)!r} is not the start of a report")
        if header != self._header:
            # Another firmware, or the first report.
            self._header, self._rows = header, {}

    def _row(self, cells: tuple[str, ...]) -> None:
        try:
            index, model, layer, operator, cycles, digest = cells
            row = BenchRow(
                int(index),
                model,
                int(layer) if layer else None,
                operator,
                int(cycles),
                int(digest, 16),
            )
        except ValueError:
            raise InputError(
                f"{self._name}: {','.join(cells)!r} is not a row of a report"
            ) from None
        if not 0 <= row.index < self._count or not 0 <= row.cycles < 10**_DIGITS:
            raise InputError(f"{self._name}: {','.join(cells)!r} is not a row of this report")
        before = self._rows.get(row.index)
        if before is None or row.cycles < before.cycles:
            self._rows[row.index] = row


def _check(line: bytes) -> int:
    """CRC-16 with the polynomial x^16 + x^12 + x^5 + 1, from 0xFFFF."""
    check = 0xFFFF
    for byte in line:
        check ^= byte << 8
        for _ in range(8):
            check = check << 1 ^ (0x1021 if check & 0x8000 else 0)
    return check & 0xFFFF


def measurements_csv(report: BenchReport, clock_hz: float, firmware: str) -> str:
    """The rows as ``mcusim calibrate`` reads them, with the runtime ``device``.

    Args:
        report: what was measured.
        clock_hz: of the core.
        firmware: the build: path of the ELF that ran, or the name of one that ships.

    Returns:
        CSV. Rows of no cycles are left out: the timer was too coarse to see them.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("model", "runtime", "build", "clock_hz", "latency_s", "layer", "note"))
    for row in report.rows:
        if row.cycles:
            table.writerow(
                (
                    row.network,
                    "device",
                    firmware,
                    f"{clock_hz:.10g}",
                    f"{row.cycles / clock_hz:.10g}",
                    "" if row.layer is None else row.layer,
                    f"{row.operator or 'whole network'}: {row.cycles} cycles by {report.timer}, "
                    f"{report.board}, {report.build}",
                )
            )
    return out.getvalue()
