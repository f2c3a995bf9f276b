"""The vocabulary of instruction classes, and arithmetic with mixes."""

import json

import pytest

from mcusim.instruction_mix import CLASSES, FIELDS, InstructionMix


def test_names_are_unique_and_classes_come_first():
    assert len(set(FIELDS)) == len(FIELDS)
    assert FIELDS[: len(CLASSES)] == CLASSES


def test_total_counts_instructions_once():
    """Taken branches and memory accesses are seen beside the classes, not added to them."""
    mix = InstructionMix.of(
        {"alu": 3, "branch_conditional": 2, "taken_conditional": 1, "load_double": 1}
        | {"load_accesses": 2}
    )
    assert mix.total == 6
    assert mix.counts == {"alu": 3, "load_double": 1, "branch_conditional": 2}


def test_bytes_moved_follow_the_width_of_the_access():
    """A pop of three registers and a double move 3 + 2 words; a byte and a halfword 3 bytes."""
    mix = InstructionMix.of(
        {"load_byte": 1, "load_half": 1, "load_double": 1, "load_multiple": 1, "load_accesses": 7}
    )
    assert mix.loaded_bytes == 1 + 2 + 4 * 5
    assert mix.stored_bytes == 0


def test_taken_branches_are_conditional_and_not():
    mix = InstructionMix.of({"taken_conditional": 4, "taken_unconditional": 5})
    assert mix.taken_branches == 9


def test_mixes_add_and_scale():
    one = InstructionMix.of({"alu": 1, "store_byte": 2, "store_accesses": 2})
    both = one + one.scaled(2)
    assert both["alu"] == 3
    assert both.stored_bytes == 6
    assert InstructionMix.zero().total == 0


def test_an_unknown_class_is_an_error():
    with pytest.raises(KeyError):
        InstructionMix.of({"vliw": 1})


def test_a_mix_is_json_and_readable():
    mix = InstructionMix.of({"alu": 2, "call": 1, "taken_unconditional": 1})
    assert json.loads(json.dumps(mix.to_dict()))["counts"] == {"alu": 2, "call": 1}
    assert repr(mix) == "InstructionMix(total=3, alu=2, call=1)"
