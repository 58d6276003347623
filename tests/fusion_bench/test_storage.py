"""Files are whole or absent, caches are checked, locks die with their holder."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import LeaseHeld
from fusion_bench.storage import (
    cached_array,
    cached_file,
    canonical,
    digest,
    file_digest,
    lock,
    read_json,
    replacing,
    sweep_parts,
    write_json,
    write_text,
)


def test_equal_values_have_equal_text_and_equal_digests() -> None:
    assert canonical({"b": 1.0, "a": [1, "é"]}) == '{"a":[1,"é"],"b":1.0}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert len(digest(0, 24)) == 24
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_a_file_is_replaced_only_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.txt"
    write_text(path, "first")
    with pytest.raises(OSError, match="No space left"), replacing(path) as part:
        part.write_text("second, half wri")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["result.txt"], "nothing is left behind"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path) as part:
        part.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from fusion_bench.storage import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], check=False)
    assert list(path.parent.glob(".*.part")), "the killed process left its file"


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "result.json")
    for name in (".older.json.abc.part", ".of_another_host.json.abc.part"):
        (tmp_path / name).touch()
    long_ago = time.time() - 2 * 86400
    os.utime(tmp_path / ".older.json.abc.part", (long_ago, long_ago))
    (tmp_path / ".folder.part").mkdir()
    (tmp_path / "thesis.part").touch()
    (tmp_path / ".link.part").symlink_to(tmp_path / "thesis.part")
    with replacing(tmp_path / "written.txt") as part:
        part.write_text("on its way")
        sweep_parts(tmp_path)
    assert (tmp_path / "written.txt").read_text() == "on its way"
    assert {file.name for file in tmp_path.iterdir()} == {
        ".folder.part",
        ".link.part",
        ".of_another_host.json.abc.part",
        "thesis.part",
        "written.txt",
    }


def test_a_file_that_another_process_writes_is_not_swept(tmp_path: Path) -> None:
    code = KILLED_WHILE_WRITING.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(flush=True); input()")
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        sweep_parts(tmp_path)
        writer.communicate("go on\n")
    assert (tmp_path / "x").read_text() == "half"


def test_the_cache_sweeps_before_it_makes_a_file(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "features.npy")
    cached_array(tmp_path, "key", (2,), np.float32, lambda content: content.fill(1))
    assert not list(tmp_path.glob(".*.part"))


def test_json_is_written_the_same_way_every_time(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2], "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": [1, 2]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert file_digest(tmp_path / "a.json") == file_digest(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1, 2]}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000])
def test_what_is_not_json_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(FusionBenchError, match=r"x\.json is not JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(FusionBenchError, match=r"gone\.json does not exist"):
        read_json(tmp_path / "gone.json")


class Counting:
    """Fills an array and counts how often it had to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, array: npt.NDArray[Any]) -> None:
        self.calls += 1
        array[...] = np.arange(array.size).reshape(array.shape)


def test_a_cached_array_is_made_once(tmp_path: Path) -> None:
    fill = Counting()
    first = cached_array(tmp_path, {"of": "test"}, (2, 3), np.float32, fill)
    again = cached_array(tmp_path, {"of": "test"}, (2, 3), np.float32, fill)
    assert fill.calls == 1
    assert again.tolist() == first.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="read-only"):
        again[0, 0] = 9
    cached_array(tmp_path, {"of": "another"}, (2, 3), np.float32, fill)
    assert fill.calls == 2


@pytest.mark.parametrize(
    "damage", ["flip a byte", "cut it short", "lose the seal", '{"key": "key"}', "[]", "null", "{"]
)
def test_a_damaged_array_is_made_again(tmp_path: Path, damage: str) -> None:
    fill = Counting()
    cached_array(tmp_path, "key", (4, 4), np.int64, fill)
    (array,), (seal,) = list(tmp_path.glob("*.npy")), list(tmp_path.glob("*.json"))
    content = bytearray(array.read_bytes())
    if damage == "flip a byte":
        content[-3] ^= 1
        array.write_bytes(content)
    elif damage == "cut it short":
        array.write_bytes(content[:-8])
    elif damage == "lose the seal":
        seal.unlink()
    else:
        seal.write_text(damage)
    made_again = cached_array(tmp_path, "key", (4, 4), np.int64, fill)
    assert fill.calls == 2
    assert made_again[3, 3] == 15


def test_a_fill_that_fails_leaves_no_array(tmp_path: Path) -> None:
    def fail(array: npt.NDArray[Any]) -> None:
        array[0] = 1
        raise RuntimeError("cannot read the image")

    with pytest.raises(RuntimeError, match="cannot read the image"):
        cached_array(tmp_path, "key", (2,), np.float32, fail)
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".lease"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve disk space")
def test_a_full_disk_is_an_error_before_anything_is_filled(tmp_path: Path) -> None:
    fill = Counting()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match="File too large"):
            cached_array(tmp_path, "key", (1024, 1024), np.int64, fill)
    finally:
        signal.signal(signal.SIGXFSZ, ignored)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fill.calls == 0
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".lease"]


def _fill_slowly(array: npt.NDArray[Any]) -> None:
    time.sleep(0.2)
    array[...] = 7
    folder = Path(array.filename).parents[2]  # type: ignore[attr-defined]
    with (folder / "calls").open("a") as file:
        file.write("x")


def _make(folder: Path) -> None:
    cached_array(folder, "key", (3,), np.float32, _fill_slowly)


def test_two_processes_make_an_array_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=_make, args=(tmp_path,)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0, 0]
    assert (tmp_path / "calls").read_text() == "x"


def test_a_process_that_lost_its_lease_while_it_made_a_file_makes_it_again(tmp_path: Path) -> None:
    made = []

    def make(part: Path) -> None:
        made.append(part)
        part.write_text("whole")
        if len(made) == 1:
            shutil.rmtree(part.parent)  # as the next holder does

    assert cached_file(tmp_path, "key", ".txt", make).read_text() == "whole"
    assert len(made) == 2


def test_a_file_that_is_there_is_opened_on_a_file_system_that_takes_no_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cached_file(tmp_path, "key", ".txt", lambda part: part.write_text("whole"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    for name in ("mkdir", "touch", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    assert cached_file(tmp_path, "key", ".txt", lambda part: part.write_text("again")) == file


def test_a_held_lock_is_refused_at_once_and_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "cell" / "lock"
    holding = "from pathlib import Path; from fusion_bench.storage import lock; import sys, time\n"
    holding += "with lock(Path(sys.argv[1]), wait=False):\n print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holding, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld), lock(path, wait=False):
            pass
        holder.kill()
    with lock(path, wait=False):
        pass
