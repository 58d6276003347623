"""How often the cells of a pool of workers were started, and what became of those whose worker died."""

from __future__ import annotations

import time
from collections import Counter

from fusion_bench.cells.events import CellFailed
from fusion_bench.cells.executors.worker_process import Job, WorkerProcess

_STARTS_OF_WORKERS = 2


class Attempts:
    """How often each cell was started, and how often a fresh worker died before it started the cell.

    A worker that died while it was idle may still be handed a cell. That is no attempt: the cell never started.

    Args:
        retries: how often a cell is started again whose worker died; a worker that cannot even start is replaced as
            often, and at least once.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._started: Counter[str] = Counter()
        self._never_started: Counter[str] = Counter()

    def start(self, process: WorkerProcess) -> None:
        """Take note that a worker has started its job."""
        process.started, process.began = True, time.monotonic()
        self._started[_job_of(process).cell] += 1

    def take_back(self, job: Job) -> None:
        """Forget the last start of a job, because another process had taken its cell."""
        self._started[job.cell] -= 1

    def again(self, process: WorkerProcess) -> bool:
        """Return True if the job of a worker that died is to be tried again."""
        job = _job_of(process)
        if process.stopped is not None:
            return False
        if process.started:
            return self._started[job.cell] <= (0 if job.kind == "measure" else self._retries)
        self._never_started[job.cell] += process.jobs == 1
        return self._never_started[job.cell] < max(_STARTS_OF_WORKERS, 1 + self._retries)

    def failure(self, process: WorkerProcess) -> CellFailed:
        """Return the end of a cell whose last attempt is over; only one that started is recorded as failed."""
        job = _job_of(process)
        if process.stopped is not None:
            failure = process.stopped
            return CellFailed(job.cell, failure.reason, worker_died=True, kind=failure.kind)
        if not process.started:
            reason = process.death(
                f"its worker died{_times(self._never_started[job.cell])} before it started the cell,"
            )
        elif job.kind == "measure":
            reason = process.death("its process ended")
        else:
            reason = process.death(f"its worker died{_times(self._started[job.cell])}")
        return CellFailed(job.cell, reason, worker_died=process.started, kind="lost_worker")


def _times(number: int) -> str:
    return {1: "", 2: " twice"}.get(number, f" {number} times")


def _job_of(process: WorkerProcess) -> Job:
    assert process.job is not None  # noqa: S101 - asked for workers with a job only
    return process.job
