"""Functions called by the procedure call standard (IHI 0042), written as halfwords."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.arguments import Argument, Layout, Pointer, Struct, lay_out
from mcusim.emulator.images import Symbol
from mcusim.errors import FirmwareError, InputError
from tests.emulator.thumb import BASE, RAM, halfwords, machine_with


def laid_out(*arguments: Argument, hard_float: bool = False) -> Layout:
    """Where arguments go, with arrays at 0x1000 and targets of pointers at 0x2000."""
    return lay_out(arguments, lambda *_: 0x2000, lambda _: 0x1000, hard_float=hard_float)


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def test_four_words_go_to_registers_and_the_fifth_to_the_stack() -> None:
    layout = laid_out(1, 2, -1, 4, 5)
    assert layout.core == [1, 2, 0xFFFF_FFFF, 4]
    assert words(layout.stack) == [5, 0]


def test_a_long_begins_at_an_even_register() -> None:
    layout = laid_out(1, np.int64(0x2_0000_0001))
    assert layout.core == [1, 0, 1, 2]


def test_a_long_is_not_split() -> None:
    layout = laid_out(1, 2, 3, np.uint64(7))
    assert layout.core == [1, 2, 3, 0]
    assert words(layout.stack) == [7, 0]


def test_a_struct_may_lie_half_on_the_stack() -> None:
    layout = laid_out(1, 2, Struct.of(3, 4, 5, 6))
    assert layout.core == [1, 2, 3, 4]
    assert words(layout.stack) == [5, 6]


def test_members_are_aligned() -> None:
    layout = laid_out(Struct.of(np.int8(1), np.int16(2), np.int8(3)))
    assert layout.core == [0x0002_0001, 0x0000_0003]


def test_addresses_of_arrays_and_structs_and_null() -> None:
    layout = laid_out(np.zeros(3, np.int8), Pointer(Struct.of(1)), None)
    assert layout.core == [0x1000, 0x2000, 0]


def test_floats_go_to_core_registers_without_an_fpu() -> None:
    layout = laid_out(np.float32(1.0), 1.0)
    assert layout.core == [0x3F80_0000, 0, 0, 0x3FF0_0000]
    assert not layout.floats


def test_floats_fill_the_gaps_behind_doubles() -> None:
    """AAPCS, section 6.1.2.2: s0, then d1, then s1 is still free."""
    layout = laid_out(np.float32(1), 2.0, np.float32(3), 9, hard_float=True)
    assert layout.floats == {0: 0x3F80_0000, 2: 0, 3: 0x4000_0000, 1: 0x4040_0000}
    assert layout.core == [9]


def test_structs_of_floats_go_to_fpu_registers() -> None:
    layout = laid_out(Struct.of(np.float32(1), np.float32(2)), hard_float=True)
    assert layout.floats == {0: 0x3F80_0000, 1: 0x4000_0000}


def test_floats_beyond_the_registers_go_to_the_stack() -> None:
    layout = laid_out(*[np.float32(n) for n in range(18)], hard_float=True)
    assert len(layout.floats) == 16
    assert np.frombuffer(bytes(layout.stack), np.float32).tolist() == [16.0, 17.0]


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1, "text", object()])
def test_what_c_does_not_have_is_refused(value: Argument) -> None:
    with pytest.raises(InputError):
        laid_out(value)


#: adds r0, r0, r1; add r0, r0, r2 ...: ldr r3, [sp]; adds r0, r0, r3; bx lr.
_SUM = halfwords(0x1840, 0x4410, 0x9B00, 0x18C0, 0x4770)
#: ldrsb r2, [r0]; adds r2, #1; strb r2, [r0]; adds r0, #1; subs r1, #1; bne; bx lr.
_INCREMENT = halfwords(0x7802, 0x3201, 0x7002, 0x3001, 0x3901, 0xD1F9, 0x4770)
_NEVER = halfwords(0xE7FE)
_BAD = halfwords(0x4800, 0xE7FE, 0x0000, 0x6000, 0x6800)


def test_a_call_returns_its_value_and_what_it_executed() -> None:
    machine = machine_with(_SUM, "m4", Symbol(BASE, len(_SUM), "sum", "function"))
    result = machine.call("sum", 1, 2, 3, 0, 4)
    assert result.value == 10
    assert result.instructions.total == 5
    assert result.instructions["branch_indirect"] == 1
    again = machine.call(BASE, 10, 20, 30, 0, 40)
    assert (again.value, again.instructions.total) == (100, 5)


def test_a_call_shows_memory_before_and_after() -> None:
    symbol = Symbol(BASE, len(_INCREMENT), "increment", "function")
    machine = machine_with(_INCREMENT, "m0plus", symbol)
    given = np.array([[1, 2, -128], [127, 0, -1]], np.int8)
    result = machine.call("increment", given, given.size, returns=None)
    assert result.value is None
    assert result.arrays[0].tolist() == [[2, 3, -127], [-128, 1, 0]]
    assert given[0, 0] == 1
    assert result.instructions.total == 6 * 6 + 1


def test_registers_of_wider_results() -> None:
    machine = machine_with(halfwords(0x4770), "m4", Symbol(BASE, 2, "same", "function"))
    assert machine.call("same", np.int64(-5), returns=np.int64).value == -5
    assert machine.call("same", -5, returns=np.int8).value == -5


def test_a_call_that_does_not_return_says_why() -> None:
    machine = machine_with(_NEVER, "m4", Symbol(BASE, 2, "spin", "function"))
    with pytest.raises(FirmwareError, match="spin did not return: time limit"):
        machine.call("spin", max_seconds=1e-5)
    with pytest.raises(FirmwareError, match="instruction limit"):
        machine.call("spin", max_instructions=100)


def test_a_call_that_faults_names_the_place() -> None:
    code = halfwords(0x4801, 0x6800, 0x4770, 0x0000, 0x0000, 0x7000)
    machine = machine_with(code, "m4", Symbol(BASE, 6, "read", "function"))
    with pytest.raises(FirmwareError, match=r"read where nothing answers, 0x70000000, at 0x42"):
        machine.call("read")


def test_arguments_larger_than_memory_are_refused() -> None:
    machine = machine_with(halfwords(0x4770))
    with pytest.raises(InputError, match="below the stack"):
        machine.call(BASE, np.zeros(1 << 20, np.int8))
    assert machine.read(RAM, 4) == bytes(4)


def test_an_unknown_function_is_named_with_the_closest() -> None:
    machine = machine_with(_SUM, "m4", Symbol(BASE, len(_SUM), "arm_convolve_s8", "function"))
    with pytest.raises(InputError, match="did you mean arm_convolve_s8"):
        machine.call("arm_convolve_s4")
