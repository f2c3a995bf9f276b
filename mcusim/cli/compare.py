"""``mcusim compare``: two revisions of a model, layer beside layer."""

from __future__ import annotations

from pathlib import Path

import click

from mcusim.cli import console
from mcusim.cli.quantities import number

__all__ = ["command"]


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option("--runtime", default="tflm", show_default=True, help="Software that runs the model.")
@click.option("--build", default="gcc-O3", show_default=True, help="Compiler and flag.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the comparison as Markdown.",
)
@click.option(
    "--slower",
    type=float,
    callback=number,
    help="Fail where AFTER is slower by more than this many %.",
)
def command(
    before: str,
    after: str,
    board: str,
    runtime: str,
    build: str,
    markdown: Path | None,
    slower: float | None,
) -> int:
    """Compare what models BEFORE and AFTER take on a board: totals, and the layers that differ.

    Exit code 1: --slower is exceeded. Relative changes are surer than either time, as both are
    predicted with the same board.
    """
    import mcusim
    from mcusim.cli.output_files import write_whole
    from mcusim.errors import InputError
    from mcusim.report.comparison import compare, comparison_markdown

    device = mcusim.load_board(board)
    with console.progress(f"comparing {before} with {after}"):
        estimates = [
            mcusim.estimate(mcusim.load_model(model), device, runtime, build)
            for model in (before, after)
        ]
        found = compare(*estimates)
    text = comparison_markdown(found)
    console.show(text.rstrip())
    if markdown:
        write_whole(markdown, lambda file: file.write(text.encode()))
    if slower is None:
        return 0
    for known in estimates:
        if not all(layer.is_priced for layer in known.layers):
            raise InputError(
                f"{known.model}: nothing prices some layer, so that --slower cannot be judged"
            )
    grown = 100 * (found.after.latency_s / found.before.latency_s - 1)
    return 1 if grown > slower else 0
