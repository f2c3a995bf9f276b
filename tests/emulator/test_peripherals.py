"""Peripherals of the chips that mcusim has tables of, as firmware sees them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.chips import Chip, boot_machine
from mcusim.emulator.machine import Machine
from mcusim.emulator.peripheral_tables import load_chip
from mcusim.emulator.rp2040_rom import install_boot_rom
from tests.emulator.firmware_programs import firmware, registers, start
from tests.emulator.thumb import board


def chip(name: str, core: str = "m4") -> tuple[Machine, Chip]:
    """A chip whose core runs an empty loop."""
    table = load_chip(name).model_copy(update={"memories": {}, "boot_rom": ""})
    return start((0xE7FE,), core=core, table=table)


def spend(machine: Machine, seconds: float) -> None:
    machine.run(max_seconds=seconds)


def word(machine: Machine, address: int) -> int:
    return machine.bus.read(address, 4)


@pytest.mark.parametrize(
    ("table", "switch", "value", "status", "mask"),
    [
        ("nrf52840", 0x4000_0000, 1, 0x4000_0100, 1),  # HFCLKSTART -> EVENTS_HFCLKSTARTED
        ("nrf52840", 0x4000_0008, 1, 0x4000_0418, 1 << 16),  # LFCLKSTART -> LFCLKSTAT
        ("nrf52840", 0x4001_E504, 1, 0x4001_E400, 1),  # NVMC CONFIG -> READY
        ("stm32l4", 0x4002_1000, 1 << 24, 0x4002_1000, 1 << 25),  # PLLON -> PLLRDY
        ("stm32l4", 0x4002_1008, 3, 0x4002_1008, 3 << 2),  # SW -> SWS
        ("stm32l4", 0x4000_4400, 8, 0x4000_441C, 1 << 21),  # TE -> TEACK
        ("stm32f4", 0x4002_3800, 1 << 16, 0x4002_3800, 1 << 17),  # HSEON -> HSERDY
        ("stm32f4", 0x4000_7000, 1 << 16, 0x4000_7004, 1 << 16),  # ODEN -> ODRDY
        ("stm32f7", 0x4002_3870, 1, 0x4002_3870, 2),  # LSEON -> LSERDY
        ("stm32f2", 0x4002_3800, 1 << 24, 0x4002_3800, 1 << 25),  # PLLON -> PLLRDY
        ("stm32f0", 0x4002_1034, 1 << 16, 0x4002_1034, 1 << 17),  # HSI48ON -> HSI48RDY
        ("stm32f0", 0x4002_2000, 1 << 4, 0x4002_2000, 1 << 5),  # PRFTBE -> PRFTBS
        ("stm32g0", 0x4002_1008, 2, 0x4002_1008, 2 << 3),  # SW -> SWS
        ("stm32g0", 0x4000_280C, 1 << 7, 0x4000_280C, 1 << 6),  # RTC INIT -> INITF
        ("stm32h7", 0x5802_4818, 3 << 14, 0x5802_4804, 7 << 13),  # VOS -> ACTVOS, ACTVOSRDY
        ("stm32h7", 0x5802_4400, 1 << 24, 0x5802_4400, 1 << 25),  # PLL1ON -> PLL1RDY
        ("stm32u5", 0x4602_080C, 7 << 16, 0x4602_080C, 3 << 14),  # BOOSTEN -> BOOSTRDY, VOSRDY
        ("stm32u5", 0x4602_0C1C, 3, 0x4602_0C1C, 3 << 2),  # SW -> SWS
        ("stm32u3", 0x4003_080C, 1, 0x4003_080C, 1 << 16),  # R1EN -> R1RDY
        ("nrf5340", 0x5000_5008, 1, 0x5000_5418, 1 << 16),  # LFCLKSTART -> LFCLKSTAT
        ("nrf5340", 0x4000_5000, 1, 0x4000_5100, 1),  # the same chip by its non-secure address
        ("nrf5340", 0x5084_4500, 1, 0x5084_5A00, 1 << 10),  # CryptoCell ENABLE -> RNG_INT
        ("m460", 0x4000_0200, 5, 0x4000_0250, 0x1F),  # PWRCTL -> every oscillator is stable
        ("rp2040", 0x4000_C000, 0, 0x4000_C008, 0x01FF_FFFF),  # RESET -> RESET_DONE
        ("rp2040", 0x4002_8000, 0, 0x4002_8000, 1 << 31),  # PLL locked
        ("rp2040", 0x4000_803C, 1, 0x4000_8044, 2),  # CLK_SYS_CTRL -> SELECTED
    ],
)
def test_what_firmware_polls_becomes_ready(
    table: str, switch: int, value: int, status: int, mask: int
) -> None:
    machine, _ = chip(table)
    machine.bus.write(switch, 4, value)
    assert word(machine, status) & mask == mask
    assert not machine.bus.unknown


def test_atomic_aliases_of_rp2040() -> None:
    machine, _ = chip("rp2040", "m0plus")
    scratch = 0x4005_800C
    machine.bus.write(scratch, 4, 0xF0)
    machine.bus.write(scratch + 0x2000, 4, 0x0F)
    machine.bus.write(scratch + 0x3000, 4, 0x11)
    machine.bus.write(scratch + 0x1000, 4, 0x03)
    assert word(machine, scratch) == (0xFF & ~0x11) ^ 0x03


def test_nordic_timer_counts_microseconds() -> None:
    """Prescaler 4 of 16 MHz: after a millisecond TASKS_CAPTURE finds about a thousand."""
    machine, _ = chip("nrf52840")
    timer = 0x4000_8000
    machine.bus.write(timer + 0x508, 4, 3)
    machine.bus.write(timer + 0x540, 4, 500)
    machine.bus.write(timer, 4, 1)
    spend(machine, 0.0004)
    assert word(machine, timer + 0x140) == 0
    spend(machine, 0.0006)
    machine.bus.write(timer + 0x44, 4, 1)
    assert word(machine, timer + 0x140) == 1
    assert word(machine, timer + 0x544) == pytest.approx(1000, abs=2)


def test_nordic_counter_ticks_at_32768_hz() -> None:
    machine, _ = chip("nrf52840")
    rtc = 0x4000_B000
    machine.bus.write(rtc, 4, 1)
    spend(machine, 0.01)
    assert word(machine, rtc + 0x504) == pytest.approx(327, abs=1)


@pytest.mark.parametrize("table", ["stm32l4", "stm32f4", "stm32f7"])
def test_stm32_timer_flags_each_overflow(table: str) -> None:
    """At 64 MHz a prescaler of 64 gives microseconds, of which 100 are a period."""
    machine, _ = chip(table)
    timer = 0x4000_0000
    machine.bus.write(timer + 0x28, 4, 63)
    machine.bus.write(timer + 0x2C, 4, 99)
    machine.bus.write(timer + 0x14, 4, 1)
    machine.bus.write(timer + 0x10, 4, 0)
    machine.bus.write(timer, 4, 1)
    spend(machine, 0.00005)
    assert word(machine, timer + 0x10) & 1 == 0
    assert word(machine, timer + 0x24) == pytest.approx(50, abs=1)
    spend(machine, 0.0001)
    assert word(machine, timer + 0x10) & 1 == 1
    assert word(machine, timer + 0x24) == pytest.approx(50, abs=1)


def test_rp2040_alarm_holds_its_interrupt() -> None:
    machine, found = chip("rp2040", "m0plus")
    timer = 0x4005_4000
    machine.bus.write(timer + 0x38, 4, 1)
    machine.bus.write(timer + 0x10, 4, 200)
    assert word(machine, timer + 0x20) == 1
    spend(machine, 0.0003)
    assert word(machine, timer + 0x28) == pytest.approx(300, abs=1)
    assert (word(machine, timer + 0x34), word(machine, timer + 0x20)) == (1, 0)
    assert found.system.read(0xE200, 4) & 1  # pending in the NVIC


@pytest.mark.parametrize(
    ("dividend", "divisor", "signed"),
    [(100, 7, False), (-100, 7, True), (100, -7, True), (-(2**31), -1, True), (5, 0, False)],
)
def test_rp2040_divider(dividend: int, divisor: int, signed: bool) -> None:
    """Quotients towards zero; a division by zero gives all ones and the dividend."""
    machine, _ = chip("rp2040", "m0plus")
    at = 0xD000_0068 if signed else 0xD000_0060
    machine.bus.write(at, 4, dividend & 0xFFFF_FFFF)
    machine.bus.write(at + 4, 4, divisor & 0xFFFF_FFFF)
    quotient, remainder = word(machine, 0xD000_0070), word(machine, 0xD000_0074)
    if divisor:
        expected = int(abs(dividend) // abs(divisor))
        expected *= -1 if (dividend < 0) != (divisor < 0) else 1
        assert quotient == expected & 0xFFFF_FFFF
        assert remainder == (dividend - expected * divisor) & 0xFFFF_FFFF
    else:
        assert (quotient, remainder) == (0xFFFF_FFFF, dividend)


def test_rp2040_spinlock_is_claimed_once() -> None:
    machine, _ = chip("rp2040", "m0plus")
    lock = 0xD000_0100 + 4 * 5
    assert [word(machine, lock), word(machine, lock)] == [1 << 5, 0]
    machine.bus.write(lock, 4, 1)
    assert word(machine, lock) == 1 << 5


def test_flash_takes_writes_only_while_its_controller_allows_them() -> None:
    """str r1, [r0] to flash at 0x8000, before and after CONFIG of the NVMC."""
    code = (0x6001, 0xE7FE)
    for allowed in (False, True):
        table = load_chip("nrf52840")
        machine, _ = boot_machine(firmware(code, {}), board(), table=table)
        from unicorn import arm_const

        machine.bus.write(0x4001_E504, 4, int(allowed))
        machine.uc.reg_write(arm_const.UC_ARM_REG_R0, 0x8000)
        machine.uc.reg_write(arm_const.UC_ARM_REG_R1, 0x1234)
        stop = machine.run(max_instructions=10)
        assert (stop.reason.name == "FAULT") is not allowed
        expected = 0x1234 if allowed else 0xFFFF_FFFF
        assert int.from_bytes(machine.read(0x8000, 4), "little") == expected
    machine.bus.write(0x4001_E504, 4, 2)
    machine.bus.write(0x4001_E508, 4, 0x8000)
    assert machine.read(0x8000, 4096) == b"\xff" * 4096


def test_configuration_memory_is_erased_and_takes_what_was_programmed() -> None:
    machine, _ = boot_machine(firmware((0xE7FE,), {}), board(), table=load_chip("nrf52840"))
    assert machine.read(0x1000_1000, 16) == b"\xff" * 16
    assert word(machine, 0x1000_0100) == 0x52840


def _rom_table(machine: Machine, code: bytes) -> int:
    data = int.from_bytes(machine.read(0x16, 2), "little")
    while (entry := machine.read(data, 4))[:2] != code:
        data += 4
    return int.from_bytes(entry[2:], "little")


#: A few of the table's routines: place, and the same by numpy.
_FLOATS = {0: np.add, 1: np.subtract, 2: np.multiply, 3: np.divide}


@pytest.mark.parametrize("place", sorted(_FLOATS))
@pytest.mark.parametrize("pair", [(1.5, -2.25), (3e38, 3e38), (1.0, 3.0), (0.1, 0.2), (1.0, 0.0)])
def test_boot_rom_computes_floats(place: int, pair: tuple[float, float]) -> None:
    from unicorn import arm_const

    machine, _ = start((0xE7FE,), core="m0plus")
    flash = machine.memories.regions[0]
    assert flash.is_flash
    machine.memories.add = lambda region: None  # type: ignore[method-assign]  # it lies in flash here
    traps = install_boot_rom(machine)
    table = _rom_table(machine, b"SF")
    stub = int.from_bytes(machine.read(table + 4 * place, 4), "little")
    words = struct.unpack("<2I", struct.pack("<2f", *pair))
    for number, value in enumerate(words):
        machine.uc.reg_write(arm_const.UC_ARM_REG_R0 + number, value)
    traps[stub & ~1]()
    with np.errstate(all="ignore"):
        expected = _FLOATS[place](np.float32(pair[0]), np.float32(pair[1]))
    (found,) = registers(machine, "r0")
    assert np.uint32(found).view(np.float32) == expected


def test_line_that_comes_byte_by_byte_is_one_output() -> None:
    machine, _ = chip("stm32l4")
    for byte in b"one\ntwo":
        machine.bus.write(0x4000_4428, 4, byte)
    machine.bus.write(0x4001_3828, 4, ord("x"))
    assert [(o.channel, o.data) for o in machine.outputs] == [
        ("usart2", b"one\n"),
        ("usart2", b"two"),
        ("usart1", b"x"),
    ]
