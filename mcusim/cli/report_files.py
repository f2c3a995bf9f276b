"""Reports of an estimate as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mcusim.cli import console
from mcusim.cli.output_files import write_whole

if TYPE_CHECKING:
    from mcusim.duty_cycle import DutyCycle
    from mcusim.estimates import Estimate
    from mcusim.graph import Graph
    from mcusim.report.page import Suggestion

__all__ = ["save_csv", "save_html", "save_markdown", "save_overlay", "save_trace"]


def save_html(graph: Graph, found: Estimate, path: Path, cycle: DutyCycle | None = None) -> None:
    """Save a page about an estimate, beside those of the other boards at their own clocks.

    Raises:
        OSError: the file cannot be written.
    """
    from mcusim import estimate
    from mcusim.boards import board_names, load_board
    from mcusim.errors import McusimError
    from mcusim.report.page import html_page

    others = []
    with console.progress("comparing boards"):
        for name in board_names():
            if name == found.board.name:
                continue
            try:
                others.append(estimate(graph, load_board(name), found.runtime, found.build))
            except McusimError:
                continue  # a board that this runtime or build does not exist for
    with console.progress("trying changes"):
        suggestions = _suggestions(graph, found)
    _save(path, html_page(found, others, cycle, suggestions))


def _suggestions(graph: Graph, found: Estimate) -> list[Suggestion]:
    """What `mcusim advise` finds on this board; nothing where some layer has no price."""
    from mcusim.advice import Setting, advise
    from mcusim.errors import McusimError
    from mcusim.report.page import Suggestion

    setting = Setting(
        graph, found.board, found.runtime, found.build, found.clock_hz, found.placement
    )
    try:
        changes = advise(setting).changes
    except McusimError:
        return []
    return [
        Suggestion(
            f"together: {change.what}" if change.kind == "together" else change.what,
            change.estimate,
            "; ".join(filter(None, [change.cost, "" if change.keeps_bits else "other outputs"])),
        )
        for change in changes
        if change.kind != "board"
    ]


def save_markdown(found: Estimate, path: Path, cycle: DutyCycle | None = None) -> None:
    """Save a summary for a pull request.

    Raises:
        OSError: the file cannot be written.
    """
    from mcusim.report.text import markdown_text

    _save(path, markdown_text(found, cycle))


def save_csv(found: Estimate, path: Path) -> None:
    """Save the layers for a spreadsheet.

    Raises:
        OSError: the file cannot be written.
    """
    from mcusim.report.text import csv_text

    _save(path, csv_text(found))


def save_trace(found: Estimate, path: Path) -> None:
    """Save a timeline for Perfetto.

    Raises:
        OSError: the file cannot be written.
    """
    from mcusim.report.timeline import perfetto_trace

    _save(path, json.dumps(perfetto_trace(found), allow_nan=False) + "\n")


def save_overlay(graph: Graph, found: Estimate, path: Path) -> None:
    """Save an overlay for Model Explorer.

    Raises:
        OSError: the file cannot be written.
    """
    from mcusim.report.timeline import model_explorer_overlay

    _save(path, json.dumps(model_explorer_overlay(graph, found), allow_nan=False) + "\n")


def _save(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
