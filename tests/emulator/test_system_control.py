"""Exceptions, sleep and the core's own registers, as the architecture describes them."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.machine import StopReason
from tests.emulator.firmware_programs import registers, start, word
from tests.emulator.thumb import BASE, STACK

#: movs r0, #1; movs r1, #2; svc 7; adds r0, #10; b .
#: handler: movs r1, #99; adds 4 to the stacked r0; mov r3, lr; mrs r4, ipsr; bx lr
_SUPERVISOR = (
    *(0x2001, 0x2102, 0xDF07, 0x300A, 0xE7FE, 0x2163, 0x9A00, 0x3204, 0x9200, 0x4673),
    *(0xF3EF, 0x8405, 0x4770),
)


@pytest.mark.parametrize("core", ["m0plus", "m4", "m7", "m33"])
def test_supervisor_call_returns_with_what_its_handler_left_on_the_stack(core: str) -> None:
    machine, _ = start(_SUPERVISOR, {11: BASE + 10}, core)
    machine.run(max_instructions=40)
    r0, r1, r3, r4, sp, ipsr = registers(machine, "r0", "r1", "r3", "r4", "sp", "ipsr")
    assert (r0, r1) == (1 + 4 + 10, 2)
    assert r4 == 11
    assert r3 == 0  # r3 is restored, as every register of the frame is
    assert (sp, ipsr) == (STACK, 0)


def test_non_secure_code_of_an_m33_returns_from_exceptions() -> None:
    """movs r0, #1; svc; adds r0, #10; handler: bx to 0xFFFFFFB8, thread mode on the main stack."""
    code = (0x2001, 0xDF07, 0x300A, 0xE7FE, 0x2047, 0x43C0, 0x4700)
    machine, _ = start(code, {11: BASE + 8}, "m33")
    machine.run(max_instructions=20)
    assert registers(machine, "r0", "sp", "ipsr") == (11, STACK, 0)


#: SysTick every 6,400 cycles; its handler counts at 0x20000100.
_TICK = (
    *(0x4804, 0xF641, 0x01FF, 0x6041, 0x2100, 0x6081, 0x2107, 0x6001, 0xE7FE, 0x0000),
    *(0xE010, 0xE000, 0x4A02, 0x6813, 0x3301, 0x6013, 0x4770, 0x0000, 0x0100, 0x2000),
)


def test_systick_interrupts_once_a_period() -> None:
    machine, _ = start(_TICK, {15: BASE + 24})
    machine.run(max_seconds=0.01)  # 640,000 cycles at 64 MHz, some of them before it was started
    assert word(machine, 0x2000_0100) == 640_000 // 6_400 - 1


#: SysTick every 64,000 cycles; wfi; adds r5, #1; its handler adds to r4.
_SLEEP = (
    *(0x4805, 0xF64F, 0x11FF, 0x6041, 0x2100, 0x6081, 0x2107, 0x6001, 0xBF30, 0x3501),
    *(0xE7FC, 0x0000, 0xE010, 0xE000, 0x3401, 0x4770),
)


def test_waiting_for_an_interrupt_lets_time_pass() -> None:
    """Ten periods of a millisecond, in which the core works for some dozens of cycles each."""
    machine, _ = start(_SLEEP, {15: BASE + 28})
    machine.run(max_seconds=0.0105)
    r4, r5 = registers(machine, "r4", "r5")
    assert (r4, r5) == (10, 10)
    assert machine.sleep_cycles > 0.99 * machine.cycles
    assert machine.counter.instructions < 200


def test_waiting_for_nothing_ends_the_run() -> None:
    machine, _ = start((0xBF30, 0xE7FD))  # wfi; b
    stop = machine.run(max_seconds=1.0)
    assert stop.reason is StopReason.ASLEEP


#: cpsid i; PENDSVSET; isb; mov r2, r6; cpsie i; isb; mov r3, r6; b .; handler: movs r6, #1
_MASKED = (
    *(0xB672, 0x4806, 0xF04F, 0x5180, 0x6001, 0xF3BF, 0x8F6F, 0x4632, 0xB662, 0xF3BF),
    *(0x8F6F, 0x4633, 0xE7FE, 0x0000, 0xED04, 0xE000, 0x2601, 0x4770),
)


def test_masked_exception_waits_for_its_mask() -> None:
    machine, _ = start(_MASKED, {14: BASE + 32})
    machine.run(max_instructions=60)
    assert registers(machine, "r2", "r3") == (0, 1)


#: s0 = 1, s15 = 2; svc; s1 = s0 + s15; handler: s0 = 5, s15 = 6, r5 = lr, r6 = sp
_FLOATS = (
    *(0xEEB7, 0x0A00, 0xEEF0, 0x7A00, 0xDF00, 0xEE70, 0x0A27, 0xEE10, 0x0A90, 0xE7FE),
    *(0xEEB1, 0x0A04, 0xEEF1, 0x7A08, 0x4675, 0x466E, 0x4770),
)


