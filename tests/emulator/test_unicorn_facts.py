"""What the machine builds on: Unicorn 2.1.4 as it is, right or not. A new version must keep it."""

from __future__ import annotations

from typing import Any

import pytest

unicorn = pytest.importorskip("unicorn")

from unicorn import (  # noqa: E402
    UC_ARCH_ARM,
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_INTR,
    UC_HOOK_MEM_READ,
    UC_MODE_MCLASS,
    UC_MODE_THUMB,
    Uc,
    UcError,
)
from unicorn.arm_const import (  # noqa: E402
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_S0,
    UC_ARM_REG_XPSR,
    UC_CPU_ARM_CORTEX_M0,
    UC_CPU_ARM_CORTEX_M3,
    UC_CPU_ARM_CORTEX_M4,
)

from tests.emulator.thumb import halfwords  # noqa: E402

_NOP, _UNDEFINED = 0xBF00, 0xDE00


def core(code: bytes, model: int = UC_CPU_ARM_CORTEX_M4, mode: int = UC_MODE_THUMB) -> Any:
    """A core with code at 0 and RAM at its usual place."""
    uc = Uc(UC_ARCH_ARM, mode)
    uc.ctl_set_cpu_model(model)
    uc.mem_map(0, 0x1000)
    uc.mem_map(0x2000_0000, 0x1000)
    uc.mem_write(0, code)
    return uc


def interrupts(uc: Any) -> list[tuple[int, int]]:
    """Numbers and pcs of the interrupts that arrive; each ends the run."""
    seen: list[tuple[int, int]] = []

    def note(uc: Any, number: int, _: object) -> None:
        seen.append((number, uc.reg_read(UC_ARM_REG_PC)))
        uc.emu_stop()

    uc.hook_add(UC_HOOK_INTR, note)
    return seen


def test_version() -> None:
    assert unicorn.__version__ == "2.1.4"


#: Instructions that some cores lack: sdiv, and vmov.f32.
_DIVIDE, _FLOAT = halfwords(0xFB91, 0xF0F0, _NOP), halfwords(0xEEB0, 0x0A40, _NOP)


def test_in_thumb_mode_the_model_holds() -> None:
    """The M0 does not divide, the M3 has no FPU, the M4 has both."""
    core(_DIVIDE).emu_start(1, 4)
    core(_FLOAT).emu_start(1, 4)
    core(_DIVIDE, UC_CPU_ARM_CORTEX_M3).emu_start(1, 4)
    for code, model in ((_DIVIDE, UC_CPU_ARM_CORTEX_M0), (_FLOAT, UC_CPU_ARM_CORTEX_M3)):
        with pytest.raises(UcError):
            core(code, model).emu_start(1, 4)


def test_in_mclass_mode_every_model_is_an_m33() -> None:
    """What was asked to be an M0 divides and computes floats."""
    mode = UC_MODE_THUMB | UC_MODE_MCLASS
    core(_DIVIDE, UC_CPU_ARM_CORTEX_M0, mode).emu_start(1, 4)
    core(_FLOAT, UC_CPU_ARM_CORTEX_M0, mode).emu_start(1, 4)


def test_supervisor_call_stops_behind_it() -> None:
    uc = core(halfwords(0xDF05, _NOP))
    seen = interrupts(uc)
    uc.emu_start(1, 0x100)
    assert seen == [(2, 2)]


def test_breakpoint_stops_at_it() -> None:
    uc = core(halfwords(_NOP, 0xBEAB, _NOP))
    seen = interrupts(uc)
    uc.emu_start(1, 0x100)
    assert seen == [(7, 2)]


@pytest.mark.parametrize("model", [UC_CPU_ARM_CORTEX_M0, UC_CPU_ARM_CORTEX_M4])
def test_exception_return_is_a_fetch_that_fails(model: int) -> None:
    """With an MPU (M4) it is a prefetch abort, number 3; without one (M0) nothing is mapped."""
    uc = core(halfwords(0x4770), model)
    seen = interrupts(uc)
    uc.reg_write(UC_ARM_REG_LR, 0xFFFF_FFF9)
    uc.reg_write(UC_ARM_REG_XPSR, 0x0100_000F)
    if model == UC_CPU_ARM_CORTEX_M4:
        uc.emu_start(1, 0x100)
        assert seen == [(3, 0xFFFF_FFF8)]
    else:
        with pytest.raises(UcError):
            uc.emu_start(1, 0x100)
        assert uc.reg_read(UC_ARM_REG_PC) == 0xFFFF_FFF8


def test_wait_for_interrupt_ends_the_run_behind_it() -> None:
    uc = core(halfwords(0xBF30, _NOP, _UNDEFINED))
    uc.emu_start(1, 0x100)
    assert uc.reg_read(UC_ARM_REG_PC) == 2


def test_fpu_works_without_being_enabled() -> None:
    uc = core(halfwords(0xEEB0, 0x0A40, _NOP))  # vmov.f32 s0, s0
    uc.reg_write(UC_ARM_REG_S0, 0x3F80_0000)
    uc.emu_start(1, 4)
    assert uc.reg_read(UC_ARM_REG_PC) == 4


