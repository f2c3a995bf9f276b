"""Fits of functions that call one another."""

from __future__ import annotations

import numpy as np

from mcusim.calibration.library_fit import Observation, fit_library
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.contract import KernelCall


def _run(position: int, tiles: int) -> Observation:
    """A call of 20 instructions that runs a loop of 7 a turn, compiled as a part of it."""
    total = 20.0 + 7.0 * tiles
    calls = (
        KernelCall("arm_outer", "library/arm_outer", {"call": 1.0}),
        KernelCall("arm_inner", "library/arm_inner", {"tile": float(tiles)}),
    )
    vector = np.zeros(len(FIELDS))
    vector[FIELDS.index("alu")] = total
    functions = f"arm_outer:{total:.0f}"
    return Observation(f"run_{position}", "runs", "m4.gcc-O3", calls, calls, vector, functions)


def test_a_function_that_another_one_inlines_is_priced_all_the_same() -> None:
    runs = [_run(position, tiles) for position, tiles in enumerate((1, 2, 3, 5, 8, 13, 21, 34))]
    (fit,) = fit_library(runs)
    costs = {
        level: float(turn.sum())
        for profile in fit.profiles.values()
        for level, turn in zip(profile.levels, profile.per_turn, strict=True)
    }
    assert abs(costs["call"] - 20.0) < 0.1
    assert abs(costs["tile"] - 7.0) < 0.1
