"""Digests of published files: kept while a file is untouched, and named by file for every adapter."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.data import files
from fusion_bench.data.clevr import Clevr
from fusion_bench.data.easy_vqa import EasyVqa
from fusion_bench.data.files import known_digest, require_all
from fusion_bench.data.nlvr import Nlvr
from fusion_bench.data.vqa2 import Vqa2
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import DataSet
from published_vqa2 import write_vqa2


def aged(path: Path) -> Path:
    """Return the file after setting its time of modification to a minute ago."""
    then = time.time_ns() - 60 * 10**9
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let digests be kept at once: the time of change of a file that a test writes is always now."""
    monkeypatch.setattr(files, "_CLOCK_TOLERANCE", -1)


def test_an_untouched_file_is_not_read_again(
    tmp_path: Path, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers.json"
    file.write_text("red")
    first = known_digest(aged(file), tmp_path / "cache")
    monkeypatch.setattr(files, "file_digest", lambda path: pytest.fail(f"{path} is read again"))
    assert known_digest(file, tmp_path / "cache") == first


@pytest.mark.parametrize("keep_time", [False, True])
def test_another_content_of_the_same_size_is_seen_even_if_the_time_is_set_back(
    tmp_path: Path, patient: None, *, keep_time: bool
) -> None:
    file = tmp_path / "answers.json"
    file.write_text("red")
    then = aged(file).stat()
    first = known_digest(file, tmp_path / "cache")
    time.sleep(0.01)  # the clock of the file system ticks
    file.write_text("tan")
    if keep_time:
        os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert known_digest(file, tmp_path / "cache") != first


@pytest.mark.parametrize("number", [1, 2, 8])
def test_missing_files_are_named_together(tmp_path: Path, number: int) -> None:
    (tmp_path / "here").touch()
    paths = [tmp_path / "here", *(tmp_path / f"gone{n}" for n in range(number))]
    with pytest.raises(DataError) as error:
        require_all(paths, "https://example.org")
    said = str(error.value)
    assert all(str(path) in said for path in paths[1:6]) and str(paths[0]) not in said
    assert "https://example.org" in said and "\n" not in said
    assert ("and 3 more" in said) == (number == 8)


@pytest.mark.parametrize(
    ("adapter", "missing"),
    [(Vqa2, 6), (Clevr, 4), (Nlvr, 8), (EasyVqa, 5)],
    ids=["vqa2", "clevr", "nlvr", "easy_vqa"],
)
def test_an_empty_folder_lacks_every_file(
    tmp_path: Path, adapter: Callable[[Path], DataSet], missing: int
) -> None:
    with pytest.raises(DataError, match=f"{missing} files or folders do not exist"):
        adapter(tmp_path).prepare()


def test_contents_are_digests_by_file_and_make_the_manifest(tmp_path: Path) -> None:
    data = Vqa2(write_vqa2(tmp_path, images=40))
    contents = data.contents()
    assert set(contents) == {
        *(f"Questions/v2_OpenEnded_mscoco_{name}_questions.json" for name in ("train2014", "val2014")),
        *(f"Annotations/v2_mscoco_{name}_annotations.json" for name in ("train2014", "val2014")),
        "Images/mscoco/train2014/",
        "Images/mscoco/val2014/",
    }
    assert files.manifest_of(contents) == data.manifest()
    assert files.manifest_of({"": "stated"}) == "stated"
