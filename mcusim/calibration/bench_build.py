"""Builds the bench firmware in ``kernels/device`` with a compiler for Arm that is installed.

The ELFs that ship in ``kernels/device/firmware`` are written by

    python -m mcusim.calibration.bench_build kernels/device/firmware

with the version of zig that ``pyproject.toml`` pins, which builds the same bytes everywhere.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcusim.calibration.device_network import device_network, network_source
from mcusim.errors import InputError
from mcusim.graph import Graph
from mcusim.models import load_model
from mcusim.resources import data_path

__all__ = ["BOARDS", "CORES", "Compiler", "build_firmware", "find_compiler", "write_shipped"]

#: Cores that the firmware is built for, as compilers call them.
CORES = {
    "m0": "cortex-m0",
    "m0plus": "cortex-m0plus",
    "m3": "cortex-m3",
    "m4": "cortex-m4",
    "m7": "cortex-m7",
    "m33": "cortex-m33",
}

#: Boards that have a header and a linker script in ``kernels/device/boards``, and their cores;
#: ``generic`` has any.
BOARDS = {
    "generic": None,
    "mps2-an386": "m4",
    "mps2-an505": "m33",
    "nrf52840-dk": "m4",
    "nucleo-f429zi": "m4",
}

#: A memory in a linker script: its name, size and unit.
_REGION = re.compile(r"^\s*(\w+)\s*\(\w+\)\s*:.*?LENGTH\s*=\s*(\d+)([KM]?)\b", re.MULTILINE)
#: What the firmware wants of RAM beside a network's tensors, at least.
_STACK = 2048

_SHIPPED = ("m0plus", "m4", "m33")
_OPTIMIZE = "-O2"
_FLAGS = (
    "-std=c99",
    _OPTIMIZE,
    "-g0",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-builtin",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-nostdlib",
    "-Wl,--gc-sections",
    "-Wl,--entry=reset_handler",
    "-Wl,-z,max-page-size=4096",
)


@dataclass(frozen=True)
class Compiler:
    """A compiler for Arm.

    Attributes:
        command: what to run.
        is_zig: whether it is ``zig cc``, which takes other names of targets than GCC.
    """

    command: tuple[str, ...]
    is_zig: bool

    @classmethod
    def zig(cls) -> Compiler:
        """The one of the Python package ``ziglang``."""
        return cls((sys.executable, "-m", "ziglang", "cc"), True)

    @property
    def name(self) -> str:
        """Which compiler it is, as the firmware tells it."""
        return "clang" if self.is_zig else "gcc"

    def target(self, core: str) -> tuple[str, ...]:
        """Flags that choose a core, without its floating-point unit."""
        cpu = CORES[core]
        if self.is_zig:
            return ("-target", "thumb-freestanding-eabi", f"-mcpu={cpu.replace('-', '_')}")
        return ("-mthumb", f"-mcpu={cpu}" + ("+nofp" if core in ("m4", "m7", "m33") else ""))

    @property
    def libraries(self) -> tuple[str, ...]:
        """What the compiler itself calls: zig links its own."""
        return () if self.is_zig else ("-lgcc",)


def find_compiler() -> Compiler:
    """The compiler that is installed: GCC for Arm, or else zig.

    Raises:
        InputError: neither is.
    """
    gcc = shutil.which("arm-none-eabi-gcc")
    if gcc:
        return Compiler((gcc,), False)
    if importlib.util.find_spec("ziglang"):
        return Compiler.zig()
    raise InputError(
        "building firmware needs a compiler for Arm: install arm-none-eabi-gcc, or "
        "pip install ziglang"
    )


def build_firmware(
    graphs: Sequence[Graph],
    output: Path,
    board: str = "generic",
    core: str | None = None,
    compiler: Compiler | None = None,
    plain: bool = False,
) -> str:
    """Build the bench firmware with networks in it.

    Args:
        graphs: the networks; none leaves the microbenchmarks.
        output: where the ELF goes.
        board: one of :data:`BOARDS`, or path of a header of your own with the linker script
            beside it.
        core: one of :data:`CORES`; that of the board when None.
        compiler: what builds it; the one that is installed when None.
        plain: leave the core's DSP instructions out.

    Returns:
        The core.

    Raises:
        InputError: there is no such board or core, no compiler, or the compiler refuses; with its
            first message.
        UnsupportedOperatorError: a network has no form on the device.
    """
    header = _header(board)
    core = core or BOARDS.get(header.stem)
    if core not in CORES:
        raise InputError(
            f"{board}: the core is {core or 'not known'}; give --core, one of {', '.join(CORES)}"
        )
    _check_room(graphs, header.with_suffix(".ld"), board)
    compiler = compiler or find_compiler()
    source = data_path("kernels", "device")
    files = sorted([*source.glob("source/*.c"), *source.glob("bench/*.c")], key=lambda f: f.name)
    with tempfile.TemporaryDirectory(prefix="mcusim-") as name:
        folder = Path(name)
        (folder / "network_data.c").write_text(network_source(graphs))
        scripts = (header.with_suffix(".ld"), source / "bench" / "sections.ld")
        (folder / "link.ld").write_text("\n".join(script.read_text() for script in scripts))
        command = [
            *compiler.command,
            *compiler.target(core),
            *_FLAGS,
            *(("-DMCUSIM_PLAIN",) if plain else ()),
            f"-ffile-prefix-map={source}=.",
            f"-ffile-prefix-map={folder}=.",
            f"-I{source / 'source'}",
            f"-I{source / 'boards'}",
            f'-DBOARD_HEADER="{header.as_posix()}"',
            f'-DCORE_NAME="{core}"',
            f'-DBUILD_NAME="{compiler.name}{_OPTIMIZE}{"-plain" if plain else ""}"',
            *map(str, files),
            str(folder / "network_data.c"),
            *compiler.libraries,
            f"-T{folder / 'link.ld'}",
            "-o",
            str(folder / "bench.elf"),
        ]
        _run(command, board)
        output.write_bytes((folder / "bench.elf").read_bytes())
    return core


def _header(board: str) -> Path:
    path = Path(board)
    if board in BOARDS:
        path = data_path("kernels", "device", "boards", f"{board}.h")
    elif path.suffix != ".h":
        raise InputError(
            f"the bench firmware has no board {board!r}; there are {', '.join(BOARDS)}, or give a "
            "header of your own, my-board.h, with my-board.ld beside it"
        )
    for needed in (path, path.with_suffix(".ld")):
        if not needed.is_file():
            raise InputError(f"{needed}: is not there")
    return path.resolve()


def _check_room(graphs: Sequence[Graph], script: Path, board: str) -> None:
    """Refuse networks that no compiler need be asked about, as its linker says less of why."""
    sizes = {
        name.upper(): int(number) << {"K": 10, "M": 20}.get(unit, 0)
        for name, number, unit in _REGION.findall(script.read_text(errors="replace"))
    }
    networks = [device_network(graph) for graph in graphs]
    constants = sum(network.constant_bytes for network in networks)
    if constants > sizes.get("FLASH", constants):
        raise InputError(
            f"the networks have {constants:,} bytes of weights, where the flash of {board} has "
            f"{sizes['FLASH']:,}"
        )
    largest = max(networks, key=lambda network: network.arena_bytes, default=None)
    if largest is not None and largest.arena_bytes > sizes.get("RAM", largest.arena_bytes) - _STACK:
        raise InputError(
            f"{largest.name} needs {largest.arena_bytes:,} bytes of RAM for its tensors, where "
            f"{board} has {sizes['RAM']:,} with the stack"
        )


def _run(command: Sequence[str], board: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be run ({error.strerror})") from None
    if done.returncode:
        lines = done.stderr.splitlines()
        said = next((line for line in lines if "error" in line or "overflow" in line), "")
        raise InputError(f"the firmware for {board} does not build: {said or lines[:1]}")


def write_shipped(folder: Path) -> None:
    """Write the ELFs that ship: ds-cnn on three cores, built by zig."""
    for core in _SHIPPED:
        build_firmware(
            [load_model("ds-cnn")], folder / f"bench-{core}.elf", "generic", core, Compiler.zig()
        )


if __name__ == "__main__":
    write_shipped(Path(sys.argv[1]))
