"""Where data lies, seen from registers: a table in flash waits, the same table in RAM does not."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")

from mcusim.boards import load_board
from mcusim.emulator.blocks import Access, decode_block
from mcusim.emulator.images import Symbol
from mcusim.emulator.machine import Machine
from tests.emulator.thumb import BASE, RAM, halfwords, program

#: Sums 64 words: movs r2, #0; movs r3, #64; ldr r1, [r0], #4; adds r2, r1; subs r3, #1; bne; bx lr.
_SUM = halfwords(0x2200, 0x2340, 0xF850, 0x1B04, 0x1852, 0x3B01, 0xD1FA, 0x4770)


def machine() -> Machine:
    """A board with flash of two wait states at 0 and neither cache."""
    board = load_board("nrf52840-dk").with_flash(icache_on=False, dcache_on=False)
    symbol = Symbol(BASE, len(_SUM), "sum", "function")
    return Machine(program(_SUM, symbol), board)


def test_a_table_in_flash_waits_and_one_in_ram_does_not() -> None:
    in_flash, in_ram = machine(), machine()
    slow = in_flash.call("sum", 0x1000)
    quick = in_ram.call("sum", RAM)
    assert slow.instructions.total == quick.instructions.total
    slow_part = in_flash.pricing.part("sum", slow.counts)
    quick_part = in_ram.pricing.part("sum", quick.counts)
    assert quick_part.cycles_by_cause.data == 0
    board = in_flash.board
    waits = board.path("flash", in_flash.clock_hz).wait_cycles
    scale = (
        board.calibration.constant_wait_scale * board.calibration.time_scale
        if (board.calibration)
        else board.core.uncalibrated.time_scale
    )
    assert slow_part.cycles_by_cause.data == pytest.approx(64 * waits * scale)
    assert slow.cycles > quick.cycles


def test_an_access_is_located_while_its_registers_hold() -> None:
    """ldr r1, [r0, #4]; ldr r2, [r1]; push {r4, lr}: what r1 points to is known only then."""
    block = decode_block(halfwords(0x6841, 0x680A, 0xB510), 0x1000)
    assert block.accesses == (
        Access(0, None, 0, offset=4, words=1, bytes=4, is_load=True, at=0x1000, alignment=4),
        Access(13, None, 0, 0, 2, 8, is_load=False, at=0x1004, alignment=4, is_strict=True),
    )


def test_a_pointer_that_goes_on_stays_known() -> None:
    """ldrb r1, [r0]; adds r0, #1; ldrb r2, [r0, r3]: the memory is the same."""
    block = decode_block(halfwords(0x7801, 0x3001, 0x5CC2), 0x1000)
    assert [(access.base, access.index, access.bytes) for access in block.accesses] == [
        (0, None, 1),
        (0, 3, 1),
    ]


def test_literals_are_no_located_access() -> None:
    block = decode_block(halfwords(0x4801, 0xF850, 0x1022), 0x1000)
    assert block.literal_loads == 1
    assert block.accesses == ()
