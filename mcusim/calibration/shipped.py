"""Writes what is fitted to published runs for the boards and cores that come with mcusim.

    python -m mcusim.calibration.shipped --write

A board with runs of its own gets ``calibration/boards/<name>.json``, unless its fit predicts runs
left out worse than its core's does; a core with measured boards gets ``calibration/cores/``, all
others share ``any-core.json``. ``calibration/intervals.json`` holds the width of every interval.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mcusim.calibration.closed_fit import (
    Version,
    closed_widths,
    every_closed_run,
    fit_closed,
    version_of,
    without_closed,
)
from mcusim.calibration.held_out import (
    DISTANCES,
    half_width,
    held_out_latency,
    held_out_power,
    width_at,
    width_of,
)
from mcusim.calibration.measured_layers import layer_spread, measured_layers
from mcusim.calibration.own_scales import (
    COMPARED_WITH,
    BoardFit,
    board_fits,
    closed_runs,
    joint_fit,
    known_runs,
    log_error,
)
from mcusim.calibration.power_fit import PowerFit, fit_power, powered_runs
from mcusim.calibration.priced_runs import uncalibrated
from mcusim.calibration.published import data_set_sha256, published_runs
from mcusim.estimator import estimate
from mcusim.models import load_model
from mcusim.resources import data_path

__all__ = ["main", "shipped_files"]

_COMMAND = "python -m mcusim.calibration.shipped --write"
#: With fewer residuals of a core's own, those of all cores stand for its spread.
_LEAST_RESIDUALS = 9
#: How much wider the interval of a core without a measured board is than that of the measured
#: cores, each predicted from the others: these are all of one kind, with DSP instructions.
_UNMEASURED = 2.0


@cache
def power_fit() -> PowerFit:
    """The fit of all powers."""
    return fit_power(powered_runs(published_runs()))


def shipped_files() -> dict[str, str]:
    """Every file by its path below ``calibration/``, as JSON."""
    files = {"intervals.json": _intervals(), "closed_runtimes.json": _closed_runtimes()}
    for fit in board_fits():
        files[f"boards/{fit.board}.json"] = _board_file(fit)
    for core in joint_fit().cores:
        files[f"cores/{core}.json"] = _core_file(core)
    files["cores/any-core.json"] = _core_file("")
    return {
        path: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for path, content in files.items()
    }


def _board_file(fit: BoardFit) -> dict[str, Any]:
    scales = joint_fit().boards[fit.board]
    known = [p for p in fit.runs if p.run.status == "known"]
    software = dict.fromkeys(p.run.software for p in fit.runs)
    models = ", ".join(dict.fromkeys(p.run.model for p in known))
    measured_on = f"{len(known)} published runs of {models}"
    if not known:
        measured_on = f"{len(fit.runs)} published runs of closed runtimes, against other boards"
    # Software that was counted has not run where only closed software was measured.
    width = width_at(held_out_latency(), "network" if known else "board")
    values: dict[str, Any] = {
        "calibrated": True,
        "calibration": {
            "measured_on": measured_on,
            "runs": len(fit.runs),
            "software": list(software),
            "kinds": {
                name: sorted({p.kind for p in fit.runs if p.run.software == name})
                for name in software
            },
            "time_scale": round(scales.time_scale, 4),
            "fetch_wait_scale": round(scales.fetch_wait_scale, 4),
            "constant_wait_scale": round(scales.constant_wait_scale, 4),
            "power_scale": _power_scales(fit.board),
            **_range(width),
        },
    }
    values["power"] = _range(width_at(held_out_power(), "board"))
    if fit.board in power_fit().boards:
        power = uncalibrated(fit.board).power
        scale = power_fit().boards[fit.board]
        values["power"] = {
            "active_a_per_hz": float(f"{power.active_a_per_hz * scale:.4g}"),
            **({"active_a": float(f"{power.active_a * scale:.4g}")} if power.active_a else {}),
            **_range(width_at(held_out_power(), "software")),
        }
    return {
        "schema": "mcusim/fitted/1",
        "board": fit.board,
        "written_by": _COMMAND,
        "evidence": (
            f"fitted to {measured_on}; runs left out were wrong by "
            f"{100 * math.expm1(min(fit.before, fit.after)):.1f} % in the mean: docs/accuracy.md"
        ),
        "data_set_sha256": data_set_sha256(),
        "mean_error_predicted_from_other_boards": round(math.expm1(fit.before), 4),
        "mean_error_left_out": round(math.expm1(fit.after), 4),
        "own_scale_refused": fit.refused,
        "rows": [
            {
                "file": p.run.file,
                "line": p.run.line,
                "model": p.run.model,
                "software": p.run.software,
                "measured_over_fitted": round(math.exp(log_error(joint_fit(), p)), 4),
            }
            for p in known
        ],
        "values": values,
    }


def _power_scales(board: str) -> dict[str, float]:
    """Power with a software over that of the board, for software that can be asked for."""
    names = {p.run.software for p in (*known_runs(), *closed_runs()) if p.run.board == board}
    of_board = power_fit().boards.get(board, 1.0)
    found: dict[str, list[float]] = {}
    for (name, firmware), factor in power_fit().firmware.items():
        for software in names:
            if name == board and firmware.removesuffix(" mbed-os") == software:
                found.setdefault(software, []).append(factor / of_board)
    return {software: round(statistics.fmean(f), 4) for software, f in sorted(found.items())}


def _core_file(core: str) -> dict[str, Any]:
    fit = joint_fit()
    distance = "board" if core else "core"
    rows = [h for h in held_out_latency() if h.distance == distance]
    own = [h for h in rows if core and uncalibrated(h.run.board).core.name == core]
    judged = own if len(own) >= _LEAST_RESIDUALS else rows
    width = width_of(judged)
    boards = sorted({h.run.board for h in own} if core else {h.run.board for h in rows})
    evidence = f"{len(judged)} published runs of boards left out; docs/accuracy.md"
    return {
        "schema": "mcusim/fitted/1",
        "core": core or "any that was not measured",
        "written_by": _COMMAND,
        "evidence": evidence,
        "data_set_sha256": data_set_sha256(),
        "boards": boards,
        "values": {
            "uncalibrated": {
                "time_scale": round(fit.cores.get(core, fit.any_core), 4),
                "runs": len(own),
                **_range(width if core else _UNMEASURED * width),
            },
            "software_scale": {
                software: round(factor, 4)
                for (name, software), factor in sorted(fit.software.items())
                if name == core
            },
        },
    }


def _intervals() -> dict[str, Any]:
    quantities = {"latency": held_out_latency(), "power": held_out_power()}
    intervals = {
        quantity: {
            distance: {
                "half_width": round(width_at(rows, distance), 4),
                "runs": sum(h.distance == distance for h in rows),
                "boards": len({h.run.board for h in rows if h.distance == distance}),
            }
            for distance in DISTANCES
            if any(h.distance == distance for h in rows)
        }
        for quantity, rows in quantities.items()
    }
    latency = intervals["latency"]
    # Kernels of a library without a measured run are as far as a core without one.
    width = round(_UNMEASURED * latency["core"]["half_width"], 4)
    latency["library"] = {"half_width": width, "runs": 0, "boards": 0}
    spread = layer_spread()
    intervals["layer"] = {
        "in network": {
            "half_width": round(half_width(spread), 4),
            "runs": len(spread),
            "boards": len({layer.board for layer in measured_layers()}),
        }
    }
    return {
        "schema": "mcusim/intervals/1",
        "written_by": _COMMAND,
        "data_set_sha256": data_set_sha256(),
        "libraries": sorted({p.run.runtime.partition("@")[0] for p in known_runs()}),
        "intervals": intervals,
    }


def _closed_runtimes() -> dict[str, Any]:
    runs = every_closed_run()
    fit = fit_closed(runs, without_closed())
    shares = {board: _share_of_shipped(board) for board in dict.fromkeys(p.run.board for p in runs)}
    elsewhere = statistics.geometric_mean(
        without_closed().of("", core).time_scale / scale
        for core, scale in joint_fit().cores.items()
    )
    runtimes: dict[str, dict[str, Any]] = {}
    for version in sorted(dict.fromkeys(map(version_of, runs)), key=_age):
        base, _, number = version[0].partition("@")
        own = [p for p in runs if version_of(p) == version]
        boards = {p.run.board for p in runs if version_of(p)[1] == version[1]}
        runtimes.setdefault(base, {}).setdefault(number, {})[version[1]] = {
            "factors": _scaled(fit.factors(version), elsewhere),
            "on_board": {b: _scaled(fit.factors(version, b), shares[b]) for b in sorted(boards)},
            "networks": {
                network: round(fit.network_factor(version, network), 4)
                for network in sorted({p.run.model for p in own})
            },
            "runs": len(own),
            "boards": sorted({p.run.board for p in own}),
        }
    return {
        "schema": "mcusim/closed-runtimes/2",
        "written_by": _COMMAND,
        "data_set_sha256": data_set_sha256(),
        "compared_with": COMPARED_WITH,
        "intervals": closed_widths(),
        "macs": {name: _macs(name) for name in sorted({p.run.model for p in runs})},
        "runtimes": runtimes,
    }


def _share_of_shipped(board: str) -> float:
    """A board's cycles with the scales that factors were fitted to, over those that ship."""
    runs = [p for p in every_closed_run() if p.run.board == board]
    return statistics.geometric_mean(
        without_closed().of(board, p.core).time_scale
        * p.predicted
        / joint_fit().of(board, p.core).cycles(p)
        for p in runs
    )


