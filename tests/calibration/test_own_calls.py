"""Counted calls of CMSIS-NN of our own."""

from __future__ import annotations

from collections import Counter

import pytest

from mcusim.calibration.library_rows import LibraryRow
from mcusim.calibration.own_calls import gcc9_sha256, glue_rows, own_calls, own_calls_sha256
from mcusim.kernels.cmsis_nn import CASES

_C_LIBRARY = {"memcpy", "memmove", "memset"}


@pytest.fixture(scope="module")
def rows() -> list[LibraryRow]:
    return own_calls()


def test_each_call_was_counted_in_each_build(rows: list[LibraryRow]) -> None:
    newest = [row for row in rows if row.configuration.generation == "2026"]
    builds = Counter(row.build for row in newest)
    assert len(builds) == 10
    assert set(builds.values()) == {1500}
    assert len({row.case.id for row in newest}) == 1500


def test_each_call_of_an_old_library_was_counted_in_each_of_its_builds(
    rows: list[LibraryRow],
) -> None:
    """In 2020 there is no wrapper yet: some calls are of two or three functions."""
    builds = Counter(
        (row.configuration.generation, row.build)
        for row in {
            (row.configuration, row.build, row.case.id): row
            for row in rows
            if row.configuration.generation != "2026"
        }.values()
    )
    assert len(builds) == 15
    assert set(builds.values()) == {630}


def test_each_function_of_an_old_library_is_priced(rows: list[LibraryRow]) -> None:
    """What ran in the counted build is a call that the library is said to make, or a part of it.

    The averages of 2020 call two functions that are counted with them, and a function that others
    inline does not show.
    """
    for row in rows:
        if row.configuration.generation == "2026" or row.case.op == "avgpool_s8":
            continue
        calls = CASES[row.case.op](row.case, row.configuration)
        ran = {part.rpartition(":")[0] for part in row.top_functions.split()}
        ours = {name for name in ran if name.startswith("arm_") and "_size" not in name}
        assert ours <= {call.kernel for call in calls}, row.case.id


def test_functions_add_up_to_the_call(rows: list[LibraryRow]) -> None:
    """Of the Cortex-M55 the total alone was counted."""
    for row in rows:
        if row.vector.size == 1:
            assert row.build == "m55.gcc-O3" and not row.top_functions
            continue
        functions = (part.rpartition(":")[2] for part in row.top_functions.split())
        assert sum(map(int, functions)) == row.total


def test_each_call_names_the_functions_that_ran(rows: list[LibraryRow]) -> None:
    """What is predicted to run is what ran, but for functions of the compiler and of C."""
    for row in rows:
        if row.build != "m4.gcc-O3" or row.configuration.generation != "2026":
            continue
        calls = CASES[row.case.op](row.case, row.configuration)
        ran = {part.rpartition(":")[0] for part in row.top_functions.split()}
        ours = {
            name for name in ran if name.startswith(("arm_", "depthwise_")) and "_size" not in name
        }
        named = {call.kernel for call in calls if any(call.trips.values())} - _C_LIBRARY
        assert ours == named, row.case.id


def test_files_are_named_with_their_hashes() -> None:
    assert sorted(own_calls_sha256()) == ["cmsis_nn_calls.csv.gz", "cmsis_nn_calls.zip"]
    assert sorted(own_calls_sha256(old=True)) == [
        "cmsis_nn_calls_old.csv.gz",
        "cmsis_nn_calls_old.zip",
    ]
    assert sorted(gcc9_sha256()) == ["cmsis_nn_calls_gcc9.csv.xz", "cmsis_nn_glue_gcc9.csv.gz"]


def test_what_tflm_runs_around_the_library_was_counted_in_each_build_of_gcc_9() -> None:
    rows = list(glue_rows())
    assert set(Counter(row.build for row in rows).values()) == {62}
    for row in rows:
        glue, *channels = row.calls
        assert glue.profile.startswith("cmsis_nn@2020/glue_")
        assert glue.trips["call"] == 1
        assert bool(channels) == row.name.startswith("depthwise"), row.name
