"""The speed at which data reach a cell, in CPU time of one thread: made scenes and questions, images, cached maps.

Waiting for a disk does not count: every file here is small, and its content is in the memory of the system.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fusion_bench.bench.targets import Line
from fusion_bench.bench.timing import in_turn, median_ratio, seconds_now
from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.data.images import decoded_images, image_digests
from fusion_bench.data.miniclevr.build import MiniClevrSettings, build_clevr
from fusion_bench.data.miniclevr.layout import scene_record, write_questions
from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.questions.generate import generate_questions
from fusion_bench.data.miniclevr.render.render import render
from fusion_bench.data.programs import Facts
from fusion_bench.encoders.features import frozen_features
from fusion_bench.encoders.vision import build_backbone, normalise

_SIZE = (96, 144)
_CLEVR_SIZE, _NETWORK_SIZE = (320, 480), (224, 224)
_THINGS = (3, 10)
_SPLIT = "train"
_QUESTIONS_PER_IMAGE = 10
_CPU = torch.device("cpu")

_IMAGES_A_SECOND, _CORES = 120.0, 2
_SECONDS_OF_QUESTIONS, _QUESTIONS = 60.0, 100_000
_SHARE = 0.9
_RATE, _LIMIT = "rate, from CPU time", "rate over that of {} alone, CPU time"


def measure_making(*, images: int = 256, repeats: int = 2) -> Line:
    """Return how many images of miniclevr two cores make in a second, with their scenes, questions and files.

    The processes that share this work have nothing to wait for but each other's end, so that their number multiplies
    the rate; their start, two seconds in all, does not count.
    """
    settings = MiniClevrSettings(
        seed=0,
        images=((_SPLIT, images),),
        size=_SIZE,
        things=_THINGS,
        questions_per_image=_QUESTIONS_PER_IMAGE,
        kinds=tuple(KIND_STARTS),
    )

    def make() -> float:
        with TemporaryDirectory() as folder:
            return _seconds(lambda: build_clevr(settings, Path(folder) / "miniclevr", workers=1))

    rate = _CORES * images / min(make() for _ in range(repeats))
    item = f"miniclevr of {_SIZE[0]}x{_SIZE[1]} with questions, on {_CORES} cores"
    return Line(item, _RATE, _IMAGES_A_SECOND, "higher", rate, "images/s")


def measure_questions(*, images: int = 500, repeats: int = 2) -> Line:
    """Return the time of 100,000 questions of all kinds with their file, from that of ten questions on each image.

    Answers are balanced over a whole split, so that one core makes the questions of a split; another one renders the
    images meanwhile.
    """
    scenes = draw_scenes(SceneRecipe(0, _SPLIT, _SIZE, _THINGS), range(images))
    facts = [Facts.of(scene_record(scene, _SPLIT)) for scene in scenes]

    def make() -> float:
        asked = generate_questions(facts, tuple(KIND_STARTS), _QUESTIONS_PER_IMAGE, "benchmark")
        with TemporaryDirectory() as folder:
            return _seconds(
                lambda: write_questions(
                    Path(folder),
                    _SPLIT,
                    ((scene.index, questions) for scene, questions in zip(scenes, asked, strict=True)),
                )
            )

    seconds = min(make() for _ in range(repeats)) * _QUESTIONS / (images * _QUESTIONS_PER_IMAGE)
    item = f"{_QUESTIONS:,} questions of miniclevr"
    return Line(item, "CPU time", _SECONDS_OF_QUESTIONS, "lower", seconds, "s")


def measure_maps(*, images: int = 256, repeats: int = 5) -> Line:
    """Return the rate at which maps of the quickstart's frozen backbone reach the cache, over its forward passes'.

    This is the smallest backbone that timm has; any other one takes longer beside the same work on its maps.
    """
    batch = 64
    backbone = build_backbone("test_resnet", layer=3, weights="random", image_size=_SIZE, frozen=True)
    pixels = np.random.default_rng(0).integers(0, 256, (images, *_SIZE, 3), dtype=np.uint8)
    batches = [
        normalise(torch.from_numpy(pixels[start : start + batch]), backbone.mean, backbone.std)
        for start in range(0, images, batch)
    ]

    def forward() -> None:
        with torch.inference_mode():
            for normalised in batches:
                backbone(normalised)

    def cache() -> None:
        with TemporaryDirectory() as folder:
            frozen_features(backbone, pixels, {}, Path(folder), batch)

    item = f"maps of test_resnet into the cache, {_SIZE[0]}x{_SIZE[1]}"
    return _share_line(item, "its forward passes", forward, cache, repeats)


def measure_decoding(*, repeats: int = 5) -> list[Line]:
    """Return the rate at which image files become normalised images, over that of Pillow's decoder.

    Images of another size than the network's are also resized by Pillow, whose filter belongs to what a cell's
    pixels are; so Pillow's resizing is part of the limit there.
    """
    lines = []
    for size, target, count in ((_SIZE, _SIZE, 512), (_CLEVR_SIZE, _NETWORK_SIZE, 96)):
        with _image_files(size, 32) as files:
            chosen = list(itertools.islice(itertools.cycle(files), count))
            lines.append(_decoding_line(chosen, size, target, repeats))
    return lines


def _decoding_line(
    files: Sequence[Path], size: tuple[int, int], target: tuple[int, int], repeats: int
) -> Line:
    contents, digests = [file.read_bytes() for file in files], image_digests(files)

    def limit() -> None:
        for content in contents:
            _decoded(content, target)

    def cached() -> None:
        with TemporaryDirectory() as folder:
            images = decoded_images(files, target, Path(folder), 1, digests)
            for start in range(0, len(images), 64):
                batch = torch.from_numpy(np.array(images[start : start + 64]))
                normalise(batch, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    resized = size != target
    item = f"PNG files of {size[0]}x{size[1]}, decoded, normalised"
    item += f", resized to {target[0]}x{target[1]}" if resized else ""
    of = "Pillow's decoding and resizing" if resized else "Pillow's decoding"
    return _share_line(item, of, limit, cached, repeats)


def _decoded(content: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return an image as Pillow gives it, without any of the harness's checks."""
    with Image.open(BytesIO(content)) as image:
        rgb = image.convert("RGB")
    height, width = size
    return np.asarray(
        rgb if rgb.size == (width, height) else rgb.resize((width, height), Image.Resampling.BILINEAR)
    )


@contextmanager
def _image_files(size: tuple[int, int], count: int) -> Iterator[list[Path]]:
    """Give PNG files of rendered scenes in a temporary folder."""
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(count)]
        scenes = draw_scenes(SceneRecipe(0, _SPLIT, size, _THINGS), range(count))
        for file, pixels in zip(files, render(scenes, size), strict=True):
            Image.fromarray(pixels).save(file)
        yield files


def _share_line(
    item: str, limit: str, alone: Callable[[], None], whole: Callable[[], None], repeats: int
) -> Line:
    times = in_turn({"alone": lambda: _seconds(alone), "whole": lambda: _seconds(whole)}, repeats)
    share = median_ratio(times["alone"], times["whole"])
    return Line(item, _LIMIT.format(limit), _SHARE, "higher", share, "times")


def _seconds(work: Callable[[], object]) -> float:
    began = seconds_now(_CPU)
    work()
    return seconds_now(_CPU) - began
