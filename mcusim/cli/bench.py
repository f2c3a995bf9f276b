"""``mcusim bench``: measurements on a physical board, planned and read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from mcusim.cli import console
from mcusim.cli.quantities import frequency, number

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Plan measurements on a physical board, and read them from it."""


@command.command("build")
@click.argument("models", nargs=-1)
@click.option("--output", "-o", "output_file", required=True, type=_FILE, help="An .elf file.")
@click.option("--board", default="generic", show_default=True, help="Or a header: my-board.h.")
@click.option("--core", help="Such as m4; that of the board by default.")
@click.option("--cc", help="Compiler; arm-none-eabi-gcc or else zig's by default.")
@click.option("--plain", is_flag=True, help="Without the core's DSP instructions.")
def build(
    models: tuple[str, ...],
    output_file: Path,
    board: str,
    core: str | None,
    cc: str | None,
    plain: bool,
) -> None:
    """Build the bench firmware with MODELS in it, .tflite files or networks of the zoo."""
    import shlex

    from mcusim.calibration.bench_build import Compiler, build_firmware
    from mcusim.models import load_model

    if output_file.suffix != ".elf":
        raise click.UsageError("--output must end in .elf")
    graphs = [load_model(model) for model in models]
    compiler = Compiler(tuple(shlex.split(cc)), "zig" in cc) if cc else None
    with console.progress(f"building {output_file}"):
        built_for = build_firmware(graphs, output_file, board, core, compiler, plain)
    console.show(f"{output_file}: {board} ({built_for}), {output_file.stat().st_size} bytes")


@command.command("plan")
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option(
    "--output",
    "-o",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the networks and the table to fill in.",
)
@click.option("--runtime", default="tflm", show_default=True, help="Software of the firmware.")
@click.option("--build", default="gcc-O3", show_default=True, help="Its compiler and flag.")
@click.option("--clock", callback=frequency, help="The one clock to measure at, such as 80MHz.")
def plan(board: str, folder: Path, runtime: str, build: str, clock: float | None) -> None:
    """Choose the few networks and settings that tell the parameters of a board.

    Writes each network as .tflite and as a C array, and runs.csv to fill in for mcusim calibrate.
    """
    from mcusim.calibration.bench_files import plan_files
    from mcusim.calibration.bench_plan import plan_bench
    from mcusim.cli.output_files import write_whole

    with console.progress(f"planning for {board}"):
        found = plan_bench(board, runtime, build, clock)
        files = plan_files(found)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "runs.csv"
    if table.exists() and table.read_bytes() != files["runs.csv"]:
        raise click.UsageError(f"{table} is there already, and may hold what was measured")
    for name, content in files.items():
        write_whole(folder / name, partial(_write, content))
    console.show(
        *found.lines(),
        f"{folder}: {len(files)} files; fill in latency_ms, and energy_mj or trace, and then: "
        f"mcusim calibrate --board {board} --measurements {table}",
    )


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


@command.command("run")
@click.option(
    "--port",
    required=True,
    help="Serial port, URL such as socket://host:4321, or a file with what it said.",
)
@click.option("--output", "-o", "output_file", required=True, type=_FILE, help="A .csv file.")
@click.option("--baud", default=115200, show_default=True, type=click.IntRange(1))
@click.option("--board", help="A board's name or .toml file, for its clock; see mcusim boards.")
@click.option(
    "--clock",
    "clock_hz",
    type=click.FloatRange(1),
    callback=number,
    help="Clock of the core, in Hz.",
)
@click.option("--firmware", type=_FILE, help="The ELF that runs on the board; see calibrate.")
@click.option("--model", "models", multiple=True, help="A .tflite in it, to compare its bits.")
@click.option(
    "--timeout",
    "silence_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    callback=number,
    help="Seconds to wait for the next line.",
)
def run(
    port: str,
    output_file: Path,
    baud: int,
    board: str | None,
    clock_hz: float | None,
    firmware: Path | None,
    models: tuple[str, ...],
    silence_s: float,
) -> int:
    """Read what the bench firmware measures on a board, as runs for mcusim calibrate.

    Exit code 1: the board computed other bits than mcusim; the runs are written all the same.
    """
    from mcusim.calibration.bench_bits import check_bits
    from mcusim.calibration.bench_run import measurements_csv, open_source, read_report
    from mcusim.cli.output_files import write_whole
    from mcusim.errors import InputError

    if output_file.suffix != ".csv":
        raise click.UsageError("--output must end in .csv")
    if board:
        from mcusim.boards import load_board

        clock_hz = clock_hz or load_board(board).clock.default_hz
    with open_source(port, baud) as source, console.progress(f"reading {port}"):
        report = read_report(source, silence_s)
    clock_hz = report.clock_hz or clock_hz
    if not clock_hz:
        raise InputError(f"{port}: the firmware does not know its clock; give --clock or --board")
    build = str(firmware.resolve()) if firmware else report.shipped
    content = measurements_csv(report, clock_hz, build or report.build).encode()
    write_whole(output_file, lambda file: file.write(content))
    rows = content.count(b"\n") - 1
    console.show(
        f"{output_file}: {rows} runs on {report.board} ({report.core}, {clock_hz / 1e6:g} MHz, "
        f"{report.timer}), {report.build}"
    )
    bits = check_bits(report, models)
    console.show(*bits.lines)
    if not build:
        console.show("mcusim calibrate needs the ELF that ran; give it as --firmware")
    return 1 if bits.differ else 0
