"""Entering and leaving exceptions on a Unicorn core, which does neither by itself."""

from __future__ import annotations

import struct
from typing import Any

from unicorn import UcError
from unicorn import arm_const as arm

from mcusim.emulator.core_registers import CoreRegisters

__all__ = ["ExceptionFrames", "FrameError"]

_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68
_THREAD, _PROCESS_STACK, _BASIC_FRAME = 1 << 3, 1 << 2, 1 << 4
_UNPRIVILEGED, _SPSEL, _FPCA = 1 << 0, 1 << 1, 1 << 2
_ALIGNED, _THUMB, _IT_STATE, _NUMBER = 1 << 9, 1 << 24, 0x0600_FC00, 0x1FF


class FrameError(Exception):
    """The frame cannot be read or written: the stack pointer is wild."""


class ExceptionFrames:
    """Stacks and unstacks contexts (ARMv7-M ARM, B1.5.6 to B1.5.8).

    Args:
        uc: the core, between two runs whenever this is used.
    """

    def __init__(self, uc: Any) -> None:
        self._uc = uc
        core = tuple(arm.UC_ARM_REG_R0 + i for i in range(4))
        core += (arm.UC_ARM_REG_R12, arm.UC_ARM_REG_LR)
        floats = (*(arm.UC_ARM_REG_S0 + i for i in range(16)), arm.UC_ARM_REG_FPSCR)
        sp, ipsr, control, xpsr = (
            *(arm.UC_ARM_REG_SP, arm.UC_ARM_REG_IPSR),
            *(arm.UC_ARM_REG_CONTROL, arm.UC_ARM_REG_XPSR),
        )
        self._context = CoreRegisters(uc, (*core, sp, xpsr, control))
        self._floats = CoreRegisters(uc, floats)
        # Only thread mode lets SPSEL be written, and the stack pointers change places with it; the
        # second write of CONTROL is for thread code without privilege, whose first is ignored.
        self._handler = CoreRegisters(
            uc, (sp, control, ipsr, control, xpsr, arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC)
        )
        self._thread = CoreRegisters(uc, (ipsr, control))
        self._stack = CoreRegisters(uc, (sp,))
        self._restored = CoreRegisters(uc, (*core, sp, xpsr, control, arm.UC_ARM_REG_PC))

    def enter(self, number: int, return_address: int, handler: int, fpu: bool) -> None:
        """Stack the context and begin a handler.

        With a floating-point context its registers are stored at once. A chip may store them only
        when the handler uses the FPU; the room on the stack and what returns are the same.

        Args:
            number: of the exception.
            return_address: where execution goes on afterwards.
            handler: word of the vector table.
            fpu: whether a floating-point context is stacked when there is one.

        Raises:
            FrameError: the stack lies where nothing can be written.
        """
        *core, stack, status, control = self._context.read()
        extended = fpu and bool(control & _FPCA)
        frame = (stack - (_EXTENDED_BYTES if extended else _BASIC_BYTES)) & 0xFFFF_FFF8
        padded = _ALIGNED if stack & 4 else 0
        words = [*core, return_address & ~1, (status & ~_ALIGNED) | padded]
        if extended:
            words += [value & 0xFFFF_FFFF for value in self._floats.read()] + [0]
        try:
            self._uc.mem_write(frame, struct.pack(f"<{len(words)}I", *words))
        except UcError:
            raise FrameError(f"the stack at {frame:#x} cannot be written") from None
        from_handler = bool(status & _NUMBER)
        on_process_stack = not from_handler and bool(control & _SPSEL)
        exc_return = (
            0xFFFF_FFE1
            | (0 if extended else _BASIC_FRAME)
            | (0 if from_handler else _THREAD)
            | (_PROCESS_STACK if on_process_stack else 0)
        )
        cleared = control & ~(_SPSEL | _FPCA)
        now = status & ~(_IT_STATE | _NUMBER) | number
        self._handler.write((frame, cleared, number, cleared, now, exc_return, handler | 1))
        if control & _UNPRIVILEGED and not from_handler:
            self._renew_privilege()

    def leave(self, exc_return: int) -> None:
        """Unstack the context that an EXC_RETURN value names, and go on there.

        Raises:
            FrameError: the stack lies where nothing can be read.
        """
        thread = bool(exc_return & _THREAD)
        on_process_stack = thread and bool(exc_return & _PROCESS_STACK)
        extended = not exc_return & _BASIC_FRAME
        control = self._context.read()[-1] & ~(_SPSEL | _FPCA)
        control |= (_SPSEL if on_process_stack else 0) | (_FPCA if extended else 0)
        if thread:
            self._thread.write((0, control))
        frame = self._stack.read()[0]
        size = _EXTENDED_BYTES if extended else _BASIC_BYTES
        try:
            words = struct.unpack(f"<{size // 4}I", self._uc.mem_read(frame, size))
        except UcError:
            raise FrameError(f"the stack at {frame:#x} cannot be read") from None
        if extended:
            self._floats.write(words[8:25])
        status = words[7]
        after = (frame + size) | (4 if status & _ALIGNED else 0)
        self._restored.write(
            (*words[:6], after, status & ~_ALIGNED | _THUMB, control, words[6] | 1)
        )
        if control & _UNPRIVILEGED and thread:
            self._renew_privilege()

    def _renew_privilege(self) -> None:
        """Have the translator see the privilege anew, which only a write of CPSR does."""
        self._uc.reg_write(arm.UC_ARM_REG_CPSR, self._uc.reg_read(arm.UC_ARM_REG_CPSR))
