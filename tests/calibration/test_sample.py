"""The profiles that ship, against counted runs that travel with the tests."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mcusim.calibration.counted import build_of, vector_of
from mcusim.instruction_mix import CLASSES, InstructionMix
from mcusim.kernels.profile import load_profile
from mcusim.kernels.reference import KERNELS
from mcusim.tflite import read

DATA = Path(__file__).resolve().parents[1] / "data" / "counted"


@pytest.fixture(scope="module")
def rows():
    """Counted rows: id, build, counted mix."""
    with gzip.open(DATA / "tflm_grid_sample.csv.gz", "rt") as file:
        table = list(csv.DictReader(io.StringIO(file.read())))
    return [
        (row["id"], build_of(row["core"], row["fpu"], row["opt"]), float(row["total"]), row)
        for row in table
    ]


@pytest.fixture(scope="module")
def calls():
    """Kernel calls of the models by id."""
    with zipfile.ZipFile(DATA / "single_operators.zip") as archive:
        nodes = {
            Path(name).stem: read(archive.read(name), name).main.node(0)
            for name in archive.namelist()
        }
    return {name: KERNELS[node.name].call(node) for name, node in nodes.items()}


def test_classes_sum_to_the_counted_total(rows):
    for name, build, total, row in rows:
        assert vector_of(row)[: len(CLASSES)].sum() == total, (name, build)


def test_predictions_are_as_good_as_the_profiles_say(rows, calls):
    """Of some 1,660 counted runs, 95 in 100 lie within the stated 95th percentile."""
    within = []
    for name, build, total, _ in rows:
        found = load_profile(calls[name].profile).builds[build]
        error = found.mix(calls[name].trips).total / total - 1
        within.append(abs(error) <= found.held_out_p95 + 0.002)
    assert np.mean(within) >= 0.95


def test_instruction_classes_are_predicted_too(rows, calls):
    """Loads, stores, taken branches and multiplications take different times: each counts."""
    wrong = []
    for name, build, total, row in rows:
        predicted = load_profile(calls[name].profile).builds[build].mix(calls[name].trips)
        counted = InstructionMix(vector_of(row))
        wrong += [
            abs(predicted[field] - counted[field]) / total
            for field in ("load_accesses", "store_accesses", "taken_conditional", "multiply")
        ]
    assert np.median(wrong) < 0.002
    assert np.quantile(wrong, 0.95) < 0.02


def test_predicted_mixes_are_possible(rows, calls):
    """No more branches taken than executed, and an access for each load and store."""
    for name, build, _, _ in rows:
        mix = load_profile(calls[name].profile).builds[build].mix(calls[name].trips)
        assert mix["taken_conditional"] <= 1.02 * mix["branch_conditional"] + 5, (name, build)
        for access in ("load", "store"):
            executed = sum(
                count
                for field, count in mix.counts.items()
                if field.startswith((f"{access}_", f"float_{access}"))
            )
            assert executed <= 1.02 * mix[f"{access}_accesses"] + 5, (name, build)
        assert mix.loaded_bytes >= 0
