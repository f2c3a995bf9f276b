"""Kernel profiles: what one turn of each loop level of a kernel executes, per core and build."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.errors import McusimError
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
        rows: counted runs in the fit.
        unseen: levels that none of them ran, so that their cost is unknown and stands as zero.
    """

    levels: tuple[str, ...]
    per_turn: npt.NDArray[np.float64]
    held_out_median: float
    held_out_p95: float
    spread: float
    rows: int = 0
    unseen: tuple[str, ...] = ()

    def mix(self, trips: Trips) -> InstructionMix:
        """Instructions executed when each loop level runs as often as ``trips`` says.

        Raises:
            McusimError: ``trips`` lacks a level, or has one that the profile lacks.
        """
        if len(trips) != len(self.levels) or not trips.keys() >= self._names:
            raise McusimError(
                f"a kernel's loop levels {sorted(trips)} are not those of its profile, "
                f"{sorted(self.levels)}; fit the profile again"
            )
        turns = np.array([trips[level] for level in self.levels], dtype=np.float64)
        return InstructionMix(turns @ self.per_turn)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.levels)

    def unpriced(self, trips: Trips) -> tuple[str, ...]:
        """Levels that run although their cost is unknown."""
        return tuple(level for level in self.unseen if trips.get(level))

    @property
    def error(self) -> float:
        """Relative error of the total on new shapes and data, about one standard deviation."""
        return math.hypot(self.held_out_p95 / 2, self.spread)


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
    """Load a profile by name, such as ``"reference/conv_2d_int8"``; None where there is no file.

    Raises:
        McusimError: the file is not a profile; the message says where.
    """
    path = data_path("kernels", *name.split("/")).with_suffix(".json")
    if not name or not path.is_file():
        return None
    try:
        text = path.read_text()
        found = _Builds.of(path, text)
        if found is not None:
            return Profile(name, json.loads(text[: found.start] + "}}")["source"], found)
        content = json.loads(text)
        builds = {key: _build(build) for key, build in content["builds"].items()}
        return Profile(name, content["source"], builds)
    except _DAMAGE as error:
        raise McusimError(f"{path}: not a kernel profile: {error}") from error


_DAMAGE = (AttributeError, KeyError, TypeError, ValueError)
#: A build's head as ``python -m mcusim.calibration.kernel_profiles`` writes it, on its own line.
_BUILD_LINE = re.compile(r'^    "([^"]+)": (?=\{$)', re.MULTILINE)


class _Builds(Mapping[str, ProfileBuild]):
    """Builds of a profile file, each read when it is first asked for: an estimate takes one."""

    def __init__(self, path: Path, text: str, places: Mapping[str, int], start: int) -> None:
        self.start = start
        self._path = path
        self._text = text
        self._places = places
        self._read: dict[str, ProfileBuild] = {}

    @classmethod
    def of(cls, path: Path, text: str) -> _Builds | None:
        """Those of a file that is laid out line by line; None for another layout."""
        lines = list(_BUILD_LINE.finditer(text))
        if not lines:
            return None
        return cls(path, text, {line[1]: line.end() for line in lines}, lines[0].start())

    def __getitem__(self, key: str) -> ProfileBuild:
        if key not in self._read:
            place = self._places[key]
            try:
                content, _ = json.JSONDecoder().raw_decode(self._text, place)
                self._read[key] = _build(content)
            except _DAMAGE as error:
                raise McusimError(f"{self._path}: not a kernel profile: {error}") from error
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


_COLUMN = {name: position for position, name in enumerate(FIELDS)}


def _build(content: Mapping[str, Any]) -> ProfileBuild:
    levels = tuple(content["levels"])
    if "shares" in content:
        totals = np.array([float(content["levels"][level]) for level in levels])
        per_turn = np.outer(totals, _vector(content["shares"]))
    else:
        per_turn = np.array([_vector(content["levels"][level]) for level in levels])
    return ProfileBuild(
        levels,
        per_turn,
        float(content["held_out_median"]),
        float(content["held_out_p95"]),
        float(content["spread"]),
        int(content["rows"]),
        tuple(content["unseen"]),
    )


def _vector(counts: Mapping[str, float]) -> npt.NDArray[np.float64]:
    vector = np.zeros(len(FIELDS))
    for name, count in counts.items():
        vector[_COLUMN[name]] = count
    return vector
