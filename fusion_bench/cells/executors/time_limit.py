"""The time that a pilot has, and the time that a cell will take, judged by finished cells."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fusion_bench.cells.folder import cell_folder
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

    def leaves(self, seconds: float) -> bool:
        """Return True if so many seconds are left."""
        return time.monotonic() + seconds <= self.ends


def seconds_of_alike(runs: Path, config: CellConfig, seeds: Iterable[int]) -> float:
    """Return the longest time of a finished cell that differs in the seed only; 0 if there is none.

    Args:
        runs: the runs folder.
        config: what the cell is asked.
        seeds: the seeds that such a cell may have.
    """
    alike = (replace(config, seed=seed).id for seed in seeds)
    return max((_seconds_taken(runs, cell) for cell in alike), default=0.0)


def _seconds_taken(runs: Path, cell: str) -> float:
    """Return the seconds that a finished cell took; 0 for any other."""
    folder = cell_folder(runs, cell)
    if not folder.done:
        return 0.0
    with suppress(FusionBenchError):  # damaged, which is told where it counts
        return folder.timing().seconds
    return 0.0
