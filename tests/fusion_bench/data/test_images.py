"""Decoding images into the shared array."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusion_bench.data import images
from fusion_bench.data.images import damaged_images, decoded_images, image_digests
from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Resizing


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Return 70 random images of 6 x 4 pixels (height 4), every second one with an opaque alpha channel."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(70):
        channels = 4 if number % 2 else 3
        path = tmp_path / f"{number:03d}.png"
        pixels = random.integers(0, 256, (4, 6, channels), dtype=np.uint8)
        pixels[..., 3:] = 255
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_of_the_right_size_are_kept_bit_for_bit(
    pictures: list[Path], tmp_path: Path, workers: int
) -> None:
    array = decoded_images(pictures, (4, 6), tmp_path / "cache", workers)
    assert array.shape == (70, 4, 6, 3)
    assert array.dtype == np.uint8
    assert not array.flags.writeable
    for path, row in zip(pictures, array, strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(row, np.asarray(image)[..., :3])


def test_reduction_is_antialiased(tmp_path: Path) -> None:
    """A one-pixel checkerboard becomes grey; plain sampling would leave black or white."""
    board = np.indices((32, 32)).sum(0) % 2 * 255
    path = tmp_path / "board.png"
    Image.fromarray(np.repeat(board[..., None], 3, axis=2).astype(np.uint8)).save(path)
    array = decoded_images([path], (8, 8), tmp_path / "cache", 1)
    assert abs(array.astype(float) - 127.5).max() < 3


def test_pictures_are_decoded_once(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded_images(pictures, (2, 3), tmp_path / "cache", 1)

    def decoded_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(images, "_decode", decoded_again)
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in pictures]
    np.testing.assert_array_equal(decoded_images(moved, (2, 3), tmp_path / "cache", 1), first)


def test_a_changed_picture_of_equal_name_and_size_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.bmp"
    Image.new("RGB", (2, 2), "red").save(path)
    decoded_images([path], (2, 2), tmp_path / "cache", 1)
    size = path.stat().st_size
    Image.new("RGB", (2, 2), "blue").save(path)
    assert path.stat().st_size == size
    assert decoded_images([path], (2, 2), tmp_path / "cache", 1)[0, 0, 0].tolist() == [0, 0, 255]


def test_digests_are_remembered_until_a_file_changes(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    expected = tuple(hashlib.sha256(path.read_bytes()).digest() for path in pictures)
    assert image_digests(pictures, 2, cache) == image_digests(pictures) == expected
    stat, content = pictures[7].stat(), bytearray(pictures[7].read_bytes())
    content[50] ^= 1
    time.sleep(0.02)  # longer than a tick of the clock that stamps files
    pictures[7].write_bytes(content)
    os.utime(pictures[7], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = image_digests(pictures, 1, cache)
    assert [old != new for old, new in zip(expected, changed, strict=True)] == [
        path == pictures[7] for path in pictures
    ]

    def read_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(images, "read_bytes", read_again)
    assert image_digests(pictures, 1, cache) == changed


@pytest.mark.parametrize("kept", [0, 20, 60, -20])
def test_a_damaged_picture_is_named(pictures: list[Path], tmp_path: Path, kept: int) -> None:
    pictures[66].write_bytes(pictures[66].read_bytes()[:kept])
    with pytest.raises(DataError, match=r"066\.png is damaged or not an image"):
        decoded_images(pictures, (4, 6), tmp_path / "cache", 2)


def test_a_missing_picture_is_named(pictures: list[Path], tmp_path: Path) -> None:
    pictures[3].unlink()
    with pytest.raises(DataError, match=r"cannot read the image .*003\.png: No such file"):
        decoded_images(pictures, (4, 6), tmp_path / "cache", 1)


def test_damaged_pictures_are_found_and_remembered(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures[5].write_bytes(pictures[5].read_bytes()[:-20])
    pictures[69].write_text("no picture")
    found = frozenset({pictures[5], pictures[69]})
    assert damaged_images(pictures, None, workers=2) == found
    assert damaged_images(pictures, tmp_path / "cache") == found
    Image.new("RGB", (6, 4)).save(pictures[5])
    assert damaged_images(pictures, tmp_path / "cache") == {pictures[69]}

    def opened_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(images, "image_damage", opened_again)
    assert damaged_images(pictures, tmp_path / "cache") == {pictures[69]}


@pytest.mark.parametrize(("height", "width"), [(20, 33), (33, 20), (7, 9), (5, 5)])
def test_a_letterboxed_picture_is_sampled_bilinearly_on_grey(tmp_path: Path, height: int, width: int) -> None:
    """Against torch's interpolation without antialiasing, which takes half pixels as OpenCV does."""
    smooth = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(smooth).save(path)
    (found,) = decoded_images([path], (16, 16), tmp_path / "cache", 1, letterbox=True)
    sizes = np.array([[height, width]])
    left, top, wide, high = map(int, Resizing(16, 16, letterbox=True).windows(sizes)[0])
    pixels = torch.from_numpy(smooth).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, (high, wide), mode="bilinear", align_corners=False)
    inside = found[top : top + high, left : left + wide]
    assert np.abs(inside - expected[0].permute(1, 2, 0).numpy()).max() <= 1
    outside = np.ones((16, 16), dtype=bool)
    outside[top : top + high, left : left + wide] = False
    assert (found[outside] == 127).all()


def test_a_letterboxed_array_is_not_the_stretched_one(pictures: list[Path], tmp_path: Path) -> None:
    stretched = decoded_images(pictures, (8, 8), tmp_path / "cache", 1)
    boxed = decoded_images(pictures, (8, 8), tmp_path / "cache", 2, letterbox=True)
    assert (boxed[:, 0] == 127).all()
    assert not np.array_equal(stretched, boxed)
    np.testing.assert_array_equal(decoded_images(pictures, (8, 8), tmp_path / "cache", 1), stretched)
