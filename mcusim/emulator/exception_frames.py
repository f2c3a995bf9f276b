"""Entering and leaving exceptions on a Unicorn core, which does neither by itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from unicorn import UcError
from unicorn import arm_const as arm

from mcusim.emulator.core_registers import CoreRegisters

__all__ = ["ExceptionFrames", "FrameError", "Pushed"]

_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68
_THREAD, _PROCESS_STACK, _BASIC_FRAME = 1 << 3, 1 << 2, 1 << 4
_UNPRIVILEGED, _SPSEL, _FPCA = 1 << 0, 1 << 1, 1 << 2
_ALIGNED, _THUMB, _IT_STATE, _NUMBER = 1 << 9, 1 << 24, 0x0600_FC00, 0x1FF


class FrameError(Exception):
    """The frame cannot be read: the stack pointer is wild."""


@dataclass(frozen=True)
class Pushed:
    """A context that was stacked.

    Attributes:
        exc_return: what returns to it.
        frame: address of the first word.
        is_written: whether memory took it.
    """

    exc_return: int
    frame: int
    is_written: bool


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
        self._chained = CoreRegisters(
            uc, (control, ipsr, xpsr, arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC)
        )
        self._thread = CoreRegisters(uc, (ipsr, control))
        self._stacks = CoreRegisters(uc, (arm.UC_ARM_REG_MSP, arm.UC_ARM_REG_PSP, control))
        self._restored = CoreRegisters(uc, (*core, sp, xpsr, control, arm.UC_ARM_REG_PC))

    def push(self, return_address: int, fpu: bool) -> Pushed:
        """Stack the context; the stack pointer moves where nothing can be written as well.

        With a floating-point context its registers are stored at once. A chip may store them only
        when the handler uses the FPU; the room on the stack and what returns are the same.

        Args:
            return_address: where execution goes on afterwards.
            fpu: whether a floating-point context is stacked when there is one.
        """
        *core, stack, status, control = self._context.read()
        extended = fpu and bool(control & _FPCA)
        frame = (stack - (_EXTENDED_BYTES if extended else _BASIC_BYTES)) & 0xFFFF_FFF8
        padded = _ALIGNED if stack & 4 else 0
        words = [*core, return_address & ~1, (status & ~_ALIGNED) | padded]
        if extended:
            words += [value & 0xFFFF_FFFF for value in self._floats.read()] + [0]
        from_handler = bool(status & _NUMBER)
        on_process_stack = not from_handler and bool(control & _SPSEL)
        exc_return = (
            0xFFFF_FFE1
            | (0 if extended else _BASIC_FRAME)
            | (0 if from_handler else _THREAD)
            | (_PROCESS_STACK if on_process_stack else 0)
        )
        try:
            self._uc.mem_write(frame, struct.pack(f"<{len(words)}I", *words))
        except UcError:
            return Pushed(exc_return, frame, False)
        return Pushed(exc_return, frame, True)

    def begin(self, number: int, handler: int, pushed: Pushed) -> None:
        """Begin a handler on a context that was stacked.

        Args:
            number: of the exception.
            handler: word of the vector table.
            pushed: what was stacked.
        """
        *_, status, control = self._context.read()
        cleared = control & ~(_SPSEL | _FPCA)
        now = status & ~(_IT_STATE | _NUMBER) | _THUMB | number
        self._handler.write(
            (pushed.frame, cleared, number, cleared, now, pushed.exc_return, handler | 1)
        )
        if control & _UNPRIVILEGED and not status & _NUMBER:
            self._renew_privilege()

    def chain(self, number: int, handler: int, exc_return: int) -> None:
        """Begin a handler on the context of the one that ends.

        Args:
            number: of the exception.
            handler: word of the vector table.
            exc_return: what the handler that ends returned by.
        """
        *_, status, control = self._context.read()
        cleared = control & ~(_SPSEL | _FPCA)
        now = status & ~(_IT_STATE | _NUMBER) | _THUMB | number
        self._chained.write((cleared, number, now, exc_return, handler | 1))

    def set_thumb(self, is_thumb: bool) -> None:
        """What a context that is stacked next says of the kind of code it came from."""
        status = self._uc.reg_read(arm.UC_ARM_REG_XPSR) & ~_THUMB
        self._uc.reg_write(arm.UC_ARM_REG_XPSR, status | (_THUMB if is_thumb else 0))

    def leave(self, exc_return: int) -> bool:
        """Unstack the context that an EXC_RETURN value names, and go on there.

        Returns:
            False, with everything as it was, where the frame is one of the other mode.

        Raises:
            FrameError: the stack lies where nothing can be read.
        """
        thread = bool(exc_return & _THREAD)
        on_process_stack = thread and bool(exc_return & _PROCESS_STACK)
        extended = not exc_return & _BASIC_FRAME
        main, process, control = self._stacks.read()
        frame = process if on_process_stack else main
        size = _EXTENDED_BYTES if extended else _BASIC_BYTES
        try:
            words = struct.unpack(f"<{size // 4}I", self._uc.mem_read(frame, size))
        except UcError:
            raise FrameError(f"the stack at {frame:#x} cannot be read") from None
        status = words[7]
        if bool(status & _NUMBER) == thread:
            return False
        control &= ~(_SPSEL | _FPCA)
        control |= (_SPSEL if on_process_stack else 0) | (_FPCA if extended else 0)
        if thread:
            self._thread.write((0, control))
        if extended:
            self._floats.write(words[8:25])
        after = (frame + size) | (4 if status & _ALIGNED else 0)
        self._restored.write(
            (*words[:6], after, status & ~_ALIGNED | _THUMB, control, words[6] | 1)
        )
        if control & _UNPRIVILEGED and thread:
            self._renew_privilege()
        return True

    def _renew_privilege(self) -> None:
        """Have the translator see the privilege anew, which only a write of CPSR does."""
        self._uc.reg_write(arm.UC_ARM_REG_CPSR, self._uc.reg_read(arm.UC_ARM_REG_CPSR))
