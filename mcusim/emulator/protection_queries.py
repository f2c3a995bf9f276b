"""TT of Armv8-M: what the memory protection unit says of an address, as an RTOS asks it.

Unicorn executes TT, but knows nothing of the unit that firmware has set up: it lies outside. What
it leaves in the register is put right before the next instruction.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcusim.emulator.images import Image
from mcusim.emulator.system_registers import SystemRegisters

if TYPE_CHECKING:
    from mcusim.emulator.machine import Machine

__all__ = ["install_protection_queries"]

_CTRL, _RBAR = 0xD94, 0xD9C
_ENABLE, _DEFAULT_MAP = 1, 4
#: The answer (DDI 0553, "Test Target"): region, whether there is one, readable, writable.
_REGION, _IS_VALID, _READ, _READ_WRITE = 0xFF, 1 << 16, 1 << 18, 1 << 19
_ANSWERED = _REGION | _IS_VALID | _READ | _READ_WRITE


class _Region(NamedTuple):
    number: int
    first: int
    last: int
    unprivileged: bool
    read_only: bool


def install_protection_queries(machine: Machine, registers: SystemRegisters) -> None:
    """Have each TT and TTT of an image answered by the MPU's registers.

    Args:
        machine: with an image in its memories, of an Armv8-M core.
        registers: that hold the MPU.
    """
    from unicorn import UC_HOOK_CODE, arm_const

    uc = machine.uc
    answers: dict[int, tuple[int, int]] = {}

    def ask(_: Any, address: int, __: int, ___: object) -> None:
        first, second = struct.unpack("<HH", machine.read(address, 4))
        about = int(uc.reg_read(arm_const.UC_ARM_REG_R0 + (first & 0xF)))
        mode = int(uc.reg_read(arm_const.UC_ARM_REG_CONTROL)) & 1
        is_thread = not int(uc.reg_read(arm_const.UC_ARM_REG_IPSR)) & 0x1FF
        unprivileged = bool(second & 0x40) or (is_thread and mode == 1)
        answers[address + 4] = (second >> 8 & 0xF, _answer(registers, about, unprivileged))

    def correct(_: Any, address: int, __: int, ___: object) -> None:
        if address not in answers:
            return
        register, answer = answers.pop(address)
        number = arm_const.UC_ARM_REG_R0 + register
        uc.reg_write(number, int(uc.reg_read(number)) & ~_ANSWERED | answer)

    for address in _queries(machine.image):
        uc.hook_add(UC_HOOK_CODE, ask, begin=address, end=address)
        uc.hook_add(UC_HOOK_CODE, correct, begin=address + 4, end=address + 4)


def _queries(image: Image) -> list[int]:
    """Addresses where TT or TTT may stand: what is data there is never executed."""
    found = []
    for segment in image.segments:
        code = np.frombuffer(segment.data, "<u2", len(segment.data) // 2)
        is_query = (code[:-1] & 0xFFF0 == 0xE840) & (code[1:] & 0xF0BF == 0xF000)
        found += [segment.load_address + 2 * int(i) for i in np.flatnonzero(is_query)]
    return found


def _answer(registers: SystemRegisters, address: int, unprivileged: bool) -> int:
    """Region and rights of an address (DDI 0553, MPU_CTRL and MPU_RBAR)."""
    control = registers.mpu.get((_CTRL, 0), 0)
    if not control & _ENABLE:
        return _READ | _READ_WRITE
    hit = [region for region in _regions(registers) if region.first <= address <= region.last]
    if not hit:
        allowed = control & _DEFAULT_MAP and not unprivileged
        return _READ | _READ_WRITE if allowed else 0
    if len(hit) > 1:
        return 0
    region = hit[0]
    answer = region.number | _IS_VALID
    if unprivileged and not region.unprivileged:
        return answer
    return answer | _READ | (0 if region.read_only else _READ_WRITE)


def _regions(registers: SystemRegisters) -> list[_Region]:
    """Regions that are on; the aliases of RBAR and RLAR write those beside the selected one."""
    bases: dict[int, int] = {}
    limits: dict[int, int] = {}
    for (register, selected), value in registers.mpu.items():
        alias, is_limit = divmod(register - _RBAR, 8)
        if 0 <= alias < 4:
            number = selected & ~3 | alias if alias else selected
            (limits if is_limit else bases)[number] = value
    return [
        _Region(
            number,
            base & ~0x1F,
            limits[number] | 0x1F,
            bool(base & 2),
            bool(base & 4),
        )
        for number, base in sorted(bases.items())
        if limits.get(number, 0) & 1
    ]
