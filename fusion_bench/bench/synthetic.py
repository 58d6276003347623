"""Random cached maps, questions and answers of a chosen size, for measurements that need no data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from fusion_bench.registries import MODULES, TEXT_ENCODERS
from fusion_bench.registry import Target
from fusion_bench.samples.dataset import DataSet, Splits
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.tasks.answering import Answering
from fusion_bench.training.cell_data import CellData, EncodedSplit
from fusion_bench.training.config import (
    CellConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    Settings,
    TrainConfig,
)


@dataclass(frozen=True)
class StepSize:
    """The sizes that decide how long a step takes.

    Attributes:
        batch: samples per step.
        map_shape: ``(C, h, w)`` of the cached maps.
        width: channels of the slot.
        depth: copies of the module.
        words: number of words of the longest question; the others have at least half of them.
        vocabulary: number of different words.
        answers: number of different answers.
    """

    batch: int = 64
    map_shape: tuple[int, int, int] = (192, 6, 9)
    width: int = 64
    depth: int = 2
    words: int = 8
    vocabulary: int = 60
    answers: int = 21


QUICKSTART = StepSize()
"""The sizes of ``studies/quickstart.yaml``."""


@dataclass(frozen=True)
class BenchmarkArm:
    """A fusion module with its settings."""

    module: str
    settings: Settings = field(default_factory=dict)


class RandomQuestions(DataSet):
    """Random questions with random answers; no file holds them."""

    name: ClassVar[str] = "random_questions"
    version: ClassVar[str] = "1"
    tasks: ClassVar = {"answering": ("accuracy",)}
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = ""

    def __init__(self, root: Path) -> None:
        del root
        self.splits = Splits("train", "select", ())

    def prepare(self, workers: int = 1) -> None:
        """Do nothing: there are no files."""

    def split(self, name: str) -> Split:
        """Return a split without samples."""
        return Split(name, pd.DataFrame(columns=["sample", "cluster", "image", "text", "truth"]), ())

    def manifest(self) -> str:
        """Return an empty digest."""
        return ""


def synthetic_config(arm: BenchmarkArm, size: StepSize) -> CellConfig:
    """Return the settings of a cell that trains ``arm`` for one epoch."""
    target = Target(f"{RandomQuestions.__module__}:{RandomQuestions.__qualname__}")
    return CellConfig(
        data=DataConfig(RandomQuestions.name, Component(target), RandomQuestions.version, (96, 144)),
        backbone=None,
        text=Component(TEXT_ENCODERS.resolve("gru"), {"embedding": 64, "hidden": 64}),
        fusion=FusionConfig(width=size.width, depth=size.depth),
        arm=Component(MODULES.resolve(arm.module), arm.settings),
        kind="module",
        head=HeadConfig(),
        train=TrainConfig(epochs=1, batch_size=size.batch, learning_rate=2e-3),
        seed=0,
        evaluate=False,
    )


def synthetic_data(size: StepSize, steps: int, images: int = 256) -> CellData:
    """Return the data of a cell whose epoch has ``steps`` steps.

    Args:
        size: the sizes of a step.
        steps: number of steps of an epoch.
        images: number of cached maps, which the questions share.
    """
    rng = np.random.default_rng(0)
    words = tuple(f"w{number}" for number in range(size.vocabulary))
    vocabulary = Vocabulary(words)
    maps = rng.standard_normal((images, *size.map_shape), dtype=np.float32).astype(np.float16)
    splits = {
        name: _random_split(name, count, words, size, images, rng)
        for name, count in (("train", steps * size.batch), ("select", size.batch))
    }
    task = Answering(splits["train"], Resizing(96, 144))

    def encode(split: Split) -> EncodedSplit:
        tokens = torch.from_numpy(vocabulary.encode(split.table["text"].tolist()))
        rows = split.table["image"].to_numpy(np.int64)
        return EncodedSplit(split, tokens, (tokens != 0).sum(1), task.targets(split), maps, rows)

    return CellData(
        data=RandomQuestions(Path()),
        splits=Splits("train", "select", ()),
        task=task,
        metrics=("accuracy",),
        vocabulary=vocabulary,
        encoded={name: encode(split) for name, split in splits.items()},
        backbone=None,
        map_shape=size.map_shape,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights_sha256="",
        manifest="",
    )


def _random_split(
    name: str, samples: int, words: tuple[str, ...], size: StepSize, images: int, rng: np.random.Generator
) -> Split:
    lengths = rng.integers(max(1, size.words // 2), size.words, samples, endpoint=True)
    lengths[: min(samples, size.batch)] = size.words
    texts = [" ".join(rng.choice(words, length)) for length in lengths]
    image = rng.integers(0, images, samples)
    table = pd.DataFrame(
        {
            "sample": [f"{name}{number}" for number in range(samples)],
            "cluster": image.astype(str),
            "image": image,
            "text": texts,
            "truth": [str(answer) for answer in rng.integers(0, size.answers, samples)],
        }
    )
    return Split(name, table, tuple(Path(f"{number}.png") for number in range(images)))
