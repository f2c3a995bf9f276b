"""Firmware that waits for a register in no table is told which."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")

from mcusim.emulator.polling import polled_register
from tests.emulator.firmware_programs import start

#: movs r0, #0x48; lsls r0, r0, #24; then: ldr r1, [r0, #16]; cmp r1, #0; beq
_WAITING = (0x2048, 0x0600, 0x6901, 0x2900, 0xD0FC)


def test_register_that_is_waited_for() -> None:
    machine, _ = start(_WAITING)
    stop = machine.run(max_instructions=10_000)
    found = polled_register(machine, stop)
    assert found is not None
    assert found.address == 0x4800_0010


def test_register_that_was_read_some_times_is_not() -> None:
    machine, _ = start(_WAITING)
    stop = machine.run(max_instructions=300)
    assert machine.bus.unknown
    assert polled_register(machine, stop) is None
