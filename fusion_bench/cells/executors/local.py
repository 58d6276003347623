"""Cells in local worker processes; a worker that dies is replaced."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellPreparing,
    CellProgressed,
    CellStarted,
    WorkerEvent,
    parse_event,
)
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.worker_process import Lines, WorkerProcess

_ATTEMPTS = 2
_BUSY_PAUSE_SECONDS = 2.0


class LocalExecutor:
    """Runs jobs in local worker processes, which live on between calls. Use it as a context manager.

    Args:
        settings: how to start workers, and how many.
        logs: folder for the workers' log files.
    """

    def __init__(self, settings: WorkerSettings, logs: Path) -> None:
        self._settings, self._logs = settings, logs
        self._lines: Lines = queue.SimpleQueue()
        self._processes: list[WorkerProcess] = []
        self._numbers = itertools.count()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.popen.terminate()
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Train cells, in this order as workers become idle; yield events until all have ended."""
        yield from self._serve([{"cell": cell} for cell in cells], self._settings.workers)

    def prepare(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Make what cells need, one after another (making data uses several processes by itself)."""
        yield from self._serve([{"prepare": cell} for cell in cells], 1)

    def _serve(self, jobs: list[dict[str, str]], workers: int) -> Iterator[WorkerEvent]:
        """Send jobs to at most so many workers and yield their events until every job has ended."""
        waiting, attempts, running = deque(jobs), dict[str, int](), 0
        while waiting or running:
            while waiting and running < workers:
                self._idle_worker().send(waiting.popleft())
                running += 1
            process, line = self._lines.get()
            if line is not None:
                event = parse_event(line)
                if isinstance(event, CellStarted | CellProgressed | CellPreparing):
                    yield event
                    continue
                job, process.job = process.job, None
                running -= 1
                if isinstance(event, CellBusy) and job is not None:
                    # Another study trains this very cell: ask again until its result is there.
                    waiting.append(dict(job))
                    threading.Event().wait(_BUSY_PAUSE_SECONDS)
                else:
                    yield event
                continue
            job = process.job
            self._processes.remove(process)
            process.stop()
            if job is None:
                continue
            running -= 1
            cell = next(iter(job.values()))
            attempts[cell] = attempts.get(cell, 0) + 1
            if attempts[cell] < _ATTEMPTS:
                waiting.appendleft(dict(job))
            else:
                yield CellFailed(cell, f"its worker died twice with {process.death()}", worker_died=True)

    def _idle_worker(self) -> WorkerProcess:
        for process in self._processes:
            if process.idle:
                return process
        log = self._logs / f"worker-{os.getpid()}-{next(self._numbers)}.log"
        process = WorkerProcess(self._settings, log, self._lines)
        self._processes.append(process)
        return process
