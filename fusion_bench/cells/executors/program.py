"""A running worker program: what the pool of workers needs of it, and one that runs on this host.

This file imports neither torch nor pandas: an actor on another host uses it, and only its worker program needs them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from fusion_bench.cells.executors.worker_log import WorkerLog
from fusion_bench.processes import group_bytes

Hear: TypeAlias = Callable[[bytes | None], None]
"""Takes each line that a program writes, then None at the end of its output; it is called in another thread."""

_USUAL_CAUSE = {"SIGKILL": " (often: out of memory)", "SIGBUS": " (often: the disk is full)"}
_LONGEST_LINE = 1 << 20


class Program(Protocol):
    """A worker program, on this host or another one."""

    @property
    def alive(self) -> bool:
        """False once it is known to have ended, though its output may not be read yet."""
        ...

    @property
    def waiting(self) -> bool:
        """True while it has no place to run yet; this time is not counted to its cell."""
        ...

    def write(self, request: bytes) -> None:
        """Send a line to its standard input; one that has ended gets nothing, and nothing is raised."""
        ...

    def memory(self) -> int:
        """Return the bytes of memory of it and of what it started; see `fusion_bench.processes.group_bytes`."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it and whatever it started."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait at most so long for its end."""
        ...

    def close(self, grace: float) -> None:
        """Close its standard input, wait for its end, and kill it and what it started if it does not end."""
        ...

    def ending(self) -> str:
        """Return how it ended and the usual cause: ``with SIGKILL (often: out of memory)``. To be called at last."""
        ...

    def last_line(self, before: str) -> str:
        """Return ``before`` and the last line of its log; empty if the log is empty. To be called after `close`."""
        ...


@dataclass(frozen=True)
class Command:
    """How a program is started.

    Attributes:
        arguments: the command line.
        environment: its environment variables.
        folder: its current folder; None is that of this process.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path | None = None


class LocalProgram:
    """A worker program on this host; see `Program`. It leads a process group of its own.

    Args:
        command: how to start it.
        log: its standard error is written to this file.
        hear: gets every line that it writes.
    """

    def __init__(self, command: Command, log: Path, hear: Hear) -> None:
        self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            list(command.arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.environment),
            cwd=command.folder,
            start_new_session=True,
        )
        assert self.popen.stderr is not None  # noqa: S101 - it is a pipe
        self._log = WorkerLog(self.popen.stderr, log)
        threading.Thread(target=self._read, args=(hear,), daemon=True).start()

    @property
    def alive(self) -> bool:
        """See `Program`."""
        return self.popen.poll() is None

    @property
    def waiting(self) -> bool:
        """See `Program`."""
        return False

    def write(self, request: bytes) -> None:
        """See `Program`."""
        assert self.popen.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):
            self.popen.stdin.write(request)
            self.popen.stdin.flush()

    def memory(self) -> int:
        """See `Program`."""
        return group_bytes(self.popen.pid)

    def terminate(self) -> None:
        """See `Program`."""
        self.popen.terminate()

    def kill(self) -> None:
        """See `Program`."""
        with suppress(ProcessLookupError, PermissionError):  # nobody is left, or only the dead (macOS)
            os.killpg(self.popen.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """See `Program`."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=seconds)

    def close(self, grace: float) -> None:
        """See `Program`."""
        if self.popen.stdin is not None:
            with suppress(BrokenPipeError):
                self.popen.stdin.close()
        self.wait(grace)
        self.kill()
        self.popen.wait()
        self._log.close()

    def ending(self) -> str:
        """See `Program`."""
        code = self.popen.wait()
        name = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"with {name}{_USUAL_CAUSE.get(name, '')}"

    def last_line(self, before: str) -> str:
        """See `Program`."""
        return self._log.last_line(before)

    def _read(self, hear: Hear) -> None:
        assert self.popen.stdout is not None  # noqa: S101 - it is a pipe
        with self.popen.stdout as stdout:
            while line := stdout.readline(_LONGEST_LINE):
                hear(line)
        hear(None)


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of a program that trains with this number of threads.

    The number of threads must be set before torch is imported. Waiting OpenMP threads must not occupy cores.
    """
    return {
        # Otherwise glibc returns every large block to the system and requests it again at the next step.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
