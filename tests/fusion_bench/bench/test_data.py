"""The speed of data: what is timed is done, and each line says how it follows from the times."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion_bench.bench import data
from fusion_bench.data.decoding import read_image
from fusion_bench.data.images import decoded_images


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every timed piece of work take the next of 1, 2, 4, 8 ... seconds."""
    readings = itertools.chain.from_iterable((0.0, 2.0**power) for power in range(20))
    monkeypatch.setattr(data, "seconds_now", lambda _: next(readings))


@pytest.mark.usefixtures("clock")
def test_the_images_that_two_cores_make_in_a_second() -> None:
    line = data.measure_making(images=3, repeats=2)
    assert (line.measured, line.better, line.target) == (2 * 3 / 1.0, "higher", 120)


@pytest.mark.usefixtures("clock")
def test_the_time_of_many_questions_follows_from_that_of_a_few() -> None:
    line = data.measure_questions(images=4, repeats=2)
    assert (line.measured, line.better, line.target) == (100_000 / (4 * 10), "lower", 60)


@pytest.mark.usefixtures("clock")
def test_the_share_of_the_limit_is_a_median_over_pairs() -> None:
    line = data.measure_maps(images=2, repeats=3)  # times 1, 2 (warm-up), then 4, 8 and 16, 32 and 64, 128
    assert (line.measured, line.better, line.target) == (0.5, "higher", 0.9)


def test_decoding_is_timed_with_and_without_resizing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_SIZE", (24, 36))
    monkeypatch.setattr(data, "_CLEVR_SIZE", (60, 80))
    monkeypatch.setattr(data, "_NETWORK_SIZE", (24, 24))
    own, resized = data.measure_decoding(repeats=1)
    assert "resized" not in own.item + own.quantity
    assert "resized to 24x24" in resized.item
    assert "decoding and resizing" in resized.quantity
    assert own.measured > 0 < resized.measured


@pytest.mark.parametrize("size", [(48, 64), (20, 30)])
def test_the_limit_of_the_decoder_is_the_work_that_gives_the_same_pixels(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    bare = data._decoded(file.read_bytes(), size)
    assert np.array_equal(bare, decoded_images([file], size, tmp_path / "cache", 1)[0])
    assert bare.shape == (*size, 3)
    assert np.array_equal(read_image(file), pixels)
