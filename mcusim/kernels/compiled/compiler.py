"""Compiles loops once, and keeps them wherever something can be kept."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

__all__ = ["njit"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def njit(*, cache: bool) -> Callable[[_Function], _Function]:
    """``numba.njit``, also where neither this package nor the user's home can be written.

    Compiled loops are then kept in a folder of the user's own among temporary files; where there is
    none either, they are compiled anew in every process.

    Args:
        cache: keep what was compiled for the next process.
    """

    def compiled(function: _Function) -> _Function:
        loops: Any = function
        try:
            return cast(_Function, _unhindered(numba.njit(cache=cache)(loops)))
        except RuntimeError:
            # Numba found no place for its cache.
            settings: Any = numba.config
            folder = _own_folder()
            if folder is None or folder == settings.CACHE_DIR:
                return cast(_Function, numba.njit(loops))
            settings.CACHE_DIR = folder
            return compiled(function)

    return compiled


def _unhindered(dispatcher: Any) -> Any:
    """The compiled function, which a full disk does not stop: it only keeps nothing then."""
    store = dispatcher._cache
    save = store.save_overload

    def save_if_possible(*overload: Any) -> None:
        with suppress(OSError):
            save(*overload)

    store.save_overload = save_if_possible
    return dispatcher


def _own_folder() -> str | None:
    """A folder that nobody else can write, as what is loaded from it is executed."""
    try:
        folder = Path(tempfile.gettempdir()) / f"mcusim-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except (AttributeError, OSError):
        return None
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return str(folder) if is_own and not found.st_mode & 0o077 else None
