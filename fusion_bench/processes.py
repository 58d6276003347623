"""Names of processes and hosts, whether a process of this host has ended, and what this process uses."""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_PROC = Path("/proc")
_ENDED = frozenset("ZX")  # a zombie, and a process that is being removed
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_KEPT_LOOKS = 1.0
_MOST_KEPT_LOOKS = 120
_STATE, _GROUP, _BEGAN = 0, 2, 19  # places of fields after the name in brackets of /proc/PID/stat


@dataclass(frozen=True)
class ThisProcess:
    """A process.

    Attributes:
        host: the name of its host.
        boot: identifies the host since it was started, and the process numbers that the process sees.
        pid: its number.
        began: when it began, in ticks since the host was started; None where the system does not tell.
    """

    host: str
    boot: str
    pid: int
    began: int | None


def this_process() -> ThisProcess:
    """Return the identity of this process."""
    pid = os.getpid()
    fields = _stat(pid)
    return ThisProcess(socket.gethostname(), _boot(), pid, None if fields is None else int(fields[_BEGAN]))


def is_dead(process: ThisProcess) -> bool:
    """Return True if a process was one of this host and has ended; False if that is not known."""
    if (process.host, process.boot) != (socket.gethostname(), _boot()):
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and belongs to somebody else
        return False
    fields = _stat(process.pid)
    if fields is None or process.began is None:
        return False
    return fields[_STATE] in _ENDED or int(fields[_BEGAN]) != process.began


def group_bytes(group: int) -> int:
    """Return the anonymous memory of all processes of a group in bytes: without mapped files; 0 where none tells."""
    return sum(_anonymous_bytes(pid) for pid in _pids() if _group(pid) == group)


@dataclass(frozen=True)
class UseOfMachine:
    """The use of the machine by a process at one moment.

    Attributes:
        seconds: since the watch began.
        cores: how many cores it kept busy since the look before.
        bytes: its memory, without mapped files; 0 where the system does not tell.
        gpu_bytes: its memory on the GPU; 0 without one.
    """

    seconds: float
    cores: float
    bytes: int
    gpu_bytes: int = 0


class ProcessWatch:
    """Looks at the memory and the processor time of this process while it is used as a context manager.

    The largest value of memory that the system keeps is no substitute: it is that of the largest of all cells that a
    worker has trained, and counts mapped files. Of a long time every second look is forgotten, so that 60 to 120
    evenly spaced ones are kept.

    Args:
        gpu_bytes: returns the memory of this process on its GPU; 0 without one.
        clock: seconds that never run backwards.
    """

    def __init__(
        self, gpu_bytes: Callable[[], int] = lambda: 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gpu_bytes, self._clock = gpu_bytes, clock
        self._most, self._ended = 0, threading.Event()
        self._began, self._every, self._due = clock(), _SECONDS_BETWEEN_KEPT_LOOKS, 0.0
        self._kept: list[tuple[float, float, int, int]] = [(0.0, time.process_time(), 0, 0)]
        self._looks = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> ProcessWatch:
        self._looks.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looks.join()

    def peak_bytes(self) -> int:
        """Look once more, and return the most memory in bytes; 0 where the system does not tell."""
        self.look()
        return self._most

    def look(self) -> None:
        """Look at the process now."""
        found, seconds = _anonymous_bytes(os.getpid()), self._clock() - self._began
        self._most = max(self._most, found)
        if seconds < self._due:
            return
        self._kept.append((seconds, time.process_time(), found, self._gpu_bytes()))
        if len(self._kept) > _MOST_KEPT_LOOKS:
            del self._kept[1::2]
            self._every *= 2
        self._due = seconds + self._every

    def looks(self) -> tuple[UseOfMachine, ...]:
        """Return the looks that were kept, in order."""
        kept = list(self._kept)
        return tuple(
            UseOfMachine(
                round(seconds, 1), round((cpu - before[1]) / max(seconds - before[0], 1e-3), 3), found, gpu
            )
            for before, (seconds, cpu, found, gpu) in pairwise(kept)
        )

    def _watch(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            self.look()


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()] if _PROC.exists() else []


def _group(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[_GROUP])


def _anonymous_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


@functools.cache
def _boot() -> str:
    """Return an identifier of this start of the host and of this process's name space of processes.

    Two containers of one host do not see each other's processes.
    """
    parts = []
    with suppress(OSError):  # not on macOS
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return " ".join(parts)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/PID/stat`` after the name in brackets, which may hold anything."""
    try:
        return (
            (_PROC / str(pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return None
