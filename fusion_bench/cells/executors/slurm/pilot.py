"""A pilot on a node of a cluster: it trains what its coordinator lists until nothing is left for it.

It takes a cell that is neither done nor failed nor held by another process. The coordinator may leave and come back
meanwhile; the pilot trains on.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch

from fusion_bench.cells.events import CellFailed, WorkerEvent
from fusion_bench.cells.executors.executor import Executor, Wanted, WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.slurm.work_list import EventWriter, PilotEnded, WorkFolder, WorkList
from fusion_bench.cells.executors.time_limit import TimeLimit, TimesTaken
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import record_failure
from fusion_bench.errors import FusionBenchError, reason_of
from fusion_bench.lease import Lease, LeaseHeld

if TYPE_CHECKING:  # a study is trained without submitit
    from submitit.helpers import DelayedSubmission

_AT_ONCE = 100
"""Cells that are handed to the workers at once; whose configurations are read before the first begins."""
OUT_OF_TIME = "no cell that is left would end in the time that it has"


@dataclass(frozen=True)
class PilotTimes:
    """The times of pilots and of their coordinator in seconds.

    Attributes:
        look: between two looks at the files of the others.
        idle: without anything to do, after which a pilot ends.
        scan: between two looks at the folder of every cell that has not ended.
        ask: between two questions to the scheduler.
        again: between two submissions, unless no pilot is left.
    """

    look: float = 2.0
    idle: float = 300.0
    scan: float = 20.0
    ask: float = 30.0
    again: float = 300.0


class PilotStopped(BaseException):
    """The scheduler asks the pilot to end. No `Exception`, so that nothing on the way takes it for a failure."""


@dataclass(frozen=True)
class SlurmPilot:
    """A pilot as a function that a cluster calls on a node; it is pickled for that.

    Attributes:
        folder: what it shares with the coordinator.
        settings: how to start workers; as many as ``workers`` says.
        minutes: for which it begins cells; None is no limit.
        times: see `PilotTimes`.
    """

    folder: WorkFolder
    settings: WorkerSettings
    minutes: float | None = None
    times: PilotTimes = PilotTimes()

    def __call__(self) -> str:
        """Train what is listed and return why it ended."""
        # Making data may use all cores that this job has; on another machine than the coordinator's.
        paths = replace(self.settings.paths, workers=len(os.sched_getaffinity(0)))
        settings = replace(self.settings, paths=paths)
        loop = PilotLoop(self.folder, settings, TimeLimit.of_minutes(self.minutes), self.times)
        signal.signal(signal.SIGTERM, _stop)
        try:
            reason = loop.serve()
        except PilotStopped:
            loop.end(reason := "it was asked to end")
        except Exception as error:
            loop.end(reason_of(error), fault=True)
            raise
        return reason

    def checkpoint(self) -> DelayedSubmission:
        """Return what continues this pilot after it was put back into the queue; submitit calls it."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 - an extra

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already
        return DelayedSubmission(self)


