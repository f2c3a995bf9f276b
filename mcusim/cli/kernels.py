"""``mcusim kernels``: library functions as a user built them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.emulator.kernel_checks import KernelCheck

__all__ = ["command"]


@click.group()
def command() -> None:
    """Look at the kernels within a firmware image."""


@command.command()
@click.argument("elf", type=click.Path(path_type=Path))
@click.option("--board", required=True, help="A board's name or .toml file; see mcusim boards.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("ds-cnn", "resnet-8"),
    show_default=True,
    help="Model whose operators are the cases.",
)
@click.option("--build", default="gcc-O3", show_default=True, help="Compiler and flag.")
def check(elf: Path, board: str, models: tuple[str, ...], build: str) -> int:
    """Call the CMSIS-NN functions within ELF, and compare bits and counts with mcusim's.

    Exit code 1 when a bit differs.
    """
    import mcusim
    from mcusim.emulator.images import load_image
    from mcusim.emulator.kernel_checks import check_kernels
    from mcusim.emulator.machine import Machine
    from mcusim.errors import InputError

    machine = Machine(load_image(elf), mcusim.load_board(board))
    found: list[KernelCheck] = []
    for name in models:
        with console.progress(f"calling the functions of {name}"):
            found += check_kernels(machine, mcusim.load_model(name), build)
    if not found:
        raise InputError(f"{elf}: has no symbols of CMSIS-NN functions that these models use")
    console.show(_table(found))
    wrong = sum(1 for one in found if one.differing)
    said = f"{wrong} of {len(found)} calls differ" if wrong else f"all {len(found)} calls are equal"
    console.show(f"bits      {said}")
    return 1 if wrong else 0


def _table(found: list[KernelCheck]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("function", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    for title in ("bits", "instructions", "profile", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for one in found:
        bits = f"{one.differing:,} of {one.values:,} differ" if one.differing else "equal"
        predicted, off = "?", ""
        if one.predicted is not None:
            predicted = f"{one.predicted:,.0f}"
            off = f"{100 * (one.predicted / one.executed - 1):+.1f} %"
        table.add_row(
            Text(one.function), Text(one.layer), bits, f"{one.executed:,.0f}", predicted, off
        )
    return table
