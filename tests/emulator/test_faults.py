"""Faults that the firmware's own handlers take, as a chip takes them.

Registers and frames of :data:`AS_QEMU` were read from ``qemu-system-arm`` 7.2, machines mps2-an386
(Cortex-M4), mps2-an505 (Cortex-M33, whose memories lie elsewhere) and microbit (Cortex-M0), which
ran the same code.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.chips import Chip
from mcusim.emulator.machine import Machine, Stop, StopReason
from tests.emulator.firmware_programs import registers, start, word
from tests.emulator.thumb import BASE, STACK

#: Where handlers of the test begin, and where they leave what they saw.
HANDLER, SUPERVISOR, SEEN = BASE + 0x80, BASE + 0x60, 0x2000_0100
HARD, ALL = (3,), (3, 4, 5, 6)

#: Keeps pc and xPSR of the frame, IPSR, LR, and CFSR, HFSR, DFSR, MMFAR, BFAR; then loops.
_REPORTS = (
    *(0x4674, 0xF3EF, 0x8008, 0x6981, 0x69C3, 0x4D04, 0xF3EF, 0x8205, 0xC51E, 0x4E03),
    *(0xCE1F, 0xC51F, 0xE7FE, 0x0000, 0x0100, 0x2000, 0xED28, 0xE000),
)


def run(
    code: tuple[int, ...],
    handlers: tuple[int, ...] = HARD,
    core: str = "m4",
    handler: tuple[int, ...] = _REPORTS,
    supervisor: tuple[int, ...] = (),
) -> tuple[Machine, Stop, Chip]:
    """Run code whose faults go to a handler."""
    words = [*code, *([0] * (0x40 - len(code))), *handler]
    words[0x30 : 0x30 + len(supervisor)] = supervisor
    places = dict.fromkeys(handlers, HANDLER) | ({11: SUPERVISOR} if supervisor else {})
    machine, chip = start(tuple(words), places, core)
    return machine, machine.run(max_seconds=0.01), chip


def seen(machine: Machine) -> dict[str, int]:
    """What the handler of the test saw."""
    names = ("pc", "ipsr", "xpsr", "lr", "cfsr", "hfsr", "dfsr", "mmfar", "bfar")
    return dict(zip(names, struct.unpack("<9I", machine.read(SEEN, 36)), strict=True))


#: ldr r0, =0xE000ED24; ldr r1, =0x70000; str r1, [r0]: SHCSR enables all three.
_ENABLE = (0xF44F, 0x21E0, 0x6001)
_SHCSR = (0xED24, 0xE000)

#: Code by what it does, who handles it, and what the handler sees: pc, exception, xPSR, LR, CFSR,
#: HFSR and BFAR.
AS_QEMU: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "a read, faults disabled": (
        (0xF04F, 0x40E0, 0xBF00, 0x6801, 0xE7FE),
        HARD,
        (0x46, 3, 0x41000000, 0xFFFFFFF9, 0x8200, 0x40000000, 0x70000000),
    ),
    "a read": (
        (0x4804, *_ENABLE, 0xF04F, 0x40E0, 0xBF00, 0x6801, 0xE7FE, 0, *_SHCSR),
        ALL,
        (0x4E, 5, 0x41000000, 0xFFFFFFF9, 0x8200, 0, 0x70000000),
    ),
    "a read while PRIMASK is set": (
        (0x4804, *_ENABLE, 0xB672, 0xF04F, 0x40E0, 0x6801, 0xE7FE, 0, *_SHCSR),
        ALL,
        (0x4E, 3, 0x41000000, 0xFFFFFFF9, 0x8200, 0x40000000, 0x70000000),
    ),
    "a read within itte ne": (
        *(
            (
                *(0x4805, *_ENABLE, 0xF04F, 0x40E0, 0x2800, 0xBF1A, 0x2201, 0x6801, 0x2102),
                *(0xE7FE, *_SHCSR),
            ),
            ALL,
        ),
        (0x52, 5, 0x21001400, 0xFFFFFFF9, 0x8200, 0, 0x70000000),
    ),
    "a write that is not buffered": (
        (0x4803, 0x2102, 0x6001, 0xF04F, 0x40E0, 0xBF00, 0x6001, 0xE7FE, 0xE008, 0xE000),
        HARD,
        (0x4C, 3, 0x01000000, 0xFFFFFFF9, 0x8200, 0x40000000, 0x70000000),
    ),
    "udf": (
        (0x4803, *_ENABLE, 0xBF00, 0xDE01, 0xE7FE, 0, *_SHCSR),
        ALL,
        (0x4A, 6, 0x41000000, 0xFFFFFFF9, 0x10000, 0, 0),
    ),
    "udf, faults disabled": (
        (0xBF00, 0xDE01, 0xE7FE),
        HARD,
        (0x42, 3, 0x41000000, 0xFFFFFFF9, 0x10000, 0x40000000, 0),
    ),
    "bx to Arm code": (
        (0x4803, *_ENABLE, 0x2020, 0x4700, 0xE7FE, 0, *_SHCSR),
        ALL,
        (0x20, 6, 0, 0xFFFFFFF9, 0x20000, 0, 0),
    ),
    "bx to an even address where nothing is": (
        (0x4803, *_ENABLE, 0x4802, 0x4700, 0xE7FE, 0, *_SHCSR, 0x0000, 0x7000),
        ALL,
        (0x70000000, 5, 0x40000000, 0xFFFFFFF9, 0x100, 0, 0),
    ),
    "bx to where nothing is": (
        (0x4803, *_ENABLE, 0x4802, 0x4700, 0xE7FE, 0, *_SHCSR, 0x0001, 0x7000),
        ALL,
        (0x70000000, 5, 0x41000000, 0xFFFFFFF9, 0x100, 0, 0),
    ),
    "bx to peripherals": (
        (0x4803, *_ENABLE, 0x4802, 0x4700, 0xE7FE, 0, *_SHCSR, 0x0001, 0x4000),
        ALL,
        (0x40000000, 4, 0x41000000, 0xFFFFFFF9, 0x1, 0, 0),
    ),
    "bx to EXC_RETURN in thread mode": (
        (0x4803, *_ENABLE, 0xF06F, 0x0006, 0x4700, 0xE7FE, *_SHCSR),
        ALL,
        (0xFFFFFFF8, 4, 0x41000000, 0xFFFFFFF9, 0x1, 0, 0),
    ),
    "svc without a handler": (
        (0x4802, *_ENABLE, 0xDF00, 0xE7FE, *_SHCSR),
        ALL,
        (0, 3, 0x4000000B, 0xFFFFFFF1, 0x20000, 0x40000000, 0),
    ),
    "a division by zero": (
        (
            *(0x4807, *_ENABLE, 0x4806, 0xF44F, 0x7104, 0x6001, 0xF3BF, 0x8F6F, 0x2100, 0x2205),
            *(0xFBB2, 0xF0F1, 0xE7FE, 0, *_SHCSR, 0xED14, 0xE000),
        ),
        ALL,
        (0x58, 6, 0x01000000, 0xFFFFFFF9, 0x2000000, 0, 0),
    ),
    "a word at an odd address, UNALIGN_TRP": (
        (
            *(0x4805, *_ENABLE, 0x4804, 0xF44F, 0x7102, 0x6001, 0x4803, 0xE7FF, 0x6801),
            *(0xE7FE, *_SHCSR, 0xED14, 0xE000, 0x0201, 0x2000),
        ),
        ALL,
        (0x54, 6, 0x41000000, 0xFFFFFFF9, 0x1000000, 0, 0),
    ),
    "ldrd at an odd address": (
        (
            *(0x4804, *_ENABLE, 0x4803, 0xF3BF, 0x8F6F, 0xE9D0, 0x1200, 0xE7FE, *_SHCSR),
            *(0x0201, 0x2000),
        ),
        ALL,
        (0x4E, 6, 0x41000000, 0xFFFFFFF9, 0x1000000, 0, 0),
    ),
    "ldm between words": (
        (
            *(0x4804, *_ENABLE, 0x4803, 0xF3BF, 0x8F6F, 0xE890, 0x0006, 0xE7FE, *_SHCSR),
            *(0x0202, 0x2000),
        ),
        ALL,
        (0x4E, 6, 0x41000000, 0xFFFFFFF9, 0x1000000, 0, 0),
    ),
    "ldrex between words": (
        (0x4803, *_ENABLE, 0x4802, 0xE850, 0x1F00, 0xE7FE, *_SHCSR, 0x0202, 0x2000),
        ALL,
        (0x4A, 6, 0x41000000, 0xFFFFFFF9, 0x1000000, 0, 0),
    ),
}


@pytest.mark.parametrize("case", AS_QEMU)
def test_handler_sees_what_qemu_shows_it(case: str) -> None:
    code, handlers, expected = AS_QEMU[case]
    machine, stop, _ = run(code, handlers)
    found = seen(machine)
    names = ("pc", "ipsr", "xpsr", "lr", "cfsr", "hfsr", "bfar")
    assert tuple(found[name] for name in names) == expected
    assert stop.reason is StopReason.FAULT


#: The same for a Cortex-M0, which has no fault status: pc, exception, xPSR, LR.
ON_M0 = {
    "a read": ((0x4801, 0x46C0, 0x6801, 0xE7FE, 0, 0x7000), (0x44, 3, 0x41000000)),
    "a write": ((0x4801, 0x46C0, 0x6001, 0xE7FE, 0, 0x7000), (0x44, 3, 0x41000000)),
    "udf": ((0x46C0, 0xDE01, 0xE7FE), (0x42, 3, 0x41000000)),
    "bx to Arm code": ((0x2020, 0x4700, 0xE7FE), (0x20, 3, 0)),
    "a word between words": (
        (0x4801, 0x6801, 0xE7FE, 0, 0x0202, 0x2000),
        (0x42, 3, 0x41000000),
    ),
    "mov.w, which it has not": ((0x46C0, 0xF04F, 0x0001, 0xE7FE), (0x42, 3, 0x41000000)),
    "bkpt": ((0x46C0, 0xBE01, 0x46C0, 0xE7FE), (0x42, 3, 0x41000000)),
}


@pytest.mark.parametrize("case", ON_M0)
def test_everything_is_a_hard_fault_on_armv6m(case: str) -> None:
    code, expected = ON_M0[case]
    machine, stop, _ = run(code, core="m0plus")
    found = seen(machine)
    assert tuple(found[name] for name in ("pc", "ipsr", "xpsr")) == expected
    assert found["lr"] == 0xFFFFFFF9
    assert found["cfsr"] == found["hfsr"] == 0
    assert stop.reason is StopReason.FAULT
    assert machine.faults[0].exception == "HardFault"


@pytest.mark.parametrize("core", ["m3", "m7", "m33"])
@pytest.mark.parametrize("case", ["a read", "udf", "bx to Arm code", "a division by zero"])
def test_other_cores_do_the_same(core: str, case: str) -> None:
    code, handlers, expected = AS_QEMU[case]
    machine, _, _ = run(code, handlers, core)
    found = seen(machine)
    names = ("pc", "ipsr", "xpsr", "lr", "cfsr", "hfsr", "bfar")
    assert tuple(found[name] for name in names) == expected


#: SVC whose handler returns as given: by a value that cannot be, to a handler that was not
#: interrupted, and with another mode in the frame.
RETURNS = {
    "reserved": (0xF06F, 0x000A, 0x4700),
    "to no handler": (0xF06F, 0x000E, 0x4700),
    "frame of a handler": (0x9807, 0x300B, 0x9007, 0x4770),
}


@pytest.mark.parametrize("case", RETURNS)
def test_return_that_cannot_be_is_a_usage_fault(case: str) -> None:
    """As in QEMU: the context that SVC stacked is not stacked again, LR is what was returned by."""
    code = AS_QEMU["svc without a handler"][0]
    machine, _, _ = run(code, ALL, supervisor=RETURNS[case])
    found = seen(machine)
    assert (found["pc"], found["ipsr"], found["cfsr"]) == (0x4A, 6, 0x40000)
    by = {"reserved": 0xFFFFFFF5, "to no handler": 0xFFFFFFF1}
    assert found["lr"] == by.get(case, 0xFFFFFFF9)


def test_fault_in_a_handler_of_the_same_priority_escalates() -> None:
    code = AS_QEMU["svc without a handler"][0]
    machine, _, _ = run(code, ALL, supervisor=(0xF04F, 0x40E0, 0x6800))
    found = seen(machine)
    assert (found["pc"], found["ipsr"], found["hfsr"]) == (SUPERVISOR + 4, 3, 0x40000000)
    assert found["lr"] == 0xFFFFFFF1


def test_buffered_write_is_imprecise() -> None:
    """ARMv7-M ARM, B3.2.15: IMPRECISERR, no address, and the pc is behind."""
    machine, stop, _ = run((0xF04F, 0x40E0, 0xBF00, 0x6001, 0xE7FE))
    found = seen(machine)
    assert (found["pc"], found["cfsr"], found["bfar"]) == (0x48, 0x400, 0)
    assert "0x70000000, at 0x46" in stop.detail  # what a chip does not tell is told


@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_supervisor_call_escalates_while_it_is_masked(core: str) -> None:
    """cpsid i; svc: the frame holds the address of SVC (ARMv6-M ARM, B1.5.6)."""
    machine, stop, _ = run((0xB672, 0xDF00, 0xBF00, 0xE7FE), (3, 11), core)
    found = seen(machine)
    assert (found["pc"], found["ipsr"]) == (0x42, 3)
    assert found["hfsr"] == (0x40000000 if core == "m4" else 0)
    assert "while SVCall is masked" in stop.detail


def test_breakpoint_without_a_debugger_is_a_hard_fault() -> None:
    """HFSR.DEBUGEVT, DFSR.BKPT."""
    machine, _, _ = run((0xBF00, 0xBE01, 0xBF00, 0xE7FE))
    found = seen(machine)
    assert (found["pc"], found["hfsr"], found["dfsr"]) == (0x42, 0x80000000, 2)


def test_floating_point_context_is_stacked_at_a_fault() -> None:
    code = (0xEEB7, 0x0A00, 0xEEF0, 0x7A00, 0xF04F, 0x40E0, 0x6801, 0xE7FE)
    machine, _, _ = run(code)
    assert seen(machine)["lr"] == 0xFFFFFFE9
    assert seen(machine)["pc"] == 0x4C
    frame = machine.read(STACK - 0x68 + 0x20, 64)
    floats = struct.unpack("<16f", frame)
    assert (floats[0], floats[15]) == (1.0, 2.0)


#: ldr r0, =0x70000000; ldr r1, [r0]; movs r3, #7; an exit by semihosting.
_READS = (0x4802, 0x6801, 0x2307, 0x4902, 0x2018, 0xBEAB, 0x0000, 0x7000, 0x0026, 0x0002)


@pytest.mark.parametrize("core", ["m0plus", "m4", "m33"])
def test_handler_may_step_over_what_failed(core: str) -> None:
    """The run goes on as on a chip, and the fault is told all the same."""
    machine, stop, _ = run(_READS, core=core, handler=(0x9806, 0x3002, 0x9006, 0x4770))
    assert stop.reason is StopReason.EXITED
    assert registers(machine, "r3", "sp", "ipsr") == (7, STACK, 0)
    (fault,) = machine.faults
    assert fault.detail == "read where nothing answers, 0x70000000, at 0x42"
    assert fault.exception.startswith("HardFault")
    assert fault.registers["r0"] == 0x7000_0000
    assert fault.last_blocks[0] == "0x40"


def test_handler_may_reset_the_chip() -> None:
    """SYSRESETREQ: the ninth reset ends the run, and each was of a fault."""
    handler = (
        *(0x4802, 0x4903, 0x6001, 0xF3BF, 0x8F4F, 0xE7FE, 0xED0C, 0xE000),
        *(0x0004, 0x05FA),
    )
    machine, stop, _ = run(_READS, handler=handler)
    assert stop.reason is StopReason.EXITED
    assert "reset the chip 9 times" in stop.detail
    assert len(machine.faults) == 9


def test_fault_within_its_handler_locks_up() -> None:
    """The first fault is what is told, and what became of it."""
    machine, stop, _ = run(_READS, handler=(0x4801, 0x6000, 0xE7FE, 0x0000, 0x0000, 0x6000))
    assert stop.reason is StopReason.FAULT
    assert stop.detail == (
        "read where nothing answers, 0x70000000, at 0x42; then write where nothing answers, "
        "0x60000000, at 0xc2; the core locked up, since that was within HardFault"
    )
    assert stop.fault is machine.faults[0]
    assert stop.fault is not None
    assert stop.fault.registers["r0"] == 0x7000_0000


def test_without_a_handler_the_run_ends_at_the_fault() -> None:
    _, stop, _ = run(_READS, handlers=())
    assert stop.reason is StopReason.FAULT
    assert stop.detail == (
        "read where nothing answers, 0x70000000, at 0x42; there is no handler of HardFault"
    )
    assert stop.fault is not None
    assert stop.fault.registers["pc"] == 0x42


#: b .; and: movs r0, #200; subs, bne; nop; b to the nop.
@pytest.mark.parametrize(
    "handler", [(0xE7FE,), (0x20C8, 0x3801, 0xD1FD, 0x46C0, 0xE7FD)], ids=["b", "behind a delay"]
)
def test_handler_that_only_loops_ends_the_run(handler: tuple[int, ...]) -> None:
    machine, stop, _ = run(_READS, handler=handler)
    assert stop.reason is StopReason.FAULT
    assert "the handler of HardFault loops without end at" in stop.detail
    assert machine.cycles < 20_000


def test_handler_that_does_something_goes_on() -> None:
    """It counts at 0x20000300 for as long as it may."""
    handler = (0x4A02, 0x6810, 0x3001, 0x6010, 0xE7FB, 0x0000, 0x0300, 0x2000)
    machine, stop, _ = run(_READS, handler=handler)
    assert stop.reason is StopReason.TIME_LIMIT
    assert word(machine, 0x2000_0300) > 10_000
    assert len(machine.faults) == 1


def test_probing_with_faultmask_passes_over_bus_faults() -> None:
    """cpsid f; CCR.BFHFNMIGN; a load where nothing is; movs r3, #7."""
    code = (
        *(0xB671, 0x4805, 0xF44F, 0x7140, 0x6001, 0xF04F, 0x40E0, 0x2300, 0x6801, 0x2307),
        *(0xE7FE, 0x0000, 0xED14, 0xE000),
    )
    machine, stop, _ = run(code)
    assert stop.reason is StopReason.TIME_LIMIT
    assert registers(machine, "r3") == (7,)
    assert not machine.faults


