"""Program memory against the sections of counted firmware."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from mcusim.errors import InputError
from mcusim.graph import DType, Graph, Operator
from mcusim.runtimes import Plan, flash, plan, static_ram
from mcusim.tflite import load
from tests.oracles import activation, constant, single_operator
from tests.shared import SHARED, needs_shared, shared_models

_RUNTIMES = {"ref": "tflm", "cmsis": "cmsis-nn"}


def dense() -> Graph:
    """One FULLY_CONNECTED: the operators of MLPerf Tiny's autoencoder."""
    x, y = activation((1, 8), DType.FLOAT32), activation((1, 4), DType.FLOAT32)
    weights = constant(np.ones((4, 8), np.float32))
    graph = single_operator(
        "FULLY_CONNECTED", [x, weights], [y], options_type="FullyConnectedOptions"
    )
    return replace(graph, model_bytes=1000)


def with_operators(planned: Plan, names: set[str]) -> Plan:
    """The plan of a model of these operators, as far as program memory sees it."""
    main = replace(planned.graph.main, operators=tuple(Operator(n, (), ()) for n in names))
    return replace(planned, graph=replace(planned.graph, subgraphs=(main,)))


def program_bytes(planned: Plan, core: str, build: str) -> int:
    return sum(p.size_bytes for p in flash(planned, core, build) if p.name != "model")


@pytest.mark.parametrize(
    ("runtime", "build", "text", "rodata", "data"),
    [
        ("tflm", "gcc-O3", 29032, 8664, 2120),
        ("tflm", "gcc-Os", 23432, 7996, 2120),
        ("tflm", "gcc-mk", 24360, 8048, 2120),
        ("cmsis-nn", "gcc-O3", 40872, 10148, 2120),
        ("cmsis-nn", "gcc-Os", 30408, 9432, 2120),
        ("cmsis-nn", "gcc-mk", 36232, 9532, 2120),
    ],
)
def test_a_dense_network_takes_what_its_firmware_takes(
    runtime: str, build: str, text: int, rodata: int, data: int
):
    """Sections of the firmware for ad01 on Cortex-M4, arm-none-eabi-gcc 12.2.1."""
    counted = text + rodata + data
    assert program_bytes(plan(dense(), runtime), "m4", build) == pytest.approx(counted, rel=0.01)


@needs_shared
def test_every_counted_program_is_within_half_a_percent():
    graphs = {path.stem: load(path) for path in shared_models()}
    errors = []
    with (SHARED / "counted" / "tflm_models.csv").open() as f:
        for row in csv.DictReader(f):
            if row["lib"] != "tflm_2026":
                continue
            planned = plan(graphs[row["model"]], _RUNTIMES[row["kernels"]])
            build = f"gcc-{row['opt']}"
            counted = sum(int(row[f"{s}_bytes"]) for s in ("text", "rodata", "data"))
            errors.append(program_bytes(planned, "m4", build) / counted - 1)
            parts = {p.name: p.size_bytes for p in flash(planned, "m4", build)}
            assert parts["model"] == int(row["model_bytes"])
            ram = sum(p.size_bytes for p in static_ram(planned, "m4", build))
            assert ram == pytest.approx(int(row["data_bytes"]) + int(row["bss_bytes"]), abs=48)
    assert len(errors) > 30
    assert max(map(abs, errors)) < 0.005


@needs_shared
def test_a_program_of_35_operators_on_every_core():
    """No fit has seen it; M7, M33 and M4 without its FPU are scaled by it at one flag."""
    with (SHARED / "counted" / "tflm_framework.csv").open() as f:
        names = {row["op"] for row in csv.DictReader(f)}
    cores = {"cortex-m0plus": "m0plus", "cortex-m3": "m3", "cortex-m7": "m7", "cortex-m33": "m33"}
    with (SHARED / "counted" / "tflm_grid_builds.csv").open() as f:
        for row in csv.DictReader(f):
            soft = row["fpu"] == "soft"
            core = cores.get(row["core"], "m4-soft" if soft else "m4")
            planned = with_operators(plan(dense(), _RUNTIMES[row["kernels"]]), names)
            counted = sum(int(row[f"{s}_bytes"]) for s in ("text", "rodata", "data"))
            ours = program_bytes(planned, core, f"gcc-{row['opt']}")
            assert ours == pytest.approx(counted, rel=0.005), row["build"]


def test_parts_say_what_they_are_and_from_where():
    parts = {part.name: part for part in flash(plan(dense()), "m4", "gcc-Os")}
    assert parts["model"].size_bytes == 1000
    assert {"TFLite Micro", "C library", "kernel of FULLY_CONNECTED"} <= set(parts)
    assert "held-out error" in parts["TFLite Micro"].source
    assert "scaled" not in parts["TFLite Micro"].source


@pytest.mark.parametrize(
    ("core", "build", "said"),
    [
        ("m7", "gcc-Os", "scaled from m4.gcc-O3 to m7.gcc-O3"),
        ("m85", "gcc-O3", "m85 taken as m33"),
        ("m4", "gcc-O2", "gcc-O2 taken as gcc-mk"),
        ("m3", "gcc-Os", "gcc-Os differs from gcc-O3 as it does on m4"),
    ],
)
def test_what_was_not_counted_says_what_stands_for_it(core: str, build: str, said: str):
    runtime = [p for p in flash(plan(dense()), core, build) if p.name == "TFLite Micro"]
    assert said in runtime[0].source


def test_soft_float_brings_its_library():
    """What the core cannot compute comes out of libgcc: floats on M3, and divisions on M0+."""
    planned = plan(dense())
    library = {
        core: next(p for p in flash(planned, core, "gcc-O3") if p.name == "C library").size_bytes
        for core in ("m4", "m3", "m0plus")
    }
    assert library["m4"] < library["m3"] < library["m0plus"]


def test_unknown_builds_and_cores_are_refused():
    planned = plan(dense())
    with pytest.raises(InputError, match="'gcc-O9' is not known"):
        flash(planned, "m4", "gcc-O9")
    with pytest.raises(InputError, match="'a53' is not known"):
        flash(planned, "a53", "gcc-O3")