def test_unaligned_double_load_does_not_trap() -> None:
    uc = core(halfwords(0xE9D0, 0x1200, _NOP))  # ldrd r1, r2, [r0]
    uc.mem_write(0x2000_0000, bytes(range(16)))
    uc.reg_write(UC_ARM_REG_R0, 0x2000_0001)
    uc.emu_start(1, 4)
    assert uc.reg_read(UC_ARM_REG_R1) == 0x0403_0201
    assert uc.reg_read(UC_ARM_REG_R2) == 0x0807_0605


def test_division_by_zero_gives_zero() -> None:
    uc = core(halfwords(0xFB91, 0xF0F0, _NOP))  # sdiv r0, r1, r0
    uc.reg_write(UC_ARM_REG_R1, 7)
    uc.emu_start(1, 4)
    assert uc.reg_read(UC_ARM_REG_R0) == 0


def test_private_peripheral_bus_is_not_there_unless_mapped() -> None:
    uc = core(halfwords(0x6801, _NOP))  # ldr r1, [r0]
    uc.reg_write(UC_ARM_REG_R0, 0xE000_ED00)
    with pytest.raises(UcError):
        uc.emu_start(1, 2)
    uc.mmio_map(0xE000_0000, 0x10_0000, lambda *_: 0x410F_C241, None, lambda *_: None, None)
    uc.reg_write(UC_ARM_REG_R0, 0xE000_ED00)
    uc.emu_start(1, 2)
    assert uc.reg_read(UC_ARM_REG_R1) == 0x410F_C241


#: movs r0, #0; movs r2, #0; then 100 turns of: adds r0, #1; lsls r1, r0, #31; it mi; addmi r2, #1;
#: cmp r0, #100; bne.
_LOOP = halfwords(0x2000, 0x2200, 0x3001, 0x07C1, 0xBF48, 0x3201, 0x2864, 0xD1F9, _NOP)


def test_code_hook_skips_what_a_condition_skips() -> None:
    """Of 602 instructions issued the code hook sees 552: half of 100 additions are not executed."""
    uc = core(_LOOP)
    seen: list[int] = []
    uc.hook_add(UC_HOOK_CODE, lambda _uc, address, _size, _: seen.append(address))
    uc.emu_start(1, 16)
    assert len(seen) == 2 + 100 * 6 - 50


def test_stopping_in_a_block_hook_stops_before_the_block() -> None:
    uc = core(_LOOP)
    entered: list[int] = []

    def stop_at_third(uc: Any, address: int, _size: int, _: object) -> None:
        entered.append(address)
        if len(entered) == 3:
            uc.emu_stop()

    uc.hook_add(UC_HOOK_BLOCK, stop_at_third)
    uc.emu_start(1, 16)
    assert uc.reg_read(UC_ARM_REG_PC) == 4
    assert uc.reg_read(UC_ARM_REG_R0) == 2
    uc.emu_start(uc.reg_read(UC_ARM_REG_PC) | 1, 16)
    assert uc.reg_read(UC_ARM_REG_R2) == 50


def test_hook_added_within_a_run_misses_what_is_translated() -> None:
    uc = core(_LOOP)
    seen: list[int] = []
    entered: list[int] = []

    def add_at_fiftieth(uc: Any, address: int, _size: int, _: object) -> None:
        entered.append(address)
        if len(entered) == 50:
            uc.hook_add(UC_HOOK_CODE, lambda _uc, address, _size, _: seen.append(address))

    uc.hook_add(UC_HOOK_BLOCK, add_at_fiftieth)
    uc.emu_start(1, 16)
    assert not seen
    uc.ctl_flush_tb()
    uc.emu_start(1, 16)
    assert len(seen) == 552


def test_memory_hook_corrupts_it_blocks() -> None:
    """A conditional load that is hooked leaves its condition behind for the next block."""
    # cmp r0, #0; it eq; ldreq r1, [r2]; adds r1, #1; b; adds r1, #1; nop
    code = halfwords(0x2800, 0xBF08, 0x6811, 0x3101, 0xE7FF, 0x3101, _NOP)

    def result(is_hooked: bool) -> int:
        uc = core(code)
        uc.mem_write(0x2000_0000, (10).to_bytes(4, "little"))
        if is_hooked:
            uc.hook_add(UC_HOOK_MEM_READ, lambda *_: None)
        uc.reg_write(UC_ARM_REG_R2, 0x2000_0000)
        uc.emu_start(1, 12)
        return int(uc.reg_read(UC_ARM_REG_R1))

    assert result(False) == 12
    assert result(True) == 11


def test_mapped_registers_leave_it_blocks_alone() -> None:
    """The same load answered by a callback of ``mmio_map``."""
    uc = core(halfwords(0x2800, 0xBF08, 0x6811, 0x3101, 0xE7FF, 0x3101, _NOP))
    uc.mmio_map(0x4000_0000, 0x1000, lambda *_: 10, None, lambda *_: None, None)
    uc.reg_write(UC_ARM_REG_R2, 0x4000_0000)
    uc.emu_start(1, 12)
    assert uc.reg_read(UC_ARM_REG_R1) == 12


def test_there_is_no_m55() -> None:
    from unicorn import arm_const

    assert not [name for name in dir(arm_const) if "CORTEX_M55" in name]
