"""TT and TTT of Armv8-M, as Zephyr asks whether the regions that it set up are there."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.machine import Machine
from tests.emulator.firmware_programs import registers, start

#: TT r0, r1; TTT r2, r1; TT r3, r4; wait.
_CODE = (0xE841, 0xF000, 0xE841, 0xF240, 0xE844, 0xF300, 0xE7FE)
_MPU = 0xE000_ED90
_REGION, _VALID, _READ, _WRITE = 0xFF, 1 << 16, 1 << 18, 1 << 19
_ANSWER = _REGION | _VALID | _READ | _WRITE


def asked(control: int, regions: dict[int, tuple[int, int]], r1: int, r4: int = 0) -> list[int]:
    """Answers of the three instructions, to r1 and r4, with regions as RBAR and RLAR."""
    machine, _ = start(_CODE, core="m33")
    for number, (base, limit) in regions.items():
        machine.bus.write(_MPU + 8, 4, number)
        machine.bus.write(_MPU + 12, 4, base)
        machine.bus.write(_MPU + 16, 4, limit)
    machine.bus.write(_MPU + 4, 4, control)
    set_registers(machine, r1=r1, r4=r4)
    machine.run(max_instructions=20)
    return [value & _ANSWER for value in registers(machine, "r0", "r2", "r3")]


def set_registers(machine: Machine, **values: int) -> None:
    from unicorn import arm_const

    for name, value in values.items():
        machine.uc.reg_write(getattr(arm_const, f"UC_ARM_REG_{name.upper()}"), value)


def test_region_of_an_address_and_what_may_be_done_there() -> None:
    """Region 2 is for privileged code alone, region 3 for reading by any; r4 lies in none."""
    regions = {2: (0x2000_0000, 0x2000_0FE1), 3: (0x2000_1006, 0x2000_1FE1)}
    assert asked(1, regions, 0x2000_0800) == [2 | _VALID | _READ | _WRITE, 2 | _VALID, 0]
    assert asked(1, regions, 0x2000_1800)[:2] == [3 | _VALID | _READ, 3 | _VALID | _READ]


def test_addresses_outside_of_every_region() -> None:
    """PRIVDEFENA leaves them to privileged code; without the unit everything is allowed."""
    assert asked(5, {0: (0x2000_0000, 0x2000_0FE1)}, 0x3000_0000) == [
        _READ | _WRITE,
        0,
        _READ | _WRITE,
    ]
    assert asked(0, {0: (0x2000_0000, 0x2000_0FE1)}, 0x2000_0000)[0] == _READ | _WRITE


def test_regions_that_are_off_or_overlap() -> None:
    """Of an address in two regions nothing is valid, nor is that of a region that is off."""
    assert asked(1, {1: (0x2000_0002, 0x2000_0FE0)}, 0x2000_0000)[0] == 0
    both = {0: (0x2000_0002, 0x2000_0FE1), 1: (0x2000_0002, 0x2000_0FE1)}
    assert asked(1, both, 0x2000_0000)[0] == 0