def check_device(device: str) -> None:
    """Do nothing if torch finds a device here.

    Raises:
        FusionBenchError: it does not; every cell would fail.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise FusionBenchError("torch finds no GPU; ask for one, for example with --slurm gpus_per_node=1")


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the end of the workers
    raise PilotStopped


class PilotLoop:
    """The work of one pilot.

    Args:
        folder: what it shares with the coordinator.
        settings: how to start workers.
        limit: no cell is begun that would not end in time, judged by finished cells that differ in the seed only.
        times: see `PilotTimes`.
        make: makes what trains cells.
    """

    def __init__(
        self,
        folder: WorkFolder,
        settings: WorkerSettings,
        limit: TimeLimit,
        times: PilotTimes,
        make: Callable[[WorkerSettings, Wanted], Executor] | None = None,
    ) -> None:
        self._folder, self._settings, self._limit, self._times = folder, settings, limit, times
        self._make = make or (lambda settings, wanted: LocalExecutor(settings, folder.logs, wanted))
        job = "_".join(filter(None, map(os.environ.get, ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))))
        self._events = EventWriter(folder, job or os.environ.get("SLURM_JOB_ID") or "pilot")
        self._work: WorkList | None = None
        self._session, self._ended = "", set[str]()
        self._taken = TimesTaken()
        self._current, self._read = True, time.monotonic()

    def serve(self) -> str:
        """Do what is listed until there is nothing left, tell the coordinator why it ends, and return that.

        Raises:
            FusionBenchError: it cannot go on, although something is left to do.
        """
        reason = self._serve_lists()
        self.end(reason)
        return reason

    def _serve_lists(self) -> str:
        check_device(self._settings.paths.device)
        busy = time.monotonic()
        with ExitStack() as stack:
            executor: Executor | None = None
            while True:
                work = self._folder.read()
                if work is not None and work.kind == "over":
                    return "the run is over"
                if work is not None and (executor is None or work.session != self._session):
                    # Workers of an earlier run may have imported source that has changed since.
                    stack.close()
                    executor = stack.enter_context(self._make(self._settings, self._is_wanted))
                    self._session = work.session
                if work != self._work:
                    self._work, self._ended = work, set()
                self._current, self._read = True, time.monotonic()
                if work is not None and executor is not None:
                    if work.kind == "cell" and self._is_too_late(work):
                        return OUT_OF_TIME
                    if self._serve(work, executor):
                        busy = time.monotonic()
                if time.monotonic() - busy > self._times.idle:
                    return f"it had nothing to do for {self._times.idle / 60:.0f} minutes"
                time.sleep(self._times.look)

    def end(self, reason: str, *, fault: bool = False) -> None:
        """Tell the coordinator that the pilot has ended."""
        self._events.write(PilotEnded(f"a pilot on {socket.gethostname()} ended: {reason}", fault))

    def _serve(self, work: WorkList, executor: Executor) -> bool:
        """Do what can be done now, and return whether anything was done."""
        if work.kind != "cell":
            return self._serve_alone(work, executor)
        fitting = list(islice(filter(self._is_wanted, work.cells), _AT_ONCE))
        for event in executor.run(fitting) if fitting else ():
            self._record(event, work)
        return bool(fitting)

    def _is_too_late(self, work: WorkList) -> bool:
        """Return True if cells are left that no process holds, and none of them would end in time."""
        free = [cell for cell in work.cells if self._is_free(cell)]
        return bool(free) and not any(map(self._fits, free))

    def _serve_alone(self, work: WorkList, executor: Executor) -> bool:
        """Prepare or measure, unless another pilot does it or has done it."""
        if self._folder.is_served(work):
            return False
        try:
            with Lease(self._folder.alone):
                if self._folder.is_served(work):
                    return False
                serve = executor.prepare if work.kind == "prepare" else executor.measure
                for event in serve(work.cells):
                    self._events.write(event, work)
                self._folder.mark_served(work)
        except LeaseHeld:
            return False
        return True

    def _record(self, event: WorkerEvent, work: WorkList) -> None:
        """Tell of an event.

        Raises:
            FusionBenchError: a cell has failed, and its failure cannot be recorded: no worker can start here, or
                nothing can be written. It stays without a result, for another pilot.
        """
        if isinstance(event, CellFailed):
            folder = cell_folder(self._settings.paths.runs, event.cell)
            try:
                if event.worker_died:
                    record_failure(folder, Failure(event.reason, kind=event.kind))
            except OSError as error:
                raise FusionBenchError(reason_of(error)) from error
            if not event.worker_died and not folder.failed.exists() and not folder.done:
                raise FusionBenchError(event.reason)
        self._events.write(event, work)

    def _is_wanted(self, cell: str) -> bool:
        return self._is_free(cell) and self._fits(cell) and self._is_current()

    def _is_current(self) -> bool:
        """Return True while the list that is being served is the coordinator's last one; it is read now and then."""
        if time.monotonic() - self._read > self._times.look:
            self._current, self._read = self._folder.read() == self._work, time.monotonic()
        return self._current

    def _is_free(self, cell: str) -> bool:
        """Return True if a cell has no outcome and no process holds it."""
        if cell in self._ended:
            return False
        folder = cell_folder(self._settings.paths.runs, cell)
        if folder.done or folder.failed.exists():
            self._ended.add(cell)
            return False
        return not folder.busy

    def _fits(self, cell: str) -> bool:
        if self._limit.leaves(float("inf")):  # there is no limit
            return True
        runs = self._settings.paths.runs
        seeds = () if self._work is None else self._work.seeds
        return self._limit.leaves(self._taken.of_alike(runs, cell_folder(runs, cell).config(), seeds))
