"""Reproductions as Markdown pages with plots; ``docs/experiments/`` is written by this module.

``python -m mcusim.experiments.pages --write`` writes it anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mcusim.experiments import names, reproduce
from mcusim.experiments.plots import plot_svg
from mcusim.experiments.reproduction import Reproduction, Row

__all__ = ["Remarks", "number", "page", "published", "reach", "summary_lines"]

_FOLDER = Path("docs") / "experiments"
#: Characters of a note that stands in its row; a longer one stands below the table.
_SHORT = 24


def page(found: Reproduction) -> str:
    """A reproduction as Markdown; its plots lie beside it in ``plots/``."""
    return "\n".join(_lines(found)) + "\n"


def summary_lines(found: Reproduction) -> Iterator[str]:
    """What a reader takes away: errors by table, and conclusions by whether they hold."""
    for table in found.tables:
        rows = found.rows_of(table)
        error = found.mean_absolute_error(table)
        held = [row.holds for row in rows if row.holds is not None]
        told = (
            []
            if error is None
            else [f"mean absolute error {100 * error:.1f} %{_by_unit(found, table)}"]
        )
        if held:
            told.append(f"{sum(held)} of {len(held)} inside their interval or range")
        missing = sum(row.published is not None and not _is_predicted(row) for row in rows)
        if missing:
            told.append(f"{missing} that cannot be known")
        yield f"{table}: {', '.join(told) or 'nothing published to compare with'}"
    verdicts = [claim.confirmed for claim in found.claims]
    yield (
        f"conclusions: {verdicts.count(True)} confirmed, {verdicts.count(False)} not confirmed, "
        f"{verdicts.count(None)} open"
    )


def _by_unit(found: Reproduction, table: str) -> str:
    """Errors by unit, in brackets, where a table holds quantities of several kinds."""
    errors = {unit: found.mean_absolute_error(table, unit) for unit in found.units_of(table)}
    told = [f"{unit} {100 * error:.1f} %" for unit, error in errors.items() if error is not None]
    return f" ({', '.join(told)})" if len(told) > 1 else ""


def _lines(found: Reproduction) -> Iterator[str]:
    yield f"# {found.title}"
    yield ""
    yield (
        f"Written by `python -m mcusim.experiments.pages --write`; `mcusim reproduce {found.name}` "
        "prints the same. A row is marked *seen* where the board's fit had seen a run of the same "
        "software on that board; all others are predictions of what no fit has seen. A range "
        "without a prediction runs over what is not known of the row."
    )
    yield ""
    yield from (f"- {line}" for line in summary_lines(found))
    yield ""
    yield "## Conclusions"
    yield ""
    yield "| the publication says | confirmed | our numbers |"
    yield "|---|---|---|"
    for claim in found.claims:
        verdict = {True: "yes", False: "**no**", None: "open"}[claim.confirmed]
        yield f"| {_cell(claim.text)} | {verdict} | {_cell(claim.evidence)} |"
    for table in found.tables:
        yield ""
        yield f"## {table}"
        yield ""
        yield "| what | unit | published | predicted | 90 % or range | error | |"
        yield "|---|---|--:|--:|--:|--:|---|"
        remarks = Remarks(found.rows_of(table))
        yield from (_row(row, remarks) for row in found.rows_of(table))
        for line in remarks.below():
            yield ""
            yield line
    if found.figures:
        yield ""
        yield "## Plots"
        for figure in found.figures:
            yield ""
            yield f"![{figure.title}](plots/{figure.name}.svg)"
    if found.remarks:
        yield ""
        yield "## What stays open"
        for remark in found.remarks:
            yield ""
            yield remark


class Remarks:
    """What is said of a table's rows: marks in the row, what is longer below the table, once.

    Args:
        rows: of the table.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        notes = dict.fromkeys(row.note for row in rows if len(row.note) > _SHORT)
        self._numbers = {note: position for position, note in enumerate(notes, 1)}

    def of(self, row: Row, seen: str = "seen") -> str:
        """Marks of a row.

        Args:
            row: one of the table.
            seen: what marks a row that a fit has seen.
        """
        marks = ["outside"] if row.holds is False else []
        marks += [seen] if row.seen else []
        if row.note:
            marks.append(f"({self._numbers[row.note]})" if row.note in self._numbers else row.note)
        return "; ".join(marks)

    def below(self) -> Iterator[str]:
        """What the numbers stand for."""
        return (f"({position}) {note}" for note, position in self._numbers.items())


def number(value: float | None) -> str:
    """A number with four digits that matter, and all before the point; empty without one."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def published(row: Row) -> str:
    """The published number as it was printed, to six digits; empty without one."""
    if row.published is None:
        return ""
    whole = abs(row.published) >= 100_000
    return f"{row.published:,.0f}" if whole else f"{row.published:,.6g}"


def reach(row: Row) -> str:
    """The interval or range of a row; empty without one."""
    return "" if row.low is None or row.high is None else f"{number(row.low)} to {number(row.high)}"


def _row(row: Row, remarks: Remarks) -> str:
    error = "" if row.error is None else f"{100 * row.error:+.1f} %"
    return (
        f"| {_cell(row.what)} | {row.unit} | {published(row)} | {number(row.predicted)} | "
        f"{reach(row)} | {error} | {_cell(remarks.of(row))} |"
    )


def _is_predicted(row: Row) -> bool:
    return row.predicted is not None or row.low is not None


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/experiments")
    if not parser.parse_args().write:
        parser.print_help()
        return 2
    for name in names():
        found = reproduce(name)
        (_FOLDER / "plots").mkdir(parents=True, exist_ok=True)
        (_FOLDER / f"{name}.md").write_text(page(found), "utf-8")
        for figure in found.figures:
            (_FOLDER / "plots" / f"{figure.name}.svg").write_text(plot_svg(figure), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
