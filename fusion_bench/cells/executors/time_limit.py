"""The time that a pilot has, and the time that a cell will take, judged by finished cells."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.training.config import CellConfig


@dataclass(frozen=True)
class TimeLimit:
    """The time until which a pilot works.

    Attributes:
        ends: the end in seconds of `time.monotonic`; infinite without a limit.
    """

    ends: float = float("inf")

    @classmethod
    def of_minutes(cls, minutes: float | None) -> TimeLimit:
        """Return the limit that ends so many minutes from now; None is no limit."""
        return cls() if minutes is None else cls(time.monotonic() + 60 * minutes)

    def over(self) -> bool:
        """Return True if no time is left."""
        return not self.leaves(0.0)

    def leaves(self, seconds: float) -> bool:
        """Return True if so many seconds are left."""
        return time.monotonic() + seconds <= self.ends


class TimesTaken:
    """The times of finished cells in one runs folder; each is read once."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def of_alike(self, runs: Path, config: CellConfig, seeds: Iterable[int]) -> float:
        """Return the longest time in seconds of a finished cell that differs in the seed only; 0 if there is none.

        Args:
            runs: the runs folder.
            config: what the cell is asked.
            seeds: the seeds that such a cell may have.
        """
        alike = [replace(config, seed=seed).id for seed in seeds]
        for cell in alike:
            if cell not in self._seconds and (seconds := _seconds_taken(runs, cell)) is not None:
                self._seconds[cell] = seconds
        return max((self._seconds.get(cell, 0.0) for cell in alike), default=0.0)


def _seconds_taken(runs: Path, cell: str) -> float | None:
    """Return the seconds that a finished cell took; None for any other."""
    with suppress(FusionBenchError):  # damaged, which is told where it counts
        timing = cell_folder(runs, cell).if_done(CellFolder.timing)
        return None if timing is None else timing.seconds
    return None
