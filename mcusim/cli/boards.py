"""``mcusim boards``: the boards, or one in full with the source of each number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from mcusim.boards import BoardFile, board_names, load_board, read_board_file
from mcusim.cli import console

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the boards, or show one in full with the source of each number.

    NAME is a board that comes with mcusim, or the path of a .toml file.
    """
    if name is None:
        _list()
    else:
        _full(read_board_file(name))


def _list() -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("board", "core", "MHz", "flash KiB", "RAM KiB", "calibrated", "is"):
        right = title in ("MHz", "flash KiB", "RAM KiB")
        table.add_column(title, justify="right" if right else "left", no_wrap=title != "is")
    for name in board_names():
        board = load_board(name)
        table.add_row(
            name,
            board.core.name,
            f"{board.clock.default_hz / 1e6:g}",
            f"{board.flash.bytes / 1024:g}",
            f"{board.ram.bytes / 1024:g}",
            "yes" if board.calibrated else "no",
            board.description,
        )
    console.show(table)


def _full(file: BoardFile) -> None:
    from rich import box
    from rich.table import Table

    board = file.board
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("source")
    values = board.model_dump()
    core = {"core": values.pop("core")}
    for key, value in (*_numbers(values), *_numbers(core)):
        origin = file.origins.get(key)
        table.add_row(key, _value(value), origin.comment if origin else "")
    bounds = board.core.uncalibrated
    console.show(f"{board.name}: {board.description}", table)
    if not board.calibrated:
        console.show(
            "uncalibrated board: no measured run has been fitted; measured time may be "
            f"{bounds.measured_over_predicted_low:g} to {bounds.measured_over_predicted_high:g} "
            f"times the prediction (90 %), as stated for {board.core.name}"
        )


def _numbers(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{above}{key}.")
        elif not isinstance(value, str):
            yield above + key, value


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{limit / 1e6:g}MHz:{count}" for limit, count in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
