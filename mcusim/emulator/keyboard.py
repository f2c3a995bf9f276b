"""A key interrupt while firmware runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["on_key_interrupt"]


@contextmanager
def on_key_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Have a key interrupt do something, instead of ending whatever code it falls into.

    Outside the main thread, where Python tells nobody of keys, nothing changes.

    Args:
        act: what is done; it must not raise.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_key(_: int, __: FrameType | None) -> None:
        act()

    before = signal.signal(signal.SIGINT, on_key)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
