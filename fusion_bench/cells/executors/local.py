"""Run cells in local worker processes; a worker that dies is replaced."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.worker import Event

_ATTEMPTS = 2
_BUSY_PAUSE = 2.0
_USUAL_CAUSE = {"SIGKILL": " (often: out of memory)", "SIGBUS": " (often: the disk is full)"}


class _Process:
    """One worker process, its log file and the thread that reads its events."""

    def __init__(
        self, settings: WorkerSettings, log: Path, said: queue.SimpleQueue[tuple[_Process, str | None]]
    ):
        self.job: Mapping[str, str] | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                settings.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=settings.environment(),
            )
        threading.Thread(target=self._read, args=(said,), daemon=True).start()

    def _read(self, said: queue.SimpleQueue[tuple[_Process, str | None]]) -> None:
        assert self.popen.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.popen.stdout:
            said.put((self, line))
        said.put((self, None))

    def give(self, job: Mapping[str, str]) -> None:
        """Send a request; a worker that is already dead is noticed by its reader."""
        self.job = job
        assert self.popen.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self.popen.stdin.write(json.dumps(dict(job)) + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            self.popen.poll()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """Close its input, then make sure it is gone."""
        if self.popen.stdin is not None:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                self.popen.poll()
        try:
            self.popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


class LocalExecutor:
    """Runs jobs on local worker processes, which live on between calls. Use as a context manager."""

    def __init__(self, settings: WorkerSettings, logs: Path) -> None:
        self._settings, self._logs = settings, logs
        self._said: queue.SimpleQueue[tuple[_Process, str | None]] = queue.SimpleQueue()
        self._processes: list[_Process] = []
        self._numbers = itertools.count()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.popen.terminate()
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def run(self, cells: Sequence[str]) -> Iterator[Event]:
        """Train cells, in this order as workers become free; yields events until all have ended."""
        yield from self._jobs([{"cell": cell} for cell in cells], self._settings.workers)

    def prepare(self, cells: Sequence[str]) -> Iterator[Event]:
        """Make what cells need, one after another (making data uses several processes by itself)."""
        yield from self._jobs([{"prepare": cell} for cell in cells], 1)

    def _jobs(self, jobs: list[dict[str, str]], most: int) -> Iterator[Event]:
        waiting, attempts, running = deque(jobs), dict[str, int](), 0
        while waiting or running:
            while waiting and running < most:
                self._idle().give(waiting.popleft())
                running += 1
            process, line = self._said.get()
            if line is not None:
                event = Event.parse(line)
                ended = event.kind in {"finished", "failed", "prepared", "busy"}
                if not ended:
                    yield event
                    continue
                job, process.job = process.job, None
                running -= 1
                if event.kind == "busy" and job is not None:
                    # Another study trains this very cell; ask again until its result stands.
                    waiting.append(dict(job))
                    threading.Event().wait(_BUSY_PAUSE)
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
                yield Event("failed", cell, {"reason": _death(process), "died": True})

    def _idle(self) -> _Process:
        for process in self._processes:
            if process.job is None and process.popen.poll() is None:
                return process
        log = self._logs / f"worker-{os.getpid()}-{next(self._numbers)}.log"
        process = _Process(self._settings, log, self._said)
        self._processes.append(process)
        return process


def _death(process: _Process) -> str:
    code = process.popen.wait()
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    words = process.last_words()
    said = f"; last words: {words}" if words else ""
    return f"its worker died twice with {how}{_USUAL_CAUSE.get(how, '')}{said}"
