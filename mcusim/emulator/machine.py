"""A board that executes firmware: core and memories in Unicorn, registers by peripherals."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mcusim.boards import Board
from mcusim.emulator.blocks import Block, decode_block
from mcusim.emulator.bus import Bus
from mcusim.emulator.contract import Event, EventKind, Peripheral, SystemControl
from mcusim.emulator.core import Core
from mcusim.emulator.core_registers import CoreRegisters
from mcusim.emulator.counting import BlockCounter
from mcusim.emulator.counts import Counts
from mcusim.emulator.data_samples import DataSamples
from mcusim.emulator.fault_report import FaultReport, look_at_fault
from mcusim.emulator.images import Image, load_image
from mcusim.emulator.keyboard import on_key_interrupt
from mcusim.emulator.listeners import Listeners
from mcusim.emulator.memories import Memories
from mcusim.emulator.outcomes import Output, Stop, StopReason, Transcript
from mcusim.emulator.timing import BlockPricing
from mcusim.emulator.traps import Traps
from mcusim.errors import InputError

if TYPE_CHECKING:
    from mcusim.emulator.arguments import Argument
    from mcusim.emulator.calls import CallResult

__all__ = ["RETURN_ADDRESS", "Machine", "Output", "Stop", "StopReason"]

#: Core cycles after which a run looks around at the latest, so that interrupts from the keyboard
#: are heard: about a tenth of a second.
_LONGEST_SLICE = 20e6
#: Fewer than any core takes for one instruction.
_LEAST_CYCLES = 0.25
#: Where functions that were called from outside return to: executable by the architecture's memory
#: map, and used by no board.
RETURN_ADDRESS = 0x8FFF_F000
#: Unicorn's number of the program counter, ``UC_ARM_REG_PC``.
_PC = 11


class Machine:
    """A board with an image in its memories.

    Attributes:
        image: the firmware.
        board: where it runs.
        clock_hz: clock of the core.
        uc: the ``unicorn.Uc``; its registers hold while the core stands between two blocks.
        counter: what has been executed.
        pricing: what blocks cost.
        bus: which peripheral answers at which address.
        faults: those that code ran into, whether its handlers dealt with them or not; the first of
            them where there are very many.
        outputs: what the firmware said, as far as it is kept.
        refused_files: names of files that it asked for and may not open.
        heard: takes each thing that the firmware says at once, if it is set.
        return_address: where a function that is run alone returns to; None for whole firmware.
        sleep_cycles: cycles since reset that the core was waiting for an interrupt.
        sleeps: begin and end of each such time, if it is a list.
    """

    def __init__(
        self,
        image: Image | str | os.PathLike[str],
        board: Board,
        *,
        clock_hz: float | None = None,
    ) -> None:
        """Put an image into a board's memories, with the core in reset.

        Args:
            image: the firmware, or the path of its file.
            board: where it runs; its regions say where memory is.
            clock_hz: clock of the core; the board's own when None.

        Raises:
            ImageError: the file is no firmware.
            InputError: the board does not run at this clock or does not say where its memories lie,
                Unicorn has no such core, or the image does not fit.
        """
        self.image = image if isinstance(image, Image) else load_image(image)
        self.board, clock = board, board.clock
        self.clock_hz = float(clock.default_hz if clock_hz is None else clock_hz)
        if not clock.min_hz <= self.clock_hz <= clock.max_hz:
            can = f"{clock.min_hz / 1e6:g} to {clock.max_hz / 1e6:g} MHz"
            raise InputError(f"{board.name} runs at {can}, not at {self.clock_hz / 1e6:g} MHz")
        self._core = Core(board)
        self.uc = self._core.uc
        self._pc = CoreRegisters(self.uc, (_PC,))
        self.memories = Memories(self.uc, board)
        self.memories.program(self.image)
        self.bus = Bus(self.uc, self)
        self._traps = Traps(self.uc, lambda: self.counter.refuse())
        samples = DataSamples(self.uc, self.memories, self.image, self._traps)
        self.pricing = BlockPricing(board, self.clock_hz, self.memories, samples)
        self.counter = BlockCounter(
            self._decode, self.pricing.block_cycles, self.pricing.taken_cycles()
        )
        self.counter.sampler = samples.look
        self.counter.install(self.uc)
        self._transcript = Transcript()
        self.outputs = self._transcript.pieces
        self.faults: list[FaultReport] = []
        self.refused_files: list[str] = []
        self.heard: Callable[[Output], None] | None = None
        self.sleep_cycles = 0.0
        self.sleeps: list[tuple[float, float]] | None = None
        self.system: SystemControl | None = None
        self._stop: Stop | None = None
        self.return_address: int | None = None
        self._limit: float | None = None
        self._attention = False
        self._listeners = Listeners()
        self._due, self._sampled_at = 0.0, _LONGEST_SLICE
        self.reset()

    # What peripherals use.

    @property
    def cycles(self) -> float:
        """Core cycles since reset, sleep included."""
        return self.counter.cycles

    def attach(self, peripheral: Peripheral) -> None:
        """Have a peripheral answer at its addresses."""
        self.bus.attach(peripheral)

    def attach_system(self, system: SystemControl) -> None:
        """Have the core's own peripherals answer, and take and leave exceptions."""
        self.bus.attach(system)
        self.system = system
        system.reset()

    def attend(self) -> None:
        """Look at peripherals and exceptions before the next block.

        From within :meth:`SystemControl.take_exceptions`, which leaves what is masked: as soon as
        the core may have unmasked it.
        """
        self._attention = True
        self.counter.attend()

    def halt(self, stop: Stop) -> None:
        """End the run before the next block."""
        self._stop = self._stop or stop
        self.counter.attend()

    def trap(self, *, divisions: bool, unaligned: bool) -> None:
        """What the core traps from now on: divisions by zero, and all misaligned accesses."""
        self._traps.set(divisions, unaligned)
        self._traps.meet(self.counter.blocks)
        self.attend()

    def fail(self, detail: str, event: Event | None = None) -> None:
        """End the run with a fault, where the core stands now."""
        report = look_at_fault(self, detail)
        self.faults.append(report)
        self.halt(Stop(StopReason.FAULT, detail, event, report))

    def emit(self, channel: str, data: bytes) -> None:
        """Take what the firmware says on a channel."""
        said = Output(channel, data, self.cycles)
        self._transcript.add(said)
        if self.heard is not None:
            self.heard(said)

    def listen(self, look: Callable[[], None], every_cycles: float) -> None:
        """Have something looked at while the core executes, and when a run ends.

        Args:
            look: what is called between two blocks.
            every_cycles: how often at least.
        """
        self._listeners.add(look, every_cycles)

    def output(self, channel: str | None = None) -> bytes:
        """All that was said on one channel, or on all of them in order."""
        return b"".join(o.data for o in self.outputs if channel in (None, o.channel))

    def read(self, address: int, size: int) -> bytes:
        """Read memory as the core does.

        Raises:
            InputError: no memory is there.
        """
        return self.memories.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Write memory, flash too.

        Raises:
            InputError: no memory is there.
        """
        self.memories.write(address, data)

    @property
    def pc(self) -> int:
        """Where the core goes on; within a peripheral's call, the start of the block."""
        return self._pc.read()[0]

    @pc.setter
    def pc(self, address: int) -> None:
        # Without the low bit the core would be taken to be in Arm state.
        self._pc.write((address | 1,))

    def place(self, address: int) -> str:
        """An address for people: with the function it lies in."""
        return self.image.describe(address)

    # Running.

    def reset(self) -> None:
        """Put the core where it is after reset, with memories as they are."""
        if self.system is not None:
            self.system.reset()
            return
        from unicorn.arm_const import UC_ARM_REG_SP

        at = self.image.vector_table
        if not self.memories.holds(at, 8):
            said = f"its vector table, {at:#010x}, lies in no memory of {self.board.name}"
            raise InputError(f"{self.image.name}: {said}")
        table = self.read(at, 8)
        self.uc.reg_write(UC_ARM_REG_SP, int.from_bytes(table[:4], "little"))
        self.pc = int.from_bytes(table[4:], "little")

    def run(
        self,
        *,
        max_seconds: float | None = None,
        max_instructions: int | None = None,
        return_address: int | None = None,
    ) -> Stop:
        """Execute from where the core is.

        Args:
            max_seconds: of the board's time.
            max_instructions: from here on.
            return_address: a breakpoint there ends the run as a function's return.

        Returns:
            How it ended. A key interrupt is one way to end.
        """
        self.return_address = return_address
        limit = None if max_seconds is None else self.cycles + max_seconds * self.clock_hz
        count = max_instructions and self.counter.instructions + max_instructions
        stop, self._stop = None, None
        with on_key_interrupt(lambda: self.halt(Stop(StopReason.INTERRUPTED))):
            while stop is None:
                stop = self._slice(limit, count)
        self._listeners.hear(self.cycles)
        self.counter.detach(self.pc)
        return stop

    def call(
        self,
        function: str | int,
        *arguments: Argument,
        returns: npt.DTypeLike | None = np.int32,
        max_seconds: float | None = 60.0,
        max_instructions: int | None = None,
    ) -> CallResult:
        """Call a function of the image; see :func:`mcusim.emulator.calls.call`.

        On a machine that has executed nothing, variables get their initial values first.
        """
        from mcusim.emulator import calls

        if not self.counter.instructions:
            calls.copy_initial_data(self)
        return calls.call(
            self,
            function,
            arguments,
            returns=returns,
            max_seconds=max_seconds,
            max_instructions=max_instructions,
        )

    def spend(self, cycles: float) -> bool:
        """Let time pass without instructions; tells whether a peripheral was due meanwhile."""
        self.counter.add_cycles(cycles)
        if self.cycles < self._due:
            return False
        due = self.bus.tick(self.cycles)
        self._due = math.inf if due is None else due
        return True

    def sleep(self) -> bool:
        """Let time pass until a peripheral is due.

        Returns:
            False when none will ever be, or the limit of the run comes first.
        """
        now = self.cycles
        self._due = 0.0
        due = self.bus.tick(now)
        if due is None or self._stop is not None:
            return False
        if self._limit is not None and due > self._limit:
            self._pass(self._limit - now)
            self._stop = Stop(StopReason.TIME_LIMIT, f"asleep at {self.place(self.pc)}")
            return False
        self._pass(due - now)
        self.bus.tick(self.cycles)
        return True

    def counts(self) -> Counts:
        """What has been executed since reset."""
        found = self.counter.read()
        for number, block in enumerate(found.blocks):
            if block.address == RETURN_ADDRESS:  # no code of the firmware
                found.executed[number] = found.taken[number] = 0
        return found

    def _pass(self, cycles: float) -> None:
        if cycles > 0 and self.sleeps is not None:
            self.sleeps.append((self.cycles, self.cycles + cycles))
        self.sleep_cycles += max(0.0, cycles)
        self.counter.add_cycles(max(0.0, cycles))

    def _slice(self, limit: float | None, count: int | None) -> Stop | None:
        """Execute until something is due."""
        now = self.cycles
        self._limit = limit
        if limit is not None and now >= limit:
            said = f"{now / self.clock_hz:.9f}".rstrip("0").rstrip(".")
            return Stop(StopReason.TIME_LIMIT, f"after {said} s")
        left = math.inf if count is None else count - self.counter.instructions
        if left <= 0:
            said = f"after {self.counter.instructions:,} instructions"
            return Stop(StopReason.INSTRUCTION_LIMIT, said)
        if now >= self._sampled_at:
            self.counter.sample_again()
            self._sampled_at = now + _LONGEST_SLICE
        if self._attention or now >= self._due:
            due = self.bus.tick(now)
            self._due = math.inf if due is None else due
        # Time is what ends a slice: one so short that fewer instructions than are left fit into it.
        longest = min(_LONGEST_SLICE, left * _LEAST_CYCLES)
        heard = self._listeners.hear(now) if now >= self._listeners.due else self._listeners.due
        ends = [now + longest, self._due, heard, *([] if limit is None else [limit])]
        if self.system is not None:
            before, self._attention = self.pc, False
            self.system.take_exceptions()
            self._follow(before)
        if self._stop is None:
            self.counter.stop_at(min(ends))
            if self._attention:
                self.counter.attend_when_unmasked()
            self._execute()
        return self._stop

    def _execute(self) -> None:
        self._traps.install()
        event = self._core.run(self.pc)
        if self.counter.failure is not None:
            failure, self.counter.failure = self.counter.failure, None
            raise failure
        if event is None and not self.counter.stopped:
            event = self._traps.sprung() or self._core.waiting(self.pc)
        if event is not None and self._stop is None:
            self._meet(event)

    def _meet(self, event: Event) -> None:
        if event.kind is EventKind.BREAKPOINT and event.pc == self.return_address:
            self._stop = Stop(StopReason.RETURNED)
            return
        before = self.pc
        if self.system is not None and self.system.handle(event):
            self._follow(before)
            return
        if self._stop is not None:
            return
        if event.kind is EventKind.WAIT_FOR_INTERRUPT:
            self._stop = Stop(StopReason.ASLEEP, f"at {self.place(event.pc)}")
            return
        self.fail(event.told(self.place), event)

    def _follow(self, before: int) -> None:
        """Tell the counter where the core goes on, if that is not where it was."""
        pc = self.pc
        if pc != before:
            self.counter.detach(before)
            self.counter.note(pc)

    def _decode(self, address: int, size: int) -> Block:
        block = decode_block(self.read(address, size), address)
        self._traps.meet((block,))
        return block
