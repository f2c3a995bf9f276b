"""What is doubtful in a board file that can be read: no source, or what cannot be so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from mcusim.boards.board import Board
from mcusim.boards.files import BoardFile, read_board_file
from mcusim.boards.power import SUPPLY_V
from mcusim.boards.toml_origins import Origin
from mcusim.errors import BoardError

__all__ = ["Finding", "check", "numbers"]

#: Slower or faster than any part: the number was meant in kHz, MHz or GHz.
_CLOCK_HZ = (10_000, 10_000_000_000)
#: Less and more for each Hz than any part draws: the number was meant in uA/MHz or mA.
_ACTIVE_A_PER_HZ = (1e-12, 1e-8)
#: More than any part draws whatever its clock: the number was meant in mA.
_ACTIVE_A = 2.0
#: More and less than any memory: the number was meant in another unit.
_LATENCY_S = 0.1
_BYTES_PER_S = 1_000.0
_ENERGY_J_PER_BYTE = 1e-5
#: Longer than any chip takes to wake: the number was meant in ms or us.
_WAKE_S = 1.0
#: Fewer than any chip that could run a network: the number was meant in KB.
_FLASH_BYTES, _RAM_BYTES = 4_096, 1_024
#: More than any memory that code is executed from.
_WAIT_STATES = 250
#: Longer than any line of flash or cache: the number was meant in bits.
_LINE_BYTES = 64
#: More than any instruction takes, a division by software or a refill.
_CYCLES, _EXTRA_CYCLES = 200, 30
#: Comments that are no source.
_NO_SOURCE = ("todo", "fixme", "tbd", "xxx", "?")
#: Words that change what is predicted as numbers do.
_CHOICES = ("icache_holds", "regulator", "measured_through")


@dataclass(frozen=True)
class Finding:
    """Something doubtful, and where.

    Attributes:
        file: name of the file.
        line: from 1; 0 where no line holds it.
        key: dotted; empty where the file as a whole is meant.
        sentence: what is wrong with the key.
    """

    file: str
    line: int
    key: str
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: `{self.key}` {self.sentence}" if self.key else self.sentence


#: Finds pairs of a key and what is wrong with it.
_Rule = Callable[[Board], Iterator[tuple[str, str]]]


def check(name: str | Path) -> tuple[Finding, ...]:
    """Look for what is doubtful in a board and in its core.

    Found are numbers without a comment that names their source, clocks that cannot be, currents,
    voltages, sizes, latencies and bandwidths in a wrong unit, wait states that fall while the
    clock rises or the supply falls, caches that cannot be, a board that draws more at rest than
    at work, and memories that overlap or do not hold what the board says. A file
    that cannot be used is one finding, the sentence of its error.

    Args:
        name: of a board that comes with mcusim, or the path of a ``.toml`` file.

    Returns:
        Findings, in the order of the lines.
    """
    try:
        file = read_board_file(name)
    except BoardError as error:
        return (Finding(str(name), 0, "", str(error)),)
    found = [*_without_source(file)]
    for rule in _RULES:
        found += [_finding(file, key, sentence) for key, sentence in rule(file.board)]
    return tuple(sorted(found, key=lambda finding: (finding.file, finding.line)))


def numbers(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers of a board or core, pairs of them, and choices that matter, by dotted key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{above}{key}.")
        elif (
            isinstance(value, int | float)
            or (isinstance(value, tuple) and not any(isinstance(part, str) for part in value))
            or (key in _CHOICES and value is not None)
        ):
            yield above + key, value


def _without_source(file: BoardFile) -> Iterator[Finding]:
    for key, _ in numbers(file.board.model_dump()):
        origin = file.origins.get(key)
        comment = origin.comment.lower() if origin else ""
        if not comment or comment.startswith(_NO_SOURCE):
            yield _finding(file, key, "names no source; say behind it where it is from")


def _clocks(board: Board) -> Iterator[tuple[str, str]]:
    low, high = _CLOCK_HZ
    for key, value in board.clock.model_dump().items():
        if not low <= value <= high:
            yield f"clock.{key}", f"is {value:,} Hz, which no core runs at"


def _wait_states(board: Board) -> Iterator[tuple[str, str]]:
    table = board.flash.wait_states
    for (_, few), (limit, more) in pairwise(table):
        if more < few:
            yield "flash.wait_states", f"fall from {few} to {more} up to {limit:,} Hz"
    for limit, states in table:
        if not _CLOCK_HZ[0] <= limit <= _CLOCK_HZ[1]:
            yield "flash.wait_states", f"hold {limit:,} Hz, which no core runs at"
        if states > _WAIT_STATES:
            yield "flash.wait_states", f"are {states:,} cycles, which no code could run with"


def _wait_states_below(board: Board) -> Iterator[tuple[str, str]]:
    """A lower supply never needs fewer wait states than a higher one."""
    flash = board.flash
    for voltage, table in flash.wait_states_below.items():
        key = f"flash.wait_states_below.{voltage}"
        if not SUPPLY_V[0] <= float(voltage) <= SUPPLY_V[1]:
            yield key, f"is for a supply below {voltage} V, which supplies no board"
        for limit, states in table:
            if states < flash.wait_states_at(limit):
                yield key, f"has fewer wait states at {limit:,} Hz than `flash.wait_states`"


def _caches(board: Board) -> Iterator[tuple[str, str]]:
    flash = board.flash
    if flash.icache_holds == "targets" and not flash.prefetch:
        yield "flash.icache_holds", "is about lines read ahead, and `flash.prefetch` is off"
    for key in ("icache_bytes", "dcache_bytes"):
        if getattr(flash, key) >= flash.bytes:
            yield f"flash.{key}", f"is {getattr(flash, key):,}, as large as the flash"
    line = flash.icache_line_bytes or flash.line_bytes
    if 0 < flash.icache_bytes < line:
        yield "flash.icache_bytes", f"is {flash.icache_bytes}, less than a line; 16 KB is 16_384"
    line = flash.dcache_line_bytes or flash.line_bytes
    if 0 < flash.dcache_bytes < line:
        yield "flash.dcache_bytes", f"is {flash.dcache_bytes}, less than a line; 16 KB is 16_384"
    elif flash.dcache_bytes % line:
        yield "flash.dcache_bytes", f"is no multiple of its lines of {line} bytes"


def _memories(board: Board) -> Iterator[tuple[str, str]]:
    for name, memory in board.memory.items():
        if name in ("flash", "ram"):
            yield f"memory.{name}", f"is described by `[{name}]`"
        if memory.latency_s is not None and memory.latency_s > _LATENCY_S:
            yield f"memory.{name}.latency_s", f"is {memory.latency_s:g} s; 90 ns is 9e-8"
        if memory.bytes_per_s is not None and memory.bytes_per_s < _BYTES_PER_S:
            yield f"memory.{name}.bytes_per_s", f"is {memory.bytes_per_s:g}; 50 MB/s is 50_000_000"
        energy = memory.energy_j_per_byte
        if energy is not None and energy > _ENERGY_J_PER_BYTE:
            yield f"memory.{name}.energy_j_per_byte", f"is {energy:g} J; 2 nJ is 2e-9"


def _flash_line(board: Board) -> Iterator[tuple[str, str]]:
    line = board.flash.line_bytes
    if line & (line - 1):
        yield "flash.line_bytes", f"is {line}, no power of two"
    for key in ("line_bytes", "icache_line_bytes", "dcache_line_bytes", "dcache_fill_bytes"):
        size = getattr(board.flash, key) or 0
        if size > _LINE_BYTES:
            yield f"flash.{key}", f"is {size} bytes; 128 bits are 16"


def _core(board: Board) -> Iterator[tuple[str, str]]:
    """Instructions that take longer than any."""
    for table, most in (("cycles", _CYCLES), ("extra", _EXTRA_CYCLES)):
        for key, value in getattr(board.core, table).model_dump().items():
            if value is not None and value > most:
                own = key in board.core_overrides.get(table, {})
                where = "core_overrides" if own else "core"
                yield f"{where}.{table}.{key}", f"is {value:g} cycles, which no instruction takes"


def _power(board: Board) -> Iterator[tuple[str, str]]:
    power, volts = board.power, board.power.supply_v
    if not _ACTIVE_A_PER_HZ[0] <= power.active_a_per_hz <= _ACTIVE_A_PER_HZ[1]:
        example = "100 uA/MHz is 1e-10"
        yield "power.active_a_per_hz", f"is {power.active_a_per_hz:g} A/Hz; {example}"
    if power.active_a is not None and power.active_a > _ACTIVE_A:
        yield "power.active_a", f"is {power.active_a:g} A; 5 mA is 5e-3"
    if not SUPPLY_V[0] <= volts <= SUPPLY_V[1]:
        yield "power.supply_v", f"is {volts:g} V, which supplies no board"
    elif others := power.other_supplies(volts):
        yield "power.supply_v", f"is {volts:g} V; the chip runs at {others}"
    if power.wake_s is not None and power.wake_s > _WAKE_S:
        yield "power.wake_s", f"is {power.wake_s:g} s; 5 us is 5e-6"


def _rest(board: Board) -> Iterator[tuple[str, str]]:
    """A board that waits draws less than one that computes, and one that sleeps less again."""
    power, clock_hz = board.power, board.clock.default_hz
    active, idle, sleep = power.active_w(clock_hz), power.idle_w(clock_hz), power.sleep_w()
    if idle is not None and idle >= active:
        yield (
            "power.idle_a_per_hz",
            f"makes {idle:.3g} W, no less than the {active:.3g} W computing",
        )
    if sleep is not None and sleep >= (active if idle is None else idle):
        yield "power.sleep_a", f"makes {sleep:.3g} W, no less than what the board draws awake"


def _regions(board: Board) -> Iterator[tuple[str, str]]:
    for (first, one), (second, other) in combinations(board.regions.items(), 2):
        if one[0] < other[0] + other[1] and other[0] < one[0] + one[1]:
            yield f"regions.{second}", f"overlaps `regions.{first}`"
    for name, (address, size) in board.regions.items():
        if address + size > 1 << 32:
            yield f"regions.{name}", "ends beyond 32 bits of address"


def _sizes(board: Board) -> Iterator[tuple[str, str]]:
    flash = board.regions.get("flash")
    if flash and flash[1] != board.flash.bytes:
        yield "regions.flash", f"holds {flash[1]:,} bytes, `flash.bytes` says {board.flash.bytes:,}"
    if board.flash.bytes < _FLASH_BYTES:
        yield "flash.bytes", f"is {board.flash.bytes:,}; 512 KB is 524_288"
    if board.ram.bytes < _RAM_BYTES:
        yield "ram.bytes", f"is {board.ram.bytes:,}; 128 KB is 131_072"
    # A memory with a table of its own waits, and is no working memory.
    inside = {name: size for name, (_, size) in board.regions.items() if name not in board.memory}
    room = sum(size for name, size in inside.items() if "flash" not in name)
    if room and board.ram.bytes > room:
        yield "ram.bytes", f"is {board.ram.bytes:,}, more than the {room:,} of the regions"


def _name(board: Board) -> Iterator[tuple[str, str]]:
    if not board.name.strip():
        yield "name", "is empty"


def _calibrated(board: Board) -> Iterator[tuple[str, str]]:
    if board.calibrated and board.calibration is None:
        yield "calibrated", "is true, and no table `calibration` says by which runs"


_RULES: tuple[_Rule, ...] = (
    _name,
    _calibrated,
    _clocks,
    _wait_states,
    _wait_states_below,
    _flash_line,
    _core,
    _caches,
    _memories,
    _power,
    _rest,
    _regions,
    _sizes,
)


def _finding(file: BoardFile, key: str, sentence: str) -> Finding:
    """A finding at its key, or at the table that holds it."""
    at = key
    while at and at not in file.origins:
        at = at.rpartition(".")[0]
    origin = file.origins.get(at, Origin(f"{file.board.name}.toml", 0))
    return Finding(origin.file, origin.line, key, sentence)
