"""The core of a board in Unicorn, and what it meets that its code does not deal with."""

from __future__ import annotations

from typing import Any

from mcusim.boards import Board
from mcusim.emulator.contract import Event, EventKind
from mcusim.errors import InputError

__all__ = ["Core"]

#: What is branched to in order to leave an exception begins here.
_EXCEPTION_RETURN = 0xFFFF_FF00
_EXCEPTION_SUPERVISOR, _EXCEPTION_PREFETCH, _EXCEPTION_BREAKPOINT = 2, 3, 7
#: A return from an exception, once MSR has told the translator that a handler runs; else it
#: is a prefetch.
_EXCEPTION_EXIT = 8
#: A word or halfword that is not aligned, where the core cannot access one.
_EXCEPTION_DATA_ABORT = 4
_EXCEPTION_NO_COPROCESSOR = 17
_THUMB = 1 << 24
#: Unicorn ends a run there; not at 0, where a null pointer to a function leads.
_NEVER_REACHED = 0xFFFF_FFFC
_WFI_NARROW, _WFI_WIDE = b"\x30\xbf", b"\xaf\xf3\x03\x80"

_MODELS = {
    "m0": "UC_CPU_ARM_CORTEX_M0",
    "m0plus": "UC_CPU_ARM_CORTEX_M0",
    "m3": "UC_CPU_ARM_CORTEX_M3",
    "m4": "UC_CPU_ARM_CORTEX_M4",
    "m7": "UC_CPU_ARM_CORTEX_M7",
    "m33": "UC_CPU_ARM_CORTEX_M33",
}


class Core:
    """A core that executes until it meets something.

    Attributes:
        uc: the ``unicorn.Uc``.
    """

    def __init__(self, board: Board) -> None:
        """Make the core of a board, without memory.

        Raises:
            InputError: Unicorn has none such.
        """
        self.uc = _unicorn(board)
        self._event: Event | None = None
        self._install_hooks()

    def run(self, pc: int) -> Event | None:
        """Execute from an address until something is met, or something stops the core."""
        from unicorn import UcError

        self._event = None
        try:
            self.uc.emu_start(pc | 1, _NEVER_REACHED)
        except UcError:
            return self._event or Event(EventKind.UNDEFINED, self._pc())
        return self._event

    def waiting(self, pc: int) -> Event | None:
        """What ended execution without a word: only the wait instruction before an address does."""
        from unicorn import UcError

        try:
            before = bytes(self.uc.mem_read(max(0, pc - 4), 4))
        except UcError:
            return None
        if before[2:] == _WFI_NARROW or before == _WFI_WIDE:
            return Event(EventKind.WAIT_FOR_INTERRUPT, pc)
        return None

    def _pc(self) -> int:
        from unicorn.arm_const import UC_ARM_REG_PC

        return int(self.uc.reg_read(UC_ARM_REG_PC))

    def _install_hooks(self) -> None:
        from unicorn import UC_HOOK_INSN_INVALID, UC_HOOK_INTR, UC_HOOK_MEM_INVALID

        # None of these slows anything down: Unicorn calls them only when something is amiss.
        self.uc.hook_add(UC_HOOK_INTR, self._on_interrupt)
        self.uc.hook_add(UC_HOOK_INSN_INVALID, self._on_undefined)
        self.uc.hook_add(UC_HOOK_MEM_INVALID, self._on_bad_access)

    def _on_interrupt(self, uc: Any, number: int, _: object) -> None:
        pc = self._pc()
        if number == _EXCEPTION_SUPERVISOR:
            self._event = Event(EventKind.SUPERVISOR_CALL, pc)
        elif number == _EXCEPTION_BREAKPOINT:
            self._event = Event(EventKind.BREAKPOINT, pc)
        elif number in (_EXCEPTION_PREFETCH, _EXCEPTION_EXIT):
            self._event = _left(pc)
        elif number == _EXCEPTION_DATA_ABORT:
            self._event = Event(EventKind.UNALIGNED, pc)
        elif number == _EXCEPTION_NO_COPROCESSOR:
            self._event = Event(EventKind.NO_COPROCESSOR, pc)
        else:
            self._event = self._undefined()
        uc.emu_stop()

    def _on_undefined(self, _: Any, __: object) -> bool:
        self._event = self._undefined()
        return False

    def _undefined(self) -> Event:
        from unicorn.arm_const import UC_ARM_REG_XPSR

        is_thumb = self.uc.reg_read(UC_ARM_REG_XPSR) & _THUMB
        return Event(EventKind.UNDEFINED if is_thumb else EventKind.INVALID_STATE, self._pc())

    def _on_bad_access(
        self, _: Any, access: int, address: int, __: int, ___: int, ____: object
    ) -> bool:
        from unicorn.unicorn_const import (
            UC_MEM_FETCH_PROT,
            UC_MEM_FETCH_UNMAPPED,
            UC_MEM_READ_PROT,
            UC_MEM_READ_UNMAPPED,
        )

        if self._event is not None:
            return False  # an unaligned store goes on byte by byte
        if access in (UC_MEM_FETCH_UNMAPPED, UC_MEM_FETCH_PROT):
            self._event = _left(address)
        elif access in (UC_MEM_READ_UNMAPPED, UC_MEM_READ_PROT):
            self._event = Event(EventKind.BAD_READ, self._pc(), address)
        else:
            self._event = Event(EventKind.BAD_WRITE, self._pc(), address)
        return False


def _left(pc: int) -> Event:
    """What branching to where no code is means."""
    if pc >= _EXCEPTION_RETURN:
        # The low bit went with the branch; every such value has it.
        return Event(EventKind.EXCEPTION_RETURN, pc | 1)
    return Event(EventKind.BAD_FETCH, pc, pc)


def _unicorn(board: Board) -> Any:
    """A Unicorn with the board's core.

    Not in ``UC_MODE_MCLASS``, in which every model is a Cortex-M33.
    """
    try:
        import unicorn
    except ImportError:
        raise InputError("running firmware needs `pip install mcusim[exec]`") from None
    profile = board.core.profile.removesuffix("-soft")
    if profile not in _MODELS:
        raise InputError(
            f"{board.name}: Unicorn has no {board.core.name}, so that its firmware cannot be run"
        )
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    uc.ctl_set_cpu_model(getattr(unicorn.arm_const, _MODELS[profile]))
    return uc