def test_floating_point_context_survives_a_handler() -> None:
    """EXC_RETURN says that 26 words are stacked, and s1 is the sum of what was there before."""
    machine, _ = start(_FLOATS, {11: BASE + 20})
    machine.run(max_instructions=40)
    r0, r5, r6 = registers(machine, "r0", "r5", "r6")
    assert struct.unpack("<f", struct.pack("<I", r0)) == (3.0,)
    assert r5 == 0xFFFF_FFE9
    assert r6 == STACK - 0x68


#: svc whose handler pends PendSV: r8 is its sp, r9 and r10 the sp and lr of PendSV's handler.
_CHAIN = (
    *(0x4801, 0xDF00, 0x464C, 0xE7FE, 0xED04, 0xE000, 0xF04F, 0x5180, 0x4801, 0x6001),
    *(0x46E8, 0x4770, 0xED04, 0xE000, 0x46E9, 0x46F2, 0x4770, 0xBF00),
)


def test_tail_chained_handler_finds_the_same_frame() -> None:
    machine, chip = start(_CHAIN, {11: BASE + 12, 14: BASE + 28})
    system = chip.system
    system.write(0xED20, 4, 0x00E0_0000)  # SHPR3: PendSV below SVCall
    machine.run(max_instructions=40)
    r8, r9, r10 = registers(machine, "r8", "r9", "r10")
    assert r8 == r9 == STACK - 0x20
    assert r10 == 0xFFFF_FFF9


#: Thread code gives up its privilege; svc; handler: cpsid i; mrs r4, primask; cpsie i
_UNPRIVILEGED = (
    *(0x2001, 0xF380, 0x8814, 0xF3BF, 0x8F6F, 0xDF00, 0xBF00, 0xE7FE, 0xB672, 0xF3EF),
    *(0x8410, 0xB662, 0x4770),
)


@pytest.mark.parametrize("core", ["m4", "m33"])
def test_handler_of_unprivileged_code_is_privileged(core: str) -> None:
    machine, _ = start(_UNPRIVILEGED, {11: BASE + 16}, core)
    machine.run(max_instructions=30)
    assert registers(machine, "r4", "control") == (1, 1)


#: Two tasks on the process stack count at 0x20000100 and 0x20000104; SysTick pends PendSV, which
#: stacks r4 to r11 and swaps the stack with the word at 0x20000108.
_SWITCH = (
    *(0xF04F, 0x2020, 0xF380, 0x8809, 0x2002, 0xF380, 0x8814, 0xF3BF, 0x8F6F, 0x4806),
    *(0xF242, 0x710F, 0x6041, 0x6081, 0x2107, 0x6001, 0x4A03, 0x6813, 0x3301, 0x6013),
    *(0xE7FB, 0x0000, 0xE010, 0xE000, 0x0100, 0x2000, 0x4A02, 0x6813, 0x3301, 0x6013),
    *(0xE7FB, 0x0000, 0x0104, 0x2000, 0x4802, 0xF04F, 0x5180, 0x6001, 0x4770, 0x0000),
    *(0xED04, 0xE000, 0xF3EF, 0x8009, 0xE920, 0x0FF0, 0x4903, 0x680A, 0x6008, 0xE8B2),
    *(0x0FF0, 0xF382, 0x8809, 0x4770, 0x0108, 0x2000),
)


def test_a_scheduler_switches_tasks() -> None:
    """Sixty-four slices of 10,000 cycles in 10 ms; each task gets every other one."""
    machine, _ = start(_SWITCH, {14: 148, 15: 132})
    machine.write(0x2000_0100, bytes(8))
    # The second task's frame: r4 to r11, then r0 to r3, r12, lr, pc and xPSR.
    machine.write(0x2000_3000, struct.pack("<16I", *([0] * 14), 116, 0x0100_0000))
    machine.write(0x2000_0108, struct.pack("<I", 0x2000_3000))
    machine.run(max_seconds=0.01)
    first, second = word(machine, 0x2000_0100), word(machine, 0x2000_0104)
    assert first > 10_000
    assert second == pytest.approx(first, rel=0.05)


#: DEMCR.TRCENA; CYCCNT = 0; count; r2 = CYCCNT; 100 turns; r4 = CYCCNT; stop; r5 and r6 = CYCCNT
_COUNTER = (
    *(0x480C, 0x6801, 0xF041, 0x7180, 0x6001, 0x480B, 0x2100, 0x6041, 0x6801, 0xF041),
    *(0x0101, 0x6001, 0x6842, 0x2364, 0x3B01, 0xD1FD, 0x6844, 0xF021, 0x0101, 0x6001),
    *(0xBF00, 0x6845, 0xBF00, 0x6846, 0xE7FE, 0x0000, 0xEDFC, 0xE000, 0x1000, 0xE000),
)


