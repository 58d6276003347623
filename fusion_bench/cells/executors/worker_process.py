"""One worker as a local process: its requests go to its standard input, its events come from its standard output."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from fusion_bench.cells.events import WorkerEvent, parse_event
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.worker_log import WorkerLog
from fusion_bench.cells.failure import LESS_MEMORY, Failure
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Limits
from fusion_bench.processes import group_bytes

_USUAL_CAUSE = {"SIGKILL": " (often: out of memory)", "SIGBUS": " (often: the disk is full)"}
_LONGEST_LINE = 1 << 20
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
    """A worker process, its log, and the thread that reads its events.

    It leads a process group of its own, so that the processes that a module starts end with it.

    Args:
        settings: how to start it.
        log: its standard error is written to this file.
        lines: every line that it writes goes here.

    Attributes:
        job: the request that it works on; None while it is idle.
        started: True once it has told that it works on ``job``.
        began: when it told so, or before that when the request went out, in seconds of `time.monotonic`.
        jobs: how many requests it got.
        heard: when its last event came, or its request went out, in seconds of `time.monotonic`.
        stopped: why it was stopped for good, which its job cannot be tried after; None if it was not.
    """

    def __init__(self, settings: WorkerSettings, log: Path, lines: Lines) -> None:
        self.job: Job | None = None
        self.started, self.jobs, self.heard = False, 0, time.monotonic()
        self.stopped: Failure | None = None
        self.began = self.heard
        self._fault, self._longest_silence, self._ticks_dead = "", 0.0, 0
        self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            settings.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=settings.environment(),
            start_new_session=True,
        )
        assert self.popen.stderr is not None  # noqa: S101 - it is a pipe
        self._log = WorkerLog(self.popen.stderr, log)
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    @property
    def idle(self) -> bool:
        """True if it is alive and works on nothing."""
        return self.job is None and self.popen.poll() is None

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
        assert self.popen.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):
            self.popen.stdin.write(json.dumps({job.kind: job.cell}).encode() + b"\n")
            self.popen.stdin.flush()

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
        self._kill_group()

    def keep_to(self, limits: Limits) -> None:
        """Stop the process if the cell that it trains has passed a limit."""
        if self.job is None or self.job.kind != "cell" or self.stopped is not None:
            return
        minutes, memory = (time.monotonic() - self.began) / 60, limits.memory_gb
        if limits.minutes is not None and minutes > limits.minutes:
            self.stopped = _too_long(limits.minutes, self.silent_seconds)
        elif memory is not None and group_bytes(self.popen.pid) > memory * 1e9:
            reason = f"its worker needed more than limits.memory_gb ({memory:g} GB); {LESS_MEMORY}"
            self.stopped = Failure(reason, kind="out_of_memory")
        if self.stopped is not None:
            self.end(self.stopped.reason)

    def gone(self) -> bool:
        """Return True if it has been dead for a while, and yet the pipe of its events is open.

        A process that it started may hold the pipe; what is still in its group is killed at the first call.
        """
        if self.popen.poll() is None:
            return False
        self._ticks_dead += 1
        if self._ticks_dead == 1:
            self._kill_group()
        return self._ticks_dead > _TICKS_TO_READ

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Close its standard input, wait for its end, and kill it and what it started if it does not end."""
        if self.popen.stdin is not None:
            with suppress(BrokenPipeError):
                self.popen.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=grace)
        self._kill_group()
        self.popen.wait()
        self._log.close()

    def stop_after_events(self) -> None:
        """Do the same after the end of its events, which is mostly its own end, whose exit code is to be seen."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=_SECONDS_TO_END)
        self.stop()

    def death(self, before: str) -> str:
        """Return ``before``, how the process ended, the usual cause, and the last line of its log.

        To be called after `stop`.
        """
        code = self.popen.wait()
        name = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        how = f": {self._fault}" if self._fault else f" with {name}{_USUAL_CAUSE.get(name, '')}"
        return self._log.last_line(f"{before}{how}; last line of its log: ") or f"{before}{how}"

    def _hear(self) -> None:
        self.heard, self._longest_silence = time.monotonic(), 0.0

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody is left, or only the dead (macOS)
            os.killpg(self.popen.pid, signal.SIGKILL)

    def _read(self, lines: Lines) -> None:
        assert self.popen.stdout is not None  # noqa: S101 - it is a pipe
        with self.popen.stdout as stdout:
            while line := stdout.readline(_LONGEST_LINE):
                lines.put((self, line))
        lines.put((self, None))


def _too_long(minutes: float, silent: float) -> Failure:
    """Return the failure of a cell that took longer than its limit; no step for two minutes is a hang."""
    limit = f"it was not done after limits.minutes ({minutes:g})"
    if silent > _HANG_SECONDS:
        return Failure(f"{limit}, and had done no step for {silent / 60:.0f} minutes: it hangs", kind="hang")
    advice = "it was still making steps: raise limits.minutes, or train for less"
    return Failure(f"{limit}; {advice}", kind="time_limit")
