"""A pool of workers, which are replaced when they die, and the pool of the worker processes of this host."""

from __future__ import annotations

import itertools
import os
import queue
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellSilent,
    CellStarted,
    WorkerEvent,
)
from fusion_bench.cells.executors.attempts import Attempts
from fusion_bench.cells.executors.executor import Wanted, WorkerSettings
from fusion_bench.cells.executors.isolation import is_foreign, needs_own_process
from fusion_bench.cells.executors.looks import Looks
from fusion_bench.cells.executors.order import kind_of, put_longest_first
from fusion_bench.cells.executors.program import Hear, LocalProgram, Program
from fusion_bench.cells.executors.worker_log import remove_old_logs
from fusion_bench.cells.executors.worker_process import GRACE_SECONDS, Job, Lines, WorkerProcess
from fusion_bench.cells.folder import cell_folder
from fusion_bench.training.config import CellConfig

_TICK_SECONDS = 1.0
_SILENT_SECONDS = 300.0
_MEASURING_SECONDS = 600.0
_ENDS = (CellBusy, CellFailed, CellFinished, CellMeasured, CellPrepared)


class WorkerPool(ABC):
    """Runs jobs in workers, which live on between calls. Use it as a context manager.

    It decides which cell goes to which worker, and when. Where and how a worker program is started is left to the
    executors that derive from it.

    A cell whose module is not part of this project gets a fresh process, which ends with the cell.

    Args:
        settings: how to start workers, and how many.
        wanted: is asked before a cell is trained; a cell that is not wanted is left out, without an event.
        over: says whether the time is over: the cells that wait are left out then, without an event.
    """

    _spare_workers = True
    """False if a worker that is idle keeps something that the next one needs: memory of a GPU, a place."""

    def __init__(
        self,
        settings: WorkerSettings,
        wanted: Wanted = lambda _: True,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings, self._wanted, self._over = settings, wanted, over
        self._lines: Lines = queue.SimpleQueue()
        self._processes: list[WorkerProcess] = []
        self._numbers = itertools.count()
        self._looks = Looks()
        self._seconds: dict[str, float] = {}  # how long the last cell of each kind took

    @abstractmethod
    def _launch(self, number: int, hear: Hear) -> Program:
        """Start a worker program; ``number`` counts the programs of this pool."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(self._processes)

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Train cells, in this order as workers become idle; yield events until all have ended.

        Of the last cells, which all differ in more than their seed, those start first that took longest before.
        """
        jobs = [self._training(cell) for cell in cells]
        if all(job.alone for job in jobs):
            self._stop_idle()
        yield from self._serve(jobs, self._settings.workers)

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        """Make what cells need, one after another (making data uses several processes by itself).

        The workers of the cells ``upcoming`` start at once, all at the same time: what they import takes seconds.
        """
        # A module takes no part in this; a text encoder does.
        jobs = [Job("prepare", cell, is_foreign(self._config(cell).text.target)) for cell in cells]
        shared = sum(not self._training(cell).alone for cell in upcoming)
        for _ in range(min(self._settings.workers, shared) - len(self._processes)):
            self._start()
        yield from self._serve(jobs, 1)

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """Measure the latency of cells one after another, while no other worker is alive.

        They share a process that has trained nothing, because a process takes far longer to start than to measure.
        """
        self._stop_idle()
        jobs = [Job("measure", cell, needs_own_process(self._config(cell))) for cell in cells]
        yield from self._serve(jobs, 1)

    def _config(self, cell: str) -> CellConfig:
        return cell_folder(self._settings.paths.runs, cell).config()

    def _training(self, cell: str) -> Job:
        config = self._config(cell)
        return Job("cell", cell, needs_own_process(config), kind_of(config))

    def _serve(self, jobs: Sequence[Job], workers: int) -> Iterator[WorkerEvent]:
        """Send jobs to at most so many workers and yield their events until every job has ended."""
        waiting, attempts, running = deque(jobs), Attempts(self._settings.limits.retries), 0
        next_look = 0.0
        while waiting or running:
            if self._over():
                waiting.clear()
            while running < workers and (job := self._next_job(waiting)) is not None:
                self._worker_for(job).send(job)
                running += 1
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _TICK_SECONDS
                yield from self._silences()
                self._watch()
            try:
                process, line = self._lines.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            if process not in self._processes:
                continue  # the end of a worker that was stopped
            if line is None:
                self._processes.remove(process)
                process.stop_after_events()
                if process.job is None:
                    continue
                running -= 1
                if attempts.again(process):
                    waiting.appendleft(process.job)
                else:
                    yield attempts.failure(process)
                continue
            event, kind = process.event_of(line), process.job.kind if process.job else None
            if isinstance(event, CellStarted):
                attempts.start(process)
            if isinstance(event, _ENDS):
                running -= 1
                job = self._release(process)
                if isinstance(event, CellFinished):
                    self._seconds[job.like] = time.monotonic() - process.began
                if isinstance(event, CellBusy):
                    attempts.take_back(job)
                    self._looks.note_held(job.cell)
                    waiting.append(job)
                    continue
            if event is not None and (kind == "cell" or not isinstance(event, CellStarted)):
                yield event

    def _next_job(self, waiting: deque[Job]) -> Job | None:
        """Take the first waiting job whose cell no other process trains right now; None if there is none."""
        put_longest_first(waiting, self._seconds)
        for _ in range(len(waiting)):
            job = waiting.popleft()
            if job.kind != "cell":
                return job
            if self._looks.may_look(job.cell):
                if not self._wanted(job.cell):
                    continue
                if not cell_folder(self._settings.paths.runs, job.cell).busy:
                    return job
                self._looks.note_held(job.cell)
            waiting.append(job)
        return None

    def _worker_for(self, job: Job) -> WorkerProcess:
        """Return an idle worker, or a new one where there is none or the job needs a fresh process."""
        idle = [process for process in self._processes if process.idle]
        if idle and not job.alone:
            return idle[0]
        if not self._spare_workers:
            self._stop_idle()
        return self._start()

    def _start(self) -> WorkerProcess:
        process = WorkerProcess(partial(self._launch, next(self._numbers)), self._lines)
        self._processes.append(process)
        return process

    def _release(self, process: WorkerProcess) -> Job:
        """Return the job that a worker has ended; the worker becomes idle, or ends after a job that it had alone."""
        job, process.job = process.job, None
        assert job is not None  # noqa: S101 - a worker's events are about its job
        if job.alone:
            self._stop([process])
        return job

    def _watch(self) -> None:
        """See to workers whose end was not told by their pipe, and to measurements that take too long."""
        for process in self._processes:
            process.keep_to(self._settings.limits)
            if process.gone():
                self._lines.put((process, None))
            measuring = process.job is not None and process.job.kind == "measure"
            if measuring and process.silent_seconds > _MEASURING_SECONDS:
                process.end(f"no answer within {_MEASURING_SECONDS / 60:.0f} minutes")

    def _silences(self) -> Iterator[CellSilent]:
        for process in self._processes:
            job = process.job
            if job is not None and job.kind == "cell" and process.newly_silent(_SILENT_SECONDS):
                yield CellSilent(job.cell, process.silent_seconds)

    def _stop_idle(self) -> None:
        self._stop([process for process in self._processes if process.job is None])

    def _stop(self, processes: Sequence[WorkerProcess]) -> None:
        """End workers; those that do not end by themselves in the time that they have together are killed."""
        ending = list(processes)
        self._processes = [process for process in self._processes if process not in ending]
        for process in ending:
            process.program.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in ending:
            process.program.close(max(0.0, deadline - time.monotonic()))


class LocalExecutor(WorkerPool):
    """A pool of worker processes of this host; each works on the device that has the fewest at its start.

    Args:
        settings: how to start workers, how many, and on which devices.
        logs: folder for the workers' log files.
        wanted, over: see `WorkerPool`.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        logs: Path,
        wanted: Wanted = lambda _: True,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(settings, wanted, over)
        self._logs = logs
        self._devices = settings.devices or (settings.paths.device,)
        self._spare_workers = not settings.paths.device.startswith("cuda")
        self._placed: list[tuple[LocalProgram, str]] = []

    def __enter__(self) -> Self:
        remove_old_logs(self._logs)
        return self

    def _launch(self, number: int, hear: Hear) -> LocalProgram:
        self._placed = [(program, device) for program, device in self._placed if program.alive]
        busy = Counter(device for _, device in self._placed)
        device = min(self._devices, key=lambda device: busy[device])
        log = self._logs / f"worker-{os.getpid()}-{number}.log"
        program = LocalProgram(self._settings.on(device).start(), log, hear)
        self._placed.append((program, device))
        return program
