"""Hooks of Unicorn that are compiled functions, given to it through its raw library."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["add_native_hook", "address_in"]


def address_in(function: Any) -> int:
    """Address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def add_native_hook(
    uc: Any, kind: int, function: int, state: npt.NDArray[np.int64], at: int | None = None
) -> None:
    """Have Unicorn call a compiled function.

    Args:
        uc: a ``unicorn.Uc``.
        kind: of hook, such as ``UC_HOOK_BLOCK``.
        function: address of it.
        state: what it gets as its user data; to be kept alive by the caller.
        at: the only address of code that it is called at; everywhere when None.

    Raises:
        unicorn.UcError: Unicorn refuses it.
    """
    from unicorn import UcError
    from unicorn.unicorn_py3.unicorn import uclib

    begin, end = (1, 0) if at is None else (at, at)
    error = uclib.uc_hook_add(
        uc._uch,
        ctypes.byref(ctypes.c_size_t()),
        ctypes.c_int(kind),
        ctypes.c_void_p(function),
        ctypes.c_void_p(state.ctypes.data),
        ctypes.c_uint64(begin),
        ctypes.c_uint64(end),
    )
    if error:
        raise UcError(error)
