"""``mcusim run``: what a model takes on a board, and what it computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console
from mcusim.cli.quantities import charge, duration, frequency, places, rest, voltage

if TYPE_CHECKING:
    from mcusim.duty_cycle import DutyCycle
    from mcusim.estimates import Estimate
    from mcusim.graph import Graph

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("model")
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option(
    "--runtime",
    default="tflm",
    show_default=True,
    help="Software that runs the model; all shows every one beside the others.",
)
@click.option("--build", default="gcc-O3", show_default=True, help="Compiler and flag.")
@click.option("--clock", callback=frequency, help="Clock of the core, such as 80MHz.")
@click.option("--fpu/--no-fpu", default=None, help="Whether the build uses the FPU.")
@click.option("--supply", callback=voltage, help="Supply voltage, such as 3V.")
@click.option(
    "--place",
    multiple=True,
    callback=places,
    help="Memory for code, weights, arena or stack, such as weights=sdram.",
)
@click.option("--why", is_flag=True, help="Say why each layer runs its kernel.")
@click.option("--period", callback=duration, help="From one inference to the next, such as 1s.")
@click.option("--battery", callback=charge, help="What it holds, such as 220mAh or 2.5Wh.")
@click.option(
    "--rest", callback=rest, help="Between inferences: sleep, idle, or a current such as 2uA."
)
@click.option("--input", "input_file", type=_FILE, help="Run on the arrays of a .npy or .npz file.")
@click.option("--output", "output_file", type=_FILE, help="Save outputs as .npy or .npz.")
@click.option("--json", "json_file", type=_FILE, help="Save the estimate as JSON.")
@click.option("--html", "html_file", type=_FILE, help="Save a report beside other boards.")
@click.option("--markdown", "markdown_file", type=_FILE, help="Save a summary as Markdown.")
@click.option("--csv", "csv_file", type=_FILE, help="Save the layers as CSV.")
@click.option("--trace", "trace_file", type=_FILE, help="Save a timeline for Perfetto.")
@click.option(
    "--model-explorer", "overlay_file", type=_FILE, help="Save an overlay for Model Explorer."
)
@click.option("--compare", "firmware", type=_FILE, help="Firmware to run the same model in.")
def command(
    model: str,
    board: str,
    runtime: str,
    build: str,
    clock: float | None,
    fpu: bool | None,
    supply: float | None,
    place: dict[str, str] | None,
    why: bool,
    period: float | None,
    battery: tuple[float, float] | None,
    rest: str | float | None,
    input_file: Path | None,
    output_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    markdown_file: Path | None,
    csv_file: Path | None,
    trace_file: Path | None,
    overlay_file: Path | None,
    firmware: Path | None,
) -> int:
    """Estimate what MODEL takes on a board: time and energy by layer, RAM and flash.

    MODEL is a .tflite file, the name of a network (see mcusim networks), or a network in a line,
    such as "49x10x1 c64k10x4s2 d3 c64k1 a f12 softmax".
    """
    import mcusim
    from mcusim.cli.report_files import (
        save_csv,
        save_html,
        save_markdown,
        save_overlay,
        save_trace,
    )

    if output_file and not input_file:
        raise click.UsageError("--output needs --input")
    if runtime == "all":
        one_only = (
            supply,
            place,
            period,
            input_file,
            html_file,
            markdown_file,
            csv_file,
            trace_file,
            overlay_file,
            firmware,
            why or None,
        )
        if any(option is not None for option in one_only):
            raise click.UsageError("--runtime all takes --build, --clock, --fpu and --json only")
        return 0 if _all_runtimes(model, board, build, clock, fpu, json_file) else 2
    if period is None and (battery is not None or rest is not None):
        raise click.UsageError(f"--{'battery' if battery else 'rest'} needs --period")
    with console.progress(f"loading {model}"):
        graph = mcusim.load_model(model)
        found = mcusim.estimate(
            graph,
            mcusim.load_board(board),
            runtime,
            build,
            clock_hz=clock,
            fpu=fpu,
            placement=place,
            supply_v=supply,
        )
    if warning := _untrained(graph):
        found = replace(found, warnings=(*found.warnings, warning))
    cycle = None if period is None else _cycle(found, period, battery, rest)
    _show(found, why, cycle)
    if json_file:
        _save_json(found, json_file, cycle)
    if html_file:
        save_html(graph, found, html_file, cycle)
    if markdown_file:
        save_markdown(found, markdown_file, cycle)
    if csv_file:
        save_csv(found, csv_file)
    if trace_file:
        save_trace(found, trace_file)
    if overlay_file:
        save_overlay(graph, found, overlay_file)
    if input_file:
        _compute(graph, found, input_file, output_file)
    if firmware:
        from mcusim.cli.compared import show_comparison

        return 0 if show_comparison(graph, found, firmware) else 1
    return 0


def _all_runtimes(
    model: str,
    board: str,
    build: str,
    clock: float | None,
    fpu: bool | None,
    json_file: Path | None,
) -> bool:
    """Every runtime beside the others, and why some cannot run the model; whether any can."""
    from rich.text import Text

    import mcusim
    from mcusim.alternatives import alternatives, alternatives_dict
    from mcusim.cli.output_files import write_whole
    from mcusim.report import alternatives_table, note_lines, refusal_lines

    with console.progress(f"estimating {model} under every runtime"):
        graph, found_board = mcusim.load_model(model), mcusim.load_board(board)
        found = alternatives(graph, found_board, build, clock_hz=clock, fpu=fpu)
    rate_hz = clock or found_board.clock.default_hz
    runs = any(alternative.estimate for alternative in found)
    console.show(
        f"{graph.name} on {found_board.name} ({found_board.core.name}, {rate_hz / 1e6:g} MHz), "
        f"{build}",
        alternatives_table(found) if runs else "no runtime runs it",
        *note_lines(found),
        *refusal_lines(found),
        *(Text(f"! {warning}") for warning in (_untrained(graph),) if warning),
    )
    if json_file:
        content = json.dumps(alternatives_dict(found), indent=1, allow_nan=False) + "\n"
        write_whole(json_file, lambda file: file.write(content.encode()))
    return runs


def _untrained(graph: Graph) -> str:
    from mcusim.zoo.description import UNTRAINED

    if graph.description != UNTRAINED:
        return ""
    return "untrained: described in a line, so that time and memory are told but not its outputs"


def _cycle(
    found: Estimate,
    period_s: float,
    battery: tuple[float, float] | None,
    rest: str | float | None,
) -> DutyCycle:
    from mcusim.duty_cycle import duty_cycle

    battery_ah = None
    if battery is not None:
        held_ah, held_j = battery
        battery_ah = held_ah or held_j / 3600.0 / found.board.power.supply_v
    name, current_a = (rest, None) if rest is None or isinstance(rest, str) else (None, rest)
    return duty_cycle(found, period_s, battery_ah=battery_ah, rest=name, rest_a=current_a)


def _show(found: Estimate, why: bool, cycle: DutyCycle | None) -> None:
    from rich.text import Text

    from mcusim.report import (
        dominant_lines,
        duty_cycle_lines,
        layer_table,
        reason_lines,
        summary_lines,
    )

    board = found.board
    console.show(
        f"{found.model} on {board.name} ({board.core.name}, {found.clock_hz / 1e6:g} MHz), "
        f"{found.runtime}, {found.build}",
        layer_table(found, console.terminal_width()),
        *(reason_lines(found) if why else ()),
        *summary_lines(found),
        *(duty_cycle_lines(cycle, found) if cycle else ()),
        *dominant_lines(found),
        *(Text(f"! {warning}") for warning in found.warnings),
    )


def _save_json(found: Estimate, path: Path, cycle: DutyCycle | None) -> None:
    from mcusim.cli.output_files import write_whole
    from mcusim.report import duty_cycle_dict

    said = found.to_dict() | ({"duty_cycle": duty_cycle_dict(cycle, found)} if cycle else {})
    content = json.dumps(said, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(content.encode()))


def _compute(graph: Graph, found: Estimate, input_file: Path, output_file: Path | None) -> None:
    import mcusim
    from mcusim.cli.arrays import described, load_inputs, save_outputs
    from mcusim.estimator import rounds_once

    inputs = load_inputs(input_file, [tensor.name for tensor in graph.inputs])
    with console.progress(f"running {graph.name}"):
        result = mcusim.run(
            graph,
            inputs,
            runtime=found.runtime,
            core=found.board.core.profile,
            single_rounding=rounds_once(found.runtime, found.build),
        )
    for tensor, array in zip(graph.outputs, result.outputs, strict=True):
        console.show(f"output    {tensor.name}: {described(array)}")
    if output_file:
        save_outputs(output_file, [tensor.name for tensor in graph.outputs], result.outputs)
