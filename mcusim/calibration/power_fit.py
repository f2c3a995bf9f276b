"""Power while computing, from published runs of all boards together.

Measured over predicted power of a board has three parts, as logarithms: what datasheets leave out
on every board, what this board draws beside its chip, and what one firmware leaves switched on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mcusim.boards import Board
from mcusim.calibration.priced_runs import uncalibrated
from mcusim.calibration.published import PublishedRun

__all__ = ["PowerFit", "PoweredRun", "fit_power", "powered_runs"]

#: Standard deviations of the three parts and of one run, before any run is seen.
_ALL, _BOARD, _FIRMWARE, _NOISE = 0.02, 0.2, 0.12, 0.035


@dataclass(frozen=True)
class PoweredRun:
    """A run with a measured power.

    Attributes:
        run: as published.
        firmware: runtime, build and what else the source tells of the firmware.
        predicted_w: by the board's files, at the run's supply.
    """

    run: PublishedRun
    firmware: str
    predicted_w: float

    @property
    def log_ratio(self) -> float:
        """Logarithm of measured over predicted power."""
        assert self.run.power_w is not None
        return math.log(self.run.power_w / self.predicted_w)


@dataclass(frozen=True)
class PowerFit:
    """Factors on predicted power.

    Attributes:
        every: of a board without a run.
        boards: of a board, whatever its firmware.
        firmware: of a board and a firmware.
    """

    every: float = 1.0
    boards: dict[str, float] = field(default_factory=dict)
    firmware: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, board: str, firmware: str) -> float:
        """The factor of what is closest."""
        return self.firmware.get((board, firmware), self.boards.get(board, self.every))


def powered_runs(runs: Sequence[PublishedRun]) -> tuple[PoweredRun, ...]:
    """The runs whose power was measured, at a supply that their board's file can tell."""
    found = []
    for run in runs:
        if run.power_w is None or run.status == "excluded":
            continue
        board = _at(run.board, run.supply_v, run.regulator)
        if board is not None:
            found.append(PoweredRun(run, _firmware(run), board.power.active_w(run.clock_hz)))
    return tuple(found)


def fit_power(runs: Sequence[PoweredRun]) -> PowerFit:
    """Fit the three parts by least squares."""
    boards = list(dict.fromkeys(run.run.board for run in runs))
    firmware = list(dict.fromkeys((run.run.board, run.firmware) for run in runs))
    size = 1 + len(boards) + len(firmware)
    rows, wanted = [], []
    for run in runs:
        row = np.zeros(size)
        row[0] = row[1 + boards.index(run.run.board)] = 1
        row[1 + len(boards) + firmware.index((run.run.board, run.firmware))] = 1
        rows.append(row / _NOISE)
        wanted.append(run.log_ratio / _NOISE)
    priors = [_ALL] + [_BOARD] * len(boards) + [_FIRMWARE] * len(firmware)
    slopes = np.concatenate([np.array(rows).reshape(-1, size), np.diag(1 / np.array(priors))])
    x = np.linalg.lstsq(slopes, np.array(wanted + [0.0] * size), rcond=None)[0]
    of_board = {name: float(x[0] + x[1 + i]) for i, name in enumerate(boards)}
    of_firmware = {
        key: of_board[key[0]] + float(x[1 + len(boards) + i]) for i, key in enumerate(firmware)
    }
    return PowerFit(
        math.exp(x[0]),
        {name: math.exp(value) for name, value in of_board.items()},
        {key: math.exp(value) for key, value in of_firmware.items()},
    )


def _firmware(run: PublishedRun) -> str:
    """Runtime and build where they are known, else what the source calls the software."""
    system = next((name for name in ("mbed-os", "Zephyr") if name in run.reason), "")
    software = run.software or run.published_as.split(", ")[-1]
    return f"{software} {system}".strip()


@cache
def _at(name: str, supply_v: float | None, regulator: str) -> Board | None:
    """A board at the supply of a run; None where its file does not tell what that changes."""
    board = uncalibrated(name)
    chosen = "smps" if regulator == "smps" else board.power.regulator
    try:
        return board.model_copy(update={"power": board.power.with_supply(supply_v, chosen)})
    except ValueError:
        return None
