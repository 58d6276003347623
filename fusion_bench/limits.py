"""What a worker gets, and what a cell may take before it is stopped; no part of a cell's identity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of every cell of a study.

    Attributes:
        minutes: the longest time of a cell; a cell that takes longer is stopped and fails. None is no limit.
        memory_gb: the largest memory of the worker that trains it, and of the processes that it started, in GB
            (10^9 bytes), without files that are mapped into memory; a worker that needs more is stopped and the cell
            fails. None is no limit; Linux only.
        retries: how often a cell is started again whose worker died. A cell that was stopped is not.
    """

    minutes: float | None = None
    memory_gb: float | None = None
    retries: int = 1


@dataclass(frozen=True)
class Resources:
    """What a cluster is asked for, for each worker.

    Attributes:
        cpus: CPUs; None: as many as the study's threads.
        gpus: GPUs, such as 0.25 for four workers on one; None: 1 where cells are trained on GPUs.
    """

    cpus: float | None = None
    gpus: float | None = None
