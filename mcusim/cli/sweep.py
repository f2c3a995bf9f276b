"""``mcusim sweep``: many estimates into one file, and the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console
from mcusim.cli.quantities import frequency, number, places, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from mcusim.sweep import Row

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
#: Stands for what a board does unless told otherwise.
_USUAL = "usual"
_ORDERS = {
    "ms": "latency_s",
    "mj": "energy_j",
    "ram": "ram_bytes",
    "flash": "flash_bytes",
    "macs": "macs",
}


class _FileOrCommand(click.Group):
    """A group that takes the options of a sweep in the place of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_sweep = args and args[0] not in (*self.commands, "-h", "--help")
        return super().parse_args(ctx, ["run", *args] if is_sweep else args)


@click.group(cls=_FileOrCommand, subcommand_metavar="[run] FILE … | show FILE …")
def command() -> None:
    """Price models x boards x settings into one SQLite file; show the best of them.

    What is in FILE already is not priced again: the same command goes on after it was stopped,
    however that was.
    """


@command.command("run")
@click.argument("file", type=_FILE)
@click.option(
    "--model",
    "models",
    multiple=True,
    help='A file, a name of the zoo, or a description such as "49x10x1 c64k3 a f12".',
)
@click.option("--models-from", type=_FILE, help="A file with one model a line.")
@click.option("--board", "boards", multiple=True, required=True, help="A name or .toml file.")
@click.option("--runtime", "runtimes", multiple=True, default=["tflm"], help="tflm, unless told.")
@click.option("--build", "builds", multiple=True, default=["gcc-O3"], help="gcc-O3, unless told.")
@click.option("--clock", "clocks", multiple=True, default=[_USUAL], help="Such as 80MHz, or usual.")
@click.option(
    "--place",
    "placements",
    multiple=True,
    default=[_USUAL],
    help="Such as weights=ram,code=ram, or usual.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores unless told.")
@click.option("--scheduler", help="A Dask scheduler to work on instead, such as tcp://host:8786.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    models: tuple[str, ...],
    models_from: Path | None,
    boards: tuple[str, ...],
    runtimes: tuple[str, ...],
    builds: tuple[str, ...],
    clocks: tuple[str, ...],
    placements: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
) -> int:
    """Price every combination of what is given into FILE; most options may be given repeatedly."""
    from mcusim.sweep import Space, Store, sweep

    if workers is not None and scheduler is not None:
        raise click.UsageError("--workers are processes of this machine; --scheduler has its own")
    listed = _lines(models_from) if models_from else []
    if not models and not listed:
        raise click.UsageError("there is no model to price; give --model or --models-from")
    space = Space(
        [*models, *listed],
        boards,
        runtimes,
        builds,
        [None if c == _USUAL else frequency(ctx, _option(ctx, "clocks"), c) for c in clocks],
        [_placed(ctx, text) for text in placements],
    )
    space.settings()  # what is wrong in them is told before there is a file
    with Store(file, create=True) as store:
        try:
            with console.bar(f"pricing into {file}", len(space)) as advance:
                done = sweep(space, store, workers=workers, scheduler=scheduler, advance=advance)
        except KeyboardInterrupt:
            console.fail(
                f"interrupted; {file} holds {store.count():,} points, and the same command goes on"
            )
            return 130
        refused = f", {done.refused:,} of them refused" if done.refused else ""
        known = f"; {done.known:,} were there already" if done.known else ""
        console.show(f"priced {done.priced:,} points{refused}{known}")
    return 0


