"""Files that survive a crash: written under a temporary name, renamed when whole, checked when read."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease, LeaseHeld, LeaseLost, is_held

_DAY = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 2.0  # seconds between two looks at a lease


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no blanks, shortest floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, length: int = 16) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of `canonical` JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def check_regular(path: Path) -> None:
    """Do nothing for a file that can be read to its end.

    Raises:
        OSError: it is not there, or is no file: a pipe would wait for ever, and a device may have no end.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: Path) -> str:
    """SHA-256 over names and bytes of the files in a folder and below; those that start with a dot do not count."""
    files = sorted(
        file.relative_to(path)
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    listed = [[file.as_posix(), file_digest(path / file)] for file in files]
    return hashlib.sha256(canonical(listed).encode()).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place if the block succeeds, else remove it.

    The file gets the permissions of any new file: those that the umask leaves. A process that is killed in between
    leaves the temporary file; `sweep_parts` removes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _new_part(path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _new_part(path: Path) -> tuple[int, Path]:
    """Return a new temporary file beside ``path``, opened and locked until it is closed, so that it is not swept."""
    while True:
        part = path.with_name(f".{path.name}.{_host()}-{secrets.token_hex(4)}.part")
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # some network disks have no locks; nothing is swept there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, part
        os.close(handle)  # swept before it was locked


def _host() -> str:
    """Return a short name of this host, as temporary files have it."""
    return digest(socket.gethostname(), 6)


def sweep_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; those being written are kept.

    A lock of another host may not be seen here, so what another host has left is removed a day later.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError):  # it is locked, no file, swept by another process, or not ours to remove
            if f".{_host()}-" not in part.name and time.time() - part.lstat().st_mtime < _DAY:
                continue
            handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file or nothing; see `json_text`."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return a value as JSON: two-space indent, sorted keys, so equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file, which may begin with a byte-order mark.

    Raises:
        FusionBenchError: it is not there or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise FusionBenchError(f"{path} does not exist") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, nested too deeply, a number of too many digits
        raise FusionBenchError(f"{path} is not JSON: {error}") from error


def lock(path: Path, *, wait: bool) -> AbstractContextManager[Lease]:
    """Return a lease as a lock, which also holds between hosts, and is free when its holder has died.

    Use it as a context manager; with ``wait=False`` entering raises `LeaseHeld` if somebody holds it.

    Args:
        path: names the lock; the lease is a folder beside it with the suffix ``.lease``.
        wait: wait until it is free.
    """
    folder = path.with_suffix(".lease")
    return _wait_for(folder) if wait else Lease(folder)


@contextmanager
def _wait_for(folder: Path) -> Iterator[Lease]:
    """Wait until a folder is free, and hold it while the block runs."""
    pause, lease = _FIRST_PAUSE, None
    with ExitStack() as stack:
        while lease is None:
            if not is_held(folder):  # quicker than a claim that fails
                with suppress(LeaseHeld):
                    lease = stack.enter_context(Lease(folder))
                    continue
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        yield lease


Fill = Callable[[npt.NDArray[Any]], None]


def cached_file(folder: Path, key: Any, suffix: str, make: Callable[[Path], object]) -> Path:
    """A file stored under the hash of ``key``; made once, shared by all processes, not to be written to.

    The first process makes it under a lease while the others wait, on this host and on others. Beside it stands its
    SHA-256, which every opening checks: a damaged file is made again rather than believed.

    Args:
        folder: the cache folder.
        key: JSON value that names everything the content depends on.
        suffix: of the file's name.
        make: writes the content to the path that it is given.
    """
    stem = folder / digest(key, 24)
    file, seal = stem.with_suffix(suffix), stem.with_suffix(".json")
    while not _intact(file, seal):
        # Lost: this process was stopped for minutes, and another one has begun to make the file.
        with suppress(LeaseLost), lock(stem, wait=True) as lease:
            if _intact(file, seal):
                break
            sweep_parts(folder)
            with lease.replacing(file) as part:
                make(part)
            with lease.replacing(seal) as part:
                part.write_text(json_text({"sha256": file_digest(file), "key": key}), encoding="utf-8")
            break
    return file


def cached_array(
    folder: Path, key: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Fill
) -> npt.NDArray[Any]:
    """A read-only memory-mapped array, kept as `cached_file` keeps files.

    Args:
        folder: the cache folder.
        key: JSON value that names everything the content depends on.
        shape: shape of the array.
        dtype: its type.
        fill: writes the content into the writable array it is given.
    """

    def make(part: Path) -> None:
        content = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype(dtype), shape=shape)
        _reserve(part)
        fill(content)
        content.flush()

    return np.load(cached_file(folder, key, ".npy", make), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _reserve(part: Path) -> None:
    """Take the disk space of a mapped file now: a full disk is an error here, and a crash (SIGBUS) later."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with part.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)


def _intact(file: Path, seal: Path) -> bool:
    if not (file.exists() and seal.exists()):
        return False
    try:
        return bool(read_json(seal)["sha256"] == file_digest(file))
    except (FusionBenchError, KeyError, TypeError):  # the seal is damaged
        return False
