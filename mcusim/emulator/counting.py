"""Counts executed blocks natively: a compiled hook that Unicorn calls at the start of each.

The hook finds the block's record in a hash table, counts it, and tells by the address at which the
next block begins whether the branch between them was taken. Only a block that is met for the first
time calls back into Python, to be decoded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.emulator.block_hook import (
    ADDRESS_BITS,
    FELL,
    RECORD,
    RECORD_BYTES,
    RING,
    SAMPLED,
    SLOW,
    STATE,
    TICKS,
    TIMED,
    UNMASKS,
    WATCHED,
    block_hook,
    slow_hook,
)
from mcusim.emulator.blocks import Block, Ending
from mcusim.emulator.counts import Counts
from mcusim.emulator.native_hooks import add_native_hook, address_in
from mcusim.instruction_mix import FIELDS

__all__ = ["BlockCounter"]

_FIRST_RECORDS = 1 << 13
_NEVER = 1 << 62
_FAR = 1e12
_NOWHERE = -1
#: Blocks looked at again at a time.
_MOST_SAMPLED = 64

#: Decodes the block at an address, of a size in bytes.
Decode = Callable[[int, int], Block]


class BlockCounter:
    """The hook, its table, and the clock that it keeps.

    Attributes:
        blocks: those met so far, in the order of their numbers.
        sampler: looks at registers at the first executions of a block that accesses data, by its
            number; gives whether it wants to see more of them.
    """

    def __init__(
        self,
        decode: Decode,
        cycles: Callable[[Block], float],
        taken_cycles: float,
    ) -> None:
        """Make a counter that nothing calls yet.

        Args:
            decode: decodes a block that is met for the first time.
            cycles: of one execution of a block, without a taken branch.
            taken_cycles: of a taken branch.
        """
        self.blocks: list[Block] = []
        self.failure: BaseException | None = None
        self._decode = decode
        self._cycles = cycles
        self._records = np.zeros((_FIRST_RECORDS, len(RECORD)), np.int64)
        self._places: list[int] = []
        self.sampler: Callable[[int, Block], bool] | None = None
        self._numbers: dict[tuple[int, int], int] = {}
        self._sampled: set[int] = set()
        self._executed_before = np.zeros(0, np.int64)
        self._timed: set[int] = set()
        self._follows_calls = False
        self._events = np.zeros((0, 2), np.int64)
        self._watched: dict[int, Callable[[int], None]] = {}
        self._state = np.zeros(len(STATE), np.int64)
        self._miss = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)(self._meet)
        self._watch = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)(self._reach)
        self._set("taken_ticks", round(taken_cycles * TICKS))
        self._set("deadline", _NEVER)
        self._set("miss", address_in(self._miss))
        self._set("watch", address_in(self._watch))
        self._point()
        self._set("expected", _NOWHERE)
        self._set("ticks", -self._get("taken_ticks"))

    def install(self, uc: Any) -> None:
        """Have Unicorn call the hook at every block.

        Args:
            uc: a ``unicorn.Uc``, before it has executed anything.
        """
        from unicorn import UC_HOOK_BLOCK
        from unicorn.unicorn_py3.unicorn import uclib

        self._set("slow", slow_hook().address)
        self._set("stop", address_in(uclib.uc_emu_stop))
        add_native_hook(uc, UC_HOOK_BLOCK, block_hook().address, self._state)

    @property
    def cycles(self) -> float:
        """Core cycles counted, waits and what was added included."""
        ticks = self._get("ticks")
        if self._get("expected") == _NOWHERE:
            # The hook adds them with the next block.
            ticks += self._get("taken_ticks")
        return ticks / TICKS

    def add_cycles(self, cycles: float) -> None:
        """Let time pass that no block takes, such as sleep."""
        self._set("ticks", self._get("ticks") + round(cycles * TICKS))

    @property
    def instructions(self) -> int:
        """Instructions counted."""
        used = self._records[np.array(self._places, np.int64)]
        return int((used[:, RECORD["executed"]] * used[:, RECORD["instructions"]]).sum())

    def stop_at(self, cycles: float) -> None:
        """Stop before the first block that begins at a time or later.

        Args:
            cycles: since reset; one block at least is executed.
        """
        at = min(max(round(min(cycles, _FAR) * TICKS), self._get("ticks") + 1), _NEVER)
        self._set("deadline", at)
        self._set("stopped", 0)
        self._set("refused", 0)
        self._set("masked", 0)

    def attend(self) -> None:
        """Stop before the next block."""
        self._set("deadline", 0)

    def attend_when_unmasked(self) -> None:
        """Stop behind the next block that may allow interrupts; after :meth:`stop_at`."""
        self._set("masked", 1)

    def refuse(self) -> None:
        """Stop before the block that is just met or sampled, as if it had not been reached."""
        self._set("refused", 1)

    @property
    def stopped(self) -> bool:
        """Whether the hook has stopped the core since :meth:`stop_at`."""
        return bool(self._get("stopped"))

    @property
    def current(self) -> int:
        """Address of the block that was entered last."""
        for place in self._recent(1):
            return int(self._records[place, RECORD["key"]]) & ((1 << ADDRESS_BITS) - 1)
        return 0

    def watch(self, address: int, reached: Callable[[int], None] | None) -> None:
        """Call back each time that a block begins at an address, before it is counted.

        Args:
            address: of the block.
            reached: takes the address; None to leave off.
        """
        if reached is None:
            self._watched.pop(address, None)
        else:
            self._watched[address] = reached
        for number, block in enumerate(self.blocks):
            if block.address == address:
                self._mark(self._places[number], block)

    def record(self, entries: Iterable[int], most: int) -> None:
        """Keep the times at which functions are entered, and at which calls come back.

        Args:
            entries: addresses of the functions.
            most: events kept; those after them are lost.
        """
        self._timed.update(entries)
        self._follows_calls = True
        self._events = np.zeros((most, 2), np.int64)
        self._set("events", self._events.ctypes.data)
        self._set("event_room", most)
        self._timed.update(block.end for block in self.blocks if block.calls)
        for block, place in zip(self.blocks, self._places, strict=True):
            self._mark(place, block)

    def note(self, address: int) -> None:
        """Keep that the core goes on elsewhere, without a branch of its own."""
        used = self._get("event_count")
        if used < self._get("event_room"):
            self._events[used] = self._get("ticks"), address
            self._set("event_count", used + 1)

    def events(self) -> npt.NDArray[np.int64]:
        """Those kept: int64, shape ``(events, 2)``, of ticks since reset and address."""
        return self._events[: self._get("event_count")]

    @property
    def has_lost_events(self) -> bool:
        """Whether there was no room for some."""
        room = self._get("event_room")
        return room > 0 and self._get("event_count") == room

    def detach(self, pc: int = _NOWHERE) -> None:
        """Close the edge that leaves the block executed last.

        Args:
            pc: where it went; what comes next is then no successor of it.
        """
        expected = self._get("expected")
        if expected == _NOWHERE:
            return
        if pc == expected:
            self._records[self._recent(1)[0], FELL] += 1
        if pc in (expected, _NOWHERE):
            # What comes next will be taken for a branch, which this is not.
            self._set("ticks", self._get("ticks") - self._get("taken_ticks"))
        self._set("expected", _NOWHERE)

    def save(self) -> object:
        """What :meth:`restore` takes back to."""
        places = np.array(self._places, np.int64)
        columns = np.array([RECORD["executed"], FELL])
        return (
            self._records[np.ix_(places, columns)],
            self._state[[STATE["ticks"], STATE["expected"], STATE["ring_used"]]].copy(),
            self._recent(),
            self._places,
        )

    def restore(self, saved: Any) -> None:
        """Forget what was counted since :meth:`save`; blocks that were met stay known."""
        counted, state, recent, before = saved
        columns = np.array([RECORD["executed"], FELL])
        places = np.array(self._places, np.int64)
        self._records[np.ix_(places, columns)] = 0
        self._records[np.ix_(places[: len(counted)], columns)] = counted
        self._state[[STATE["ticks"], STATE["expected"], STATE["ring_used"]]] = state
        numbers = {place: number for number, place in enumerate(before)}
        for step, place in enumerate(recent, start=1):
            at = self._records.ctypes.data + self._places[numbers[place]] * RECORD_BYTES
            self._state[STATE["ring"] + (int(state[2]) - step) % RING] = at

    def read(self) -> Counts:
        """The counts, with the edge that is open taken as taken."""
        places = np.array(self._places, np.int64)
        executed = self._records[places, RECORD["executed"]]
        fell = self._records[places, FELL]
        branches = np.array([b.ending is not Ending.FALLS_THROUGH for b in self.blocks], bool)
        taken = np.where(branches, executed - fell, 0) if len(places) else executed
        return Counts(tuple(self.blocks), executed, taken)

    def recent(self) -> Iterator[int]:
        """Addresses of the last blocks entered, the latest first."""
        for place in self._recent():
            yield int(self._records[place, RECORD["key"]]) & ((1 << ADDRESS_BITS) - 1)

    def recent_blocks(self) -> list[Block]:
        """The last blocks entered, the latest first."""
        numbers = {place: number for number, place in enumerate(self._places)}
        return [self.blocks[numbers[place]] for place in self._recent()]

    def _recent(self, most: int = RING) -> list[int]:
        """Places of the records of the last blocks, the latest first."""
        used, ring = self._get("ring_used"), STATE["ring"]
        return [
            (int(self._state[ring + (used - step) % RING]) - self._records.ctypes.data)
            // RECORD_BYTES
            for step in range(1, min(used, most) + 1)
        ]

    def _reach(self, address: int, size: int) -> None:
        try:
            number = self._numbers.get((address, size), -1)
            if number in self._sampled and self.sampler is not None:
                block = self.blocks[number]
                if not self.sampler(number, block):
                    self._sampled.discard(number)
                    self._mark(self._places[number], block)
                    self._price(number)
            if address in self._watched and not self._get("refused"):
                self._watched[address](address)
        except BaseException as error:  # an exception cannot cross the hook
            self.failure = error
            self.attend()

    def sample_again(self) -> None:
        """Have the data of the blocks looked at again that were executed most since last time."""
        if self.sampler is None or not self._places:
            return
        executed = self._records[np.array(self._places, np.int64), RECORD["executed"]]
        since = executed.copy()
        since[: len(self._executed_before)] -= self._executed_before
        self._executed_before = executed
        for number in np.argsort(-since)[:_MOST_SAMPLED].tolist():
            if since[number] > 0 and self.blocks[number].accesses:
                self._sampled.add(number)
                self._mark(self._places[number], self.blocks[number])

    def _meet(self, address: int, size: int) -> None:
        """Give a block that is met for the first time its record."""
        try:
            block = self._decode(address, size)
        except BaseException as error:  # an exception cannot cross the hook
            self.failure = error
            block = Block(address, size, np.zeros(len(FIELDS)), 0)
            self.attend()
        if 2 * (len(self.blocks) + 1) > len(self._records):
            self._grow()
        self.blocks.append(block)
        place = self._free_place(address)
        record = self._records[place]
        record[RECORD["instructions"]] = block.instructions
        self._places.append(place)
        number = len(self._places) - 1
        self._numbers[address, size] = number
        if self.sampler is not None and block.accesses:
            self._sampled.add(number)
        self._price(number)
        if self._follows_calls and block.calls:
            self._time(block.end)
        self._mark(place, block)

    def _time(self, address: int) -> None:
        """Keep times of the blocks at an address from now on."""
        if address in self._timed:
            return
        self._timed.add(address)
        for number, block in enumerate(self.blocks[: len(self._places)]):
            if block.address == address:
                self._mark(self._places[number], block)

    def _mark(self, place: int, block: Block) -> None:
        """Give a record its key, by which the quick path passes over what has a flag."""
        flags = WATCHED if block.address in self._watched else 0
        flags |= UNMASKS if block.unmasks else 0
        flags |= TIMED if block.address in self._timed else 0
        number = self._numbers.get((block.address, block.size), -1)
        flags |= SAMPLED if number in self._sampled else 0
        key = block.address | block.size << ADDRESS_BITS
        self._records[place, RECORD["flags"]] = flags
        self._records[place, RECORD["key"]] = key | SLOW if flags else key

    def _price(self, number: int) -> None:
        ticks = round(self._cycles(self.blocks[number]) * TICKS)
        self._records[self._places[number], RECORD["ticks"]] = ticks

    def _free_place(self, address: int) -> int:
        mask = len(self._records) - 1
        place = (address >> 1) & mask
        while self._records[place, RECORD["key"]]:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old, places, recent = self._records, self._places, self._recent()
        self._records = np.zeros((4 * len(old), len(RECORD)), np.int64)
        self._places = []
        moved = {}
        for place in places:
            key = int(old[place, RECORD["key"]])
            moved[place] = self._free_place(key & ((1 << ADDRESS_BITS) - 1))
            self._records[moved[place]] = old[place]
            self._places.append(moved[place])
        used = self._get("ring_used")
        for step, place in enumerate(recent, start=1):
            at = self._records.ctypes.data + moved[place] * RECORD_BYTES
            self._state[STATE["ring"] + (used - step) % RING] = at
        self._point()

    def _point(self) -> None:
        self._set("records", self._records.ctypes.data)
        self._set("mask", self._records.nbytes - RECORD_BYTES)

    def _get(self, name: str) -> int:
        return int(self._state[STATE[name]])

    def _set(self, name: str, value: int) -> None:
        self._state[STATE[name]] = value
