"""``mcusim advise``: what to change, and what it buys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console
from mcusim.cli.quantities import duration

if TYPE_CHECKING:
    from rich.table import Table

    from mcusim.advice import Advice

__all__ = ["command"]


@click.command()
@click.argument("model")
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option("--runtime", default="tflm", show_default=True, help="Software that runs the model.")
@click.option("--build", default="gcc-O3", show_default=True, help="Compiler and flag.")
@click.option("--below", callback=duration, help="A deadline such as 50ms: least energy under it.")
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the changed models into this folder.",
)
def command(
    model: str, board: str, runtime: str, build: str, below: float | None, models: Path | None
) -> None:
    """Try changes of MODEL and of how it runs, and say what each buys and costs.

    MODEL is a .tflite file or the name of a network (see mcusim networks).
    """
    import mcusim
    from mcusim.advice import Setting, advise
    from mcusim.errors import InputError
    from mcusim.report.numbers import milli

    if models and models.exists() and not models.is_dir():
        raise InputError(f"{models} is no folder: the changed models cannot be written into it")
    with console.progress(f"trying changes of {model}"):
        setting = Setting(mcusim.load_model(model), mcusim.load_board(board), runtime, build)
        found = advise(setting, below_s=below)
    before = found.before
    console.show(
        f"{before.model} on {before.board.name}, {before.runtime}, {before.build}: "
        f"{milli(before.latency_s)} ms, {milli(before.energy_j, 3)} mJ",
    )
    if not found.changes:
        console.show("nothing that was tried buys 1 % of time or energy")
        return
    console.show(_table(found))
    if below is not None and not any(c.kind == "clock" for c in found.changes):
        console.show(f"no other clock of the board meets {below * 1e3:g} ms, or none is thriftier")
    if models:
        for path in _written(found, models):
            console.show(f"wrote     {path}")


def _table(found: Advice) -> Table:
    from rich import box
    from rich.table import Table

    from mcusim.report.numbers import milli

    table = Table("change", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("ms", "time", "mJ", "energy", "RAM", "flash"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("remarks")
    for change in found.changes:
        after = change.estimate
        table.add_row(
            f"together: {change.what}" if change.kind == "together" else change.what,
            milli(after.latency_s),
            f"{-100 * found.time_saved(change):+.0f} %",
            milli(after.energy_j, 3),
            f"{-100 * found.energy_saved(change):+.0f} %",
            _difference(found.before.ram_bytes, after.ram_bytes),
            _difference(found.before.flash_bytes, after.flash_bytes),
            "; ".join(filter(None, [change.cost, "" if change.keeps_bits else "other outputs"])),
        )
    return table


def _difference(before: int | None, after: int | None) -> str:
    return "?" if before is None or after is None else f"{after - before:+,}"


def _written(found: Advice, folder: Path) -> list[Path]:
    from mcusim.tflite import write

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for change in found.changes:
        if change.kind in ("layer", "channels"):
            path = folder / f"{Path(change.setting.graph.name).name}.tflite"
            _write(path, write(change.setting.graph))
            paths.append(path)
    return paths


def _write(path: Path, content: bytes) -> None:
    from mcusim.cli.output_files import write_whole

    write_whole(path, lambda file: file.write(content))
