"""``mcusim boards``: the boards, or one in full with the source of each number, or checked."""

from __future__ import annotations

from typing import Any

import click

from mcusim.boards import BoardFile, board_names, load_board, read_board_file
from mcusim.boards.checks import check, numbers
from mcusim.cli import console

__all__ = ["command"]


class _NameOrCommand(click.Group):
    """A group that takes the name of a board in the place of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_name = args and not args[0].startswith("-") and args[0] not in self.commands
        return super().parse_args(ctx, ["show", *args] if is_name else args)


@click.group(
    cls=_NameOrCommand,
    invoke_without_command=True,
    subcommand_metavar="[NAME | check [FILE]...]",
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the boards, or show one in full with the source of each number.

    NAME is a board that comes with mcusim, or the path of a .toml file.
    """
    if ctx.invoked_subcommand is None:
        _list()


@command.command("show", hidden=True)
@click.argument("name")
def _show(name: str) -> None:
    """Show a board in full with the source of each number."""
    _full(read_board_file(name))


@command.command("check")
@click.argument("files", metavar="[FILE]...", nargs=-1)
def _check(files: tuple[str, ...]) -> int:
    """Look for numbers without a source and for what cannot be so.

    FILE is a .toml file, or the name of a board that comes with mcusim; all of these without one.
    Exit code 1 when something is found.
    """
    names = files or board_names()
    # A shared core or base is looked at with each board, and told of once.
    findings = dict.fromkeys(finding for name in names for finding in check(name))
    for finding in findings:
        console.show(str(finding))
    boards = "1 board" if len(names) == 1 else f"{len(names)} boards"
    console.show(f"{boards} checked, {len(findings) or 'nothing'} found")
    return 1 if findings else 0


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
            f"{board.flash.bytes / 1024:.10g}",
            f"{board.ram.bytes / 1024:.10g}",
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
    for key, value in (*numbers(values), *numbers(core)):
        origin = file.origins.get(key)
        table.add_row(key, _value(value), origin.comment if origin else "")
    bounds = board.core.uncalibrated
    console.show(f"{board.name}: {board.description}", table)
    if not board.calibrated:
        console.show(
            "uncalibrated board: no measured run has been fitted; measured time may be "
            f"{bounds.measured_over_predicted_low:g} to {bounds.measured_over_predicted_high:g} "
            f"times the prediction (90 %), as published runs of boards with {board.core.name} or a "
            "core like it were, each board predicted from the others: docs/accuracy.md"
        )
    elif evidence := file.origins.get("calibration.time_scale"):
        console.show(f"calibrated: {evidence.comment}")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        if any(isinstance(part, tuple) for part in value):
            return " ".join(f"{limit / 1e6:g}MHz:{count}" for limit, count in value)
        first, second = value
        if isinstance(first, float):
            return f"{first:g} to {second:g}"
        return f"{first:#010x}, {second:,}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
