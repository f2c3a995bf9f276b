"""Plots of reproductions, drawn by Matplotlib."""

from __future__ import annotations

import importlib.util
import io

from mcusim.errors import InputError
from mcusim.experiments.reproduction import Figure

__all__ = ["check_plotting", "plot_svg"]


def check_plotting() -> None:
    """See to it that plots can be drawn before a long run ends in that complaint.

    Raises:
        InputError: Matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("plots need Matplotlib: pip install 'mcusim[plots]'")


def plot_svg(figure: Figure) -> str:
    """Draw a figure.

    Returns:
        An SVG document; the same one each time.

    Raises:
        InputError: Matplotlib is not installed.
    """
    check_plotting()
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    with rc_context({"svg.hashsalt": figure.name, "svg.fonttype": "none"}):
        canvas = Canvas(figsize=(7, 4), layout="constrained")
        axes = canvas.add_subplot()
        for series in figure.series:
            if figure.kind == "bars":
                axes.bar(series.x, series.y, label=series.name)
            elif figure.kind == "points":
                axes.plot(series.x, series.y, "o", label=series.name)
            else:
                axes.plot(series.x, series.y, label=series.name)
        if figure.logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.set(title=figure.title, xlabel=figure.x_label, ylabel=figure.y_label)
        axes.grid(alpha=0.3)
        if len(figure.series) > 1:
            axes.legend()
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
