"""From executed instructions to cycles: the core, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mcusim.boards.board import Board
from mcusim.boards.memory import MemoryPath
from mcusim.boards.traffic import (
    PLACES,
    CodeTraffic,
    ConstantStream,
    MemoryTraffic,
    WorkingTraffic,
)
from mcusim.instruction_mix import InstructionMix

__all__ = ["Cycles", "external_energy_j", "price"]

#: A core fetches words, so that a line of code is entered at a multiple of this.
_FETCH_BYTES = 4.0

#: Memories as boards see them, by the board's identity, the memory and the clock.
_PATHS: dict[tuple[int, str, float], tuple[Board, MemoryPath]] = {}
_MOST_PATHS = 1024


@dataclass(frozen=True)
class Cycles:
    """Where the cycles of some instructions go.

    Attributes:
        core: executing, with memory that never waits.
        fetch: waiting for instructions.
        data: waiting for constants.
        working: waiting for activations and the stack.
    """

    core: float
    fetch: float
    data: float
    working: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.core + self.fetch + self.data + self.working


def price(
    board: Board,
    clock_hz: float,
    mix: InstructionMix,
    traffic: MemoryTraffic | None = None,
    *,
    placement: Mapping[str, str] | None = None,
    misaligned_accesses: float = 0.0,
) -> Cycles:
    """Price an instruction mix, whatever it was counted from.

    Args:
        board: where it runs.
        clock_hz: clock of the core, which sets the wait states.
        mix: what is executed.
        traffic: what it asks of memory; loops that every cache holds, and no constants, when None.
        placement: memory of each of :data:`~mcusim.boards.traffic.PLACES`, one of the board's
            :attr:`~mcusim.boards.Board.places`; the usual one where it is not named.
        misaligned_accesses: accesses that words at odd addresses take beyond their first.

    Returns:
        Cycles, by cause.
    """
    traffic = traffic or MemoryTraffic()
    where = PLACES | dict(placement or {})
    paths = {place: _path(board, memory, clock_hz) for place, memory in where.items()}
    extra = board.core.extra
    core = board.core.cycles_of(mix) + misaligned_accesses * extra.misaligned_access_cycles
    fetched = mix.total * extra.instruction_bytes
    code = traffic.code or CodeTraffic.tight(mix, extra.instruction_bytes)
    # While the pipeline refills after a branch, nothing is executed that reading ahead could hide.
    straight = core - board.core.refill_cycles_of(mix)
    fetch = _fetch_cycles(paths["code"], code, straight / fetched if fetched else 0.0)
    weights = paths["weights"]
    data = sum(_waits(weights, stream) for stream in traffic.constants) * weights.wait_cycles
    working = sum(
        _working_waits(paths[place], moved) * paths[place].wait_cycles
        for place, moved in (("arena", traffic.arena), ("stack", traffic.stack))
    )
    fitted = board.calibration
    if fitted is None:
        scale = board.core.uncalibrated.time_scale
        return Cycles(core * scale, fetch * scale, data * scale, working * scale)
    scale = fitted.time_scale
    return Cycles(
        core * scale,
        fetch * fitted.fetch_wait_scale * scale,
        data * fitted.constant_wait_scale * scale,
        working * scale,
    )


def external_energy_j(
    board: Board, traffic: MemoryTraffic, placement: Mapping[str, str] | None = None
) -> float:
    """Energy of what is moved from and to memories that take some of their own, in joules."""
    where = PLACES | dict(placement or {})
    energy = 0.0
    for place, memory in where.items():
        path = _path(board, memory, board.clock.default_hz)
        if not path.energy_j_per_byte:
            continue
        if place == "code":
            code = traffic.code
            moved = _missed_bytes(path, code) if code else 0.0
        elif place == "weights":
            moved = sum(_waits(path, s) * _unit(path, s.access_bytes) for s in traffic.constants)
        else:
            use = traffic.arena if place == "arena" else traffic.stack
            moved = _working_waits(path, use) * _unit(path, use.access_bytes)
        energy += moved * path.energy_j_per_byte
    return energy


def _path(board: Board, memory: str, clock_hz: float) -> MemoryPath:
    """:meth:`Board.path`, which all layers of a model share.

    Boards are immutable but cannot be hashed; one that is held here keeps its identity.
    """
    key = id(board), memory, clock_hz
    if key not in _PATHS:
        if len(_PATHS) >= _MOST_PATHS:
            _PATHS.clear()
        _PATHS[key] = board, board.path(memory, clock_hz)
    return _PATHS[key][1]


def _fetch_cycles(path: MemoryPath, code: CodeTraffic, cycles_per_byte: float) -> float:
    """Cycles that wait for instructions.

    A line that is read anew waits in full where a branch leads to it. Of one that follows in order
    only that waits which reading takes longer than executing what is left of the line before. The
    core reads ahead word by word; what it has asked for must come before a branch is followed. A
    prefetch of the memory asks for the next line at once. A cache serves loops whose code it
    holds, once it has read it. One that keeps only what branches waited for holds the targets,
    while the lines after them are read ahead again at each turn.

    Source: the Cortex-M4's prefetch unit holds three words (Arm article 103488664); replays of
    counted code, word by word, on a flash without cache (docs/boards.md).
    """
    wait = path.wait_cycles
    if not wait:
        return 0.0
    line = path.line_bytes
    entered = code.taken_branches
    followed = np.maximum((code.instruction_bytes - entered * min(_FETCH_BYTES, line)) / line, 0.0)
    read = wait + 1
    # A target lies at any word of its line.
    rests = np.arange(_FETCH_BYTES, line + 1, _FETCH_BYTES)
    if path.prefetch:
        hidden, asked_for = 0.0, 0.0
        per_byte = cycles_per_byte
    else:
        # The core asks for the words that are left of a line before it asks for the next.
        hidden, per_byte = 1.0, cycles_per_byte - 1 / _FETCH_BYTES
        asked_for = min(1.0, read / (line * cycles_per_byte)) * read / 2 if cycles_per_byte else 0.0
    after_target = float(np.maximum(read - hidden - rests * per_byte, 0.0).mean())
    late = max(0.0, read - hidden - line * per_byte)
    first = np.minimum(followed, entered)
    ahead = first * after_target + (followed - first) * late
    missing = _missing(path, code)
    cycles = missing * (entered * (wait + asked_for) + ahead)
    if path.prefetch and path.icache_holds == "targets":
        cycles += (1 - missing) * ahead
    first_lines = (code.footprint_bytes * (missing < 1)).max(initial=0.0) / line
    return float(cycles.sum() + first_lines * (late if path.prefetch else wait))


def _missing(path: MemoryPath, code: CodeTraffic) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of the code of each loop that the cache does not hold from turn to turn."""
    cache = path.icache_bytes
    if not cache:
        return np.ones_like(code.footprint_bytes)
    # A branch leaves a line anywhere and enters another one anywhere: half of each is not used.
    unused = np.maximum(code.footprint_branches, 0.0) * path.icache_line_bytes
    # Of a loop as large as the cache all stays; of one twice as large nothing does.
    return np.clip((code.footprint_bytes + unused) / cache - 1, 0.0, 1.0)


def _missed_bytes(path: MemoryPath, code: CodeTraffic) -> float:
    return float((_missing(path, code) * code.instruction_bytes).sum())


def _waits(path: MemoryPath, stream: ConstantStream) -> float:
    """Accesses that wait: what outgrows the cache before it is read again is streamed anew."""
    if not path.dcache_bytes:
        return stream.bytes_read / stream.access_bytes
    unit = _unit(path, stream.access_bytes)
    window = stream.bytes_held if stream.window_bytes is None else stream.window_bytes
    if window <= path.dcache_bytes:
        return min(stream.bytes_read, stream.bytes_held) / unit
    if stream.rows > path.dcache_rows:
        return stream.bytes_read / stream.access_bytes
    return stream.bytes_read / unit


def _unit(path: MemoryPath, access_bytes: float) -> float:
    return max(path.dcache_fill_bytes, access_bytes) if path.dcache_bytes else access_bytes


def _working_waits(path: MemoryPath, use: WorkingTraffic) -> float:
    if not path.wait_cycles or not path.dcache_bytes:
        return use.accesses
    return min(use.accesses, use.bytes_touched / _unit(path, use.access_bytes))
