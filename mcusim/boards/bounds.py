"""How far predicted times and energies are to be trusted, by distance from measured runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache

from mcusim.boards.board import Board
from mcusim.boards.core import Ratio
from mcusim.resources import data_path

__all__ = ["Bounds", "Range", "half_width", "widened"]

#: Low and high of measured over predicted, 90 %.
Range = tuple[float, float]


@dataclass(frozen=True)
class Bounds:
    """Ranges of measured over predicted that hold nine of ten runs.

    Attributes:
        distance: how far the run is from measured ones, as
            :mod:`mcusim.calibration.held_out` names it.
        time: of time.
        power: of power.
    """

    distance: str
    time: Range
    power: Range

    @classmethod
    def of(cls, board: Board, software: str, kind: str) -> Bounds:
        """Those of a network on a board.

        Args:
            board: with what was fitted to it.
            software: runtime and build, ``"<runtime> <build>"``.
            kind: family of operators that takes most of the time.
        """
        fitted = board.calibration
        if fitted is None:
            own = board.core.uncalibrated
            distance = "board" if own.runs else "core"
            power = _at_least(_range(board.power), half_width("power", "board"))
            return cls(distance, _at_least(_range(own), _library_width(software)), power)
        power = _range(board.power)
        if software in fitted.power_scale:
            power = _around(half_width("power", "network"))
        distance = "network"
        if software not in fitted.software:
            distance = "software"
        elif fitted.kinds and kind not in fitted.kinds.get(software, ()):
            distance = "kind"
        time = _range(fitted)
        if distance != "network":
            time = _at_least(time, half_width("latency", distance))
        if distance == "software":
            time = _at_least(time, _library_width(software))
        return cls(distance, time, power)


def widened(bounds: Range, *others: float | Range) -> Range:
    """A range of measured over predicted, widened by errors that do not depend on its own.

    Each side is widened away from its bound, which need not lie on either side of 1.

    Args:
        bounds: low and high.
        others: half widths of a logarithm, or low and high.
    """
    low, high = (math.log(bound) for bound in bounds)
    lows = [other if isinstance(other, float) else math.log(other[0]) for other in others]
    highs = [other if isinstance(other, float) else math.log(other[1]) for other in others]
    return (
        math.exp(low + abs(low) - math.hypot(low, *lows)),
        math.exp(high - abs(high) + math.hypot(high, *highs)),
    )


def half_width(quantity: str, distance: str) -> float:
    """Half the width of a 90 % interval of the logarithm, from published runs held out.

    Args:
        quantity: ``"latency"`` or ``"power"``; ``"layer"`` is what a layer differs by beside its
            network, ``"flash"`` what a program's size does.
        distance: how far the run is from measured ones.
    """
    return float(_intervals()[quantity][distance]["half_width"])


def _around(width: float) -> Range:
    return math.exp(-width), math.exp(width)


def _at_least(bounds: Range, width: float) -> Range:
    low, high = _around(width)
    return min(bounds[0], low), max(bounds[1], high)


def _library_width(software: str) -> float:
    """Half width where kernels of this library were never measured on any board; else zero."""
    library = software.partition(" ")[0].partition("@")[0]
    measured = json.loads(_text())["libraries"]
    return 0.0 if library in measured else half_width("latency", "library")


def _range(ratio: Ratio) -> Range:
    return ratio.measured_over_predicted_low, ratio.measured_over_predicted_high


@cache
def _intervals() -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(_text())["intervals"]
    return found


@cache
def _text() -> str:
    return data_path("calibration", "intervals.json").read_text(encoding="utf-8")
