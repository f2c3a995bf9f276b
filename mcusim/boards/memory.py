"""Memories of a board, and what stands between each and the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from mcusim.boards.core import Strict

__all__ = ["Flash", "Memory", "MemoryPath", "Ram", "WaitStates"]

_Count = Annotated[int, Field(ge=0)]
_Amount = Annotated[float, Field(ge=0)]

#: Pairs of a clock in Hz and the wait states of one access up to it, rising.
WaitStates = Annotated[tuple[tuple[PositiveInt, _Count], ...], Field(min_length=1)]


@dataclass(frozen=True)
class MemoryPath:
    """A memory as the core sees it at one clock.

    Attributes:
        wait_cycles: stall of one access that no cache or buffer serves.
        line_bytes: what one such access returns.
        prefetch: whether the next line of code is read ahead.
        icache_bytes: cache for instructions; 0 for none, or where it is off.
        icache_holds: ``"lines"`` where it keeps each line that is fetched, ``"targets"`` where
            it keeps only lines that a branch had to wait for, not those read ahead.
        icache_line_bytes: of one of its lines.
        dcache_bytes: cache for data; 0 for none, or where it is off.
        dcache_rows: lines that it holds at once.
        dcache_fill_bytes: what it gets for one wait.
        energy_j_per_byte: of what is read or written, beside the chip's own current.
    """

    wait_cycles: float = 0.0
    line_bytes: float = 4.0
    prefetch: bool = False
    icache_bytes: int = 0
    icache_holds: str = "lines"
    icache_line_bytes: float = 4.0
    dcache_bytes: int = 0
    dcache_rows: int = 0
    dcache_fill_bytes: float = 4.0
    energy_j_per_byte: float = 0.0


class Flash(Strict):
    """Program memory and what stands between it and the core.

    Attributes:
        bytes: size.
        line_bytes: what one access to the memory array returns.
        wait_states: pairs of a clock in Hz and the wait states needed up to it, rising.
        wait_states_below: the same for a supply below a voltage, by that voltage in V.
        wait_states_for_hz: clock that firmware sets the wait states for and keeps at lower ones;
            the clock that it runs at when None.
        miss_cycles: what an access that misses takes beside the wait states: bus and cache;
            nothing when None.
        prefetch: whether the next line of code is read ahead.
        icache_bytes: cache for instructions; 0 for none.
        icache_on: whether firmware turns it on; as None does.
        icache_holds: ``"lines"`` where it keeps each line that is fetched, ``"targets"`` where
            it keeps only lines that a branch had to wait for, not those read ahead; lines when
            None.
        icache_line_bytes: of one of its lines; ``line_bytes`` when None.
        dcache_bytes: cache for constants; 0 for none. A cache that serves both is given twice.
        dcache_on: whether firmware turns it on; as None does.
        dcache_line_bytes: of one of its lines; ``line_bytes`` when None.
        dcache_fill_bytes: what it gets for one wait; ``line_bytes`` when None.
    """

    bytes: PositiveInt
    line_bytes: PositiveInt
    wait_states: WaitStates
    wait_states_below: Mapping[str, WaitStates] = Field(default_factory=dict)
    wait_states_for_hz: PositiveInt | None = None
    miss_cycles: _Amount | None = None
    prefetch: bool
    icache_bytes: _Count
    icache_on: bool | None = None
    icache_holds: Literal["lines", "targets"] | None = None
    icache_line_bytes: PositiveInt | None = None
    dcache_bytes: _Count
    dcache_on: bool | None = None
    dcache_line_bytes: PositiveInt | None = None
    dcache_fill_bytes: PositiveInt | None = None

    @field_validator("wait_states")
    @classmethod
    def _rising(cls, value: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if list(value) != sorted(value) or len({clock for clock, _ in value}) != len(value):
            raise ValueError("pairs of clock and wait states must rise")
        return value

    @field_validator("wait_states_below")
    @classmethod
    def _by_voltage(
        cls, tables: Mapping[str, tuple[tuple[int, int], ...]]
    ) -> Mapping[str, tuple[tuple[int, int], ...]]:
        for voltage, table in tables.items():
            try:
                float(voltage)
            except ValueError:
                raise ValueError(f"{voltage!r} is not a voltage in V, such as 2.7") from None
            cls._rising(table)
        return tables

    def wait_states_at(self, clock_hz: float, supply_v: float | None = None) -> int:
        """Wait states of one access at a clock; those of the highest clock beyond the table.

        Args:
            clock_hz: clock of the core.
            supply_v: supply voltage; high enough for the fastest table when None.
        """
        table = self.wait_states
        if supply_v is not None:
            for limit in sorted(self.wait_states_below, key=float, reverse=True):
                if supply_v < float(limit):
                    table = self.wait_states_below[limit]
        return next((ws for limit_hz, ws in table if clock_hz <= limit_hz), table[-1][1])

    def max_hz_at(self, supply_v: float) -> int:
        """The highest clock that the wait states of a supply voltage reach."""
        table = self.wait_states
        for limit in sorted(self.wait_states_below, key=float, reverse=True):
            if supply_v < float(limit):
                table = self.wait_states_below[limit]
        return table[-1][0]

    @property
    def cached_code_bytes(self) -> int:
        """Cache for instructions that is on."""
        return 0 if self.icache_on is False else self.icache_bytes

    @property
    def cached_data_bytes(self) -> int:
        """Cache for constants that is on."""
        return 0 if self.dcache_on is False else self.dcache_bytes

    def path(self, clock_hz: float, supply_v: float | None = None) -> MemoryPath:
        """The flash as the core sees it."""
        set_for_hz = max(clock_hz, self.wait_states_for_hz or 0)
        wait_states = self.wait_states_at(set_for_hz, supply_v)
        dcache = self.cached_data_bytes
        return MemoryPath(
            wait_cycles=wait_states + (self.miss_cycles or 0.0) if wait_states else 0.0,
            line_bytes=self.line_bytes,
            prefetch=self.prefetch,
            icache_bytes=self.cached_code_bytes,
            icache_holds=self.icache_holds or "lines",
            icache_line_bytes=self.icache_line_bytes or self.line_bytes,
            dcache_bytes=dcache,
            dcache_rows=dcache // (self.dcache_line_bytes or self.line_bytes),
            dcache_fill_bytes=self.dcache_fill_bytes or self.line_bytes,
        )


class Ram(Strict):
    """Working memory on the chip, without wait states."""

    bytes: PositiveInt


class Memory(Strict):
    """A memory beside flash and fast RAM: slow RAM on the chip, QSPI flash, SDRAM, an SD card.

    Attributes:
        wait_states: cycles of the core that one access waits, at any clock.
        latency_s: until the first byte of an access comes, for what has a clock of its own.
        bytes_per_s: of what follows; None where ``latency_s`` says all.
        burst_bytes: what one access moves: a line of the cache where it is cached.
        cached: whether the core's caches serve it, those that :class:`Flash` gives.
        energy_j_per_byte: of what is read or written, beside the chip's own current.
    """

    wait_states: _Count | None = None
    latency_s: _Amount | None = None
    bytes_per_s: PositiveFloat | None = None
    burst_bytes: PositiveInt
    cached: bool
    energy_j_per_byte: _Amount | None = None

    def path(self, clock_hz: float, flash: Flash) -> MemoryPath:
        """The memory as the core sees it; its caches are those of ``flash``."""
        wait_s = self.latency_s or 0.0
        if self.bytes_per_s:
            wait_s += self.burst_bytes / self.bytes_per_s
        dcache = flash.cached_data_bytes if self.cached else 0
        return MemoryPath(
            wait_cycles=(self.wait_states or 0) + wait_s * clock_hz,
            line_bytes=self.burst_bytes,
            icache_bytes=flash.cached_code_bytes if self.cached else 0,
            icache_line_bytes=self.burst_bytes,
            dcache_bytes=dcache,
            dcache_rows=dcache // self.burst_bytes,
            dcache_fill_bytes=self.burst_bytes,
            energy_j_per_byte=self.energy_j_per_byte or 0.0,
        )
