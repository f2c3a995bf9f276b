"""Classes of loop levels from counts, on loops whose cost is known."""

from __future__ import annotations

import numpy as np

from mcusim.calibration.class_fit import classes_of
from mcusim.instruction_mix import CLASSES, FIELDS


def _vector(**counts: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([counts.get(name, 0.0) for name in FIELDS])


def test_levels_get_the_classes_that_they_execute() -> None:
    """A call of ten instructions, a loop of five: rows of different turns tell them apart."""
    call = _vector(alu=7, store_word=2, branch_indirect=1, store_accesses=2, taken_unconditional=1)
    loop = _vector(
        multiply=1, load_byte=2, alu=1, branch_conditional=1, load_accesses=2, taken_conditional=1
    )
    turns = np.array([[1.0, n] for n in (3, 10, 50, 200)])
    counts = turns @ np.array([call, loop])
    found = classes_of(turns, counts, np.array([10.0, 5.0]))
    np.testing.assert_allclose(found, [call, loop], atol=0.02)


def test_classes_add_up_to_the_level() -> None:
    """What the counts leave open is divided all the same, and nothing is negative."""
    turns = np.array([[1.0, 2.0], [2.0, 4.0], [5.0, 10.0]])
    counts = turns @ np.array([_vector(alu=4, load_word=2), _vector(alu=1, divide=1)])
    found = classes_of(turns, counts, np.array([6.0, 2.0]))
    np.testing.assert_allclose(found[:, : len(CLASSES)].sum(axis=1), [6.0, 2.0])
    assert (found >= 0.0).all()
    np.testing.assert_allclose(
        turns @ found[:, : len(CLASSES)], counts[:, : len(CLASSES)], rtol=0.02
    )


def test_the_last_turn_of_a_loop_takes_no_branch() -> None:
    """A loop of n turns jumps back n - 1 times: the call spares one."""
    turns = np.array([[1.0, n] for n in (2, 5, 11, 60)])
    counts = turns @ np.array(
        [
            _vector(alu=9, taken_conditional=-1),
            _vector(alu=2, branch_conditional=1, taken_conditional=1),
        ]
    )
    found = classes_of(turns, counts, np.array([9.0, 3.0]))
    taken = found[:, FIELDS.index("taken_conditional")]
    np.testing.assert_allclose(taken, [-1.0, 1.0], atol=1e-3)


def test_totals_alone_stay_totals() -> None:
    found = classes_of(np.eye(2), np.array([[3.0], [4.0]]), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(found, [[3.0], [4.0]])
