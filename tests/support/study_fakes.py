"""Small components for tests of the study file: modules, a network, a text encoder and two data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Float,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Pyramid,
    Space,
    TextEncoder,
    VisionLanguageNetwork,
    Width,
)
from fusion_bench.registry import Registry
from fusion_bench.samples.dataset import DataSet, Splits
from fusion_bench.samples.split import Split
from fusion_bench.spec.catalogue import Catalogue
from fusion_bench.spec.study import Study

PAPER = Citation("A paper", "Somebody et al.", "Somewhere", 2020, "https://example.org")


class Film(FusionModule):
    """A module with settings of every type."""

    citation = PAPER
    width: ClassVar[Width | None] = Width("hidden")
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int = 64,
        kernel_size: int = 3,
        scale: float = 1.0,
        sizes: Sequence[int] = (1, 2),
        norm: Literal["batch", "layer", "none"] = "batch",
        residual: bool = True,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size}")
        self.out_dim = visual_dim
        self.scale = nn.Linear(language_dim, visual_dim)
        del hidden, scale, sizes, norm, residual

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {
            "hidden": Int(16, 128, log=True),
            "scale": Float(0.1, 2.0),
            "norm": Choice(("batch", "layer")),
        }

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        scaled: Tensor = visual * self.scale(language.sentence)[..., None, None]
        return scaled


class Plain(Film):
    """A module without settings."""

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__(visual_dim, language_dim)

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {}


class ImageOnly(Plain):
    """A control that reads only the image."""

    reads = frozenset({"image"})


class QuestionOnly(Plain):
    """A control that reads only the question."""

    reads = frozenset({"language"})


class Net(VisionLanguageNetwork):
    """An end-to-end network."""

    citation = PAPER

    def __init__(self, language_dim: int, *, size: Literal["S", "B"] = "S") -> None:
        super().__init__()
        del language_dim, size
        self.out_dims = (4,)

    def forward(self, image: Tensor, language: Language) -> Pyramid:
        raise NotImplementedError


class Gru(TextEncoder):
    """A text encoder with settings."""

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding: int = 32,
        hidden: int = 64,
        sentence: Literal["last", "attention"] = "last",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.language_dim = hidden
        del sentence

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        words = torch.zeros(*tokens.shape, self.language_dim)
        return Language(words, mask, words[:, 0])


class Mini(DataSet):
    """A data set that generates its own files."""

    name = "mini"
    version = "1"
    built_in = True
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"answering": ("accuracy", "balanced_accuracy")}
    cluster = "image"
    homepage = "https://example.org"
    splits = Splits("train", "select", ("val",))

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, int] = {"train": 100},
        kinds: Sequence[str] = ("zero_hop",),
        seed: int = 0,
    ) -> None:
        unknown = set(kinds) - {"zero_hop", "one_hop"}
        if unknown:
            raise ValueError(f"unknown kinds {sorted(unknown)}")
        del root, images, seed

    def prepare(self, workers: int = 1) -> None:
        raise NotImplementedError

    def split(self, name: str) -> Split:
        raise NotImplementedError

    def manifest(self) -> str:
        raise NotImplementedError


class Real(Mini):
    """A data set whose folder the user names."""

    name = "real"
    built_in = False

    def __init__(self, root: Path) -> None:
        super().__init__(root)


def fake_catalogue() -> Catalogue:
    """Return the components of this file as registries."""
    return Catalogue(
        modules=Registry(
            "module",
            builtin={
                "film": "study_fakes:Film",
                "plain": "study_fakes:Plain",
                "image_only": "study_fakes:ImageOnly",
                "question_only": "study_fakes:QuestionOnly",
            },
        ),
        networks=Registry("network", builtin={"net": "study_fakes:Net"}),
        text_encoders=Registry("text encoder", builtin={"gru": "study_fakes:Gru"}),
        datasets=Registry("data set", builtin={"mini": "study_fakes:Mini", "real": "study_fakes:Real"}),
        backbones=lambda: ("test_resnet", "test_vit", "resnet18"),
        backbone_problem=lambda name, layer, size: None,
    )


GOOD = """\
version: 1
name: good
title: Scale and shift against nothing
data:
  name: mini
  image_size: [64, 96]
  longest_text: 12
  kinds: [zero_hop, one_hop]
backbone: {name: test_resnet.r160_in1k, layer: 2, weights: pretext, frozen: true}
text: {hidden: 128, embedding: 32}
fusion: {width: 32}
train: {epochs: 3, learning_rate: 1e-4}
arms:
  film: {module: film, kernel_size: 5, scale: 1}
  plain: {module: plain}
controls: [question_only]
seeds: [3, 5]
threads: 2
reference: plain
expected:
  - {arm: film, metric: accuracy, split: val, value: 0.5, source: an earlier run}
report: {primary: balanced_accuracy, split: select, margin: 1e-2, pictures: 3}
"""
"""A study file without mistakes, for `fake_catalogue`."""
Load = Callable[..., Study]
"""Reads a study file's text, with overrides."""
