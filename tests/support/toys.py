"""Small components that several tests share: data sets, modules, a network, and the settings and data of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from fusion_bench.contract import (
    Citation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Pyramid,
    Space,
    TextEncoder,
    VisionLanguageNetwork,
    Width,
)
from fusion_bench.registry import Target
from fusion_bench.samples.dataset import Counts, DataSet, Splits
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.storage import replacing
from fusion_bench.tasks.answering import Answering
from fusion_bench.training.cell_data import CellData, EncodedSplit
from fusion_bench.training.config import (
    CellConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)

CITATION = Citation("A toy", "Nobody", "tests", 2026, "")
COLOURS = ("red", "green", "blue")


class Product(FusionModule):
    """Channel-wise product with a projected sentence: the smallest module that needs both inputs."""

    citation: ClassVar[Citation] = CITATION
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        return {}

    def __init__(self, visual_dim: int, language_dim: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.out_dim, self.gain = visual_dim, gain
        self.project = nn.Linear(language_dim, visual_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return visual + self.gain * visual * self.project(language.sentence)[:, :, None, None]


class Explodes(Product):
    """A module whose map is not a number."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return super().forward(visual, language) * float("nan")


class Wider(Product):
    """A module whose width is the number of channels of its map."""

    width: ClassVar[Width | None] = Width("hidden", step=2, minimum=2)

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 12) -> None:
        super().__init__(visual_dim, language_dim)
        self.out_dim = hidden
        self.widen = nn.Conv2d(visual_dim, hidden, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return self.widen(super().forward(visual, language))  # type: ignore[no-any-return]


class Coarse(Product):
    """A module whose cost rises in large steps and whose constructor reads values of a tensor."""

    width: ClassVar[Width | None] = Width("hidden", step=64, minimum=64)

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 128) -> None:
        super().__init__(visual_dim, language_dim)
        scale = float(torch.ones(3).sum())
        self.more = nn.Parameter(torch.full((hidden, 40), scale))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return super().forward(visual, language) + self.more.sum()


class MeanText(TextEncoder):
    """A text encoder whose sentence is the mean of the word embeddings."""

    def __init__(self, vocabulary_size: int, *, dim: int = 8) -> None:
        super().__init__()
        self.language_dim = dim
        self.embed = nn.Embedding(vocabulary_size, dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        words = self.embed(tokens) * mask[..., None]
        return Language(words, mask, words.sum(1) / mask.sum(1, keepdim=True))


class TinyNetwork(VisionLanguageNetwork):
    """A network of one strided convolution, scaled by the sentence."""

    citation: ClassVar[Citation] = CITATION

    def __init__(self, language_dim: int, *, channels: int = 6) -> None:
        super().__init__()
        self.out_dims = (channels,)
        self.stem = nn.Conv2d(3, channels, 4, stride=4)
        self.scale = nn.Linear(language_dim, channels)

    def forward(self, image: Tensor, language: Language) -> Pyramid:
        return Pyramid((self.stem(image) * self.scale(language.sentence)[:, :, None, None],), (4,))


class ColourData(DataSet):
    """Questions about the colour of a square; an answer needs the image and the word together."""

    name: ClassVar[str] = "colours"
    version: ClassVar[str] = "1"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"answering": ("accuracy",)}
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "tests/support/toys.py"

    def __init__(self, root: Path, *, images: int = 32) -> None:
        self.splits = Splits("train", "val", ("test",))
        self._images = images

    def prepare(self, workers: int = 1) -> None:
        return None

    def split(self, name: str) -> Split:
        rows = [
            (
                f"{name}-{image}-{word}",
                str(image),
                image,
                f"is it {word}?",
                "yes" if image % 3 == index else "no",
            )
            for image in range(self._images)
            for index, word in enumerate(COLOURS)
        ]
        table = pd.DataFrame(rows, columns=["sample", "cluster", "image", "text", "truth"])
        table["colour"] = table["text"].str.split().str[-1].str.rstrip("?")
        return Split(name, table, tuple(Path(f"{image}.png") for image in range(self._images)), ("colour",))

    def manifest(self) -> str:
        return "toy"


