"""Tables of peripherals: what a person writes, what it means, and what is told when it is wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("unicorn")

from mcusim.boards import load_board
from mcusim.emulator.machine import Machine
from mcusim.emulator.peripheral_tables import ChipTable, chip_of_board, load_chip
from mcusim.errors import BoardError
from mcusim.resources import data_path
from tests.emulator.firmware_programs import start

SHIPPED = sorted(path.stem for path in data_path("board_models", "peripherals").glob("*.toml"))
_BASE = 0x4000_0000
_REGISTERS = "[peripherals.P]\nbase = 0\n[peripherals.P.registers]\n"


def table(tmp_path: Path, text: str) -> ChipTable:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_chip(path)


def bus(tmp_path: Path, registers: str) -> Machine:
    """A machine with one peripheral of these registers at 0x40000000."""
    head = "[peripherals.P]\nbase = 0x4000_0000\ninterrupt = 3\n"
    text = f"{head}[peripherals.P.registers]\n{registers}"
    machine, _ = start((0xE7FE,), table=table(tmp_path, text))
    return machine


def read(machine: Machine, offset: int) -> int:
    return machine.bus.read(_BASE + offset, 4)


def write(machine: Machine, offset: int, value: int) -> None:
    machine.bus.write(_BASE + offset, 4, value)


def test_shipped_tables_load() -> None:
    assert {"nrf52840", "stm32l4", "stm32f4", "stm32f7", "rp2040"} <= set(SHIPPED)
    for name in SHIPPED:
        chip = load_chip(name)
        assert chip.source
        for peripheral in chip.peripherals:
            assert chip.resolved(peripheral).registers
            assert (chip.resolved(peripheral).interrupt or 0) < chip.interrupts


def test_shipped_peripherals_do_not_overlap() -> None:
    for name in SHIPPED:
        chip = load_chip(name)
        spans = sorted((t.base, t.base + t.size) for t in map(chip.resolved, chip.peripherals))
        for (_, end), (begin, _) in pairwise(spans):
            assert end <= begin, name


def test_board_finds_its_chip() -> None:
    assert chip_of_board(load_board("nrf52840-dk")).chip == "nRF52840"
    assert chip_of_board(load_board("raspberry-pi-pico")).chip == "RP2040"
    assert chip_of_board(load_board("raspberry-pi-4b")).peripherals == {}


def test_board_has_the_chip_of_its_base(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "nucleo-l496zg"\n')
    assert chip_of_board(load_board(mine)) == load_chip("stm32l4")
    further = tmp_path / "further.toml"
    further.write_text('base = "mine.toml"\n')
    assert chip_of_board(load_board(further)) == load_chip("stm32l4")
    assert chip_of_board(load_board("arduino-nano-33-ble-sense")) == load_chip("nrf52840")


def test_board_names_its_chip(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "nucleo-l496zg"\nperipherals = "stm32f4"\n')
    assert chip_of_board(load_board(path)).chip == "STM32F4"
    path.write_text('base = "nucleo-l496zg"\nperipherals = "stm32l"\n')
    with pytest.raises(BoardError, match=r"mine.toml, line 2: `peripherals` .* mean stm32l4"):
        load_board(path)


def test_ready_bit_follows_its_switch(tmp_path: Path) -> None:
    machine = bus(tmp_path, 'CR = { at = 0, follows = ["17 = 16", "25 = 24"] }')
    assert read(machine, 0) == 0
    write(machine, 0, 1 << 16)
    assert read(machine, 0) == 3 << 16


def test_field_follows_another_register(tmp_path: Path) -> None:
    rules = '"3:2 = SW.1:0", "7:4 = one_hot SW.1:0", "31:8 = !SW.23:0"'
    machine = bus(tmp_path, f"SW = {{ at = 0 }}\nS = {{ at = 4, follows = [{rules}] }}")
    write(machine, 0, 2)
    assert read(machine, 4) == 0xFFFF_FD00 | 1 << 6 | 2 << 2


def test_writes_that_set_clear_and_flip(tmp_path: Path) -> None:
    machine = bus(
        tmp_path,
        "OUT = { at = 0, reset = 0xF0 }\n"
        'SET = { at = 4, set_bits_of = "OUT" }\n'
        'CLR = { at = 8, clear_bits_of = "OUT" }\n'
        'XOR = { at = 12, flip_bits_of = "OUT" }\n'
        "TASK = { at = 16, writable = 0, sets = { EVENT = 1 }, clears = { OUT = 0x80 } }\n"
        "EVENT = { at = 20 }\nFLAGS = { at = 24, reset = 7, one_clears = 7 }\n"
        "STATUS = { at = 28, reset = 7, zero_clears = 7 }\n"
        "SEEN = { at = 32, reset = 3, read_clears = 1 }\n",
    )
    write(machine, 4, 0x0F)
    write(machine, 8, 0x11)
    write(machine, 12, 0x03)
    assert read(machine, 0) == (0xFF & ~0x11) ^ 0x03
    write(machine, 16, 1)
    assert (read(machine, 20), read(machine, 0) & 0x80, read(machine, 16)) == (1, 0, 0)
    write(machine, 24, 2)
    assert read(machine, 24) == 5
    write(machine, 28, 5)
    assert read(machine, 28) == 5
    assert (read(machine, 32), read(machine, 32)) == (3, 2)


def test_registers_that_follow_each_other_repeat_their_values_after_reset(tmp_path: Path) -> None:
    machine = bus(tmp_path, "CH = { at = 0, count = 5, reset = [0, 0x100] }")
    assert [read(machine, 4 * i) for i in range(5)] == [0, 0x100, 0, 0x100, 0]


def test_parts_of_a_register(tmp_path: Path) -> None:
    machine = bus(tmp_path, "R = { at = 0, reset = 0x11223344 }")
    machine.bus.write(_BASE + 1, 1, 0xAA)
    machine.bus.write(_BASE + 2, 2, 0xBBCC)
    assert read(machine, 0) == 0xBBCC_AA44
    assert machine.bus.read(_BASE + 3, 1) == 0xBB


def test_what_is_sent_is_printed(tmp_path: Path) -> None:
    machine = bus(
        tmp_path,
        "DR = { at = 0, prints = true }\nPTR = { at = 4 }\nCOUNT = { at = 8 }\nDONE = { at = 12 }\n"
        'GO = { at = 16, prints_from = ["PTR", "COUNT", "DONE"] }\n',
    )
    for byte in b"hi ":
        machine.bus.write(_BASE, 1, byte)
    machine.write(0x2000_0000, b"there")
    write(machine, 4, 0x2000_0000)
    write(machine, 8, 5)
    write(machine, 16, 1)
    assert machine.output("p") == b"hi there"
    assert read(machine, 12) == 5


@pytest.mark.parametrize(("pointer", "count"), [(0x9000_0000, 4), (0x2000_0000, 0xFFFF_FFFF)])
def test_transfer_from_nowhere_sends_nothing(tmp_path: Path, pointer: int, count: int) -> None:
    machine = bus(
        tmp_path,
        "PTR = { at = 4 }\nCOUNT = { at = 8 }\nDONE = { at = 12 }\n"
        'GO = { at = 16, prints_from = ["PTR", "COUNT", "DONE"] }\n',
    )
    write(machine, 4, pointer)
    write(machine, 8, count)
    write(machine, 16, 1)
    assert len(machine.output()) <= 0x1_0000


def test_register_in_no_table_is_noted_and_keeps_its_value(tmp_path: Path) -> None:
    machine = bus(tmp_path, "R = { at = 0 }")
    for address in (_BASE + 8, 0x4800_0000):
        assert machine.bus.read(address, 4) == 0
        machine.bus.write(address, 4, 5)
        assert machine.bus.read(address, 4) == 5
        assert machine.bus.unknown[address].reads == 2
    assert _BASE not in machine.bus.unknown


def test_table_of_a_user_lies_over_that_of_the_board(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[peripherals.RCC]\n[peripherals.RCC.registers]\nNEW = { at = 0xF0, ones = 1 }\n"
        "[peripherals.MINE]\nbase = 0x4800_9000\n[peripherals.MINE.registers]\n"
        "ID = { at = 0, reset = 7 }\n"
    )
    merged = load_chip(path, over=load_chip("stm32l4"))
    rcc = merged.resolved("RCC")
    assert (rcc.base, rcc.registers["NEW"].ones) == (0x4002_1000, 1)
    assert "CR" in rcc.registers
    assert merged.peripherals["MINE"].registers["ID"].reset == 7
    assert merged.chip == "mine"
    # Those that are like another keep what they take over from it.
    assert merged.resolved("USART2") == load_chip("stm32l4").resolved("USART2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[peripherals.P]\nsize = 4\n", "base` is missing"),
        ("[peripherals.P]\nbase = 0\nbass = 1\n", "line 3: `peripherals.P.bass` is not a key"),
        ("[peripherals.P]\nbase = -1\n", "line 2"),
        ('[peripherals.P]\nbase = 0\nmodel = "magic"\n', "model"),
        (
            _REGISTERS + "A = { at = 0, reset = 1.5 }\n",
            "reset",
        ),
        (
            _REGISTERS + 'A = { at = 0, follows = ["x"] }\n',
            "a rule is such as",
        ),
        (
            _REGISTERS + 'A = { at = 0, follows = ["1 = B.2"] }\n',
            "refers to `B`",
        ),
        (
            _REGISTERS + 'A = { at = 0, follows = ["3:0 = 1:0"] }\n',
            "as many bits",
        ),
        ('[peripherals.P]\nbase = 0\nlike = "Q"\n', "which is not there"),
        ('[peripherals.P]\nbase = 0\ninterrupt_when = ["A.1"]\n', "a rule is such as"),
        ("[peripherals\n", "is not TOML"),
        ("source = 5\n", "line 1"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BoardError) as error:
        table(tmp_path, text)
    assert said in str(error.value)
    assert "mine.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_name_without_a_table() -> None:
    with pytest.raises(BoardError, match="nrf52840"):
        load_chip("nrf52832")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="no such file"):
        load_chip(tmp_path / "none.toml")
