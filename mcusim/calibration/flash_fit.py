"""Fits program memory to counted firmware.

``python -m mcusim.calibration.flash_fit`` compares the functions that the linker keeps for the
operators of a model (``calibration/flash_functions.json``) with the sections of counted firmware,
and shows what start-up and registration add; ``--write`` writes ``calibration/flash_tflm.json``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcusim.resources import data_path
from mcusim.runtimes.program_memory import SECTIONS, function_sizes
from mcusim.tflite import load

__all__ = ["Firmware", "counted_firmware", "fit", "linked", "main"]

#: The compiler copies the registration of about that many operators in line; more cost nothing
#: but their entry in the table, which is in bss.
_INLINED = {"text": 8, "rodata": 8, "data": 8}
_RUNTIMES = {"ref": "tflm", "cmsis": "cmsis-nn"}
_CORES = {
    ("cortex-m0plus", "soft"): "m0plus",
    ("cortex-m3", "soft"): "m3",
    ("cortex-m4", "soft"): "m4-soft",
    ("cortex-m4", "hard"): "m4",
    ("cortex-m7", "hard"): "m7",
    ("cortex-m33", "hard"): "m33",
}


@dataclass(frozen=True)
class Firmware:
    """Sections of a counted program.

    Attributes:
        name: models that it was built for.
        runtime: ``"tflm"`` or ``"cmsis-nn"``.
        build: core, compiler and flag, such as ``"m4.gcc-Os"``.
        operators: those registered.
        sections: sizes in bytes: text without the profiler, rodata without the model, data, bss
            without the arena.
    """

    name: str
    runtime: str
    build: str
    operators: frozenset[str]
    sections: Mapping[str, int]


def counted_firmware(counted: Path, models: Path) -> Iterator[Firmware]:
    """Programs of ``tflm_models.csv``, one for each set of operators, kernel set and build.

    Args:
        counted: folder of the counted runs.
        models: folder with the ``.tflite`` files they were built for.
    """
    operators = {
        path.stem: frozenset(o.name for s in load(path).subgraphs for o in s.operators)
        for path in models.rglob("*.tflite")
    }
    found: dict[tuple[str, str, frozenset[str]], Firmware] = {}
    with (counted / "tflm_models.csv").open() as file:
        for row in csv.DictReader(file):
            runtime, build = _RUNTIMES[row["kernels"]], f"m4.gcc-{row['opt']}"
            key = runtime, build, operators[row["model"]]
            if row["lib"] == "tflm_2026" and build != "m4.gcc-O3nc":
                found.setdefault(key, Firmware(row["model"], *key, _sections(row)))
    yield from found.values()


def linked(runtime: str, build: str, operators: Collection[str]) -> dict[str, int]:
    """Sections of what the linker keeps for these operators, start-up left out."""
    total = dict.fromkeys(SECTIONS, 0)
    for row in function_sizes(runtime):
        if build in row.bytes and (not row.operators or row.operators.intersection(operators)):
            for section, size in zip(SECTIONS, row.bytes[build], strict=True):
                total[section] += size
    return total


def fit(programs: Sequence[Firmware]) -> dict[str, Any]:
    """What start-up and registration add to the linked functions, with held-out errors.

    Args:
        programs: of one runtime and one build.

    Returns:
        By section: bytes of every program, bytes for each registered operator, and up to how many
        operators; the largest error of the fit and of a program kept out of it, relative to the
        program without its model.
    """
    held_out = [
        _error(_coefficients([p for p in programs if p is not left_out]), left_out)
        for left_out in programs
    ]
    startup = _coefficients(programs)
    return {
        "startup": {s: round(a, 1) for s, (a, _) in startup.items()},
        "per_operator": {s: round(b, 1) for s, (_, b) in startup.items()},
        "registered_up_to": _INLINED,
        "programs": sorted(p.name for p in programs),
        "fit_error": max(_error(startup, p) for p in programs),
        "held_out_error": max(held_out),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="flash_fit", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--write", action="store_true", help="write calibration/flash_tflm.json")
    options = parser.parse_args(arguments)
    programs = list(counted_firmware(options.counted, options.models))
    sets: dict[str, dict[str, Any]] = {}
    for runtime in _RUNTIMES.values():
        for build in sorted({p.build for p in programs if p.runtime == runtime}):
            rows = [p for p in programs if (p.runtime, p.build) == (runtime, build)]
            fitted = fit(rows)
            sets.setdefault(runtime, {})[build] = fitted
            sys.stdout.write(
                f"{runtime} {build}: {len(rows)} programs, largest error "
                f"{100 * fitted['fit_error']:.2f} %, held out "
                f"{100 * fitted['held_out_error']:.2f} %\n"
            )
    totals = _totals(options.counted)
    if options.write:
        path = data_path("calibration", "flash_tflm.json")
        path.write_text(_text(options.counted, sets, totals))
        sys.stdout.write(f"written: {path}\n")
    return 0


def _sections(row: Mapping[str, str]) -> dict[str, int]:
    return {section: int(row[f"{section}_bytes"]) for section in SECTIONS}


def _coefficients(programs: Sequence[Firmware]) -> dict[str, tuple[float, float]]:
    """By section, bytes of start-up and bytes an operator, by least squares."""
    found = {}
    for section in SECTIONS:
        counts = [_registered(p, section) for p in programs]
        extra = [
            p.sections[section] - linked(p.runtime, p.build, p.operators)[section] for p in programs
        ]
        design = np.column_stack([np.ones(len(programs)), counts])
        (start, each), *_ = np.linalg.lstsq(design, np.array(extra, float), rcond=None)
        found[section] = (float(start), float(each))
    return found


def _registered(program: Firmware, section: str) -> int:
    count = len(program.operators)
    return min(count, _INLINED.get(section, count))


def _error(coefficients: Mapping[str, tuple[float, float]], program: Firmware) -> float:
    """Relative error of what a program takes in flash."""
    kept = linked(program.runtime, program.build, program.operators)
    in_flash = ("text", "rodata", "data")
    predicted = 0.0
    for section in in_flash:
        start, each = coefficients[section]
        predicted += kept[section] + start + each * _registered(program, section)
    counted = sum(program.sections[section] for section in in_flash)
    return abs(predicted - counted) / counted


def _totals(counted: Path) -> dict[str, dict[str, dict[str, int]]]:
    """Sections of the program of 35 operators on each core, which carry sizes between cores."""
    totals: dict[str, dict[str, dict[str, int]]] = {runtime: {} for runtime in _RUNTIMES.values()}
    with (counted / "tflm_grid_builds.csv").open() as file:
        for row in csv.DictReader(file):
            core = _CORES[row["core"], row["fpu"].split()[0]]
            if row["opt"] != "O3nc":
                totals[_RUNTIMES[row["kernels"]]][f"{core}.gcc-{row['opt']}"] = _sections(row)
    return totals


def _text(counted: Path, sets: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in ("tflm_models.csv", "tflm_grid_builds.csv"):
        digest.update((counted / name).read_bytes())
    content = {
        "schema": "mcusim/flash/1",
        "source": "sections of counted firmware: tflite-micro 90b983c (2026-08-20), CMSIS-NN "
        "4ab83cc, arm-none-eabi-gcc 12.2.1, newlib; each program registers only its model's "
        "operators; totals are of one program that registers 35",
        "dataset_sha256": digest.hexdigest(),
        "kernel_sets": sets,
        "totals": totals,
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
