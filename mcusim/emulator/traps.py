"""Traps that Unicorn does not know: divisions by zero, and accesses that must be aligned.

Single instructions are looked at natively as they are reached, and only those that may trap: every
division while CCR.DIV_0_TRP is set, and loads and stores that were seen to be misaligned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.emulator.blocks import Access, Block, Division
from mcusim.emulator.contract import Event, EventKind
from mcusim.emulator.native_hooks import add_native_hook, address_in
from mcusim.emulator.trap_hook import CHECK, NO_REGISTER, trap_hook

__all__ = ["Traps"]

_WORD = 0xFFFF_FFFF


class Traps:
    """Instructions at which the core stops before they do what a chip would not.

    Args:
        uc: the ``unicorn.Uc``.
        refuse: has the block that is about to be executed begun anew, behind :meth:`install`.

    Attributes:
        divides: whether divisions by zero trap.
        unaligned: whether every misaligned access does, and not only those of several words.
    """

    def __init__(self, uc: Any, refuse: Callable[[], None]) -> None:
        self.divides = self.unaligned = False
        self._uc = uc
        self._refuse = refuse
        self._checks: dict[int, npt.NDArray[np.int64]] = {}
        self._kinds: dict[int, EventKind] = {}
        self._strict: set[int] = set()
        self._waiting: list[tuple[Block, Division | Access]] = []

    def meet(self, blocks: Iterable[Block]) -> None:
        """Have the divisions of blocks checked, if they may trap."""
        if self.divides:
            for block in blocks:
                self._expect(block, block.divisions)

    def see(self, block: Block, access: Access, address: int) -> None:
        """Have an access checked from now on if a chip would not do it.

        Args:
            block: that it belongs to.
            access: it.
            address: that it was seen to go to.
        """
        if address & (access.alignment - 1) and (self.unaligned or access.is_strict):
            self._expect(block, (access,))

    def install(self) -> None:
        """Check what is wanted from now on; with the core between two blocks."""
        for block, wanted in self._waiting:
            self._add(wanted)
            # What is translated already would not call the hook.
            self._uc.ctl_remove_cache(block.address, block.end)
        self._waiting.clear()

    def _expect(self, block: Block, wanted: Iterable[Access | Division]) -> None:
        new = [(block, item) for item in wanted if item.at not in self._checks]
        if new:
            self._waiting += new
            self._refuse()

    def set(self, divides: bool, unaligned: bool) -> None:
        """What traps from now on: divisions by zero, and every misaligned access."""
        self.divides, self.unaligned = divides, unaligned
        for at in self._checks:
            self._activate(at)

    def sprung(self) -> Event | None:
        """The trap at which the core has just stopped, if it is one."""
        for at, check in self._checks.items():
            if check[CHECK["sprung"]]:
                check[CHECK["sprung"]] = 0
                return Event(self._kinds[at], at, int(check[CHECK["value"]]))
        return None

    def _activate(self, at: int) -> None:
        if self._kinds[at] is EventKind.DIVISION_BY_ZERO:
            active = self.divides
        else:
            active = self.unaligned or at in self._strict
        self._checks[at][CHECK["is_active"]] = active

    def _add(self, wanted: Division | Access) -> None:
        from unicorn import UC_HOOK_CODE
        from unicorn.unicorn_py3.unicorn import uclib

        if wanted.at in self._checks:
            return
        check = np.zeros(len(CHECK), np.int64)
        values = {"read": address_in(uclib.uc_reg_read), "index": NO_REGISTER}
        values["stop"] = address_in(uclib.uc_emu_stop)
        if isinstance(wanted, Division):
            kind = EventKind.DIVISION_BY_ZERO
            values |= {"base": self._number(wanted.divisor), "mask": _WORD, "springs_on_zero": 1}
        else:
            kind = EventKind.UNALIGNED
            values |= {"base": self._number(wanted.base), "mask": wanted.alignment - 1}
            values |= {"offset": wanted.offset, "shift": wanted.shift}
            if wanted.index is not None:
                values["index"] = self._number(wanted.index)
            if wanted.is_strict:
                self._strict.add(wanted.at)
        for name, value in values.items():
            check[CHECK[name]] = value
        self._checks[wanted.at], self._kinds[wanted.at] = check, kind
        self._activate(wanted.at)
        add_native_hook(self._uc, UC_HOOK_CODE, trap_hook().address, check, wanted.at)

    def _number(self, register: int) -> int:
        from unicorn import arm_const as arm

        names = {13: arm.UC_ARM_REG_SP, 14: arm.UC_ARM_REG_LR}
        return int(names.get(register, arm.UC_ARM_REG_R0 + register))
