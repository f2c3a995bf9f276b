"""``mcusim exec``: runs compiled firmware, or one function of it, in board time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcusim.cli import console
from mcusim.cli.execution_files import save_json, save_traces
from mcusim.cli.quantities import frequency, number
from mcusim.report.numbers import milli

if TYPE_CHECKING:
    from mcusim.emulator.layers import LayerWatch
    from mcusim.emulator.machine import Machine, Output, Stop
    from mcusim.emulator.profile import Execution
    from mcusim.estimates import Estimate

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_FUNCTIONS_SHOWN = 20
_REGISTERS_SHOWN = 8
#: What a guest says must not steer the terminal.
_WITHOUT_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "�") | {
    ord(kept): kept for kept in "\n\r\t"
}


class _Address(click.ParamType[int]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """An address in any base that Python writes."""
        try:
            return value if isinstance(value, int) else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is not an address such as 0x08000000", param, ctx)


def _allowed(
    ctx: click.Context, param: click.Parameter, given: tuple[str, ...]
) -> Mapping[str, Path]:
    """Files that the firmware may open, by the names that it opens them by: ``NAME=FILE``."""
    files: dict[str, Path] = {}
    for text in given:
        name, _, file = text.partition("=")
        if not (name and file):
            raise click.BadParameter(f"{text!r} is not a name and a file such as log.txt=/tmp/log")
        if name in files:
            raise click.BadParameter(f"{name!r} is given two files")
        if Path(file).is_dir():
            raise click.BadParameter(f"{file} is a directory")
        files[name] = Path(file)
    return files


@click.command()
@click.argument("elf", type=click.Path(path_type=Path))
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option("--clock", callback=frequency, help="Clock of the core, such as 80MHz.")
@click.option("--base", type=_Address(), help="Where a raw binary lies.")
@click.option("--call", "function", help="Run only this function.")
@click.option("--args", "arguments_file", type=_FILE, help="Its arguments, as TOML.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=number,
    default=10.0,
    show_default=True,
    help="Board time at most.",
)
@click.option("--max-instructions", type=click.IntRange(min=1), help="Instructions at most.")
@click.option("--peripherals", type=_FILE, help="Table of the chip's registers, as TOML.")
@click.option(
    "--file",
    "files",
    multiple=True,
    callback=_allowed,
    metavar="NAME=FILE",
    help="A file that the firmware may open by semihosting.",
)
@click.option("--json", "json_file", type=_FILE, help="Save the result as JSON.")
@click.option("--trace", "trace_file", type=_FILE, help="Save a trace for Perfetto.")
@click.option("--speedscope", "speedscope_file", type=_FILE, help="Save a profile for speedscope.")
def command(
    elf: Path,
    board: str,
    clock: float | None,
    base: int | None,
    function: str | None,
    arguments_file: Path | None,
    max_seconds: float,
    max_instructions: int | None,
    peripherals: Path | None,
    files: Mapping[str, Path],
    json_file: Path | None,
    trace_file: Path | None,
    speedscope_file: Path | None,
) -> int:
    """Run firmware on a board: what it prints, and time and energy by function.

    ELF is an ELF, Intel HEX or UF2 file, or a raw binary with its --base.
    """
    import mcusim
    from mcusim.emulator.executed_model import models_within
    from mcusim.emulator.firmware import power_on
    from mcusim.emulator.images import load_image
    from mcusim.emulator.layers import LayerWatch
    from mcusim.emulator.profile import profile
    from mcusim.emulator.traces import record

    if arguments_file and not function:
        raise click.UsageError("--args needs --call")
    for file in (json_file, trace_file, speedscope_file):
        if file and not file.absolute().parent.is_dir():  # before the run, and not after it
            raise click.UsageError(f"{file}: its directory is not there")
    machine = power_on(
        load_image(elf, base),
        mcusim.load_board(board),
        clock_hz=clock,
        peripherals=peripherals,
        files=files,
    )
    machine.heard = _print_output
    model = next(models_within(machine), None)
    watch = LayerWatch(machine, operators=None if model is None else len(model.main.operators))
    if trace_file or speedscope_file:
        record(machine)
    result: dict[str, Any] = {}
    if function:
        stop, result = _call(machine, function, arguments_file, max_seconds, max_instructions)
    else:
        stop = machine.run(max_seconds=max_seconds, max_instructions=max_instructions)
    if machine.outputs and not machine.outputs[-1].data.endswith(b"\n"):
        console.show("")
    found = profile(machine, stop)
    layers = _layers(machine, watch)
    _show(machine, found)
    _show_layers(machine, watch, layers)
    if model is not None and not watch.knows_operators:
        console.show(
            f"! {found.image} holds a model and no symbols of TFLite Micro's operators, so that "
            "time is not told by layer: build it without stripping them"
        )
    if json_file:
        save_json(machine, found, result, layers, json_file)
    if trace_file or speedscope_file:
        save_traces(machine, found, watch, trace_file, speedscope_file)
    return _exit_code(machine, stop, is_call=bool(function))


def _call(
    machine: Machine,
    function: str,
    arguments_file: Path | None,
    max_seconds: float,
    max_instructions: int | None,
) -> tuple[Stop, dict[str, Any]]:
    """Run one function; gives what it returned and left in its buffers, JSON-ready."""
    from mcusim.emulator.call_files import CallFile, load_call_file
    from mcusim.emulator.calls import NotReturnedError
    from mcusim.emulator.machine import Stop, StopReason

    given = load_call_file(arguments_file) if arguments_file else CallFile((), "int32", {})
    said: dict[str, Any] = {"function": function, "returned": None, "buffers": {}}
    try:
        result = machine.call(
            function,
            *given.arguments,
            returns=given.returns,
            max_seconds=max_seconds,
            max_instructions=max_instructions,
        )
    except NotReturnedError as error:
        console.show(f"{function} did not return")
        return error.stop, said
    if result.value is not None:
        said["returned"] = result.value.item()
        console.show(f"{function} returned {result.value}")
    for name, before in given.buffers.items():
        after = result.array_of(before)
        if after is None:
            continue
        changed = int((after != before).sum())
        said["buffers"][name] = after.tolist()
        console.show(f"{name}: {changed:,} of {after.size:,} values changed; {_some(after)}")
    return Stop(StopReason.RETURNED), said


def _some(array: Any) -> str:
    flat = array.reshape(-1)
    shown = " ".join(str(value) for value in flat[:16])
    return shown + (" ..." if flat.size > 16 else "")


def _print_output(said: Output) -> None:
    console.show_part(said.data.decode("utf-8", "replace").translate(_WITHOUT_CONTROLS))


def _show(machine: Machine, found: Execution) -> None:
    from rich.text import Text

    board = machine.board
    stop = found.stop
    console.show(
        f"{found.image} on {board.name} ({board.core.name}, {found.clock_hz / 1e6:g} MHz)",
        _function_table(found),
    )
    low, high = found.latency_interval_s
    waiting = sum(
        f.part.cycles_by_cause.total - f.part.cycles_by_cause.core for f in found.functions
    )
    share = waiting / found.cycles if found.cycles else 0.0
    energy_low, energy_high = found.energy_interval_j
    console.show(
        f"time      {milli(found.latency_s, 6)} ms ({milli(low)} to {milli(high)} ms, 90 %)",
        f"energy    {milli(found.energy_j)} mJ ({milli(energy_low)} to {milli(energy_high)} mJ)",
        f"executed  {found.instructions:,.0f} instructions, {found.cycles:,.0f} cycles, "
        f"{100 * share:.1f} % of them waiting for memory",
    )
    if found.sleep_s:
        drawn = "" if found.sleep_j is None else f", {milli(found.sleep_j)} mJ"
        console.show(f"asleep    {milli(found.sleep_s, 6)} ms{drawn}")
    detail = f": {stop.detail}" if stop.detail else ""
    console.show(f"stopped   {stop.reason.value}{detail}")
    if stop.fault is not None:
        console.show(*stop.fault.lines())
    console.show(*_handled_faults(machine, stop))
    console.show(*_unknown_registers(machine, stop))
    console.show(*(Text(f"! {warning}") for warning in found.warnings))


def _handled_faults(machine: Machine, stop: Stop) -> list[str]:
    """The first fault that a handler of the firmware took, as the core was, and how many more."""
    handled = [fault for fault in machine.faults if fault is not stop.fault]
    if not handled or (stop.fault is not None and handled[0].time_s >= stop.fault.time_s):
        return []
    first = handled[0]
    by = f" in {first.handler}" if first.handler else ""
    lines = [
        f"! the firmware handled a fault at {milli(first.time_s)} ms as {first.exception}{by}: "
        f"{first.detail}",
        *first.lines(),
    ]
    if len(handled) > 1:
        lines.append(f"! and {len(handled) - 1} more; --json lists them")
    return lines


def _layers(machine: Machine, watch: LayerWatch) -> Estimate | None:
    """The first whole inference as an estimate, where its model lies in the image."""
    from mcusim.emulator.executed_model import executed_estimate, models_within
    from mcusim.errors import McusimError

    whole = next((i for i in watch.inferences if i.is_complete), None)
    if whole is None or not whole.layers:
        return None
    for graph in models_within(machine):
        if len(graph.main.operators) == len(whole.layers):
            try:
                return executed_estimate(graph, machine, whole)
            except McusimError:
                continue
    return None


def _show_layers(machine: Machine, watch: LayerWatch, found: Estimate | None) -> None:
    """The first inference, operator by operator."""
    from mcusim.emulator.names import plain_name
    from mcusim.report import layer_table

    if not watch.inferences:
        return
    first = watch.inferences[0]
    took_s = (first.end_cycles - first.start_cycles) / machine.clock_hz
    console.show(
        "",
        f"first of {len(watch.inferences)} inferences, at "
        f"{milli(first.start_cycles / machine.clock_hz)} ms, took {milli(took_s, 6)} ms",
    )
    if found is not None:
        console.show(layer_table(found, console.terminal_width()))
        return
    for layer in first.layers:
        took_s = (layer.end_cycles - layer.start_cycles) / machine.clock_hz
        console.show(
            f"  {layer.index:3}  {plain_name(layer.function.name):40} "
            f"{layer.counts.mix().total:14,.0f} instructions {milli(took_s, 6):>12} ms"
        )


def _function_table(found: Execution) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("function", no_wrap=True)
    for title in ("entered", "instructions", "cycles", "fetch", "data", "ms", "share", "mJ"):
        table.add_column(title, justify="right", no_wrap=True)
    for function in found.functions[:_FUNCTIONS_SHOWN]:
        part = function.part
        cause = part.cycles_by_cause
        table.add_row(
            Text(function.name),
            f"{function.entered:,}",
            f"{part.instructions.total:,.0f}",
            f"{part.cycles:,.0f}",
            f"{cause.fetch:,.0f}",
            f"{cause.data + cause.working:,.0f}",
            milli(part.latency_s),
            f"{100 * part.cycles / found.cycles:.1f} %",
            milli(part.energy_j),
        )
    if (rest := len(found.functions) - _FUNCTIONS_SHOWN) > 0:
        table.add_row(Text(f"{rest} more"))
    return table


def _unknown_registers(machine: Machine, stop: Stop) -> list[str]:
    """Registers that no table has: the one that is waited for, then the most used first."""
    from mcusim.emulator.polling import polled_register

    found = sorted(machine.bus.unknown.values(), key=lambda access: -(access.reads + access.writes))
    lines = []
    if polled := polled_register(machine, stop):
        block = max(polled.blocks, key=lambda at: polled.blocks[at])
        lines.append(
            f"! the firmware was waiting for register {polled.address:#010x}, in no table, at "
            f"{machine.place(block)}: --peripherals can answer it"
        )
    for access in found[:_REGISTERS_SHOWN]:
        block = max(access.blocks, key=lambda at: access.blocks[at], default=0)
        lines.append(
            f"! register {access.address:#010x} is in no table: {access.reads:,} reads, "
            f"{access.writes:,} writes, by {machine.place(block)}"
        )
    if (rest := len(found) - _REGISTERS_SHOWN) > 0:
        lines.append(f"! {rest} more registers are in no table; --json lists them")
    return lines


def _exit_code(machine: Machine, stop: Stop, is_call: bool) -> int:
    from mcusim.emulator.machine import StopReason

    if stop.reason is StopReason.INTERRUPTED:
        return 130
    failed = is_call and stop.reason is not StopReason.RETURNED
    return 1 if failed or machine.faults or stop.reason is StopReason.STUCK else 0
