"""``mcusim bench run`` reads a board through noise, silence and broken connections."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.calibration.bench_run import (
    BenchReport,
    BenchRow,
    measurements_csv,
    open_source,
    read_report,
)
from mcusim.calibration.measurements import read_measurements
from mcusim.cli import commands
from mcusim.errors import InputError


def checked(body: str) -> bytes:
    """A line with the checksum that the firmware adds: CRC-16/CCITT-FALSE."""
    check = 0xFFFF
    for byte in body.encode():
        check ^= byte << 8
        for _ in range(8):
            check = ((check << 1) ^ 0x1021) & 0xFFFF if check & 0x8000 else (check << 1) & 0xFFFF
    return f"{body},{check:04x}\r\n".encode()


# Printed by the bench firmware for the nRF52840, with other numbers.
LINES = [
    checked("mcusim-bench,1,my-board,m4,dwt,64000000,gcc-O2,3"),
    checked("0,micro,,alu,34000,d8f14853"),
    checked("1,net,4,CONV_2D,640000,628b2473"),
    checked("2,net,,,1280000,44d1287d"),
    checked("mcusim-bench-end,3"),
]
START, REPORT = LINES[0], b"".join(LINES)
EXPECTED = BenchReport(
    "my-board",
    "m4",
    "dwt",
    64_000_000,
    "gcc-O2",
    (
        BenchRow(0, "micro", None, "alu", 34000, 0xD8F14853),
        BenchRow(1, "net", 4, "CONV_2D", 640000, 0x628B2473),
        BenchRow(2, "net", None, "", 1280000, 0x44D1287D),
    ),
)


class Line:
    """Bytes in pieces, and then silence; a second passes with every reading."""

    name = "port"

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.seconds = 0.0

    def read(self) -> bytes:
        self.seconds += 1
        return self._pieces.pop(0) if self._pieces else b""

    def report(self, silence_s: float = 5) -> BenchReport:
        return read_report(self, silence_s, now=lambda: self.seconds)


def test_checksum_is_the_well_known_one() -> None:
    assert checked("123456789") == b"123456789,29b1\r\n"


@settings(max_examples=200)
@given(data=st.data(), noise=st.binary(max_size=40))
def test_late_cut_and_noisy(data: st.DataObject, noise: bytes) -> None:
    """Whatever a reader loses of the first reports, it has all once one comes through whole."""
    start = data.draw(st.integers(0, len(REPORT)))
    lost = data.draw(st.integers(0, len(REPORT)))
    middle = data.draw(st.integers(0, lost))
    # A line that is cut takes the beginning of the next report with it.
    sent = REPORT[start:] + REPORT[:middle] + noise + REPORT[lost:] + REPORT + REPORT
    size = data.draw(st.integers(1, 64))
    pieces = [sent[i : i + size] for i in range(0, len(sent), size)]
    found = Line(*pieces).report(silence_s=len(sent))
    assert (found.board, found.clock_hz) == ("my-board", 64_000_000)
    assert found.rows == EXPECTED.rows


def test_rows_lost_in_one_report_come_from_the_next() -> None:
    damaged = REPORT.replace(b"1,net,4", b"1,nXt,4")
    again = REPORT.replace(b"0,micro", b"0,mXcro")
    assert Line(damaged, again).report() == EXPECTED


def test_what_was_saved_is_read_as_a_port_is(tmp_path: Path) -> None:
    saved = tmp_path / "console.log"
    saved.write_bytes(b"Open On-Chip Debugger\r\n" + REPORT)
    with open_source(str(saved), 115200) as source:
        assert read_report(source) == EXPECTED
    saved.write_bytes(REPORT[:-40])
    with (
        open_source(str(saved), 115200) as source,
        pytest.raises(InputError, match=r"console\.log: holds no whole report.*2 of 3 rows"),
    ):
        read_report(source)


def test_another_firmware_begins_anew() -> None:
    other = checked("mcusim-bench,1,my-board,m4,dwt,64000000,gcc-O3,3")
    assert Line(other + LINES[1] + REPORT).report() == EXPECTED


def test_fewest_cycles_count() -> None:
    fewer, more = (checked(f"2,net,,,{n},44d1287d") for n in (1280000, 1300000))
    slower = REPORT.replace(fewer, more)
    incomplete = slower.replace(b"1,net,4", b"1,nXt,4")
    assert Line(incomplete, REPORT).report() == EXPECTED
    assert Line(REPORT.replace(b"1,net,4", b"1,nXt,4"), slower).report() == EXPECTED


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((), "nothing was heard in 5 s; is the bench firmware running?"),
        ((b"\x80\x00" * 50,), "sent 100 bytes, but no report of the bench firmware in 5 s"),
        ((b"".join(LINES[:3]),), "fell silent for 5 s, with 2 of 3 rows received"),
        ((START + LINES[1] + b"fault\r\n",), "met a fault, with 1 of 3 rows received"),
        ((checked("mcusim-bench,2,new"),), "reports of version 2, where this mcusim reads"),
        ((checked("mcusim-bench,1,a,b"),), "'mcusim-bench,1,a,b' is not the start of a report"),
        ((checked("mcusim-bench,1,a,b,c,1,d,0"),), "is not the start of a report"),
        ((START + checked("0,micro,,alu,x,1"),), "is not a row of a report"),
        ((START + checked("7,micro,,alu,1,1"),), "is not a row of this report"),
    ],
)
def test_what_goes_wrong_is_one_sentence(pieces: tuple[bytes, ...], said: str) -> None:
    with pytest.raises(InputError, match=r"^port: ") as caught:
        Line(*pieces).report()
    assert said in str(caught.value)


CELL = st.one_of(
    st.integers(-1, 3).map(str),
    st.sampled_from(("", "mcusim-bench", "1", "dwt", "9" * 400, "1_0", "+2", "ff", "net", "micro")),
)


@settings(max_examples=300)
@given(lines=st.lists(st.lists(CELL, min_size=1, max_size=9).map(",".join), max_size=6))
def test_whatever_a_port_says_is_a_report_or_a_sentence(lines: list[str]) -> None:
    sent = START + b"".join(map(checked, lines))
    try:
        report = Line(sent).report()
    except InputError as error:
        assert str(error).startswith("port: ")
    else:
        assert read_measurements_of(measurements_csv(report, 1e6, "bench-m4"))


def read_measurements_of(text: str) -> bool:
    """Whether a table of measurements can be read; one without a row is told."""
    table = Path(tempfile.mkdtemp()) / "runs.csv"
    table.write_text(text)
    try:
        return bool(read_measurements(table).rows)
    except InputError as error:
        return "holds no measured run" in str(error)
    finally:
        shutil.rmtree(table.parent)


def test_noise_without_an_end_takes_no_memory() -> None:
    assert Line(*[bytes(10_000)] * 200, b"\n" + REPORT).report(1000) == EXPECTED


@contextmanager
def board_at_terminal(report: bytes) -> Iterator[str]:
    """A board that prints report after report into a pseudo terminal; the name of its other end."""
    pty = pytest.importorskip("pty")
    pytest.importorskip("serial")
    board, host = pty.openpty()
    stopped = threading.Event()

    def send() -> None:
        while not stopped.is_set():
            for start in range(0, len(report), 50):
                # A terminal that nobody reads is full some time, and then takes nothing.
                if select.select([], [board], [], 0.01)[1]:
                    os.write(board, report[start : start + 50])
                time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield os.ttyname(host)
    finally:
        stopped.set()
        sender.join()
        os.close(host)
        os.close(board)


def bench_run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of ``mcusim bench run``."""
    found = CliRunner().invoke(
        commands, ["bench", "run", *map(str, arguments)], standalone_mode=False
    )
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return int(found.return_value or 0), found.output


