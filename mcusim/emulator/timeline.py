"""What will happen at which cycle: timers, counters and whatever else answers later."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["Timeline"]


class Timeline:
    """Actions by the board's cycle at which they are due.

    Args:
        sooner: called when something is scheduled before all that was.

    Attributes:
        now: cycles since reset; set by whoever runs the core, never backwards.
    """

    def __init__(self, sooner: Callable[[], None]) -> None:
        self.now = 0
        self._sooner = sooner
        self._order = count()
        self._due: list[tuple[int, int, str]] = []
        self._actions: dict[str, tuple[int, Callable[[], None]]] = {}

    def schedule(self, name: str, cycle: int, action: Callable[[], None]) -> None:
        """Have an action done at a cycle, in place of an earlier one of this name."""
        entry = next(self._order)
        self._actions[name] = (entry, action)
        heapq.heappush(self._due, (cycle, entry, name))
        if self.next_cycle == cycle:
            self._sooner()

    def cancel(self, name: str) -> None:
        """Forget an action."""
        self._actions.pop(name, None)

    def clear(self) -> None:
        """Forget every action."""
        self._actions.clear()
        self._due.clear()

    @property
    def next_cycle(self) -> int | None:
        """When the next action is due, if any is."""
        while self._due:
            cycle, entry, name = self._due[0]
            held = self._actions.get(name)
            if held and held[0] == entry:
                return cycle
            heapq.heappop(self._due)
        return None

    def run_due(self) -> None:
        """Do every action that is due by now, in order of their cycles."""
        while (cycle := self.next_cycle) is not None and cycle <= self.now:
            _, _, name = heapq.heappop(self._due)
            self._actions.pop(name)[1]()
