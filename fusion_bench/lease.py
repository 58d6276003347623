"""Leases: one process at a time holds a folder, also where several hosts share its file system.

A lease is the file ``lease.<n>`` in the folder. Of several, the one with the largest number counts. It is made by
a hard link, which fails if the name exists, so that of all that claim number ``n`` one wins. Its content names the
holder. A thread renews its time of modification. A lease is free without a renewal for `LeaseTimes.stale` seconds,
and at once if its holder was a process of this host and has ended. Whoever finds the last lease free may claim the
next number.

Every holder has a folder of its own, ``.lease-<token>``, made before the claim. What it writes is made there and
renamed into place from there; what it removes is renamed into it. A new holder first renames and removes the folders
of all others. A holder that was stopped, and whose lease was taken over meanwhile, can therefore change nothing any
more when it wakes up: each of its renames fails, because its folder is gone (`LeaseLost`).

Times are compared on one clock, that of the file system: the time that it gives to a file that is touched now. This
clock may be set, so a lease that looks stale is watched for `LeaseTimes.watch` seconds before it is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.processes import ThisProcess, is_dead, this_process

_HOLDER = "holder"
_OWN = ".lease-"
_REMOVED = ".removed-"
_NAME = "lease."
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@dataclass(frozen=True)
class LeaseTimes:
    """The times of leases in seconds; all processes that share a folder must have the same.

    Attributes:
        beat: between two renewals.
        stale: without a renewal, after which a lease is free.
        watch: for which a lease that looks stale is watched before it is taken over; more than two beats.
    """

    beat: float = 10.0
    stale: float = 120.0
    watch: float = 25.0


TIMES = LeaseTimes()


class LeaseHeld(FusionBenchError):  # noqa: N818 - a state, not an error
    """Another process holds the folder."""


class LeaseLost(FusionBenchError):  # noqa: N818 - a state, not an error
    """Another process has taken the lease over, because this one was not heard for too long."""


@dataclass(frozen=True)
class _Found:
    """A lease that is in a folder: its number, content and time of modification (0: given back)."""

    number: int
    holder: ThisProcess | None
    token: str
    modified: float


class Lease:
    """The right to write to a folder. Use it as a context manager.

    Entering it raises `LeaseHeld` if another process holds the folder.

    Args:
        folder: the folder, made if it does not exist.
        times: see `LeaseTimes`.
        process: the identity of the holder.

    Attributes:
        token: a random name of this lease.
    """

    def __init__(self, folder: Path, times: LeaseTimes = TIMES, process: ThisProcess | None = None) -> None:
        self._folder, self._times = folder, times
        self._process = this_process() if process is None else process
        self.token = secrets.token_hex(8)
        self._own = folder / f"{_OWN}{self.token}"
        self._number = 0
        self._file = -1
        self._ended, self._lost = threading.Event(), False
        self._beats = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._claim()
        except BaseException:
            self._close()
            raise
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beats.join()
        with suppress(OSError):  # a folder that another process has taken over, or a disk that is gone
            os.utime(self._file, (0, 0))
        self._close()

    def check(self) -> None:
        """Do nothing while the lease is held, as far as its last beat could see; it costs nothing.

        Raises:
            LeaseLost: it was taken over.
        """
        if self._lost:
            raise self._loss()

    def _look(self) -> bool:
        """Ask the file system whether another process has taken the lease over."""
        self._lost = (
            not (self._own / _HOLDER).exists() or (self._folder / f"{_NAME}{self._number + 1}").exists()
        )
        return self._lost

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """Yield a temporary path; rename it to ``path`` in the folder if the block succeeds, else remove it.

        Raises:
            LeaseLost: the lease was taken over; nothing was changed.
        """
        part = self._own / path.name
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            if self._look():
                raise self._loss() from error
            raise
        finally:
            with suppress(OSError):  # taken over: it is gone with its folder
                part.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file or folder from the folder if it is there.

        Raises:
            LeaseLost: the lease was taken over; nothing was changed.
        """
        removed = self._own / f"{_REMOVED}{secrets.token_hex(4)}"
        try:
            path.replace(removed)
        except OSError as error:
            if self._look():
                raise self._loss() from error
            if path.exists():
                raise
            return
        with suppress(OSError):  # a folder goes with the holder's own
            removed.unlink()

    def move(self, files: Sequence[Path], folder: Path) -> None:
        """Move files of the folder into a new folder below it, the first one first.

        All of them are there before the first one is removed here: an interruption leaves a file twice rather than
        not at all.

        Args:
            files: the files.
            folder: the new folder, which must not exist.

        Raises:
            LeaseLost: the lease was taken over; no file was removed.
        """
        part = self._own / folder.name
        try:
            part.mkdir()
            for file in files:
                _link_or_copy(file, part / file.name)
            folder.parent.mkdir(exist_ok=True)
            part.rename(folder)
        except OSError as error:
            if self._look():
                raise self._loss() from error
            raise
        finally:
            _remove_tree(part)
        for file in files:
            self.remove(file)

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"another process has taken over {self._folder}, because this one was silent too long"
        )

    def _claim(self) -> None:
        """Take the next number, and remove what earlier holders could still write with."""
        taken = False
        while not taken:
            # Not found: another process won meanwhile, and removed this process's folder.
            with suppress(FileNotFoundError):
                self._make_own()
                found = _last_lease(self._folder)
                if found is not None and not self._is_free(found):
                    raise LeaseHeld(f"{self._folder} is held by {_said(found.holder)}")
                self._number = 1 if found is None else found.number + 1
                os.utime(self._file)
                taken = self._take(self._folder / f"{_NAME}{self._number}")
        self._shut_out()
        if self._look():
            raise LeaseHeld(f"{self._folder} was taken over by another process")

    def _take(self, lease: Path) -> bool:
        """Make the file of the lease; return False if it exists.

        Raises:
            FileNotFoundError: this process's folder is gone.
        """
        holder = self._own / _HOLDER
        try:
            os.link(holder, lease)
        except FileExistsError:
            # A network file system may repeat a call whose answer was lost, and then find its own link.
            return lease.exists() and os.path.samestat(os.fstat(self._file), lease.stat())
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._create(lease, holder.read_bytes())
        return True

    def _create(self, lease: Path, content: bytes) -> bool:
        """Do the same on a file system without hard links."""
        try:
            file = os.open(lease, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        os.write(file, content)
        os.close(self._file)
        self._file = file
        return True

    def _shut_out(self) -> None:
        """Remove the folders, and then the leases, of all other processes."""
        for other in [*self._folder.glob(f"{_OWN}*"), *self._folder.glob(f"{_REMOVED}*")]:
            if other != self._own:
                removed = self._folder / f"{_REMOVED}{secrets.token_hex(8)}"
                with suppress(FileNotFoundError):  # another new holder was quicker
                    other.rename(removed)  # first, because its holder might add files while it is emptied
                _remove_tree(removed)
        for number, path in _leases(self._folder):
            if number < self._number:
                path.unlink(missing_ok=True)

    def _make_own(self) -> None:
        """Make this process's folder with its file ``holder``, which becomes the lease."""
        if self._file >= 0 and (self._own / _HOLDER).exists():
            return
        self._close()
        self._own.mkdir(parents=True, exist_ok=True)
        file = os.open(self._own / _HOLDER, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(file, json.dumps({**asdict(self._process), "token": self.token}).encode())
        os.fsync(file)
        self._file = file

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        _remove_tree(self._own)

    def _is_free(self, found: _Found) -> bool:
        """Return True if a lease may be taken over; this may take `LeaseTimes.watch` seconds."""
        if _given_up(found):
            return True
        if not self._looks_stale(found):
            return False
        ends = time.monotonic() + self._times.watch
        while time.monotonic() < ends:
            time.sleep(min(self._times.beat, self._times.watch) / 4)
            if _last_lease(self._folder) != found:
                return False
        return True

    def _looks_stale(self, found: _Found) -> bool:
        os.utime(self._file)
        return abs(os.fstat(self._file).st_mtime - found.modified) > self._times.stale

    def _beat(self) -> None:
        while not self._ended.wait(self._times.beat) and not self._lost:
            with suppress(OSError):  # a file server that does not answer for a while
                os.utime(self._file)
                self._look()


def is_held(folder: Path, times: LeaseTimes = TIMES) -> bool:
    """Return True while a process holds the folder.

    A lease without a beat for too long does not count as held; whoever claims it watches it first.
    """
    found = _last_lease(folder)
    return found is not None and not _given_up(found) and abs(_clock(folder) - found.modified) <= times.stale


def _given_up(found: _Found) -> bool:
    """True if the lease was given back, or its holder is a process of this host that has ended."""
    return found.modified == 0 or (found.holder is not None and is_dead(found.holder))


def _clock(folder: Path) -> float:
    """Return the time of the folder's file system; that of this host where nothing can be written."""
    probe = folder / f".clock-{secrets.token_hex(8)}"
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _leases(folder: Path) -> list[tuple[int, Path]]:
    """Return number and path of the leases in a folder, the last one last."""
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            number = entry.name.removeprefix(_NAME)
            if number != entry.name and number.isdecimal():
                found.append((int(number), Path(entry.path)))
    return sorted(found)


def _last_lease(folder: Path) -> _Found | None:
    """Return the lease that counts; None if there is none."""
    while leases := _leases(folder):
        number, path = leases[-1]
        try:
            # Opening asks the file server; a cached stat could be older than a lease's time to be stale.
            with path.open("rb") as file:
                content, modified = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:  # a new holder has removed it
            continue
        try:
            stored = json.loads(content)
            token = str(stored.pop("token"))
            return _Found(number, ThisProcess(**stored), token, modified)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ):  # being written, or damaged: its age decides
            return _Found(number, None, "", modified)
    return None


def _link_or_copy(file: Path, other: Path) -> None:
    """Give a file a second name, or copy it on a file system without hard links."""
    try:
        os.link(file, other)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(file, other)


def _remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)


def _said(holder: ThisProcess | None) -> str:
    return "another process" if holder is None else f"process {holder.pid} of {holder.host}"
