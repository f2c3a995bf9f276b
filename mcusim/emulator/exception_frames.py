"""Entering and leaving exceptions on a Unicorn core, which does neither by itself."""

from __future__ import annotations

import struct

from unicorn import Uc, UcError
from unicorn import arm_const as arm

__all__ = ["FrameError", "enter_exception", "leave_exception"]

_BASIC = (
    *(arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3),
    *(arm.UC_ARM_REG_R12, arm.UC_ARM_REG_LR),
)
_SINGLES = tuple(arm.UC_ARM_REG_S0 + i for i in range(16))
_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68

_THREAD, _PROCESS_STACK, _BASIC_FRAME = 1 << 3, 1 << 2, 1 << 4
_SPSEL, _FPCA = 1 << 1, 1 << 2
_ALIGNED = 1 << 9


class FrameError(Exception):
    """The frame cannot be read or written: the stack pointer is wild."""


def enter_exception(uc: Uc, number: int, return_address: int, handler: int, fpu: bool) -> int:
    """Stack the context and begin a handler (B1.5.6, B1.5.7).

    With a floating-point context its registers are stored at once. A chip may store them only when
    the handler uses the FPU; the room on the stack and what returns are the same.

    Args:
        uc: between two runs.
        number: of the exception.
        return_address: where execution goes on afterwards.
        handler: word of the vector table.
        fpu: whether a floating-point context is stacked when there is one.

    Returns:
        Where execution goes on: the first instruction of the handler.

    Raises:
        FrameError: the stack lies where nothing can be written.
    """
    status = uc.reg_read(arm.UC_ARM_REG_XPSR)
    control = uc.reg_read(arm.UC_ARM_REG_CONTROL)
    stack = uc.reg_read(arm.UC_ARM_REG_SP)
    extended = fpu and bool(control & _FPCA)
    frame = (stack - (_EXTENDED_BYTES if extended else _BASIC_BYTES)) & ~7
    words = [uc.reg_read(register) for register in _BASIC]
    padded = _ALIGNED if stack & 4 else 0
    words += [return_address & ~1, (status & ~_ALIGNED) | padded]
    if extended:
        words += [uc.reg_read(register) for register in _SINGLES]
        words += [uc.reg_read(arm.UC_ARM_REG_FPSCR), 0]
    _write_words(uc, frame, words)
    from_handler = bool(status & 0x1FF)
    on_process_stack = not from_handler and bool(control & _SPSEL)
    uc.reg_write(arm.UC_ARM_REG_SP, frame)
    if not from_handler:
        # Only thread mode lets SPSEL be written; the stack pointers change places with it.
        uc.reg_write(arm.UC_ARM_REG_CONTROL, control & ~(_SPSEL | _FPCA))
    uc.reg_write(arm.UC_ARM_REG_IPSR, number)
    uc.reg_write(arm.UC_ARM_REG_CONTROL, control & ~(_SPSEL | _FPCA))
    _clear_it_state(uc)
    uc.reg_write(
        arm.UC_ARM_REG_LR,
        0xFFFF_FFE1
        | (0 if extended else _BASIC_FRAME)
        | (0 if from_handler else _THREAD)
        | (_PROCESS_STACK if on_process_stack else 0),
    )
    return handler & ~1


def leave_exception(uc: Uc, exc_return: int) -> int:
    """Unstack the context that an EXC_RETURN value names (B1.5.8).

    Args:
        uc: between two runs, in handler mode.
        exc_return: what was branched to; its lowest bit does not matter.

    Returns:
        Where execution goes on.

    Raises:
        FrameError: the stack lies where nothing can be read.
    """
    thread = bool(exc_return & _THREAD)
    on_process_stack = thread and bool(exc_return & _PROCESS_STACK)
    extended = not exc_return & _BASIC_FRAME
    control = uc.reg_read(arm.UC_ARM_REG_CONTROL) & ~(_SPSEL | _FPCA)
    control |= (_SPSEL if on_process_stack else 0) | (_FPCA if extended else 0)
    if thread:
        uc.reg_write(arm.UC_ARM_REG_IPSR, 0)
        uc.reg_write(arm.UC_ARM_REG_CONTROL, control)
    frame = uc.reg_read(arm.UC_ARM_REG_SP)
    words = _read_words(uc, frame, 26 if extended else 8)
    for register, value in zip(_BASIC, words, strict=False):
        uc.reg_write(register, value)
    if extended:
        for register, value in zip(_SINGLES, words[8:], strict=False):
            uc.reg_write(register, value)
        uc.reg_write(arm.UC_ARM_REG_FPSCR, words[24])
    status = words[7]
    after = frame + (_EXTENDED_BYTES if extended else _BASIC_BYTES)
    uc.reg_write(arm.UC_ARM_REG_SP, after | 4 if status & _ALIGNED else after)
    uc.reg_write(arm.UC_ARM_REG_XPSR, (status & ~_ALIGNED) | 1 << 24)
    uc.reg_write(arm.UC_ARM_REG_CONTROL, control)
    return words[6] & ~1


def _clear_it_state(uc: Uc) -> None:
    status = uc.reg_read(arm.UC_ARM_REG_XPSR)
    if status & 0x0600_FC00:
        uc.reg_write(arm.UC_ARM_REG_XPSR, status & ~0x0600_FC00)


def _write_words(uc: Uc, address: int, words: list[int]) -> None:
    try:
        uc.mem_write(address, struct.pack(f"<{len(words)}I", *words))
    except UcError:
        raise FrameError(f"the stack at {address:#x} cannot be written") from None


def _read_words(uc: Uc, address: int, count: int) -> tuple[int, ...]:
    try:
        return struct.unpack(f"<{count}I", uc.mem_read(address, 4 * count))
    except UcError:
        raise FrameError(f"the stack at {address:#x} cannot be read") from None
