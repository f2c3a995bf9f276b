"""``mcusim reproduce``: a published experiment, published beside predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.experiments import Reproduction

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the plots into this folder as SVG.",
)
def command(name: str | None, plots: Path | None) -> None:
    """Print each number that experiment NAME published beside ours, and its conclusions.

    Without NAME the experiments are listed.
    """
    from mcusim.experiments import names, reproduce
    from mcusim.experiments.pages import summary_lines
    from mcusim.experiments.plots import check_plotting

    if name is None:
        console.show("\n".join(names()))
        return
    if plots:
        check_plotting()
    with console.progress(f"reproducing {name}"):
        found = reproduce(name)
    console.show(found.title)
    for table in found.tables:
        _show_table(found, table)
    for claim in found.claims:
        verdict = {True: "confirmed", False: "NOT CONFIRMED", None: "open"}[claim.confirmed]
        console.show(f"{verdict}: {claim.text}", f"    {claim.evidence}")
    console.show("", *summary_lines(found), *(f"! {remark}" for remark in found.remarks))
    if plots:
        _save(found, plots)


def _show_table(found: Reproduction, name: str) -> None:
    from rich import box
    from rich.table import Table

    from mcusim.experiments.pages import Remarks, number, published, reach

    table = Table(name, "unit", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("published", "predicted", "90 % or range", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("remarks")
    remarks = Remarks(found.rows_of(name))
    for row in found.rows_of(name):
        table.add_row(
            row.what,
            row.unit,
            published(row),
            number(row.predicted),
            reach(row),
            "" if row.error is None else f"{100 * row.error:+.1f} %",
            remarks.of(row, "seen by the fit"),
        )
    console.show(table, *(f"    {line}" for line in remarks.below()))


def _save(found: Reproduction, folder: Path) -> None:
    from mcusim.experiments.plots import plot_svg

    folder.mkdir(parents=True, exist_ok=True)
    for figure in found.figures:
        text = plot_svg(figure).encode()
        path = folder / f"{figure.name}.svg"
        _write(path, text)
        console.show(f"wrote {path}")


def _write(path: Path, content: bytes) -> None:
    from mcusim.cli.output_files import write_whole

    write_whole(path, lambda file: file.write(content))
