"""A worker as the pool sees it: its program, the request that it works on, and when it was heard."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fusion_bench.cells.events import WorkerEvent, parse_event
from fusion_bench.cells.executors.program import Hear, Program
from fusion_bench.cells.failure import LESS_MEMORY, Failure
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Limits

_HANG_SECONDS = 120.0
_TICKS_TO_READ = 5
_SECONDS_TO_END = 2.0
GRACE_SECONDS = 10.0
"""Seconds that a process has to end by itself before it is killed."""


@dataclass(frozen=True)
class Job:
    """A request to a worker.

    Attributes:
        kind: ``prepare`` makes the data of a cell, ``cell`` trains it, ``measure`` measures its latency.
        cell: the id of the cell.
        alone: True if its process serves no other request.
        like: equal for cells that take about the same time; empty for a request that trains no cell.
    """

    kind: Literal["prepare", "cell", "measure"]
    cell: str
    alone: bool
    like: str = ""


Lines: TypeAlias = "queue.SimpleQueue[tuple[WorkerProcess, bytes | None]]"
"""Lines of output with the worker that wrote each; None stands for the end of its output."""


class WorkerProcess:
    """A worker program and what it works on.

    Args:
        start: starts the program; what it gets takes the lines that the program writes.
        lines: every line that it writes goes here.

    Attributes:
        job: the request that it works on; None while it is idle.
        started: True once it has told that it works on ``job``.
        began: when it told so, or before that when the request went out, in seconds of `time.monotonic`.
        jobs: how many requests it got.
        heard: when its last event came, or its request went out, in seconds of `time.monotonic`.
        stopped: why it was stopped for good, which its job cannot be tried after; None if it was not.
        program: the running program.
    """

    def __init__(self, start: Callable[[Hear], Program], lines: Lines) -> None:
        self.job: Job | None = None
        self.started, self.jobs, self.heard = False, 0, time.monotonic()
        self.stopped: Failure | None = None
        self.began = self.heard
        self._fault, self._longest_silence, self._ticks_dead = "", 0.0, 0
        self.program = start(lambda line: lines.put((self, line)))

    @property
    def idle(self) -> bool:
        """True if it is alive and works on nothing."""
        return self.job is None and self.program.alive

    @property
    def silent_seconds(self) -> float:
        """How long nothing was heard of it."""
        return time.monotonic() - self.heard

    def newly_silent(self, first: float) -> bool:
        """Return True once after ``first`` seconds of silence, and again whenever the time has doubled."""
        if self.silent_seconds < max(first, 2 * self._longest_silence):
            return False
        self._longest_silence = self.silent_seconds
        return True

    def send(self, job: Job) -> None:
        """Send a request. The reading thread notices a worker that is already dead."""
        self.job, self.started, self.jobs = job, False, self.jobs + 1
        self._hear()
        self.began = self.heard
        self.program.write(request_line(job.kind, job.cell))

    def event_of(self, line: bytes) -> WorkerEvent | None:
        """Return the event that a line holds; None, and end the process, if it is none about the current request.

        A module can write into the pipe of its worker by mistake; its cell then fails like one whose worker died.
        """
        self._hear()
        try:
            event = parse_event(line.decode("utf-8", "replace"))
        except FusionBenchError:
            event = None
        if event is None or self.job is None or event.cell != self.job.cell:
            self.end("something wrote into the pipe of its events")
            return None
        return event

    def end(self, fault: str) -> None:
        """Kill the process and whatever it started; ``fault`` says why, in `death`."""
        self._fault = self._fault or fault
        self.program.kill()

    def keep_to(self, limits: Limits) -> None:
        """Stop the process if the cell that it trains has passed a limit."""
        if self.job is None or self.job.kind != "cell" or self.stopped is not None:
            return
        if self.program.waiting:
            self.began = time.monotonic()
        minutes, memory = (time.monotonic() - self.began) / 60, limits.memory_gb
        if limits.minutes is not None and minutes > limits.minutes:
            self.stopped = _too_long(limits.minutes, self.silent_seconds)
        elif memory is not None and self.program.memory() > memory * 1e9:
            reason = f"its worker needed more than limits.memory_gb ({memory:g} GB); {LESS_MEMORY}"
            self.stopped = Failure(reason, kind="out_of_memory")
        if self.stopped is not None:
            self.end(self.stopped.reason)

    def gone(self) -> bool:
        """Return True if it has been dead for a while, and yet the pipe of its events is open.

        A process that it started may hold the pipe; what is still in its group is killed at the first call.
        """
        if self.program.alive:
            return False
        self._ticks_dead += 1
        if self._ticks_dead == 1:
            self.program.kill()
        return self._ticks_dead > _TICKS_TO_READ

    def stop_after_events(self) -> None:
        """Close the program after the end of its events, which is mostly its own end, whose cause is to be seen."""
        self.program.wait(_SECONDS_TO_END)
        self.program.close(GRACE_SECONDS)

    def death(self, before: str) -> str:
        """Return ``before``, how the process ended, the usual cause, and the last line of its log.

        To be called after `stop_after_events`.
        """
        how = f": {self._fault}" if self._fault else f" {self.program.ending()}"
        return self.program.last_line(f"{before}{how}; last line of its log: ") or f"{before}{how}"

    def _hear(self) -> None:
        self.heard, self._longest_silence = time.monotonic(), 0.0


def request_line(kind: str, cell: str) -> bytes:
    """Return a request as the line that a worker reads."""
    return json.dumps({kind: cell}).encode() + b"\n"


def _too_long(minutes: float, silent: float) -> Failure:
    """Return the failure of a cell that took longer than its limit; no step for two minutes is a hang."""
    limit = f"it was not done after limits.minutes ({minutes:g})"
    if silent > _HANG_SECONDS:
        return Failure(f"{limit}, and had done no step for {silent / 60:.0f} minutes: it hangs", kind="hang")
    advice = "it was still making steps: raise limits.minutes, or train for less"
    return Failure(f"{limit}; {advice}", kind="time_limit")
