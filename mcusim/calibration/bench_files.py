"""A bench plan as files: the networks, as ``.tflite`` and as C arrays, and the table to fill in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from mcusim.calibration.bench_networks import micro_network
from mcusim.calibration.bench_plan import BenchPlan, PlannedRun
from mcusim.tflite import write

__all__ = ["plan_files"]

_COLUMNS = (
    "model",
    "runtime",
    "build",
    "clock_hz",
    "weights",
    "latency_ms",
    "energy_mj",
    "trace",
    "inferences",
    "note",
)
_BYTES_A_LINE = 16


def plan_files(plan: BenchPlan) -> dict[str, bytes]:
    """Every file of a plan, by name: ``runs.csv``, and three for each network."""
    files = {}
    for run in plan.runs:
        content = write(micro_network(run.network))
        name = run.network
        files[f"{name}.tflite"] = content
        files[f"{name}.h"] = _header(plan, run, len(content)).encode()
        files[f"{name}.c"] = _source(run, content).encode()
    files["runs.csv"] = _table(plan).encode()
    return files


def _table(plan: BenchPlan) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for run in plan.runs:
        found = run.estimate
        cells = {
            "model": f"{run.network}.tflite",
            "runtime": plan.runtime,
            "build": plan.build,
            "clock_hz": f"{found.clock_hz:.0f}",
            "weights": found.placement["weights"],
            "note": f"expected {found.latency_s * 1e3:.4g} ms",
        }
        table.writerow([cells.get(column, "") for column in _COLUMNS])
    return text.getvalue()


def _header(plan: BenchPlan, run: PlannedRun, size: int) -> str:
    name, found = _identifier(run.network), run.estimate
    guard = name.upper()
    place = "flash" if _is_constant(run) else "RAM"
    lines = [
        f"/* {run.network} for {plan.board.name} with {plan.runtime}, {plan.build}: measure it at",
        f"   {found.clock_hz / 1e6:g} MHz with the model in {place}. */",
        f"#ifndef {guard}_H",
        f"#define {guard}_H",
        "",
        f"#define {guard}_MODEL_BYTES {size}u",
    ]
    if found.arena_bytes is not None:
        lines += [
            "/* What arena_used_bytes() should say; while tensors are allocated it takes more. */",
            f"#define {guard}_ARENA_BYTES {found.arena_bytes}u",
        ]
    lines += [
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        f"extern {_declared(run)}[{guard}_MODEL_BYTES];",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _source(run: PlannedRun, content: bytes) -> str:
    lines = [
        f'#include "{run.network}.h"',
        "",
        f"__attribute__((aligned(16))) {_declared(run)}[{len(content)}] = {{",
        *_bytes(content),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _declared(run: PlannedRun) -> str:
    # A variable that is not constant lies in RAM, where start-up code copies it to.
    qualifier = "const " if _is_constant(run) else ""
    return f"{qualifier}unsigned char {_identifier(run.network)}_model"


def _is_constant(run: PlannedRun) -> bool:
    return run.estimate.placement["weights"] == "flash"


def _bytes(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), _BYTES_A_LINE):
        yield "  " + ", ".join(f"0x{b:02x}" for b in content[start : start + _BYTES_A_LINE]) + ","


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
