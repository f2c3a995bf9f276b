"""The shipped firmware: its bytes from its sources, and its reports out of QEMU."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcusim.calibration.bench_bits import check_bits
from mcusim.calibration.bench_run import BenchReport, SerialPort, read_report
from mcusim.resources import data_path
from tests.device.test_bench_run import bench_run
from tests.device.thumb import CORES, firmware_path

DEVICE = data_path("kernels", "device")
QEMU = shutil.which("qemu-system-arm")
MAKE = shutil.which("make")
#: The compiler that the shipped ELFs were built with.
ZIG = "0.15.2"


def _has_zig() -> bool:
    try:
        return importlib.metadata.version("ziglang") == ZIG
    except importlib.metadata.PackageNotFoundError:
        return False


needs_zig = pytest.mark.skipif(not (_has_zig() and MAKE), reason=f"needs make and ziglang {ZIG}")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="needs qemu-system-arm")


def make(folder: Path, *arguments: str) -> None:
    """Build with zig into a folder."""
    assert MAKE is not None
    command = [MAKE, "-s", "-C", str(DEVICE), f"PYTHON={sys.executable}", f"O={folder}"]
    subprocess.run([*command, *arguments], check=True, env=os.environ | {"PWD": str(folder)})


@needs_zig
def test_sources_give_the_shipped_bytes(tmp_path: Path) -> None:
    make(tmp_path, "firmware", f"FIRMWARE_TO={tmp_path / 'elf'}")
    for core in CORES:
        built = tmp_path / "elf" / firmware_path(core).name
        assert built.read_bytes() == firmware_path(core).read_bytes(), core


@contextmanager
def qemu(machine: str, *arguments: str) -> Iterator[str]:
    """QEMU with a board's serial line at a socket; the URL of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    host, port = place.split(":")
    assert QEMU is not None
    process = subprocess.Popen(
        [
            QEMU,
            *("-M", machine, "-display", "none", "-monitor", "none", "-icount", "shift=0"),
            *("-chardev", f"socket,id=line,server=on,wait=on,host={host},port={port}"),
            *arguments,
        ],
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        assert b"waiting for connection" in process.stderr.readline()
        yield f"socket://{place}"
    finally:
        process.kill()
        process.communicate()


def read(machine: str, *arguments: str) -> BenchReport:
    """What a board in QEMU reports."""
    pytest.importorskip("serial")
    with qemu(machine, *arguments) as url, SerialPort(url, 115200) as port:
        return read_report(port, silence_s=60)


@needs_qemu
@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_shipped_firmware_by_semihosting(core: str) -> None:
    """Instructions of a Cortex-M0+ are among those of the Cortex-M4 that QEMU has."""
    report = read(
        "mps2-an386",
        *("-semihosting-config", "enable=on,target=native,chardev=line"),
        *("-kernel", str(firmware_path(core))),
    )
    assert (report.board, report.core, report.clock_hz) == ("generic", core, 0)
    found = check_bits(report)
    assert found.lines == ("ds-cnn: 12 layers computed the same bits as mcusim",)


@needs_qemu
@needs_zig
@pytest.mark.parametrize(("core", "board"), [("m4", "mps2-an386"), ("m33", "mps2-an505")])
def test_command_reads_qemu_over_a_socket(core: str, board: str, tmp_path: Path) -> None:
    pytest.importorskip("serial")
    compiler = f"CC={sys.executable} -m ziglang cc"
    make(tmp_path, compiler, f"CORE={core}", f"BOARD={board}", "MODELS=ds-cnn")
    image = tmp_path / f"bench-{core}-{board}.elf"
    with qemu(board, "-serial", "chardev:line", "-kernel", str(image)) as url:
        code, output = bench_run("--port", url, "-o", tmp_path / "runs.csv")
    assert code == 0
    assert re.search(rf"2[01] runs on {board} \({core}, 2[05] MHz, systick\), clang-O2", output)
    assert "12 layers computed the same bits as mcusim" in output