class Squares(ColourData):
    """A data set with the questions of `ColourData` about PNG files, which `prepare` writes."""

    name: ClassVar[str] = "squares"
    built_in: ClassVar[bool] = True
    toy_settings: ClassVar[Mapping[str, Any]] = {"images": 12}

    def __init__(self, root: Path, *, images: int = 24) -> None:
        super().__init__(root, images=images)
        self._root = root

    def prepare(self, workers: int = 1) -> None:
        for shade, split in enumerate(("train", "val", "test")):
            (self._root / split).mkdir(parents=True, exist_ok=True)
            for image in range(self._images):
                file = self._root / split / f"{image}.png"
                if not file.exists():
                    # No two splits share an image: the shade of the ground differs.
                    picture = np.full((32, 32, 3), 60 + shade, dtype=np.uint8)
                    left, top = (5 * image) % 16, (3 * image) % 16
                    picture[top : top + 14, left : left + 14, image % 3] = 220
                    with replacing(file) as part:
                        Image.fromarray(picture).save(part, format="png")

    def split(self, name: str) -> Split:
        split = super().split(name)
        files = tuple(self._root / name / path for path in split.images)
        return Split(split.name, split.table, files, split.slices)

    def manifest(self) -> str:
        return f"squares-{self._images}"


class Fewer(Squares):
    """A data set with the questions about red whose answer is yes."""

    name: ClassVar[str] = "fewer"

    def split(self, name: str) -> Split:
        split = super().split(name)
        kept = split.table["text"].str.contains("red") & (split.table["truth"] == "yes")
        return split.rows(np.flatnonzero(kept))


class Leaky(Squares):
    """A data set whose training images are its evaluation images."""

    def split(self, name: str) -> Split:
        split = super().split(name)
        shown = tuple(path.parent.with_name("train") / path.name for path in split.images)
        return replace(split, images=shown if name == "test" else split.images)


class LeakyAsPublished(Leaky):
    """The data set `Leaky` with published splits."""

    published: Mapping[str, Counts] = {"train": Counts(None, None)}


def here(name: str) -> Target:
    """Return the target of a class of this file."""
    return Target(f"toys:{name}")


def toy_config(arm: str = "Product", seed: int = 0, **train: Any) -> CellConfig:
    """Return the settings of a cell on `ColourData` with cached maps of 3 channels."""
    settings = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02, **train}
    return CellConfig(
        data=DataConfig("colours", Component(here("ColourData")), "1", (4, 4)),
        backbone=None,
        text=Component(here("MeanText")),
        fusion=FusionConfig(width=8, depth=1),
        arm=Component(here(arm)),
        kind="module",
        head=HeadConfig(width=8, hidden=16),
        train=TrainConfig(**settings),
        seed=seed,
    )


def toy_cell_data(images: int = 32) -> CellData:
    """Return the data of a cell: maps whose three channels are the colours, with a little noise."""
    data = ColourData(Path())
    splits = {name: ColourData(Path(), images=images).split(name) for name in ("train", "val", "test")}
    task, vocabulary = (
        Answering(splits["train"], Resizing(4, 4)),
        Vocabulary.of(splits["train"].table["text"]),
    )
    noise = np.random.default_rng(0)

    def encoded(split: Split) -> EncodedSplit:
        maps = noise.normal(0, 0.1, (images, 3, 4, 4)).astype(np.float32)
        maps[np.arange(images), np.arange(images) % 3] += 1
        tokens = torch.from_numpy(vocabulary.encode(list(split.table["text"])))
        rows = split.table["image"].to_numpy(np.int64)
        return EncodedSplit(split, tokens, (tokens != 0).sum(1), task.targets(split), maps, rows)

    return CellData(
        data=data,
        splits=data.splits,
        task=task,
        metrics=ColourData.tasks["answering"],
        vocabulary=vocabulary,
        encoded={name: encoded(split) for name, split in splits.items()},
        backbone=None,
        map_shape=(3, 4, 4),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights_sha256="",
        manifest="toy",
    )


STUDY = """
version: 1
name: toy
title: A toy study
data: {name: "toys:Squares", image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 2, batch_size: 16, learning_rate: 0.01}
controls: false
arms:
  product: {module: "toys:Product"}
  weaker: {module: "toys:Product", gain: 0.5}
seeds: [0, 1]
"""


def study_file(folder: Path, text: str = STUDY, name: str = "toy.yaml") -> Path:
    """Write a study file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


class TwoMaps(TinyNetwork):
    """A network with a finer map before the map of `TinyNetwork`."""

    def __init__(self, language_dim: int) -> None:
        super().__init__(language_dim)
        self.out_dims = (3, *self.out_dims)

    def forward(self, image: Tensor, language: Language) -> Pyramid:
        return Pyramid((image, *super().forward(image, language).maps), (1, 4))
