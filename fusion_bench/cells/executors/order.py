"""The order of the last cells: the longest first, so that no worker is left alone with a long cell at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from fusion_bench.cells.executors.worker_process import Job
from fusion_bench.training.config import CellConfig


def kind_of(config: CellConfig) -> str:
    """Return a key that is equal for cells that differ in nothing but the seed: they take about the same time."""
    return replace(config, seed=0).id


def put_longest_first(waiting: deque[Job], seconds: Mapping[str, float]) -> None:
    """Sort the waiting jobs by the time that they will take, as soon as no two of them are of the same kind.

    Until then they keep their order, seed by seed, so that an interrupted run leaves paired results. A kind whose
    time is not known yet comes first, in the order of before.

    Args:
        waiting: the jobs; those that train no cell are never sorted.
        seconds: how long a cell of each kind took.
    """
    kinds = [job.like for job in waiting]
    if all(kinds) and len(set(kinds)) == len(kinds):
        ordered = sorted(waiting, key=lambda job: -seconds.get(job.like, float("inf")))
        waiting.clear()
        waiting.extend(ordered)
