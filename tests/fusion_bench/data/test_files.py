"""Sizes of published images, whatever links and names their folder has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusion_bench.data.files import content_digests, image_sizes, named_sizes, read_utf8, require
from fusion_bench.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with ``a.png`` (3 bytes) and ``sub/b.jpg`` (4 bytes)."""
    inside = tmp_path / "images"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.png").write_bytes(b"aaa")
    (inside / "sub" / "b.jpg").write_bytes(b"bbbb")
    (inside / "notes.txt").touch()
    return inside


def test_links_out_of_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.png").write_bytes(b"ccccc")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "d.png").symlink_to(elsewhere / "c.png")
    assert image_sizes(folder) == {"a.png": 3, "d.png": 5, "linked/c.png": 5, "sub/b.jpg": 4}
    assert named_sizes(folder, ["d.png"], "") == {"d.png": 5}


def test_links_that_lead_nowhere_or_in_circles_count_as_absent(folder: Path) -> None:
    before = content_digests(folder.parent, [], [folder])
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "self.png").symlink_to("self.png")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    assert image_sizes(folder) == {"a.png": 3, "sub/b.jpg": 4}
    assert content_digests(folder.parent, [], [folder]) == before
    with pytest.raises(DataError, match=r"2 of 3 images are missing in .*; the first is gone\.png"):
        named_sizes(folder, ["a.png", "gone.png", "self.png"], "the publisher")


def test_a_name_that_no_record_can_contain_is_no_error(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"12")
    assert image_sizes(folder) == {"\\xff.png": 2, "a.png": 3, "sub/b.jpg": 4}
    assert [*content_digests(folder.parent, [], [folder])] == ["images/"]
    for name in ("a\0.png", "\ud83d.png", "a.png/b.png", "x" * 300):
        with pytest.raises(DataError, match="1 of 1 images are missing"):
            named_sizes(folder, [name], "the publisher")


def test_a_file_behind_a_dangling_link_is_told_with_its_target(tmp_path: Path) -> None:
    link = tmp_path / "list.json"
    link.symlink_to("nowhere.json")
    with pytest.raises(DataError, match=r"list\.json is a link to nowhere\.json, which does not exist"):
        require(link)
    with pytest.raises(DataError, match=r"other\.json does not exist; it is published at here"):
        require(tmp_path / "other.json", "here")


def test_text_is_read_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbf\xe7\x8c\xab")
    assert read_utf8(path) == "\u732b"
    path.write_bytes(b"\xff\xfea\0")
    with pytest.raises(DataError, match=r"x\.txt is not UTF-8 text"):
        read_utf8(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_utf8(tmp_path)
