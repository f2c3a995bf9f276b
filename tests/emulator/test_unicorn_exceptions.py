"""What exceptions and sleep build on: Unicorn 2.1.4 as it is. A new version must keep it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("unicorn")

from unicorn import UC_ARCH_ARM, UC_HOOK_INTR, UC_MODE_THUMB, Uc, UcError
from unicorn import arm_const as arm

from tests.emulator.thumb import halfwords

_MSP, _PSP = 0x2000_0800, 0x2000_0400
_SPSEL, _FPCA, _UNPRIVILEGED = 2, 4, 1


def core(*code: int, model: int = arm.UC_CPU_ARM_CORTEX_M4) -> Any:
    """A core with code at 0 and two stacks."""
    uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
    uc.ctl_set_cpu_model(model)
    uc.mem_map(0, 0x1000)
    uc.mem_map(0x2000_0000, 0x1000)
    uc.mem_write(0, halfwords(*code))
    uc.reg_write(arm.UC_ARM_REG_MSP, _MSP)
    uc.reg_write(arm.UC_ARM_REG_PSP, _PSP)
    return uc


def read(uc: Any, name: str) -> int:
    return int(uc.reg_read(getattr(arm, f"UC_ARM_REG_{name}")))


@pytest.mark.parametrize("hint", [0xBF20, 0xBF10], ids=["wfe", "yield"])
def test_hint_is_an_invalid_instruction_with_the_pc_behind_it(hint: int) -> None:
    uc = core(0xBF00, hint, 0xBF00)
    with pytest.raises(UcError):
        uc.emu_start(1, 0x100)
    assert read(uc, "PC") == 4


def test_send_event_is_a_nop() -> None:
    uc = core(0xBF40, 0xBF00, 0xBF00)
    uc.emu_start(1, 4)
    assert read(uc, "PC") == 4


def test_stack_pointers_change_places_with_mode_and_selection() -> None:
    uc = core(0xBF00)
    uc.reg_write(arm.UC_ARM_REG_CONTROL, _SPSEL)
    assert read(uc, "SP") == _PSP
    uc.reg_write(arm.UC_ARM_REG_IPSR, 11)
    assert read(uc, "SP") == _MSP
    uc.reg_write(arm.UC_ARM_REG_SP, _MSP - 32)
    uc.reg_write(arm.UC_ARM_REG_IPSR, 0)
    assert (read(uc, "SP"), read(uc, "MSP")) == (_PSP, _MSP - 32)


def test_floating_point_instruction_sets_the_context_flag() -> None:
    uc = core(0xBF00, 0xEEB0, 0x0A40, 0xBF00)  # nop; vmov.f32 s0, s0
    uc.emu_start(1, 2)
    assert not read(uc, "CONTROL") & _FPCA
    uc.emu_start(3, 6)
    assert read(uc, "CONTROL") & _FPCA
    uc.reg_write(arm.UC_ARM_REG_CONTROL, 0)
    assert not read(uc, "CONTROL") & _FPCA
    uc.emu_start(3, 6)
    assert read(uc, "CONTROL") & _FPCA


def test_state_of_an_it_block_is_taken_up_again() -> None:
    """From within ite eq of a comparison that failed: the first is skipped, the second is not."""
    uc = core(0x2001, 0x2301, 0x2401, 0xBF00)  # (moveq r0, #1;) moveq r3, #1; movne r4, #1
    # The two instructions left of ITTE EQ: its state is 0b0000_1010 after the first.
    state = 0b0000_1010
    uc.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24 | (state & 3) << 25 | (state >> 2) << 10)
    uc.emu_start(3, 6)
    assert (read(uc, "R3"), read(uc, "R4")) == (0, 1)


#: movs r0, #1; msr control, r0; isb; cpsid i; mrs r1, primask; nop
_GIVE_UP = (0x2001, 0xF380, 0x8814, 0xF3BF, 0x8F6F, 0xB672, 0xF3EF, 0x8110, 0xBF00)


def test_unprivileged_registers_are_not_to_be_written_from_outside() -> None:
    uc = core(*_GIVE_UP)
    uc.emu_start(1, 10)
    uc.reg_write(arm.UC_ARM_REG_PRIMASK, 1)
    assert read(uc, "PRIMASK") == 0
    assert read(uc, "MSP") == 0  # not to be read either


def test_privilege_of_a_handler_is_seen_after_a_write_of_cpsr() -> None:
    """CPS has no effect in what the translator still takes for unprivileged code."""
    for renewed in (False, True):
        uc = core(*_GIVE_UP)
        uc.emu_start(1, 10)
        uc.reg_write(arm.UC_ARM_REG_IPSR, 11)
        if renewed:
            uc.reg_write(arm.UC_ARM_REG_CPSR, uc.reg_read(arm.UC_ARM_REG_CPSR))
        uc.emu_start(11, 16)
        assert read(uc, "R1") == int(renewed)
        assert read(uc, "CONTROL") & _UNPRIVILEGED


def test_exception_return_has_another_number_once_msr_ran_in_a_handler() -> None:
    """movs r0, #0; msr control, r0; bx lr: 8 instead of 3, as the translator knows the handler."""
    seen: list[int] = []
    uc = core(0x2000, 0xF380, 0x8814, 0x4770, 0xBF00)  # movs; msr control, r0; bx lr

    def note(uc: Any, number: int, _: object) -> None:
        seen.append(number)
        uc.emu_stop()

    uc.hook_add(UC_HOOK_INTR, note)
    uc.reg_write(arm.UC_ARM_REG_IPSR, 11)
    uc.reg_write(arm.UC_ARM_REG_LR, 0xFFFF_FFF9)
    uc.emu_start(7, 0x100)  # bx lr alone
    uc.emu_start(1, 0x100)
    assert seen == [3, 8]
    assert read(uc, "PC") == 0xFFFF_FFF8


def test_protection_may_change_within_a_callback() -> None:
    """str r1, [r2] to mapped registers lets str r1, [r0] to memory that was read-only pass."""
    uc = core(0x6011, 0xBF00, 0x6001, 0xBF00)
    uc.mem_protect(0x2000_0000, 0x1000, 1)
    uc.mmio_map(
        *(0x4000_0000, 0x1000, lambda *_: 0, None),
        *(lambda *_: uc.mem_protect(0x2000_0000, 0x1000, 3), None),
    )
    for register, value in ((0, 0x2000_0000), (1, 7), (2, 0x4000_0000)):
        uc.reg_write(arm.UC_ARM_REG_R0 + register, value)
    uc.emu_start(1, 6)
    assert uc.mem_read(0x2000_0000, 1) == b"\x07"


def test_within_a_callback_the_pc_is_that_of_the_block() -> None:
    seen: list[int] = []
    uc = core(0xBF00, 0xBF00, 0x6801, 0xBF00)

    def answer(*_: object) -> int:
        seen.append(read(uc, "PC"))
        return 0

    uc.mmio_map(0x4000_0000, 0x1000, answer, None, lambda *_: None, None)
    uc.reg_write(arm.UC_ARM_REG_R0, 0x4000_0000)
    uc.emu_start(1, 6)
    assert seen == [0]
