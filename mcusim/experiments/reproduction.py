"""What a published experiment says, beside what mcusim predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module

__all__ = ["TIE", "Claim", "Figure", "Reproduction", "Row", "Series"]

#: Numbers that differ by less are a tie: nobody chooses by such an order. Repeated submissions of
#: one software on one board differ by up to 2.5 %, and a prediction's mean error is near this.
TIE = 0.1


@dataclass(frozen=True)
class Row:
    """A published number beside a predicted one.

    Attributes:
        table: of the publication.
        what: which row and column of it.
        unit: of both numbers, such as ``"ms"``.
        published: the number; None where the text gives none.
        predicted: ours; None where it cannot be known.
        low: end of the 90 % interval, or of the range over what is unknown; None without one.
        high: the other end.
        note: what a reader must know: a range's reason, or why there is no prediction.
        seen: whether the fit of the board had seen this measurement.
    """

    table: str
    what: str
    unit: str
    published: float | None
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    seen: bool = False

    @property
    def error(self) -> float | None:
        """Predicted over published, less one; None where either is missing."""
        if self.published is None or self.predicted is None or not self.published:
            return None
        return self.predicted / self.published - 1

    @property
    def holds(self) -> bool | None:
        """Whether the published number lies in the interval; None without one."""
        if self.published is None or self.low is None or self.high is None:
            return None
        return self.low <= self.published <= self.high


@dataclass(frozen=True)
class Claim:
    """An ordering, a ratio or a conclusion of the publication.

    Attributes:
        text: what it says.
        confirmed: whether the predictions say so too; None where they cannot tell.
        evidence: the numbers that decide.
    """

    text: str
    confirmed: bool | None
    evidence: str


@dataclass(frozen=True)
class Series:
    """Points of a plot under one name."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        name: of its file, without ending.
        title: what it shows.
        x_label: with the unit.
        y_label: with the unit.
        series: what is drawn.
        kind: ``"line"`` or ``"points"`` or ``"bars"``.
        logarithmic: whether both axes are.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    kind: str = "line"
    logarithmic: bool = False

    def _repr_html_(self) -> str:
        """What a notebook shows: the plot."""
        # By name: drawing stands above what is drawn, and needs Matplotlib.
        drawn: str = import_module("mcusim.experiments.plots").plot_svg(self)
        return drawn[drawn.index("<svg") :]


@dataclass(frozen=True)
class Reproduction:
    """A publication, reproduced.

    Attributes:
        name: as ``mcusim reproduce`` takes it.
        title: of the publication.
        rows: its numbers.
        claims: its conclusions.
        figures: plots to look at.
        remarks: paragraphs on what stays wrong, and why.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables in the order of their rows."""
        return tuple(dict.fromkeys(row.table for row in self.rows))

    def rows_of(self, table: str) -> tuple[Row, ...]:
        """Rows of one table."""
        return tuple(row for row in self.rows if row.table == table)

    def _repr_html_(self) -> str:
        """What a notebook shows: each number, and each conclusion."""
        head = (
            "<tr><th>table</th><th>what</th><th>published</th><th>predicted</th><th>error</th></tr>"
        )
        rows = "".join(_row_html(row) for row in self.rows)
        claims = "".join(
            f"<li>{escape(c.text)}: {_VERDICTS[c.confirmed]} ({escape(c.evidence)})</li>"
            for c in self.claims
        )
        return (
            f"<p><strong>{escape(self.title)}</strong></p><table><thead>{head}</thead><tbody>{rows}"
            f"</tbody></table><ul>{claims}</ul>"
        )

    def units_of(self, table: str) -> tuple[str, ...]:
        """Units of a table in the order of its rows."""
        return tuple(dict.fromkeys(row.unit for row in self.rows_of(table)))

    def mean_absolute_error(self, table: str, unit: str = "") -> float | None:
        """Mean size of a table's errors, by which mistaken factors of 2 and 1/2 weigh the same.

        Args:
            table: of the publication.
            unit: of the rows to take; all of them when empty.
        """
        ratios = [
            abs(math.log(row.predicted / row.published))
            for row in self.rows_of(table)
            if row.published and row.predicted and row.published > 0 and row.predicted > 0
            if unit in ("", row.unit)
        ]
        return math.expm1(sum(ratios) / len(ratios)) if ratios else None


_VERDICTS = {True: "confirmed", False: "not confirmed", None: "open"}


def _row_html(row: Row) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    reach = "" if row.low is None else f"{number(row.low)} to {number(row.high)}"
    predicted = f"{number(row.predicted)} ({reach})" if reach else number(row.predicted)
    error = "" if row.error is None else f"{100 * row.error:+.1f} %"
    cells = (row.table, f"{row.what} [{row.unit}]", number(row.published), predicted, error)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
