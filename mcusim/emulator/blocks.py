"""Basic blocks of Thumb code, decoded once into the vocabulary of :mod:`mcusim.instruction_mix`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.emulator.instruction_classes import branches, class_of
from mcusim.instruction_mix import FIELDS

__all__ = ["Access", "Block", "Division", "Ending", "decode_block"]

_POSITION = {name: position for position, name in enumerate(FIELDS)}


class Ending(Enum):
    """How a block ends."""

    FALLS_THROUGH = "falls through"
    CONDITIONAL = "conditional branch"
    UNCONDITIONAL = "branch"


@dataclass(frozen=True)
class Access:
    """A load or store whose address follows from registers as they are at the block's begin.

    Attributes:
        base: number of the register, 13 for the stack pointer.
        index: number of the register added to it; None for none.
        shift: left shift of the index.
        offset: added as well.
        words: accesses of memory, as ``load_accesses`` counts them.
        bytes: moved in all.
        is_load: whether it reads.
        at: address of the instruction.
        alignment: bytes that its own address is to be a multiple of, at best.
        is_strict: whether it faults where that is not so, whatever CCR says.
    """

    base: int
    index: int | None
    shift: int
    offset: int
    words: int
    bytes: int
    is_load: bool
    at: int = 0
    alignment: int = 1
    is_strict: bool = False


@dataclass(frozen=True)
class Division:
    """A division that is always executed with its block.

    Attributes:
        at: address of the instruction.
        divisor: number of the register.
    """

    at: int
    divisor: int


@dataclass(frozen=True, eq=False)
class Block:
    """Instructions that are executed one after the other.

    Attributes:
        address: of the first.
        size: in bytes.
        vector: float64, in the order of :data:`~mcusim.instruction_mix.FIELDS`: what one execution
            counts, without the branch at the end being taken.
        instructions: how many; those that an IT condition skips are among them.
        conditional: how many stand under an IT condition, branches left out.
        ending: whether and how it ends in a branch.
        literal_loads: loads relative to the pc.
        literal_bytes: bytes that these read.
        calls: whether it ends in a call.
        waits_for_event: whether it ends in WFE.
        unmasks: whether it may allow interrupts: it writes a special register.
        undecoded: instructions that the disassembler does not know; counted as ``alu``.
        accesses: loads and stores whose place can be told at its begin, literals left out.
        divisions: those that no condition may skip.
    """

    address: int
    size: int
    vector: npt.NDArray[np.float64]
    instructions: int
    conditional: int = 0
    ending: Ending = Ending.FALLS_THROUGH
    literal_loads: int = 0
    literal_bytes: int = 0
    calls: bool = False
    waits_for_event: bool = False
    unmasks: bool = False
    undecoded: int = 0
    accesses: tuple[Access, ...] = ()
    divisions: tuple[Division, ...] = ()

    @property
    def end(self) -> int:
        """Address behind the last instruction."""
        return self.address + self.size


_ACCESSES = {
    "load_byte": 1,
    "load_half": 1,
    "load_word": 1,
    "load_double": 2,
    "float_load": 1,
    "store_byte": 1,
    "store_half": 1,
    "store_word": 1,
    "store_double": 2,
    "float_store": 1,
}
_BYTES = {
    "load_byte": 1,
    "load_half": 2,
    "load_double": 8,
    "store_byte": 1,
    "store_half": 2,
    "store_double": 8,
}
#: Accesses of these must be aligned to words, whatever CCR.UNALIGN_TRP says (ARMv7-M ARM, A3.2.1).
_STRICT = frozenset(
    (
        *("load_double", "load_multiple", "float_load", "float_load_multiple"),
        *("store_double", "store_multiple", "float_store", "float_store_multiple"),
    )
)
_STACK_POINTER = 13
_NUMBERS = {f"r{number}": number for number in range(13)} | {
    "sb": 9,
    "sl": 10,
    "fp": 11,
    "ip": 12,
    "sp": _STACK_POINTER,
    "lr": 14,
}


def decode_block(code: bytes, address: int) -> Block:
    """Decode a block.

    Args:
        code: its bytes.
        address: of the first.

    Returns:
        The block; its branch, if any, is its last instruction.
    """
    return _Decoder(address).decode(code)


@lru_cache(maxsize=1)
def _disassembler() -> Any:
    import capstone

    found = capstone.Cs(
        capstone.CS_ARCH_ARM,
        capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8,
    )
    found.detail = True
    return found


class _Decoder:
    """What is known of a block while its instructions go by."""

    def __init__(self, address: int) -> None:
        self.address = address
        self.counts = np.zeros(len(FIELDS))
        self.under_condition = 0  # instructions that the last IT still covers
        self.instructions = self.conditional = self.undecoded = 0
        self.literal_loads = self.literal_bytes = 0
        self.ending = Ending.FALLS_THROUGH
        self.calls = self.waits = self.unmasks = False
        self.accesses: list[Access] = []
        self.divisions: list[Division] = []
        self.written: set[int] = set()  # registers that no longer hold what they held at first

    def decode(self, code: bytes) -> Block:
        offset = 0
        disassembler = _disassembler()
        while offset < len(code):
            # One at a time: the disassembler's own IT state would go over to the next block.
            piece = code[offset : offset + 4]
            found = next(disassembler.disasm(piece, self.address + offset, 1), None)
            self.instructions += 1
            if found is None:
                self.counts[_POSITION["alu"]] += 1
                self.undecoded += 1
                offset += 4 if _is_wide(piece) else 2
                continue
            self._count(found, disassembler)
            offset += found.size
        return Block(
            self.address,
            len(code),
            self.counts,
            self.instructions,
            self.conditional,
            self.ending,
            self.literal_loads,
            self.literal_bytes,
            self.calls,
            self.waits,
            self.unmasks,
            self.undecoded,
            tuple(self.accesses),
            tuple(self.divisions),
        )

    def _count(self, found: Any, disassembler: Any) -> None:
        name = disassembler.insn_name(found.id)
        if name == "hint":
            name = found.mnemonic.split(".")[0]
        kind = class_of(name, found)
        is_conditional = self.under_condition > 0
        self.under_condition = max(0, self.under_condition - 1)
        if kind == "if_then":
            self.under_condition = len(found.mnemonic.split(".")[0]) - 1
        self.counts[_POSITION[kind]] += 1
        self._count_accesses(kind, found, is_conditional)
        if kind == "divide" and not is_conditional:
            divisor = _register(found, found.operands[-1].reg)
            self.divisions.append(Division(found.address, divisor))
        self._note_written(found)
        may_branch = branches(kind, found)
        if is_conditional and not may_branch:
            self.conditional += 1
        self.ending = Ending.FALLS_THROUGH
        if may_branch:
            may_fall = is_conditional or kind == "branch_conditional"
            self.ending = Ending.CONDITIONAL if may_fall else Ending.UNCONDITIONAL
        self.calls = kind == "call"
        self.waits = name == "wfe"
        self.unmasks |= name in ("msr", "cps", "cpsie")

    def _count_accesses(self, kind: str, found: Any, is_conditional: bool) -> None:
        loads = kind in ("load_multiple", "float_load_multiple")
        if loads or kind in ("store_multiple", "float_store_multiple"):
            words = _registers_moved(found)
        else:
            words = _ACCESSES.get(kind, 0)
            if kind in ("float_load", "float_store") and found.reg_name(
                found.operands[0].reg
            ).startswith("d"):
                words = 2
            loads = "load" in kind
        if not words:
            return
        self.counts[_POSITION["load_accesses" if loads else "store_accesses"]] += words
        if loads and _is_relative(found):
            self.literal_loads += 1
            self.literal_bytes += _BYTES.get(kind, 4 * words)
        else:
            size = _BYTES.get(kind, 4 * words)
            # Whether a condition skips an instruction is not to be seen before it is reached.
            alignment = 1 if is_conditional else min(4, size)
            self._locate(found, words, size, loads, alignment, kind in _STRICT)

    def _locate(
        self, found: Any, words: int, size: int, is_load: bool, alignment: int, is_strict: bool
    ) -> None:
        """Keep an access whose registers are still those of the block's begin."""
        from capstone.arm import ARM_OP_MEM

        base, index, shift, offset = -1, None, 0, 0
        for operand in found.operands:
            if operand.type == ARM_OP_MEM:
                base = _register(found, operand.mem.base)
                if operand.mem.index:
                    index = _register(found, operand.mem.index)
                    shift = operand.shift.value if operand.shift.type else 0
                if not getattr(found, "post_index", False):
                    offset = operand.mem.disp
                break
        else:
            if found.mnemonic.startswith(("push", "pop", "vpush", "vpop")):
                base = _STACK_POINTER
            elif found.operands:
                base = _register(found, found.operands[0].reg)
        needed = {base} if index is None else {base, index}
        if base >= 0 and (index is None or index >= 0) and not needed & self.written:
            self.accesses.append(
                Access(
                    *(base, index, shift, offset, words, size, is_load),
                    *(found.address, alignment, is_strict),
                )
            )

    def _note_written(self, found: Any) -> None:
        """A base that is moved on stays in its memory; one that is computed may not."""
        from capstone.arm import ARM_OP_IMM

        _, written = found.regs_access()
        moved = {access.base for access in self.accesses} if found.writeback else set()
        operands = found.operands
        if found.mnemonic.startswith(("add", "sub")) and operands[-1].type == ARM_OP_IMM:
            # A pointer that goes on by a constant.
            moved |= {_register(found, operands[0].reg)} if _is_in_place(operands) else set()
        for register in written:
            number = _register(found, register)
            if number >= 0 and number not in moved and number != _STACK_POINTER:
                self.written.add(number)


def _is_in_place(operands: Any) -> bool:
    return len(operands) == 2 or operands[0].reg == operands[1].reg


def _register(found: Any, register: int) -> int:
    """Number of a core register; -1 for what is none."""
    return _NUMBERS.get(found.reg_name(register) or "", -1)


def _is_wide(piece: bytes) -> bool:
    return len(piece) > 1 and piece[1] >> 3 in (0b11101, 0b11110, 0b11111)


def _registers_moved(found: Any) -> int:
    """Registers of a multiple transfer, a double as one: so they were counted for the profiles."""
    base = 0 if found.mnemonic.startswith(("push", "pop", "vpush", "vpop")) else 1
    return len(found.operands) - base


def _is_relative(found: Any) -> bool:
    from capstone.arm import ARM_OP_MEM, ARM_REG_PC

    return any(o.type == ARM_OP_MEM and o.mem.base == ARM_REG_PC for o in found.operands)
