"""Tables of a chip's peripherals: what their registers answer, read from TOML and checked."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mcusim.boards import Board
from mcusim.boards.toml_origins import origins
from mcusim.errors import BoardError
from mcusim.resources import data_path

__all__ = [
    "ChipTable",
    "Follow",
    "MemoryTable",
    "PeripheralTable",
    "RegisterTable",
    "chip_of_board",
    "load_chip",
]

_Word = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
_FOLLOW = re.compile(
    r"(?P<high>\d+)(?::(?P<low>\d+))?\s*=\s*(?P<how>!|one_hot )?\s*"
    r"(?:(?P<register>[A-Za-z_]\w*)\.)?(?P<from_high>\d+)(?::(?P<from_low>\d+))?"
)
_BOTH = re.compile(r"(?P<a>\w+)\.(?P<a_bit>\d+)\s*&\s*(?P<b>\w+)\.(?P<b_bit>\d+)")
_FOLDER = ("board_models", "peripherals")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Follow:
    """Bits that read as others do.

    Attributes:
        shift: lowest bit that follows.
        mask: the bits that follow.
        register: whose bits are followed; empty for the same register.
        from_shift: lowest bit followed.
        width: bits followed.
        how: ``""`` as they are, ``"!"`` inverted, ``"one_hot"`` as the bit of that number.
    """

    shift: int
    mask: int
    register: str
    from_shift: int
    width: int
    how: str


def parse_follow(text: str) -> Follow:
    """Read a rule such as ``"17 = 16"``, ``"3:2 = 1:0"`` or ``"31:0 = !RESET.31:0"``.

    Raises:
        ValueError: it is none.
    """
    match = _FOLLOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'`follows` holds {text!r}; a rule is such as "17 = 16" or "3:2 = CR.1:0"')
    high, low = int(match["high"]), int(match["low"] or match["high"])
    from_high = int(match["from_high"])
    from_low = int(match["from_low"] or from_high)
    how = (match["how"] or "").strip()
    if not (low <= high < 32 and from_low <= from_high < 32):
        raise ValueError(f"`follows` holds {text!r}; bits are written from the higher to the lower")
    if how != "one_hot" and high - low != from_high - from_low:
        raise ValueError(f"`follows` holds {text!r}; both sides must have as many bits")
    mask = ((1 << high - low + 1) - 1) << low
    return Follow(low, mask, match["register"] or "", from_low, from_high - from_low + 1, how)


class RegisterTable(_Strict):
    """What one register answers.

    Attributes:
        at: offset from the peripheral's base.
        count: how many registers of this kind follow each other.
        reset: value after reset; of registers that follow each other, several are repeated.
        writable: bits that a write changes.
        ones: bits that always read as one.
        follows: bits that read as others do, as :func:`parse_follow` reads them.
        read_clears: bits that a read clears.
        one_clears: bits that are cleared by writing one.
        zero_clears: bits that are cleared by writing zero, and not set by writing one.
        counts_reads: whether each read gives one more than the last, for counters that are polled.
        sets: bits set in other registers when a write here is not zero; of registers that follow
            each other, each sets in the one of its own number.
        always_sets: the same, whatever is written.
        read_sets: bits set in other registers by a read here.
        read_clears_in: bits cleared in other registers by a read here.
        clears: bits cleared in other registers when a write here is not zero.
        set_bits_of: the register whose bits a write of ones sets.
        clear_bits_of: the register whose bits a write of ones clears.
        flip_bits_of: the register whose bits a write of ones flips.
        alias_of: the register that this is another address of.
        prints: whether the low byte of a write is sent to the console.
        prints_from: registers with address, count and transferred count of the bytes sent to the
            console when a write here is not zero.
        erases_bytes: size of the page of flash that is erased at an address that is written.
    """

    at: Annotated[int, Field(ge=0, lt=0x1000_0000)]
    count: Annotated[int, Field(ge=1, le=1024)] = 1
    reset: _Word | Annotated[tuple[_Word, ...], Field(min_length=1)] = 0
    writable: _Word = 0xFFFF_FFFF
    ones: _Word = 0
    follows: tuple[str, ...] = ()
    read_clears: _Word = 0
    one_clears: _Word = 0
    zero_clears: _Word = 0
    counts_reads: bool = False
    sets: Mapping[str, _Word] = {}
    always_sets: Mapping[str, _Word] = {}
    read_sets: Mapping[str, _Word] = {}
    read_clears_in: Mapping[str, _Word] = {}
    clears: Mapping[str, _Word] = {}
    set_bits_of: str = ""
    clear_bits_of: str = ""
    flip_bits_of: str = ""
    alias_of: str = ""
    prints: bool = False
    prints_from: tuple[str, str, str] | None = None
    erases_bytes: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _rules(self) -> RegisterTable:
        for rule in self.follows:
            parse_follow(rule)
        return self

    def reset_of(self, number: int) -> int:
        """Value after reset of one of the registers that follow each other, from 0."""
        if isinstance(self.reset, int):
            return self.reset
        return self.reset[number % len(self.reset)]

    @property
    def parsed_follows(self) -> tuple[Follow, ...]:
        """The rules of :attr:`follows`."""
        return tuple(parse_follow(rule) for rule in self.follows)

    def names_others(self) -> set[str]:
        """Registers that this one refers to."""
        named = {*self.sets, *self.always_sets, *self.read_sets, *self.clears}
        named |= {*self.read_clears_in}
        named |= {self.set_bits_of, self.clear_bits_of, self.flip_bits_of}
        named |= {self.alias_of}
        named |= {rule.register for rule in self.parsed_follows}
        named |= set(self.prints_from or ())
        return named - {""}


class PeripheralTable(_Strict):
    """One peripheral.

    Attributes:
        base: address of its first register.
        size: bytes of address space.
        like: the peripheral whose registers it has too.
        model: what it does beyond its registers.
        interrupt: number of its interrupt; of the first, where it has several.
        interrupt_when: pairs of bits that together hold the interrupt, as ``"SR.7 & CR1.7"``.
        byte_s: what sending one byte takes: its interrupt waits so long, while code that polls
            finds everything sent at once.
        answer_s: time after a read until what it sets by ``read_sets`` is set.
        events: whether the registers from 0x100 on are events of which each holds the interrupt
            where its bit in INTEN is set, as on Nordic's chips.
        set_clear_aliases: whether writes at 0x1000, 0x2000 and 0x3000 further on flip, set and
            clear bits, as on the RP2040.
        flash_writable: a bit that, when set, lets the core write flash, as ``"CONFIG.0"``.
        clock_hz: what its counters count; 0 for the clock of the core.
        channels: compare registers of a counter.
        bits: width of a counter.
        registers: by name.
    """

    base: _Word
    size: Annotated[int, Field(ge=4, le=0x1000_0000)] = 0x1000
    like: str = ""
    model: Literal[
        "registers", "nrf-timer", "nrf-rtc", "stm32-timer", "rp2040-timer", "rp2040-sio"
    ] = "registers"
    interrupt: Annotated[int, Field(ge=0, lt=496)] | None = None
    interrupt_when: tuple[str, ...] = ()
    byte_s: Annotated[float, Field(ge=0, le=1)] = 0.0
    answer_s: Annotated[float, Field(ge=0, le=1)] = 0.0
    events: bool = False
    set_clear_aliases: bool = False
    flash_writable: Annotated[str, Field(pattern=r"^(\w+\.\d+)?$")] = ""
    clock_hz: Annotated[int, Field(ge=0)] = 0
    channels: Annotated[int, Field(ge=0, le=8)] = 4
    bits: Annotated[int, Field(ge=8, le=32)] = 32
    registers: Mapping[str, RegisterTable] = {}

    @model_validator(mode="after")
    def _names(self) -> PeripheralTable:
        if self.like:
            return self  # what it refers to may be among the registers of the other one
        for name, register in self.registers.items():
            for other in sorted(register.names_others() - set(self.registers)):
                raise ValueError(f"register `{name}` refers to `{other}`, which is not there")
        for rule in self.interrupt_when:
            self.interrupt_bits(rule)
        return self

    def interrupt_bits(self, rule: str) -> tuple[str, int, str, int]:
        """The two bits of a rule of :attr:`interrupt_when`.

        Raises:
            ValueError: it is no such rule, or names what is not there.
        """
        match = _BOTH.fullmatch(rule.strip())
        if match is None:
            raise ValueError(f'`interrupt_when` holds {rule!r}; a rule is such as "SR.7 & CR1.7"')
        for name in (match["a"], match["b"]):
            if name not in self.registers:
                raise ValueError(f"`interrupt_when` names `{name}`, which is not there")
        return match["a"], int(match["a_bit"]), match["b"], int(match["b_bit"])


class MemoryTable(_Strict):
    """A memory that programmers write and the board's regions do not name.

    Attributes:
        at: its address.
        bytes: its size.
        copy_of: the address whose content shows here too, as flash where the core boots from.
    """

    at: _Word
    bytes: Annotated[int, Field(ge=4, le=0x40_0000)]
    copy_of: _Word | None = None


class ChipTable(_Strict):
    """The peripherals of a chip.

    Attributes:
        chip: its name.
        source: the manuals.
        interrupts: interrupt lines.
        priority_bits: bits of an interrupt's priority.
        systick_reference_divider: core cycles of one tick of SysTick's reference clock; 0 without.
        boot_rom: the boot ROM that stands in for the chip's own.
        memories: what is programmed beside flash, such as user configuration; erased otherwise.
        peripherals: by name.
    """

    chip: str
    source: str = ""
    interrupts: Annotated[int, Field(ge=1, le=480)] = 240
    priority_bits: Annotated[int, Field(ge=2, le=8)] = 4
    systick_reference_divider: Annotated[int, Field(ge=0)] = 0
    boot_rom: Literal["", "rp2040"] = ""
    memories: Mapping[str, MemoryTable] = {}
    peripherals: Mapping[str, PeripheralTable] = {}

    @model_validator(mode="after")
    def _likes(self) -> ChipTable:
        for name, table in self.peripherals.items():
            if not table.like:
                continue
            other = self.peripherals.get(table.like)
            if other is None or other.like:
                raise ValueError(f"peripheral `{name}` is like `{table.like}`, which is not there")
            merged = self.resolved(name)
            PeripheralTable.model_validate(merged.model_dump())
        return self

    def resolved(self, name: str) -> PeripheralTable:
        """A peripheral with what it takes over from the one it is like."""
        table = self.peripherals[name]
        if not table.like:
            return table
        other = self.peripherals[table.like]
        own = table.model_fields_set - {"like", "registers"}
        return other.model_copy(
            update={key: getattr(table, key) for key in own}
            | {"registers": {**other.registers, **table.registers}}
        )


def load_chip(name: str | os.PathLike[str], over: ChipTable | None = None) -> ChipTable:
    """Load a table of peripherals.

    Args:
        name: of a table that comes with mcusim, or the path of a ``.toml`` file.
        over: what the registers of a file are laid over.

    Returns:
        The table.

    Raises:
        BoardError: there is none, or it is malformed; names file, line and key.
    """
    text = str(name)
    if Path(text).suffix or Path(text).name != text:
        return _read(Path(text), over)
    path = data_path(*_FOLDER, f"{text}.toml")
    if not path.is_file():
        names = _names()
        close = difflib.get_close_matches(text, names, n=3, cutoff=0.5) or names
        raise BoardError(f"there are no peripherals {text!r}; there are {', '.join(close)}")
    return _read(path)


def chip_of_board(board: Board) -> ChipTable:
    """The peripherals of a board; a chip without any where the board names no table.

    Raises:
        BoardError: there is no table of the name.
    """
    return load_chip(board.peripherals) if board.peripherals else ChipTable(chip=board.name)


def _names() -> list[str]:
    return sorted(path.stem for path in data_path(*_FOLDER).glob("*.toml"))


def _read(path: Path, over: ChipTable | None = None) -> ChipTable:
    try:
        text = path.read_text(encoding="utf-8")
        values: dict[str, Any] = tomllib.loads(text)
    except FileNotFoundError:
        raise BoardError(f"{path}: there is no such file") from None
    except OSError as error:
        raise BoardError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BoardError(f"{path}: is not a text file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise BoardError(f"{path}: nests its values too deep") from None
    values.setdefault("chip", path.stem)
    try:
        found = _tuples(values)
        return ChipTable.model_validate(_laid_over(over, found) if over else found)
    except ValidationError as error:
        raise BoardError(_sentence(path, text, error)) from None


def _laid_over(under: ChipTable, values: dict[str, Any]) -> dict[str, Any]:
    """What a user's file says, over the table of a board: register by register."""
    merged = under.model_dump(exclude_unset=True)
    for name, table in values.get("peripherals", {}).items():
        held = merged.setdefault("peripherals", {}).get(name)
        if held is None or not isinstance(table, dict):
            merged["peripherals"][name] = table
            continue
        registers = table.get("registers", {})
        own = {key: value for key, value in table.items() if key != "registers"}
        both = (
            {**held.get("registers", {}), **registers} if isinstance(registers, dict) else registers
        )
        merged["peripherals"][name] = {**held, **own, "registers": both}
    rest = {key: value for key, value in values.items() if key != "peripherals"}
    return {**merged, **rest}


def _tuples(value: Any) -> Any:
    """Lists as the tuples that the tables hold."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _sentence(path: Path, text: str, error: ValidationError) -> str:
    details = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = ".".join(str(part) for part in details["loc"])
    places = origins(text, path.name)
    at = key
    while at and at not in places:
        at = at.rpartition(".")[0]
    line = f", line {places[at].line}" if at in places else ""
    if details["type"] == "extra_forbidden":
        message = "is not a key"
    elif details["type"] == "missing":
        message = "is missing"
    elif details["type"] == "value_error":
        message = str(details["ctx"]["error"])
    else:
        wish = details["msg"].replace("Input should be", "must be")
        message = f"{wish}, not {details['input']!r}"
    return f"{path}{line}: `{key}` {message}" if key else f"{path}{line}: {message}"
