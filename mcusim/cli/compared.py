"""``mcusim run --compare``: a model beside firmware that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.emulator.executed_model import Comparison
    from mcusim.estimates import Estimate
    from mcusim.graph import Graph

__all__ = ["show_comparison"]


def show_comparison(graph: Graph, predicted: Estimate, firmware: Path) -> bool:
    """Run firmware through one inference, and show it beside the prediction.

    Returns:
        Whether all bits agree.
    """
    from mcusim.emulator.executed_model import compare
    from mcusim.emulator.firmware import power_on

    with console.progress(f"running {firmware}"):
        machine = power_on(firmware, predicted.board, clock_hz=predicted.clock_hz)
        found = compare(graph, machine, predicted)
    console.show(f"{firmware.name} beside the prediction:", _table(found), *_lines(found))
    return found.is_exact


def _table(found: Comparison) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title, justify in (
        ("", "right"),
        ("operator", "left"),
        ("executed most", "left"),
        ("bits", "right"),
        ("instructions", "right"),
        ("predicted", "right"),
        ("", "right"),
        ("cycles", "right"),
        ("predicted", "right"),
        ("", "right"),
    ):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for layer in found.layers:
        executed, predicted = layer.executed, layer.predicted
        same = "equal" if not layer.differing else f"{layer.differing:,} of {layer.values:,} differ"
        table.add_row(
            str(executed.index),
            executed.operator,
            Text(executed.kernel),
            same,
            *_pair(executed.instructions.total, predicted.instructions.total),
            *_pair(executed.cycles, predicted.cycles),
        )
    invoked, expected = found.executed.invoke, found.predicted.invoke
    table.add_row(
        "",
        "interpreter",
        "",
        "",
        *_pair(invoked.instructions.total, expected.instructions.total),
        *_pair(invoked.cycles, expected.cycles),
    )
    table.add_section()
    table.add_row(
        "",
        "total",
        "",
        "",
        *_pair(found.executed.instructions.total, found.predicted.instructions.total),
        *_pair(found.executed.cycles, found.predicted.cycles),
    )
    return table


def _pair(executed: float, predicted: float) -> tuple[str, str, str]:
    off = f"{100 * (predicted / executed - 1):+.1f} %" if executed else ""
    return f"{executed:,.0f}", f"{predicted:,.0f}", off


def _lines(found: Comparison) -> list[str]:
    wrong = [layer for layer in found.layers if layer.differing]
    if not wrong:
        return ["bits      every tensor is equal"]
    first = wrong[0].executed
    return [f"bits      first differ in operator {first.index} ({first.operator})"]
