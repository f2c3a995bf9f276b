"""``mcusim calibrate``: a board fitted to runs that were measured on it."""

from __future__ import annotations

from pathlib import Path

import click

from mcusim.cli import console
from mcusim.cli.quantities import frequency

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option(
    "--measurements",
    required=True,
    type=click.Path(path_type=Path),
    help="Measured runs as .csv, a recording of current, or results of MLPerf Tiny.",
)
@click.option("--output", "-o", "output_file", type=_FILE, help="Save the fitted board as .toml.")
@click.option("--runtime", default="tflm", show_default=True, help="Of the rows that name none.")
@click.option("--build", default="gcc-O3", show_default=True, help="Of the rows that name none.")
@click.option("--model", help="Network of a recording, or of results that do not name it.")
@click.option("--clock", callback=frequency, help="Clock of a recording, or of rows without one.")
@click.option(
    "--inferences",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="While the pin of a recording is high once.",
)
@click.option("--gpio", help="Pin of a recording that is high while the network runs.")
@click.option("--current", help="Column or channel of a recording with the supply current.")
def command(
    board: str,
    measurements: Path,
    output_file: Path | None,
    runtime: str,
    build: str,
    model: str | None,
    clock: float | None,
    inferences: int,
    gpio: str | None,
    current: str | None,
) -> int:
    """Fit the parameters of a board that measured runs identify, and say how far to trust them.

    Exit code 1: the fit is refused, and nothing is written.
    """
    from mcusim.boards import load_board
    from mcusim.calibration.boards import calibrate
    from mcusim.calibration.measurements import RecordedWith, read_measurements
    from mcusim.cli.output_files import write_whole

    if output_file and output_file.suffix != ".toml":
        raise click.UsageError("--output must end in .toml")
    if output_file and board.endswith(".toml") and output_file.resolve() == Path(board).resolve():
        raise click.UsageError(f"--output is the board itself, which {output_file} is to inherit")
    supply_v = load_board(board).power.supply_v
    recorded = RecordedWith(model, clock, supply_v, inferences, gpio, current)
    with console.progress(f"fitting {board}"):
        runs = read_measurements(measurements, recorded)
        found = calibrate(board, runs, runtime, build)
    console.show(*found.report())
    if found.refused:
        console.fail(found.refused)
        return 1
    if output_file:
        content = found.toml(output_file.parent).encode()
        write_whole(output_file, lambda file: file.write(content))
    return 0
