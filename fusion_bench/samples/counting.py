"""Counts of long preparations, for whoever waits: images decoded, steps trained, maps computed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Notify: TypeAlias = Callable[[str, int, int], None]
"""Is told what is counted ("decoding images"), how many are done, and of how many."""

_SECONDS_BETWEEN = 0.5


def say_nothing(what: str, done: int, total: int) -> None:
    """Ignore a count."""


class Paced:
    """Passes counts on: the first and the last of each kind, and between them one every half a second.

    Args:
        notify: is told these counts.
        clock: seconds that never run backwards.
    """

    def __init__(self, notify: Notify, clock: Callable[[], float] = time.monotonic) -> None:
        self._notify, self._clock = notify, clock
        self._what, self._last = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a count."""
        now = self._clock()
        if what == self._what and done < total and now - self._last < _SECONDS_BETWEEN:
            return
        self._what, self._last = what, now
        self._notify(what, done, total)