def test_divisor_counts_down_to_zero() -> None:
    """60 / 3, 60 / 2, 60 / 1 in a loop, and the fourth traps: CCR.DIV_0_TRP."""
    code = (
        *(0x4805, 0xF44F, 0x7104, 0x6001, 0xF3BF, 0x8F6F, 0x2303, 0x223C, 0xFBB2, 0xF4F3),
        *(0x3B01, 0xE7FA, 0xED14, 0xE000),
    )
    machine, stop, _ = run(code, handler=(0xE7FE,))
    assert stop.detail.startswith("division by zero at 0x50")
    assert registers(machine, "r3", "r4") == (0, 60)
    without, stop, _ = run((*code[:3], 0xBF00, *code[4:]))
    assert stop.reason is StopReason.TIME_LIMIT
    assert not without.faults


def test_what_may_trap_is_counted_once() -> None:
    """The same loop with CCR.DIV_0_TRP and CCR.UNALIGN_TRP, and with neither."""
    code = (
        *(0x4808, 0x4909, 0xB289, 0x6001, 0xF3BF, 0x8F6F, 0x2309, 0x4807, 0x6802, 0xFBB2),
        *(0xF4F3, 0x6004, 0x3B01, 0xD1F9, 0x4904, 0x2018, 0xBEAB, 0x0000, 0xED14, 0xE000),
        *(0x0218, 0x0000, 0x0300, 0x2000, 0x0026, 0x0002),
    )
    counted = []
    for trapping in (0x0218, 0x0200):
        words = [trapping if word == 0x0218 else word for word in code]
        machine, stop, _ = run(tuple(words))
        assert stop.reason is StopReason.EXITED
        counted.append(machine.counts().mix().total)
    assert counted == [7 + 9 * 5 + 3] * 2