@command.command("show")
@click.argument("file", type=_FILE)
@click.option("--below-ms", type=float, callback=number, help="Longest inference, in ms.")
@click.option(
    "--energy-mj", type=float, callback=number, help="Most energy of an inference, in mJ."
)
@click.option("--ram", callback=size, help="Most RAM, such as 64KiB.")
@click.option("--flash", callback=size, help="Most flash, such as 256KiB.")
@click.option("--board", help="On this board only.")
@click.option("--by", type=click.Choice(list(_ORDERS)), default="ms", help="What comes first.")
@click.option("--front", is_flag=True, help="Only what nothing else beats in everything.")
@click.option(
    "--large", is_flag=True, help="More MACs are better: what stands in for accuracy in the front."
)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Rows to show.")
@click.option("--csv", "csv_file", type=_FILE, help="Save all rows, not only the top, as CSV.")
def show(
    file: Path,
    below_ms: float | None,
    energy_mj: float | None,
    ram: int | None,
    flash: int | None,
    board: str | None,
    by: str,
    front: bool,
    large: bool,
    top: int,
    csv_file: Path | None,
) -> None:
    """Show the best points of FILE under limits; * marks the Pareto front.

    The front is that of time, energy, RAM and flash. Points that their board cannot hold, or that
    lack the price of a layer, are left out.
    """
    from mcusim.sweep import Limits, Store, pareto

    latency_s = None if below_ms is None else below_ms / 1e3
    energy_j = None if energy_mj is None else energy_mj / 1e3
    with Store(file) as store:
        rows = store.rows(Limits(latency_s, energy_j, ram, flash, board))
        total = store.count()
        refused = store.count("error != ''")
        left_out = store.count("error = '' AND NOT (fits AND unpriced = 0)")
    marked = list(zip(rows, pareto(rows, large=large), strict=True))
    on_front = sum(best for _, best in marked)
    if front:
        marked = [(row, best) for row, best in marked if best]
    marked.sort(key=lambda each: _order(each[0], by))
    if marked:
        console.show(_table(marked[:top]))
    console.show(
        f"{len(rows):,} of {total:,} points keep to the limits, {on_front:,} on the front; "
        f"refused: {refused:,}; too large for the board or not priced in full: {left_out:,}"
    )
    if csv_file:
        _save_csv(marked, csv_file)


def _option(ctx: click.Context, name: str) -> click.Parameter:
    return next(option for option in ctx.command.params if option.name == name)


def _placed(ctx: click.Context, text: str) -> Mapping[str, str]:
    if text == _USUAL:
        return {}
    return places(ctx, _option(ctx, "placements"), (text,)) or {}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise click.UsageError(f"{path}: is no text") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _order(row: Row, by: str) -> float:
    figure = getattr(row, _ORDERS[by])
    # Most multiply-accumulates first, of all else the least.
    sign = -1.0 if by == "macs" else 1.0
    return float("inf") if figure is None else sign * float(figure)


def _table(marked: Sequence[tuple[Row, bool]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mcusim.report.numbers import milli

    rows = [row for row, _ in marked]
    table = Table("", "model", box=box.SIMPLE_HEAD, pad_edge=False)
    settings = [
        (title, texts)
        for title, texts in (
            ("board", [row.board for row in rows]),
            ("runtime", [row.runtime for row in rows]),
            ("build", [row.build for row in rows]),
            ("MHz", [f"{row.clock_hz / 1e6:g}" for row in rows]),
            ("placement", [_places(row) for row in rows]),
        )
        # What all rows share needs no column.
        if len(set(texts)) > 1 or title == "board"
    ]
    for title, _ in settings:
        table.add_column(title, no_wrap=True)
    for title in ("MMAC", "ms", "90 %", "mJ", "RAM", "flash"):
        table.add_column(title, justify="right", no_wrap=True)
    for index, (row, best) in enumerate(marked):
        low, high = row.latency_low_s or 0.0, row.latency_high_s or 0.0
        table.add_row(
            "*" if best else "",
            Text(row.model),
            *(Text(texts[index]) for _, texts in settings),
            f"{1e-6 * (row.macs or 0):,.3g}",
            milli(row.latency_s or 0.0),
            f"{milli(low, 3)} to {milli(high, 3)}",
            milli(row.energy_j or 0.0, 3),
            "?" if row.ram_bytes is None else f"{row.ram_bytes:,}",
            f"{row.flash_bytes:,}",
        )
    return table


def _places(row: Row) -> str:
    import json

    from mcusim.boards import PLACES

    said: dict[str, str] = json.loads(row.placement)
    moved = [f"{what}={where}" for what, where in said.items() if PLACES[what] != where]
    return ",".join(moved) or _USUAL


def _save_csv(marked: Sequence[tuple[Row, bool]], path: Path) -> None:
    import csv
    import io
    from dataclasses import asdict, fields

    from mcusim.cli.output_files import write_whole
    from mcusim.sweep import Row

    names = [field.name for field in fields(Row) if field.name not in ("key", "error")]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, "on_front"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**asdict(row), "on_front": best} for row, best in marked)
    write_whole(path, lambda file: file.write(text.getvalue().encode()))
