"""A chip around a machine's core: its system control, peripherals and what listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mcusim.boards import Board
from mcusim.emulator.bit_bands import bit_bands
from mcusim.emulator.counters import NordicCounter, NordicTimer, Rp2040Timer, Stm32Timer
from mcusim.emulator.exceptions import Exceptions
from mcusim.emulator.images import Image, Segment
from mcusim.emulator.machine import Machine
from mcusim.emulator.memories import MemoryRegion
from mcusim.emulator.peripheral_tables import ChipTable, MemoryTable, chip_of_board
from mcusim.emulator.peripherals import RegisterBank, Wiring
from mcusim.emulator.protection_queries import install_protection_queries
from mcusim.emulator.rp2040 import SingleCycleIo
from mcusim.emulator.rp2040_rom import install_boot_rom
from mcusim.emulator.rtt import RealTimeTransfer
from mcusim.emulator.semihosting import GuestMemory, Semihosting
from mcusim.emulator.system_control import SystemControl
from mcusim.emulator.system_registers import CORE_IDS, SystemRegisters
from mcusim.emulator.system_timer import SysTick
from mcusim.emulator.timeline import Timeline
from mcusim.emulator.trace_units import InstrumentationTrace, WatchpointTrace

__all__ = ["Chip", "boot_machine", "build_chip"]

_MODELS: dict[str, type[RegisterBank]] = {
    "registers": RegisterBank,
    "nrf-timer": NordicTimer,
    "nrf-rtc": NordicCounter,
    "stm32-timer": Stm32Timer,
    "rp2040-timer": Rp2040Timer,
    "rp2040-sio": SingleCycleIo,
}


@dataclass(frozen=True)
class Chip:
    """What surrounds the core.

    Attributes:
        system: exceptions, sleep and the private peripheral bus.
        semihosting: what firmware asks of its debugger.
        rtt: up-buffers in RAM.
        peripherals: by name.
    """

    system: SystemControl
    semihosting: Semihosting
    rtt: RealTimeTransfer
    peripherals: Mapping[str, RegisterBank]


def boot_machine(
    image: Image,
    board: Board,
    *,
    table: ChipTable | None = None,
    clock_hz: float | None = None,
    files: Mapping[str, Path] | None = None,
) -> tuple[Machine, Chip]:
    """A board with its whole chip, the firmware programmed, the core after reset.

    Args:
        image: the firmware.
        board: where it runs.
        table: the chip's peripherals; those that mcusim has for the board when None.
        clock_hz: clock of the core; the board's own when None.
        files: what firmware may open by semihosting: its name for a file -> the file.

    Returns:
        The machine, and what surrounds its core.

    Raises:
        InputError: as :class:`Machine` does.
    """
    chip = table or chip_of_board(board)
    areas = chip.memories.values()
    beside = [s for s in image.segments if any(_lies_in(s, area) for area in areas)]
    inside = tuple(s for s in image.segments if s not in beside)
    machine = Machine(replace(image, segments=inside), board, clock_hz=clock_hz)
    for name, area in chip.memories.items():
        if machine.memories.holds(area.at, 1):
            continue  # the board's own word on what lies there
        machine.memories.add(MemoryRegion(name, area.at, area.bytes))
        if area.copy_of is None:
            machine.write(area.at, b"\xff" * area.bytes)
        else:
            machine.write(area.at, machine.read(area.copy_of, area.bytes))
    for segment in beside:
        machine.write(segment.load_address, segment.data)
    return machine, build_chip(machine, chip, files)


def _lies_in(segment: Segment, area: MemoryTable) -> bool:
    end = segment.load_address + len(segment.data)
    return area.at <= segment.load_address and end <= area.at + area.bytes


def build_chip(machine: Machine, table: ChipTable, files: Mapping[str, Path] | None = None) -> Chip:
    """Attach a chip to a machine.

    Args:
        machine: with an image in its memories.
        table: the chip's peripherals.
        files: what firmware may open by semihosting: its name for a file -> the file.

    Returns:
        The chip, attached and reset.
    """
    timeline = Timeline(machine.attend)
    exceptions = Exceptions(table.interrupts, table.priority_bits)
    ids = CORE_IDS[machine.board.core.profile.removesuffix("-soft")]
    registers = SystemRegisters(
        ids,
        exceptions,
        timeline,
        SysTick(timeline, exceptions, table.systick_reference_divider),
        WatchpointTrace(timeline, has_cycle_counter=not ids.v6m),
        InstrumentationTrace(lambda port, data: machine.emit(f"itm{port}", data)),
        machine.attend,
    )
    semihosting = Semihosting(
        GuestMemory(machine.read, machine.write),
        lambda data: machine.emit("semihosting", data),
        lambda: machine.cycles / machine.clock_hz,
        files or {},
    )
    traps = install_boot_rom(machine) if table.boot_rom else {}
    system = SystemControl(machine, registers, semihosting, traps)
    wiring = Wiring(machine, timeline, exceptions)
    peripherals = {}
    for name in table.peripherals:
        resolved = table.resolved(name)
        peripherals[name] = _MODELS[resolved.model](name, resolved, wiring)
        machine.attach(peripherals[name])
    for band in bit_bands(machine):
        machine.attach(band)
    machine.attach_system(system)
    if ids.v8m:
        install_protection_queries(machine, registers)
    block = machine.image.symbol("_SEGGER_RTT")
    ram = [(r.address, r.size) for r in machine.memories.regions if not r.is_flash]
    rtt = RealTimeTransfer(machine.read, machine.write, block.address if block else None, ram)
    return Chip(system, semihosting, rtt, peripherals)
