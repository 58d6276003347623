"""When an executor looks at the folders of cells that other processes hold."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOKS_A_SECOND = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Looks:
    """Paces the looks at cells that were held: each one is several requests to a file server.

    The first look at a cell comes at once. A cell that is held is looked at again after 1, 2, 4, ... and at last
    every 30 seconds, and at most 20 cells are looked at again in a second.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, float]] = {}  # when to look again, and the pause before that
        self._allowed, self._counted = float(_LOOKS_A_SECOND), clock()

    def may_look(self, cell: str) -> bool:
        """Return True if it is time to look at a cell; `note_held` must follow if it is held."""
        if cell not in self._held:
            return True
        now = self._clock()
        if now < self._held[cell][0]:
            return False
        self._allowed = min(_LOOKS_A_SECOND, self._allowed + (now - self._counted) * _LOOKS_A_SECOND)
        self._counted = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def note_held(self, cell: str) -> None:
        """Take note that another process holds a cell."""
        _, pause = self._held.get(cell, (0.0, _FIRST_PAUSE / 2))
        pause = min(2 * pause, _LONGEST_PAUSE)
        self._held[cell] = (self._clock() + pause, pause)
