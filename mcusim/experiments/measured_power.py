"""How far energy follows latency in measurements: what a power that is a board's own rests on."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np

from mcusim.resources import data_path

__all__ = ["correlations", "told"]

#: Fewer runs than these tell nothing of a board.
_LEAST_RUNS = 5


@cache
def correlations() -> tuple[float, ...]:
    """Correlation of latency and energy of MLPerf Tiny submissions on one board and supply."""
    runs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    path = data_path("calibration", "measured", "mlperf_tiny.csv")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["energy_mj"] and row["supply_v"]:
                key = (row["board"], row["supply_v"], row["regulator"])
                runs.setdefault(key, []).append((float(row["latency_ms"]), float(row["energy_mj"])))
    return tuple(
        float(np.corrcoef(np.array(found).T)[0, 1])
        for found in runs.values()
        if len(found) >= _LEAST_RUNS
    )


def told() -> str:
    """The same in a clause."""
    found = correlations()
    return (
        "by construction, as power is taken not to depend on what runs; so it was measured: on "
        f"{len(found)} boards and supplies of MLPerf Tiny, r is {min(found):.3f} to "
        f"{max(found):.3f} over networks and software"
    )
