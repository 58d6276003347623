"""How fast samples reach a model: opening, decoding, encoding words, gathering batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from fusion_bench.data.images import decoded_images, image_digests
from fusion_bench.registries import TEXT_ENCODERS
from fusion_bench.registry import Target
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import load_cell_data
from fusion_bench.training.config import (
    CellConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)
from fusion_bench.training.inputs import open_data
from fusion_bench.training.paths import RunPaths

T = TypeVar("T")
_BATCH = 64


@dataclass(frozen=True)
class Rate:
    """One step: ``count`` ``things`` in so many seconds."""

    step: str
    things: str
    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Things a second."""
        return self.count / self.seconds


def measure_input(data: DataConfig, paths: RunPaths, *, images: int, samples: int) -> list[Rate]:
    """Time every step from the published files to a batch, on one thread.

    The first opening makes the index if the cache lacks it. Decoding is timed on bytes in memory at the
    images' own size, by Pillow, which the harness uses, and by torchvision.

    Args:
        data: the data set; its ``limit`` is not looked at.
        paths: where the data set and the cache are.
        images: how many are decoded.
        samples: how many are gathered into batches.

    Raises:
        DataError: files are missing or damaged.
    """
    torch.set_num_threads(1)
    split, first = _timed(lambda: _opened(data, paths))
    _, again = _timed(lambda: _opened(data, paths))
    texts = split.table["text"].tolist()
    vocabulary, counting = _timed(lambda: Vocabulary.of(texts))
    _, encoding = _timed(lambda: vocabulary.encode(texts, data.longest_text))
    return [
        Rate("open the training split, first time", "questions", len(split), first),
        Rate("open the training split again", "questions", len(split), again),
        Rate("count words", "questions", len(texts), counting),
        Rate("encode words", "questions", len(texts), encoding),
        *_pictures(split.images[:images], data, paths),
        _gathering(replace(data, limit=samples), paths),
    ]


def _opened(data: DataConfig, paths: RunPaths) -> Split:
    opened = open_data(data, paths)
    return opened.split(opened.splits.train)


def _pictures(images: tuple[Path, ...], data: DataConfig, paths: RunPaths) -> list[Rate]:
    contents = [path.read_bytes() for path in images]
    steps: dict[str, Callable[[], object]] = {
        "hash images": lambda: image_digests(images),
        "decode images, Pillow": lambda: [_by_pillow(content) for content in contents],
        "decode images, torchvision": lambda: [_by_torchvision(content) for content in contents],
        "decode and resize images into the cache": lambda: decoded_images(
            images, data.image_size, paths.cache / "bench", 1
        ),
    }
    return [Rate(step, "images", len(images), _timed(work)[1]) for step, work in steps.items()]


def _by_pillow(content: bytes) -> object:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _by_torchvision(content: bytes) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision hands its decoders on to torchcodec
        return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


def _gathering(data: DataConfig, paths: RunPaths) -> Rate:
    """One epoch of batches, images normalised as for a model that is trained from its pixels on."""
    nothing = Component(Target("fusion_bench.bench.input:Rate"))
    config = CellConfig(
        data=data,
        backbone=None,
        text=Component(TEXT_ENCODERS.resolve("gru")),
        fusion=FusionConfig(),
        arm=nothing,
        kind="network",
        head=HeadConfig(),
        train=TrainConfig(),
        seed=0,
        evaluate=False,
    )
    cell_data = load_cell_data(config, paths)
    loader = BatchLoader(cell_data.encoded[cell_data.splits.train], cell_data, torch.device("cpu"))
    batches, seconds = _timed(lambda: sum(1 for _ in loader.epoch(1, 0, _BATCH)))
    return Rate("gather batches of normalised images", "rows", batches * _BATCH, seconds)


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began
