"""Kernel profiles: what one turn of each loop level of a kernel executes, per core and build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.instruction_mix import FIELDS, InstructionMix
from mcusim.kernels.contract import Trips
from mcusim.resources import data_path

__all__ = ["Profile", "ProfileBuild", "load_profile"]


@dataclass(frozen=True, eq=False)
class ProfileBuild:
    """A kernel as compiled for one core with one compiler flag.

    Attributes:
        levels: names of the loop levels.
        per_turn: float64, shape ``(len(levels), len(FIELDS))``: what one turn executes.
        held_out_median: median relative error of the total on shapes the fit had not seen.
        held_out_p95: 95th percentile of the same.
        spread: relative spread of the total over data, one standard deviation.
    """

    levels: tuple[str, ...]
    per_turn: npt.NDArray[np.float64]
    held_out_median: float
    held_out_p95: float
    spread: float

    def mix(self, trips: Trips) -> InstructionMix:
        """Instructions executed when each loop level runs as often as ``trips`` says.

        Raises:
            KeyError: ``trips`` lacks a level.
        """
        turns = np.array([trips[level] for level in self.levels])
        return InstructionMix(np.maximum(turns @ self.per_turn, 0.0))


@dataclass(frozen=True)
class Profile:
    """A profile file of the top-level ``kernels/`` folder.

    Attributes:
        name: ``"<library>/<stem>"``.
        source: where the counts are from.
        builds: by ``"<core>.<build>"``, such as ``"m4.gcc-O3"`` or ``"m4-soft.gcc-Os"``.
    """

    name: str
    source: str
    builds: Mapping[str, ProfileBuild]


@cache
def load_profile(name: str) -> Profile | None:
    """Load a profile by name, such as ``"reference/conv_2d_int8"``; None where there is no file."""
    path = data_path("kernels", *name.split("/")).with_suffix(".json")
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    return Profile(name, content["source"], {k: _build(v) for k, v in content["builds"].items()})


def _build(content: Mapping[str, Any]) -> ProfileBuild:
    levels = tuple(content["levels"])
    per_turn = np.zeros((len(levels), len(FIELDS)))
    column = {name: position for position, name in enumerate(FIELDS)}
    for row, level in enumerate(levels):
        for name, count in content["levels"][level].items():
            per_turn[row, column[name]] = count
    return ProfileBuild(
        levels,
        per_turn,
        content["held_out_median"],
        content["held_out_p95"],
        content["spread"],
    )
