"""Runtimes for one model beside each other, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from mcusim.alternatives import Alternative
from mcusim.estimates import Estimate

__all__ = ["alternatives_table", "note_lines", "refusal_lines"]


def alternatives_table(found: Sequence[Alternative]) -> Table:
    """One row a runtime that runs the model, the fastest first.

    RAM is that of activations and variables where it is known; a ``!`` says that it, or flash, is
    more than the board has, and a ``>`` that something of it is not known.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("runtime", no_wrap=True)
    for title in ("ms", "90 %", "mJ", "90 %", "RAM", "flash"):
        table.add_column(title, justify="right", no_wrap=True)
    for alternative in found:
        if alternative.estimate is not None:
            table.add_row(*map(Text, _cells(alternative, alternative.estimate)))
    return table


def note_lines(found: Sequence[Alternative]) -> list[str]:
    """What a reader must know of some rows of the table; runtimes of one note on one line."""
    by_note: dict[str, list[str]] = {}
    for alternative in found:
        if alternative.note:
            by_note.setdefault(alternative.note, []).append(alternative.runtime)
    return [f"note      {', '.join(names)}: {note}" for note, names in by_note.items()]


def refusal_lines(found: Sequence[Alternative]) -> list[str]:
    """Why the other runtimes cannot run it; those of one reason on one line."""
    by_reason: dict[str, list[str]] = {}
    for alternative in found:
        if alternative.estimate is None:
            by_reason.setdefault(alternative.reason, []).append(alternative.runtime)
    return [f"not       {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _cells(alternative: Alternative, estimate: Estimate) -> tuple[str, ...]:
    board = estimate.board
    ram, least = estimate.ram_bytes, alternative.least_ram_bytes
    return (
        alternative.runtime,
        _number(estimate.latency_s),
        _range(estimate.latency_interval_s),
        _number(estimate.energy_j),
        _range(estimate.energy_interval_j),
        _size(least if ram is None else ram, board.ram.bytes, ram is not None),
        _size(estimate.flash_bytes, board.flash.bytes, alternative.knows_program),
    )


def _number(value: float) -> str:
    """Thousandths, with four digits that matter."""
    milli = value * 1e3
    return f"{milli:,.0f}" if milli >= 1000 else f"{milli:.4g}"


def _range(bounds: tuple[float, float]) -> str:
    return f"{_number(bounds[0])} to {_number(bounds[1])}"


def _size(size: int | None, most: int, is_all: bool) -> str:
    if size is None:
        return "unknown"
    return f"{'' if is_all else '> '}{size:,}{' !' if size > most else ''}"