def test_pseudo_terminal_to_measurements(tmp_path: Path) -> None:
    with board_at_terminal(REPORT) as port:
        code, output = bench_run("--port", port, "--timeout", "5", "-o", tmp_path / "runs.csv")
    assert code == 0
    assert "3 runs on my-board (m4, 64 MHz, dwt), gcc-O2" in output
    assert "net: bits not compared; --model gives the file of a network" in output
    runs = read_measurements(tmp_path / "runs.csv").rows
    assert [run.model for run in runs] == ["micro-alu", "net", "net"]
    assert [run.layer for run in runs] == [None, 4, None]
    assert [run.latency_s for run in runs] == [34000 / 64e6, 0.01, 0.02]
    assert {run.clock_hz for run in runs} == {64e6}
    assert {run.build for run in runs} == {"gcc-O2"}
    assert "mcusim calibrate needs the ELF that ran" in output


def test_port_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    port = str(tmp_path / "ttyACM9")
    with pytest.raises(InputError, match=r"cannot be opened \(No such file or directory\)"):
        bench_run("--port", port, "-o", tmp_path / "runs.csv")
    assert not (tmp_path / "runs.csv").exists()


def test_clock_is_needed_where_the_firmware_has_none(tmp_path: Path) -> None:
    start = checked("mcusim-bench,1,generic,m4,dwt,0,clang-O2,1")
    runs = tmp_path / "runs.csv"
    with board_at_terminal(start + checked("0,micro,,alu,800,00000001")) as port:
        with pytest.raises(InputError, match="give --clock or --board"):
            bench_run("--port", port, "-o", runs)
        assert not runs.exists()
        bench_run("--port", port, "--clock", "8e6", "-o", runs)
    assert [run.latency_s for run in read_measurements(runs).rows] == [1e-4]


def test_page_shows_a_report_that_is_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bench-firmware.md").read_text()
    shown = page.split("```text\n")[1].split("```")[0]
    report = Line(shown.encode()).report()
    assert (report.board, report.clock_hz, len(report.rows)) == ("mps2-an386", 25_000_000, 4)
    assert report.rows[1].cycles == 30206
