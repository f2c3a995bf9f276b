"""Counted runs, read into mcusim's vocabulary."""

import pytest

from mcusim.calibration.counted import COLUMNS, CountedSet, build_of, build_of_name, vector_of
from mcusim.errors import InputError
from mcusim.instruction_mix import CLASSES, FIELDS, InstructionMix
from tests.shared import SHARED, needs_shared


def test_every_class_has_one_column():
    assert tuple(COLUMNS) == FIELDS
    assert len(set(COLUMNS.values())) == len(FIELDS)


@pytest.mark.parametrize(
    ("core", "fpu", "flag", "build"),
    [
        ("cortex-m4", "hard fpv4-sp-d16", "O3", "m4.gcc-O3"),
        ("cortex-m4", "soft", "Os", "m4-soft.gcc-Os"),
        ("cortex-m0plus", "soft", "O3", "m0plus.gcc-O3"),
        ("cortex-m7", "hard fpv5-d16", "mk", "m7.gcc-mk"),
    ],
)
def test_builds_are_named_by_core_and_flag(core, fpu, flag, build):
    assert build_of(core, fpu, flag) == build


def test_short_names_name_the_same_builds():
    assert build_of_name("m4s_Os_ref") == "m4-soft.gcc-Os"
    assert build_of_name("m0p_O3_ref") == "m0plus.gcc-O3"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"tflm_grid\.csv: there is no such file"):
        CountedSet(tmp_path).single_operators()


@needs_shared
def test_classes_sum_to_the_total_in_every_row():
    """34 exclusive classes, in single operators and whole networks alike."""
    counted = CountedSet(SHARED / "counted")
    for name in ("tflm_grid.csv", "tflm_operators.csv"):
        for row in counted.rows(name):
            vector = vector_of(row)
            mix = InstructionMix(vector)
            assert vector[: len(CLASSES)].sum() == float(row["total"]) == mix.total
            assert mix["taken_conditional"] <= mix["branch_conditional"]


@needs_shared
def test_every_counted_model_is_there():
    counted = CountedSet(SHARED / "counted")
    models = {name for name, _ in counted.models()}
    assert {row.id for row in counted.single_operators()} == models
