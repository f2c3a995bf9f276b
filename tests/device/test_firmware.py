"""The shipped firmware: its bytes from its sources, and its reports out of QEMU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcusim.boards import Board, load_board
from mcusim.calibration.bench_bits import check_bits
from mcusim.calibration.bench_build import BOARDS, Compiler, build_firmware, write_shipped
from mcusim.calibration.bench_price import execute_bench
from mcusim.calibration.bench_run import BenchReport, SerialPort, read_report
from mcusim.errors import InputError, UnsupportedOperatorError
from mcusim.models import load_model
from tests.device.test_bench_run import bench_run
from tests.device.thumb import CORES, firmware_path

QEMU = shutil.which("qemu-system-arm")
GCC = shutil.which("arm-none-eabi-gcc")
#: The compiler that the shipped ELFs were built with.
ZIG = "0.15.2"


def _has_zig() -> bool:
    try:
        return importlib.metadata.version("ziglang") == ZIG
    except importlib.metadata.PackageNotFoundError:
        return False


needs_zig = pytest.mark.skipif(not _has_zig(), reason=f"needs ziglang {ZIG}")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="needs qemu-system-arm")


@needs_zig
def test_sources_give_the_shipped_bytes(tmp_path: Path) -> None:
    write_shipped(tmp_path)
    for core in CORES:
        shipped = firmware_path(core)
        assert (tmp_path / shipped.name).read_bytes() == shipped.read_bytes(), core


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param(Compiler.zig(), marks=needs_zig, id="zig"),
        pytest.param(
            Compiler((str(GCC),), False),
            marks=pytest.mark.skipif(GCC is None, reason="needs arm-none-eabi-gcc"),
            id="gcc",
        ),
    ],
)
@pytest.mark.parametrize("board", [board for board in BOARDS if board != "generic"])
def test_every_board_builds(compiler: Compiler, board: str, tmp_path: Path) -> None:
    build_firmware([], tmp_path / "bench.elf", board, compiler=compiler)
    assert (tmp_path / "bench.elf").read_bytes()[:4] == b"\x7fELF"


@needs_zig
def test_board_of_your_own(tmp_path: Path) -> None:
    own = tmp_path / "my-board.h"
    with pytest.raises(InputError, match=r"my-board\.h: is not there"):
        build_firmware([], tmp_path / "bench.elf", str(own), "m33")
    own.write_text('#include "mps2-an505.h"\n')
    own.with_suffix(".ld").write_text(
        "MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 1K  RAM (rwx) : ORIGIN = 1M, LENGTH = 64K }\n"
    )
    with pytest.raises(InputError, match=r"does not build: .*FLASH"):
        build_firmware([], tmp_path / "bench.elf", str(own), "m33", Compiler.zig())
    with pytest.raises(InputError, match="the core is not known; give --core, one of m0, m0plus"):
        build_firmware([], tmp_path / "bench.elf", str(own), compiler=Compiler.zig())


def test_what_the_device_has_no_kernel_for(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match="lenet-5:float32: operator 0"):
        build_firmware([load_model("lenet-5:float32")], tmp_path / "bench.elf", core="m4")
    assert not (tmp_path / "bench.elf").exists()


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


def every_instruction_takes_a_cycle(board: Board) -> Board:
    """A board whose cycles are instructions."""
    core = board.core
    extra = dict.fromkeys(
        (
            "taken_branch_cycles",
            "misaligned_access_cycles",
            "load_register_cycles",
            "store_register_cycles",
        ),
        0.0,
    )
    core = core.model_copy(
        update={
            "cycles": core.cycles.model_copy(update=dict.fromkeys(dict(core.cycles), 1.0)),
            "extra": core.extra.model_copy(update=extra),
            "uncalibrated": core.uncalibrated.model_copy(update={"time_scale": 1.0}),
        }
    )
    flash = board.flash.model_copy(update={"wait_states": ((board.clock.max_hz, 0),)})
    found = {"core": core, "flash": flash, "calibrated": False, "calibration": None}
    return board.model_copy(update=found)


@needs_qemu
@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_instructions_of_every_row_equal_qemu(core: str) -> None:
    """QEMU executes an instruction a nanosecond here, and its timer ticks every 40."""
    theirs = read(
        "mps2-an386",
        *("-semihosting-config", "enable=on,target=native,chardev=line"),
        *("-kernel", str(firmware_path(core))),
    )
    board = every_instruction_takes_a_cycle(load_board("nrf52840-dk"))
    mine = execute_bench(firmware_path(core), board)
    for found, told in zip(mine.rows, theirs.rows, strict=True):
        assert found.digest == told.digest
        # Their timer is read to 40 instructions at both ends.
        assert abs(found.cycles - 40 * told.cycles) <= 80 + 0.001 * found.cycles, found


@needs_qemu
@needs_zig
@pytest.mark.parametrize(("core", "board"), [("m4", "mps2-an386"), ("m33", "mps2-an505")])
def test_command_reads_qemu_over_a_socket(core: str, board: str, tmp_path: Path) -> None:
    pytest.importorskip("serial")
    image = tmp_path / "bench.elf"
    build_firmware([load_model("ds-cnn")], image, board, core, Compiler.zig())
    with qemu(board, "-serial", "chardev:line", "-kernel", str(image)) as url:
        code, output = bench_run("--port", url, "-o", tmp_path / "runs.csv")
    assert code == 0
    assert re.search(rf"22 runs on {board} \({core}, 2[05] MHz, systick\), clang-O2", output)
    assert "12 layers computed the same bits as mcusim" in output


def test_no_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="install arm-none-eabi-gcc, or pip install ziglang"):
        build_firmware([], tmp_path / "bench.elf", core="m4")
