"""Counts are passed on at a pace at which a person reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusion_bench.data.images import damaged_images, decoded_images, image_digests
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.miniclevr.pretext import pretext_images
from fusion_bench.data.miniclevr.referring.dataset import MiniClevrRefer
from fusion_bench.encoders.features import frozen_features
from fusion_bench.encoders.vision import build_backbone
from fusion_bench.samples.counting import Paced

Told = list[tuple[str, int, int]]


def test_the_first_and_the_last_are_told_and_few_between() -> None:
    heard: Told = []
    now = 0.0
    paced = Paced(lambda *count: heard.append(count), lambda: now)
    for done in range(1, 101):
        now += 0.1
        paced("decoding images", done, 100)
    paced("computing maps", 1, 40)
    assert heard[0] == ("decoding images", 1, 100)
    assert heard[-2:] == [("decoding images", 100, 100), ("computing maps", 1, 40)]
    assert 15 < len(heard) < 25


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(130)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("workers", [1, 2])
def test_images_are_counted(workers: int, pictures: list[Path], tmp_path: Path) -> None:
    heard: Told = []

    def notify(what: str, done: int, total: int) -> None:
        heard.append((what, done, total))

    image_digests(pictures, workers, tmp_path / "cache", notify)
    decoded_images(pictures, (4, 4), tmp_path / "cache", workers, notify=notify)
    damaged_images(pictures, tmp_path / "cache", workers, notify)
    for what in ("reading images", "decoding images", "looking for damaged images"):
        counts = [count for count in heard if count[0] == what]
        assert [done for _, done, _ in counts] == sorted(done for _, done, _ in counts)
        assert counts[-1] == (what, 130, 130)
        assert len(counts) > 1
    heard.clear()
    decoded_images(pictures, (4, 4), tmp_path / "cache", workers, notify=notify)
    assert not any(what == "decoding images" for what, *_ in heard)  # it is in the cache


def test_maps_and_pretext_images_are_counted(tmp_path: Path) -> None:
    heard: Told = []

    def notify(what: str, done: int, total: int) -> None:
        heard.append((what, done, total))

    backbone = build_backbone("test_resnet", image_size=(32, 32), frozen=True)
    images = np.zeros((5, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        frozen_features(backbone, images, {}, tmp_path, batch=2, notify=notify)
    assert heard == [("computing maps", done, 5) for done in (2, 4, 5)]
    heard.clear()
    pretext_images(0, 3, (16, 24), notify=notify)
    assert heard[-1] == ("rendering pretext images", 3, 3)


@pytest.mark.parametrize("kind", [MiniClevr, MiniClevrRefer])
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_generated_images_are_counted(
    kind: type[MiniClevr] | type[MiniClevrRefer], workers: int, tmp_path: Path
) -> None:
    heard: Told = []
    data = kind(
        tmp_path / "made", images={"train": 70, "select": 3, "evaluate": 2}, size=(16, 24), things=(2, 3)
    )
    data.notify = lambda what, done, total: heard.append((what, done, total))
    data.prepare(workers)
    rendered = [count for count in heard if count[0] == "rendering images"]
    assert rendered[-1] == ("rendering images", 75, 75)
    assert len(rendered) == 4  # 64 images a job
    assert heard[0][0] == "placing the objects of scenes"
