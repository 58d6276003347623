"""One process at a time holds a folder; one that lost its lease while it was stopped can change nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.lease import Lease, LeaseHeld, LeaseLost, LeaseTimes, is_held
from fusion_bench.processes import is_dead, this_process

QUICK = LeaseTimes(beat=0.02, stale=0.4, watch=0.1)
ELSEWHERE = replace(this_process(), host="another host", boot="another start")

HOLD = """
import sys, time
from pathlib import Path
from fusion_bench.lease import Lease, LeaseLost, LeaseTimes
folder = Path(sys.argv[1])
with Lease(folder, LeaseTimes(beat=0.02, stale=0.4, watch=0.1)) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    aside = folder / "replaced" / "0"
    for change in (
        lambda: write(lease), lambda: lease.remove(folder / "DONE"), lambda: lease.move([folder / "DONE"], aside)
    ):
        try:
            change()
            print("changed", flush=True)
        except LeaseLost:
            print("lost", flush=True)
"""
WRITE = """
def write(lease):
    with lease.replacing(folder / "result") as part:
        part.write_text("of the first")
"""
CONTEST = """
import sys, time
from pathlib import Path
from fusion_bench.lease import Lease, LeaseHeld
folder, wanted, won = Path(sys.argv[1]), int(sys.argv[2]), 0
while won < wanted:
    try:
        with Lease(folder):
            (folder / "inside").touch(exist_ok=False)  # fails if anybody else is inside
            won += 1
            (folder / "inside").unlink()
    except LeaseHeld:
        pass
print(won)
"""


def write(lease: Lease, path: Path, text: str) -> None:
    with lease.replacing(path) as part:
        part.write_text(text)


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield another process that holds the folder and changes it when it reads a line."""
    program = [sys.executable, "-c", WRITE + HOLD, str(folder)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_process_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    with Lease(tmp_path) as lease:
        assert is_held(tmp_path)
        with pytest.raises(LeaseHeld, match=rf"held by process {os.getpid()} of "), Lease(tmp_path):
            pass
        write(lease, tmp_path / "result", "mine")
    assert not is_held(tmp_path)
    assert (tmp_path / "result").read_text() == "mine"
    with Lease(tmp_path):
        pass
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_not_there_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "nowhere")


