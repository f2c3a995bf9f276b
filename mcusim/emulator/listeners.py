"""Those who look at a machine while its firmware runs."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Listeners"]


class Listeners:
    """What is called between two blocks, each so often.

    Attributes:
        due: when they are to look next, in cycles since reset.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self._all: list[tuple[float, Callable[[], None]]] = []

    def add(self, look: Callable[[], None], every_cycles: float) -> None:
        """Have one more look, for the first time at once."""
        self._all.append((every_cycles, look))
        self.due = 0.0

    def hear(self, now: float) -> float:
        """Have all of them look.

        Args:
            now: cycles since reset.

        Returns:
            When they are to look again.
        """
        for _, look in self._all:
            look()
        self.due = now + min((every for every, _ in self._all), default=math.inf)
        return self.due