def _scaled(factors: Mapping[str, float], by: float) -> dict[str, float]:
    return {name: round(value * by, 4) for name, value in factors.items()}


def _macs(network: str) -> int:
    """What a network is known by beside its name."""
    board = uncalibrated(closed_runs()[0].run.board)
    return sum(layer.macs for layer in estimate(load_model(network), board, *COMPARED_WITH).layers)


def _age(version: Version) -> tuple[str, list[int], str]:
    base, _, number = version[0].partition("@")
    return base, [int(part) for part in number.split(".")], version[1]


def _range(width: float) -> dict[str, float]:
    # Rounded outwards, so that no digit makes the interval narrower.
    return {
        "measured_over_predicted_low": math.floor(math.exp(-width) * 1e4) / 1e4,
        "measured_over_predicted_high": math.ceil(math.exp(width) * 1e4) / 1e4,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was fitted; with ``--write``, write the files."""
    parser = argparse.ArgumentParser(description="Fit the boards that come with mcusim.")
    parser.add_argument("--write", action="store_true", help="write the files in calibration/")
    write = parser.parse_args(arguments).write
    for fit in board_fits():
        print(f"{fit.board}: {fit.before:.3f} -> {fit.after:.3f} {fit.refused}")  # noqa: T201
    if write:
        files = shipped_files()
        folder = data_path("calibration")
        for old in (*folder.glob("boards/*.json"), *folder.glob("cores/*.json")):
            if str(old.relative_to(folder)) not in files:
                old.unlink()
        for path, text in files.items():
            _write(folder / path, text)
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