def test_the_lease_of_a_killed_process_of_this_host_is_free_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert is_held(tmp_path)
        with pytest.raises(LeaseHeld), Lease(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        while is_held(tmp_path):  # until the kernel has ended it; nobody has waited for it yet
            time.sleep(0.01)
        with Lease(tmp_path):
            pass


def test_a_process_that_was_stopped_and_wakes_up_changes_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.send_signal(signal.SIGSTOP)
        with taken_over(tmp_path) as lease:
            write(lease, tmp_path / "result", "of the second")
            write(lease, tmp_path / "DONE", "")
            process.send_signal(signal.SIGCONT)
            process.stdin.write("\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(3)] == ["lost\n"] * 3
            lease.check()
    assert (tmp_path / "result").read_text() == "of the second"
    assert (tmp_path / "DONE").exists()
    assert not (tmp_path / "replaced" / "0").exists()


@pytest.mark.parametrize("links", [True, False])
def test_moved_files_are_never_in_neither_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    files = [tmp_path / "DONE", tmp_path / "result"]
    aside = tmp_path / "replaced" / "0"

    def write_both(lease: Lease, text: str) -> None:
        for file in files:
            write(lease, file, text)

    def texts(folder: Path) -> list[str]:
        return [(folder / file.name).read_text() for file in files]

    with Lease(tmp_path) as lease:
        if not links:
            monkeypatch.setattr(os, "link", refuse)
        write_both(lease, "old")
        with monkeypatch.context() as broken, pytest.raises(OSError, match="no hard links"):
            broken.setattr(Path, "rename", refuse)
            lease.move(files, aside)
        assert texts(tmp_path) == ["old", "old"]
        assert not aside.exists()
        lease.move(files, aside)
        assert not any(file.exists() for file in files)
        write_both(lease, "new")
        with pytest.raises(OSError, match="not empty"):
            lease.move(files, aside)
        assert texts(tmp_path) == ["new", "new"]
        assert texts(aside) == ["old", "old"]


@contextmanager
def taken_over(folder: Path) -> Iterator[Lease]:
    """Hold a folder once the lease of another process is stale."""
    for _ in range(200):
        with suppress(LeaseHeld):
            lease = Lease(folder, QUICK).__enter__()
            break
        time.sleep(0.05)
    try:
        yield lease
    finally:
        lease.__exit__()


def test_a_holder_that_beats_on_another_host_keeps_its_lease(tmp_path: Path) -> None:
    with Lease(tmp_path, QUICK, ELSEWHERE) as lease:
        time.sleep(3 * QUICK.stale)
        with pytest.raises(LeaseHeld, match="of another host"), Lease(tmp_path, QUICK):
            pass
        lease.check()


def silent(folder: Path, seconds: float) -> Lease:
    """Return the lease of another host whose last beat was so many seconds ago."""
    lease = Lease(folder, LeaseTimes(beat=1000), ELSEWHERE).__enter__()
    then = time.time() - seconds
    os.utime(folder / "lease.1", (then, then))
    return lease


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_lease_of_another_host_without_a_beat_is_taken_over(tmp_path: Path, seconds: float) -> None:
    old = silent(tmp_path, seconds)
    assert not is_held(tmp_path, QUICK)
    with Lease(tmp_path, QUICK) as new:
        write(new, tmp_path / "result", "new")
        for change in (
            lambda: write(old, tmp_path / "result", "old"),
            lambda: old.remove(tmp_path / "result"),
            old.check,  # after a look at the disk it knows
        ):
            with pytest.raises(LeaseLost, match="was silent too long"):
                change()
        assert (tmp_path / "result").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.2", "result"]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_was_set_takes_no_lease_from_a_holder_that_beats(tmp_path: Path, seconds: float) -> None:
    with Lease(tmp_path, replace(QUICK, beat=0.05), ELSEWHERE):
        then = time.time() - seconds
        os.utime(tmp_path / "lease.1", (then, then))
        with pytest.raises(LeaseHeld), Lease(tmp_path, replace(QUICK, beat=0.05, watch=0.3)):
            pass


def test_of_many_that_find_a_stale_lease_one_takes_it_over(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / str(number)
        silent(folder, 3600)
        together = threading.Barrier(6)

        def claim(own: Path = folder, start: threading.Barrier = together) -> bool:
            start.wait()
            try:
                with Lease(own, replace(QUICK, watch=0.0)) as lease:
                    time.sleep(0.02)
                    write(lease, own / "result", lease.token)
                    start.wait(10)
                return True
            except LeaseHeld:
                start.wait(10)
                return False

        with ThreadPoolExecutor(6) as pool:
            won = [future.result() for future in [pool.submit(claim) for _ in range(6)]]
        assert won.count(True) == 1


@pytest.mark.slow
def test_a_thousand_contested_claims_have_one_winner_each(tmp_path: Path) -> None:
    program = [sys.executable, "-c", CONTEST, str(tmp_path), "250"]
    processes = [subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    ended = [process.communicate(timeout=300) for process in processes]
    assert [(out, error) for out, error in ended] == [(b"250\n", b"")] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["lease.1000"]


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse)
    with Lease(tmp_path, QUICK, ELSEWHERE):
        time.sleep(2 * QUICK.stale)
        with pytest.raises(LeaseHeld), Lease(tmp_path, QUICK):
            pass
    with Lease(tmp_path, QUICK) as lease:
        write(lease, tmp_path / "result", "mine")
    assert (tmp_path / "result").read_text() == "mine"


def twice(link: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Make the link, then make it again, as a client does whose first answer was lost."""

    def linked(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    return linked


def test_a_link_whose_answer_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", twice(os.link))
    with Lease(tmp_path) as lease:
        lease.check()
        write(lease, tmp_path / "result", "mine")


def test_the_age_of_a_damaged_lease_decides(tmp_path: Path) -> None:
    (tmp_path / "lease.7").write_text("{")
    with pytest.raises(LeaseHeld, match="held by another process"), Lease(tmp_path):
        pass
    os.utime(tmp_path / "lease.7", (1000, 1000))
    with Lease(tmp_path, QUICK):
        assert (tmp_path / "lease.8").exists()


def test_what_fails_for_another_reason_is_told_as_it_is(tmp_path: Path) -> None:
    with Lease(tmp_path) as lease:
        with pytest.raises(ZeroDivisionError), lease.replacing(tmp_path / "result"):
            raise ZeroDivisionError
        with pytest.raises(FileNotFoundError), lease.replacing(tmp_path / "result"):
            (tmp_path / "nothing").read_text()
        lease.remove(tmp_path / "nothing")
    assert not (tmp_path / "result").exists()


def test_a_number_that_another_process_got_is_another_process() -> None:
    own = this_process()
    assert not is_dead(own)
    if own.began is not None:
        assert is_dead(replace(own, began=own.began - 1))
    assert not is_dead(ELSEWHERE)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(replace(own, pid=ended.pid))