def test_cycle_counter_counts_what_the_board_prices() -> None:
    """A hundred turns of two instructions, ninety-nine taken branches, and what flash adds."""
    machine, _ = start(_COUNTER)
    machine.run(max_instructions=260)
    r2, r4, r5, r6 = registers(machine, "r2", "r4", "r5", "r6")
    core = machine.board.core
    turns = 100 * 2 + 99 * core.extra.taken_branch_cycles
    assert r4 - r2 == pytest.approx(turns, rel=0.15)
    assert r5 == r6  # it stands still once it is stopped


def test_cycle_counter_can_be_set_back() -> None:
    machine, chip = start(_COUNTER)
    machine.run(max_instructions=100)
    chip.system.write(0x1004, 4, 0)
    assert chip.system.read(0x1004, 4) == 0


def test_send_event_lets_one_wait_pass() -> None:
    """sev; wfe; movs r0, #1; wfe; movs r0, #2; b .: the second wait has nothing to wake it."""
    machine, _ = start((0xBF40, 0xBF20, 0x2001, 0xBF20, 0x2002, 0xE7FE))
    stop = machine.run(max_seconds=0.1)
    assert stop.reason is StopReason.ASLEEP
    assert registers(machine, "r0") == (1,)


#: Counts at 0x20000100 and asks AIRCR for a reset, until it has counted to two.
_RESET = (
    *(0x4A05, 0x6813, 0x3301, 0x6013, 0x2B02, 0xD003, 0x4803, 0x4904, 0x6001, 0xE7FE),
    *(0xE7FE, 0x0000, 0x0100, 0x2000, 0xED0C, 0xE000, 0x0004, 0x05FA),
)


def test_firmware_resets_the_chip_and_ram_stays() -> None:
    machine, _ = start(_RESET)
    stop = machine.run(max_instructions=1000)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT
    assert word(machine, 0x2000_0100) == 2


def test_chip_that_resets_without_end_ends_the_run() -> None:
    code = list(_RESET)
    code[5] = 0xBF00  # never enough
    machine, _ = start(tuple(code))
    stop = machine.run(max_seconds=1.0)
    assert stop.reason is StopReason.EXITED
    assert "reset" in stop.detail


#: str of 1 to the alias of bit 5 of 0x20000100; r3 = the word, r4 and r5 = aliases of bits 5 and 6
_BIT_BAND = (
    *(0x4803, 0x2101, 0x6141, 0x4A03, 0x6813, 0x6944, 0x6985, 0xE7FE, 0x2000, 0x2200),
    *(0x0100, 0x2000),
)


def test_bit_band_alias_sets_one_bit() -> None:
    machine, _ = start(_BIT_BAND)
    machine.write(0x2000_0100, struct.pack("<I", 0x100))
    machine.run(max_instructions=20)
    assert registers(machine, "r3", "r4", "r5") == (0x120, 1, 0)


def test_exception_without_a_handler_is_a_fault_that_is_named() -> None:
    machine, _ = start((0xDF00, 0xE7FE))  # svc without a vector
    stop = machine.run(max_instructions=20)
    assert stop.reason is StopReason.FAULT
    assert "SVCall" in stop.detail


def test_stack_that_is_nowhere_is_a_fault() -> None:
    # movs r0, #0; mvns r0, r0; mov sp, r0; svc
    machine, _ = start((0x2000, 0x43C0, 0x4685, 0xDF00, 0xE7FE), {11: BASE})
    stop = machine.run(max_instructions=20)
    assert stop.reason is StopReason.FAULT
    assert "stack" in stop.detail


@pytest.mark.parametrize(
    ("core", "cpuid"),
    [("m0plus", 0x410C_C601), ("m4", 0x410F_C241), ("m7", 0x411F_C271), ("m33", 0x410F_D214)],
)
def test_core_says_which_it_is(core: str, cpuid: int) -> None:
    """CPUID of the cores' technical reference manuals."""
    _, chip = start((0xE7FE,), core=core)
    assert chip.system.read(0xED00, 4) == cpuid


def test_priorities_have_as_many_bits_as_the_chip() -> None:
    """An RTOS writes ones to a priority and counts those that stay."""
    _, chip = start((0xE7FE,))
    chip.system.write(0xE400, 1, 0xFF)
    assert chip.system.read(0xE400, 1) == 0xE0


def test_memory_protection_registers_keep_what_is_written() -> None:
    _, chip = start((0xE7FE,))
    system = chip.system
    for region in (0, 1):
        system.write(0xED98, 4, region)
        system.write(0xED9C, 4, 0x2000_0000 + 0x1000 * region)
        system.write(0xEDA0, 4, 0x1000 + region)
    system.write(0xED98, 4, 0)
    assert system.read(0xED90, 4) == 8 << 8
    assert system.read(0xED9C, 4) == 0x2000_0000
    assert system.read(0xEDA0, 4) == 0x1000


def test_instrumentation_port_prints() -> None:
    machine, chip = start((0xE7FE,))
    assert chip.system.read(0, 4) == 1
    for byte in b"hi":
        chip.system.write(0, 1, byte)
    assert machine.output("itm0") == b"hi"
