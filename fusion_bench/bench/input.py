"""The speed of each step from the files of a data set to a batch: opening, decoding, encoding words, batching."""

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
from fusion_bench.training.config import (
    CellConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)
from fusion_bench.training.inputs import open_data
from fusion_bench.training.load_cell_data import load_cell_data
from fusion_bench.training.paths import RunPaths

T = TypeVar("T")
_BATCH = 64


@dataclass(frozen=True)
class Rate:
    """The time of one step.

    Attributes:
        step: what was done.
        things: what was counted (``images``, ``questions``).
        count: how many of them.
        seconds: the time that the step took for all of them.
    """

    step: str
    things: str
    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """The number of ``things`` per second."""
        return self.count / self.seconds


def measure_input(data: DataConfig, paths: RunPaths, *, images: int, samples: int) -> list[Rate]:
    """Time each step from the published files to a batch, on one thread.

    The first opening builds the index if the cache does not hold it. Decoding is timed from bytes in memory, at the
    original size of the images, with Pillow, which the harness uses, and with torchvision.

    Args:
        data: the data set; its ``limit`` is ignored.
        paths: the folders of the data set and of the cache.
        images: the number of images to decode.
        samples: the number of samples to put into batches.

    Raises:
        DataError: a file is missing or damaged.
    """
    torch.set_num_threads(1)
    split, first = _time(lambda: _open_train_split(data, paths))
    _, again = _time(lambda: _open_train_split(data, paths))
    texts = split.table["text"].tolist()
    vocabulary, counting = _time(lambda: Vocabulary.of(texts))
    _, encoding = _time(lambda: vocabulary.encode(texts, data.longest_text))
    return [
        Rate("open the training split, first time", "questions", len(split), first),
        Rate("open the training split again", "questions", len(split), again),
        Rate("count words", "questions", len(texts), counting),
        Rate("encode words", "questions", len(texts), encoding),
        *_time_images(split.images[:images], data, paths),
        _time_batches(replace(data, limit=samples), paths),
    ]


def _open_train_split(data: DataConfig, paths: RunPaths) -> Split:
    opened = open_data(data, paths)
    return opened.split(opened.splits.train)


def _time_images(images: tuple[Path, ...], data: DataConfig, paths: RunPaths) -> list[Rate]:
    contents = [path.read_bytes() for path in images]
    steps: dict[str, Callable[[], object]] = {
        "hash images": lambda: image_digests(images),
        "decode images, Pillow": lambda: [_decode_with_pillow(content) for content in contents],
        "decode images, torchvision": lambda: [_decode_with_torchvision(content) for content in contents],
        "decode and resize images into the cache": lambda: decoded_images(
            images, data.image_size, paths.cache / "bench", 1
        ),
    }
    return [Rate(step, "images", len(images), _time(work)[1]) for step, work in steps.items()]


def _decode_with_pillow(content: bytes) -> object:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _decode_with_torchvision(content: bytes) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torchcodec, the successor
        return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


def _time_batches(data: DataConfig, paths: RunPaths) -> Rate:
    """Time one epoch of batches whose images are normalised as for a model that is trained from pixels."""
    no_component = Component(Target("fusion_bench.bench.input:Rate"))
    config = CellConfig(
        data=data,
        backbone=None,
        text=Component(TEXT_ENCODERS.resolve("gru")),
        fusion=FusionConfig(),
        arm=no_component,
        kind="network",
        head=HeadConfig(),
        train=TrainConfig(),
        seed=0,
        evaluate=False,
    )
    cell_data = load_cell_data(config, paths)
    loader = BatchLoader(cell_data.encoded[cell_data.splits.train], cell_data, torch.device("cpu"))
    batches, seconds = _time(lambda: sum(1 for _ in loader.epoch(1, 0, _BATCH)))
    return Rate("gather batches of normalised images", "rows", batches * _BATCH, seconds)


def _time(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
