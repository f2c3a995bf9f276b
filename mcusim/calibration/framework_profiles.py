"""Fits the profiles of what TFLite Micro runs beside its kernels.

Single-operator models tell AllocateTensors apart by operator, in every build, but only as totals.
Whole networks, counted on an M4, tell it by class and for many operators at once. Builds without
networks take what these tell from the M4 with the same flag, scaled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from mcusim.calibration.counted import CountedRow, CountedSet, build_of
from mcusim.calibration.level_fit import fit_levels, folds
from mcusim.calibration.networks import framework_calls
from mcusim.calibration.profile_file import FittedBuild, FittedProfile
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.contract import KernelCall
from mcusim.runtimes.framework import PREPARE_KINDS
from mcusim.tflite import read

__all__ = ["framework_profiles"]

Floats = npt.NDArray[np.float64]

_SOURCE = (
    "fitted on instructions counted in executed binaries: tflite-micro 90b983c (2026-08-20), "
    "arm-none-eabi-gcc 12.2.1, "
)
#: Whole networks were counted on this core.
_NETWORK_CORE = "m4"
#: Levels of AllocateTensors that only whole networks tell from an operator's own Prepare.
_SHARED_LEVELS = (
    "call",
    "tensor",
    "operand",
    "interface tensor",
    "buffer",
    "planner.compare",
    "planner.swap",
    "planner.scan",
    "planner.insert",
)
#: How much more a network's row weighs than a single operator's: they are few, and what matters.
_NETWORK_WEIGHT = 5.0
#: Allowed for a line scaled from the M4, where one number tells the size but not the split between
#: the call and its operators: the two splits counted (O3, Os) differ by this much at 15 operators.
_SCALED_SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class _Counted:
    """Framework lines of all counted runs.

    Attributes:
        single: totals of a line by build, line and id.
        networks: rows by class, by build, line and network.
        calls: kernel calls by id (or network) and line.
        glue: shares of the classes in code that does little arithmetic, by build.
    """

    single: Mapping[tuple[str, str], Mapping[str, float]]
    networks: Mapping[tuple[str, str], Mapping[str, Floats]]
    calls: Mapping[str, Mapping[str, KernelCall]]
    glue: Mapping[str, Floats]


def framework_profiles(counted: CountedSet, rows: Sequence[CountedRow]) -> list[FittedProfile]:
    """Profiles of construction, AllocateTensors and the loop of Invoke, in every build.

    Args:
        counted: the counted runs.
        rows: rows of the single-operator models; the smallest show what glue code is made of.
    """
    data = _read(counted, rows)
    builds = sorted({build for build, _ in data.single})
    dataset = {n: counted.sha256(n) for n in ("tflm_framework.csv", "tflm_operators.csv")}
    return [
        FittedProfile(
            "framework/construct",
            _SOURCE + "whole networks on M4; other builds scaled by a resolver of 35 operators",
            dataset,
            {build: _scaled_line(data, "construct", build) for build in builds},
        ),
        FittedProfile(
            "framework/invoke",
            _SOURCE + "whole networks on M4; other builds scaled by models of one operator",
            dataset,
            {build: _scaled_line(data, "invoke_overhead", build) for build in builds},
        ),
        FittedProfile(
            "framework/allocate_tensors",
            _SOURCE + "single-operator models, whole networks on M4; classes by their usual shares",
            dataset,
            {build: _allocate(data, build) for build in builds},
        ),
    ]


def _read(counted: CountedSet, rows: Sequence[CountedRow]) -> _Counted:
    single: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in counted.rows("tflm_framework.csv"):
        if row["kernels"] == "ref":
            build = build_of(row["core"], row["fpu"], row["opt"])
            for line in ("construct", "allocate_tensors", "invoke_overhead"):
                single[build, line][row["id"]] = float(row[line])
    networks: dict[tuple[str, str], dict[str, Floats]] = defaultdict(dict)
    for counted_row in counted.networks():
        if counted_row.operator == "FRAMEWORK":
            networks[counted_row.build, counted_row.index][counted_row.id] = counted_row.vector
    calls = {name: framework_calls(graph) for name, graph in counted.models()}
    paths = counted.network_models()
    for name in {name for found in networks.values() for name in found}:
        calls[name] = framework_calls(read(paths[name].read_bytes(), name))
    return _Counted(single, networks, calls, _glue(rows))


def _glue(rows: Sequence[CountedRow]) -> dict[str, Floats]:
    """Shares of the classes in the shortest tenth of each build's single-operator runs."""
    by_build: dict[str, list[CountedRow]] = defaultdict(list)
    for row in rows:
        by_build[row.build].append(row)
    shares = {}
    for build, members in by_build.items():
        shortest = sorted(members, key=lambda row: row.total)[: max(len(members) // 10, 1)]
        shares[build] = np.mean([row.vector / row.total for row in shortest], axis=0)
    return shares


def _reference_build(data: _Counted, build: str, line: str) -> str:
    """The build whose networks stand for this one's: its own, or the M4's with a like flag."""
    if (build, line) in data.networks:
        return build
    flag = build.split(".")[1]
    key = f"{_NETWORK_CORE}.{flag}"
    return key if (key, line) in data.networks else f"{_NETWORK_CORE}.gcc-O3"


def _scaled_line(data: _Counted, line: str, build: str) -> FittedBuild:
    """A line whose loops depend on the number of operators alone."""
    reference = _reference_build(data, build, line)
    found = data.networks[reference, line]
    names = sorted(found)
    levels = tuple(data.calls[names[0]][line].trips)
    turns = _turns(data, names, line, levels)
    counts = np.array([found[name] for name in names])
    per_turn = fit_levels(turns, counts)
    held_out = [
        _total(turns[i] @ fit_levels(np.delete(turns, i, 0), np.delete(counts, i, 0)))
        / _total(counts[i])
        - 1.0
        for i in range(len(names))
    ]
    scale = _ratio(data, line, build, reference)
    if build != reference:
        levels_total = per_turn[:, : len(CLASSES)].sum(axis=1)
        scaled = scale * levels_total[:, np.newaxis]
        errors = np.abs(held_out)
        return _fitted(levels, scaled, len(names), errors, _SCALED_SPREAD, data.glue[build])
    return _fitted(levels, per_turn, len(names), np.abs(held_out), 0.0, None)


def _allocate(data: _Counted, build: str) -> FittedBuild:
    line = "allocate_tensors"
    reference = _reference_build(data, build, line)
    ids = sorted(data.single[build, line])
    levels = tuple(data.calls[ids[0]][line].trips)
    networks = data.networks[reference, line]
    shares = np.mean([vector / _total(vector) for vector in networks.values()], axis=0)
    turns = _turns(data, ids, line, levels)
    totals = np.array([data.single[build, line][name] for name in ids])
    if build == reference:
        names = sorted(networks)
        turns = np.vstack([turns, _turns(data, names, line, levels)])
        totals = np.append(totals, [_total(networks[name]) for name in names])
        ids += names
        fixed = np.zeros(len(levels))
        free = np.ones(len(levels), dtype=bool)
    else:
        anchor = _allocate(data, reference).per_turn[:, 0]
        free = np.array([level not in _SHARED_LEVELS for level in levels])
        fixed = np.where(free, 0.0, anchor * _ratio(data, line, build, reference))
        shares = data.glue[build]
    weights = np.where(np.isin(ids, list(networks)), _NETWORK_WEIGHT, 1.0) / totals
    per_level = _nonnegative(turns, totals, weights, fixed, free)
    held_out = np.zeros(len(ids))
    for fold in folds(ids):
        rest = np.setdiff1d(np.arange(len(ids)), fold)
        seen = _nonnegative(turns[rest], totals[rest], weights[rest], fixed, free)
        held_out[fold] = np.abs(turns[fold] @ seen / totals[fold] - 1.0)
    own = [i for i, level in enumerate(levels) if level in PREPARE_KINDS and per_level[i] > 0]
    per_level[levels.index("prepare other")] = np.median(per_level[own])
    return _fitted(levels, per_level[:, np.newaxis], len(ids), held_out, 0.0, shares)


def _nonnegative(
    turns: Floats, totals: Floats, weights: Floats, fixed: Floats, free: npt.NDArray[np.bool_]
) -> Floats:
    columns = turns[:, free] * weights[:, np.newaxis]
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    ridge = 1e-4 * np.eye(columns.shape[1])
    target = np.append((totals - turns @ fixed) * weights, np.zeros(columns.shape[1]))
    solution, _ = nnls(np.vstack([columns / norms, ridge]), target)
    per_level = fixed.copy()
    per_level[free] = solution / norms
    return per_level


def _ratio(data: _Counted, line: str, build: str, reference: str) -> float:
    """How much more a build executes than another, on models without arithmetic in Prepare."""
    ours, theirs = data.single[build, line], data.single[reference, line]
    return float(np.median([ours[n] / theirs[n] for n in ours if "_f32_" in n]))


def _turns(data: _Counted, names: Sequence[str], line: str, levels: Sequence[str]) -> Floats:
    return np.array([[data.calls[n][line].trips[level] for level in levels] for n in names], float)


def _total(vector: Floats) -> float:
    return float(vector[: len(CLASSES)].sum())


def _fitted(
    levels: tuple[str, ...],
    per_turn: Floats,
    rows: int,
    held_out: Floats,
    spread: float,
    shares: Floats | None,
) -> FittedBuild:
    return FittedBuild(
        levels,
        per_turn,
        unseen=(),
        rows=rows,
        held_out_median=float(np.median(held_out)),
        held_out_p95=float(np.quantile(held_out, 0.95)),
        spread=spread,
        shares=shares,
    )
