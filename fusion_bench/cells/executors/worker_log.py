"""The log of a worker: what it and its modules print, kept within a bounded size on the disk."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from fusion_bench.errors import bounded_line

LARGEST_LOG = 1 << 20
"""Bytes of a log file; when it is full it is renamed to ``<name>.log.1``, which holds the text before it."""
_KEPT_FILES = 100
_CHUNK = 1 << 16
_TAIL = 1 << 14
_SECONDS_TO_COPY = 2.0


class WorkerLog:
    """Copies a stream into a log file until the stream ends, in a thread of its own.

    A process that prints without end is never held up, and its log takes at most twice `LARGEST_LOG`.

    Args:
        stream: the standard error of a worker.
        file: is written when the first text comes.
    """

    def __init__(self, stream: IO[bytes], file: Path) -> None:
        self._stream, self._file = stream, file
        self._older = file.with_name(f"{file.name}.1")
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def last_line(self, before: str) -> str:
        """Return ``before`` and the last line of the log, cut to a bounded length; empty if the log is empty.

        To be called after `close`.
        """
        text = _tail(self._file)
        if len(text) < _TAIL:
            text = _tail(self._older) + text
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return bounded_line(lines[-1], self._file, before) if lines else ""

    def close(self) -> None:
        """Wait until the rest of the stream is copied, though not for a process outside the worker's group."""
        self._thread.join(timeout=_SECONDS_TO_COPY)

    def _copy(self) -> None:
        size = 0
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), _CHUNK):
                with suppress(
                    OSError
                ):  # a full disk must not stop the worker, which waits while nobody reads
                    if size + len(chunk) > LARGEST_LOG:
                        self._file.replace(self._older)
                        size = 0
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    with self._file.open("ab" if size else "wb") as log:
                        log.write(chunk)
                    size += len(chunk)


def remove_old_logs(folder: Path) -> None:
    """Remove all but the newest logs of a folder."""
    logs = sorted(folder.glob("worker-*.log*"), key=lambda log: log.stat().st_mtime, reverse=True)
    for log in logs[_KEPT_FILES:]:
        log.unlink(missing_ok=True)


def _tail(file: Path) -> bytes:
    if not file.exists():
        return b""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - _TAIL))
        return log.read()
