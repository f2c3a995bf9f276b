"""Counted blocks against what a hook on every instruction sees, and against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("unicorn")

from mcusim.emulator import counting
from mcusim.emulator.blocks import Ending, decode_block
from mcusim.emulator.machine import Machine, StopReason
from tests.emulator.thumb import BASE, halfwords, machine_with

_BREAKPOINT = 0xBE00

#: movs r0, #0; movs r2, #0; then 100 turns of: adds r0, #1; lsls r1, r0, #31; it mi; addmi r2, #1;
#: cmp r0, #100; bne.
LOOP = halfwords(0x2000, 0x2200, 0x3001, 0x07C1, 0xBF48, 0x3201, 0x2864, 0xD1F9, _BREAKPOINT)
#: A dot product with SMLAD, 50 x 64 turns; the code of the benchmark, shortened.
DOT = bytes.fromhex(
    "40f232094ff0000c4ff000500f494022002350f8044b51f8045b2ffa84f6"
    "2ffa85f726fb07332ffa94f42ffa95f524fb0533013aedd14b60002b48bf"
    "0cf1010cb9f10109e0d118200149abbe0010002026000200"
)


def code_hook_total(machine: Machine) -> int:
    """Instructions that a hook on each sees: those that a condition skips are not among them."""
    from unicorn import UC_HOOK_CODE

    seen = 0

    def note(*_: Any) -> None:
        nonlocal seen
        seen += 1

    machine.uc.hook_add(UC_HOOK_CODE, note)
    machine.run()
    return seen


@pytest.mark.parametrize(("code", "skipped"), [(LOOP, 50), (DOT, None)], ids=["loop", "dot"])
def test_total_is_that_of_a_code_hook_and_what_it_skips(code: bytes, skipped: int | None) -> None:
    machine = machine_with(code)
    machine.write(0x2000_0000, np.random.default_rng(1).bytes(0x2000))
    seen = code_hook_total(machine)
    total = machine.counts().mix().total
    conditional = sum(
        block.conditional * int(times)
        for block, times in zip(machine.counts().blocks, machine.counts().executed, strict=True)
    )
    assert total == machine.counter.instructions
    assert total - conditional <= seen <= total
    if skipped is not None:
        assert total - seen == skipped


def test_classes_and_branches_of_a_loop() -> None:
    machine = machine_with(LOOP)
    machine.run()
    mix = machine.counts().mix()
    assert mix.total == 603
    assert mix["if_then"] == 100
    assert mix["branch_conditional"] == 100
    assert mix["taken_conditional"] == 99
    assert mix["taken_unconditional"] == 0
    assert mix["system"] == 1


def test_dot_product_by_hand() -> None:
    machine = machine_with(DOT)
    machine.run()
    mix = machine.counts().mix()
    assert mix["simd_mac"] == 50 * 64 * 2
    assert mix["simd_other"] == 50 * 64 * 4
    assert mix["load_word"] == 50 * (64 * 2 + 1) + 1
    assert mix["store_word"] == 50
    assert mix["taken_conditional"] == 50 * 63 + 49


def test_clock_is_the_price_of_the_mix() -> None:
    """The hook's own clock, block by block, and the price of all that it counted."""
    machine = machine_with(DOT)
    machine.run()
    price = machine.pricing.part("dot", machine.counts()).cycles
    assert machine.cycles == pytest.approx(price, rel=1e-3)


def test_a_full_table_grows_and_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine_with(DOT)
    whole.run()
    monkeypatch.setattr(counting, "_FIRST_RECORDS", 2)
    small = machine_with(DOT)
    small.run()
    assert np.array_equal(small.counts().mix().vector, whole.counts().mix().vector)
    assert list(small.counter.recent()) == list(whole.counter.recent())


def test_instruction_limit_stops_at_a_block_behind_it() -> None:
    machine = machine_with(LOOP)
    stop = machine.run(max_instructions=301)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT
    assert 301 <= machine.counter.instructions < 301 + 6
    machine.run()
    assert machine.counts().mix().total == 603


def test_time_limit_stops_and_goes_on() -> None:
    machine = machine_with(DOT)
    stop = machine.run(max_seconds=1e-4)
    assert stop.reason is StopReason.TIME_LIMIT
    assert 1e-4 <= machine.cycles / machine.clock_hz < 1.01e-4
    machine.run()
    whole = machine_with(DOT)
    whole.run()
    assert np.array_equal(machine.counts().mix().vector, whole.counts().mix().vector)


def test_watching_an_address_sees_each_time_it_is_reached() -> None:
    machine = machine_with(LOOP)
    reached: list[int] = []
    machine.counter.watch(BASE + 4, reached.append)
    machine.run()
    # The first turn belongs to the block that comes before the loop.
    assert reached == [BASE + 4] * 99


@pytest.mark.parametrize(
    ("code", "expected", "ending"),
    [
        (halfwords(0xBD10), {"load_multiple": 1, "load_accesses": 2}, Ending.UNCONDITIONAL),
        (halfwords(0xB570), {"store_multiple": 1, "store_accesses": 4}, Ending.FALLS_THROUGH),
        (halfwords(0x4770), {"branch_indirect": 1}, Ending.UNCONDITIONAL),
        (halfwords(0xBF08, 0x4770), {"if_then": 1, "branch_indirect": 1}, Ending.CONDITIONAL),
        (halfwords(0xB110), {"branch_conditional": 1}, Ending.CONDITIONAL),
        (halfwords(0xF000, 0xF800), {"call": 1}, Ending.UNCONDITIONAL),
        (halfwords(0xE8DF, 0xF000), {"branch_table": 1}, Ending.UNCONDITIONAL),
        (halfwords(0xBF00), {"nop": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xBF30), {"system": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xE9D0, 0x1200), {"load_double": 1, "load_accesses": 2}, Ending.FALLS_THROUGH),
        (halfwords(0xFB01, 0xF002), {"multiply": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xFB81, 0x0102), {"multiply_long": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xFB11, 0x0002), {"multiply_half": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xFA2F, 0xF684), {"simd_other": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xF300, 0x0007), {"simd_other": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xEEE0, 0x0A20), {"float_mac": 1}, Ending.FALLS_THROUGH),
        (halfwords(0xECBD, 0x8B02), {"float_load_multiple": 1, "load_accesses": 1}, None),
        (halfwords(0xEEF7, 0x0A00), {"float_move": 1}, None),
        (halfwords(0xEEF1, 0xFA10), {"float_move": 1}, None),
        (halfwords(0xED9F, 0x0A01), {"float_load": 1, "load_accesses": 1}, None),
        (halfwords(0xED9F, 0x0B01), {"float_load": 1, "load_accesses": 2}, None),
    ],
)
def test_conventions_of_the_classes(
    code: bytes, expected: dict[str, int], ending: Ending | None
) -> None:
    """Those of the counted kernels: README of the counted data, and the architecture's manual."""
    from mcusim.instruction_mix import FIELDS

    block = decode_block(code, 0x1000)
    assert {n: v for n, v in zip(FIELDS, block.vector, strict=True) if v} == expected
    assert block.undecoded == 0
    if ending is not None:
        assert block.ending is ending


def test_literal_loads_are_known() -> None:
    block = decode_block(halfwords(0x4801, 0x6808, 0x4902), 0x1000)
    assert (block.literal_loads, block.literal_bytes) == (2, 8)
