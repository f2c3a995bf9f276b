"""Renderers of a finished estimate."""

from mcusim.report.alternatives import alternatives_table, note_lines, refusal_lines
from mcusim.report.duty import duty_cycle_dict, duty_cycle_lines
from mcusim.report.schema import estimate_schema
from mcusim.report.table import dominant_lines, layer_table, reason_lines, summary_lines

__all__ = [
    "alternatives_table",
    "dominant_lines",
    "duty_cycle_dict",
    "duty_cycle_lines",
    "estimate_schema",
    "layer_table",
    "note_lines",
    "reason_lines",
    "refusal_lines",
    "summary_lines",
]