def test_status_bits_are_cleared_by_ones() -> None:
    code, handlers, _ = AS_QEMU["a read"]
    _, _, chip = run(code, handlers)
    system = chip.system
    assert system.read(0xED28, 4) == 0x8200
    assert system.read(0xED29, 1) == 0x82
    system.write(0xED29, 1, 0x80)
    assert system.read(0xED28, 4) == 0x200
    assert system.read(0xED24, 4) == 0x70002  # all enabled, BusFault active


def test_function_that_is_called_alone_ends_at_its_fault() -> None:
    """No firmware is running whose handler would know what to do."""
    from mcusim.errors import FirmwareError

    words = (*_READS, *([0] * (0x40 - len(_READS))), *_REPORTS)
    machine, _ = start(words, {3: HANDLER})
    with pytest.raises(FirmwareError, match="fault: read where nothing answers, 0x70000000"):
        machine.call(BASE)
    assert word(machine, SEEN) == 0


def test_handler_that_returns_to_what_failed_ends_the_run() -> None:
    """bx lr: the load is executed again, and again."""
    _, stop, _ = run(_READS, handler=(0x4770,))
    assert stop.reason is StopReason.FAULT
    assert stop.detail == (
        "read where nothing answers, 0x70000000, at 0x42; it came 1,000 times, since its handler "
        "returns"
    )


def test_null_pointer_to_a_function_is_executed_where_it_points() -> None:
    """movs r0, #1; bx r0: the vector table as code, until that fails."""
    _, stop, _ = run((0x2001, 0x4700), handler=(0xE7FE,))
    assert stop.reason is StopReason.FAULT
    assert stop.fault is not None
    assert "0x0" in stop.fault.last_blocks
