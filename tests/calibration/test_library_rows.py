"""Counted calls of CMSIS-NN in mcusim's vocabulary."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mcusim.calibration.library_rows import LIBRARY_COLUMNS, LibrarySet, library_vector
from mcusim.instruction_mix import CLASSES, FIELDS
from tests.shared import SHARED, needs_shared


def test_a_pop_into_the_program_counter_counts_once() -> None:
    """It stands in two columns, ``ldm`` and ``bx_ret``; the total has it once."""
    row = {column: "0" for columns in LIBRARY_COLUMNS.values() for column in columns}
    row |= {"alu": "5", "ext": "2", "ldm": "3", "ldm_regs": "9", "bx_ret": "4", "n_instr": "12"}
    vector = library_vector(row)
    assert vector[: len(CLASSES)].sum() == 12
    assert vector[FIELDS.index("alu")] == 7
    assert vector[FIELDS.index("load_multiple")] == 3
    assert vector[FIELDS.index("branch_indirect")] == 2
    assert vector[FIELDS.index("taken_unconditional")] == 4
    assert vector[FIELDS.index("load_accesses")] == 9


@needs_shared
def test_every_counted_call_is_read() -> None:
    rows = list(LibrarySet(SHARED / "counted").rows())
    assert Counter(row.configuration.generation for row in rows) == {
        "2026": 10 * 1204,
        "2020": 3 * 1445,
        "2020apr": 1445,
        "2021": 4 * 1052,
        "2022": 4 * 1065,
    }
    assert {row.configuration.simd for row in rows} == {"none", "dsp", "mve"}
    assert all((row.vector >= 0).all() and row.total > 0 for row in rows)
    assert sum(row.configuration.single_rounding for row in rows) == 1204
    assert np.isfinite([row.total for row in rows]).all()
