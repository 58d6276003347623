"""One worker as a local process: its requests go to its standard input, its events come from its standard output."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from fusion_bench.cells.executors.executor import WorkerSettings

_USUAL_CAUSE = {"SIGKILL": " (often: out of memory)", "SIGBUS": " (often: the disk is full)"}
_GRACE_SECONDS = 10

Lines: TypeAlias = "queue.SimpleQueue[tuple[WorkerProcess, str | None]]"
"""Lines of output with the worker that wrote each; None stands for the end of its output."""


class WorkerProcess:
    """A worker process, its log file and the thread that reads its events.

    Args:
        settings: how to start it.
        log: its standard error is appended to this file.
        lines: every line that it writes goes here.

    Attributes:
        job: the request that it works on; None while it is idle.
        popen: the process.
    """

    def __init__(self, settings: WorkerSettings, log: Path, lines: Lines) -> None:
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
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    @property
    def idle(self) -> bool:
        """True if it is alive and works on nothing."""
        return self.job is None and self.popen.poll() is None

    def send(self, job: Mapping[str, str]) -> None:
        """Send a request. The reading thread notices a worker that is already dead."""
        self.job = job
        assert self.popen.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self.popen.stdin.write(json.dumps(dict(job)) + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            self.popen.poll()

    def stop(self) -> None:
        """Close its standard input, wait for its end, and kill it if it does not end."""
        if self.popen.stdin is not None:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                self.popen.poll()
        try:
            self.popen.wait(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def death(self) -> str:
        """Return how it ended, the usual cause, and the last line of its log."""
        code = self.popen.wait()
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        last = self._last_log_line()
        return f"{how}{_USUAL_CAUSE.get(how, '')}{f'; last line of its log: {last}' if last else ''}"

    def _read(self, lines: Lines) -> None:
        assert self.popen.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.popen.stdout:
            lines.put((self, line))
        lines.put((self, None))

    def _last_log_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
