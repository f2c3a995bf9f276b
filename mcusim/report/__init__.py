"""Renderers of a finished estimate."""

from mcusim.report.schema import estimate_schema
from mcusim.report.table import dominant_lines, layer_table, reason_lines, summary_lines

__all__ = ["dominant_lines", "estimate_schema", "layer_table", "reason_lines", "summary_lines"]
