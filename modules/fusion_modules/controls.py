"""Controls: what a fusion module must beat to have fused anything.

| control | its map is made from | the head sees |
|---|---|---|
| `QuestionOnly` | the sentence | that map |
| `ImageOnly` | the image | that map |
| `Prior` | nothing: a learned constant | that map |
| `LateConcat` | the image | that map, and the sentence |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Citation,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.position import with_coordinates

_VQA = Citation(
    "VQA: Visual Question Answering", "Antol et al.", "ICCV", 2015, "https://arxiv.org/abs/1505.00468"
)


class QuestionOnly(FusionModule):
    """A two-layer perceptron of the sentence, the same at every position; the image is not looked at.

    The language-only model against which Goyal et al. show how far wording alone leads.

    Args:
        visual_dim: ``C``; the output's channels, so that what follows is as wide as for the other arms.
        language_dim: ``D``.
        hidden: width of the hidden layer; None is ``2 C``.
    """

    citation: ClassVar[Citation] = Citation(
        "Making the V in VQA Matter: Elevating the Role of Image Understanding in Visual Question Answering",
        "Goyal et al.",
        "CVPR",
        2017,
        "https://arxiv.org/abs/1612.00837",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"
    reads: ClassVar[frozenset[str]] = frozenset({"language"})

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The hidden width."""
        del language_dim
        return {"hidden": Int(visual_dim, 4 * visual_dim, log=True)}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 2 * visual_dim
        self.out_dim = visual_dim
        self.mlp = nn.Sequential(
            nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim), nn.ReLU()
        )

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` (its size alone) -> ``[B, C, H, W]``."""
        answer = self.mlp(language.sentence)[:, :, None, None]  # [B, C, 1, 1]
        return answer.expand(-1, -1, *visual.shape[2:])  # type: ignore[no-any-return]


class ImageOnly(FusionModule):
    """A residual convolution block that never hears the question: FiLM's block with plain batch norm.

    The image-only model of the VQA paper, in the shape of a fusion block.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``, unused.
        hidden: channels of the block and of its output; None keeps ``C``.
        coordinates: append x and y to the input of the 1x1 convolution.
    """

    citation: ClassVar[Citation] = _VQA
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "nothing"
    position_code: ClassVar[PositionCode] = "coordinates"
    reads: ClassVar[frozenset[str]] = frozenset({"image"})

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the block."""
        del language_dim
        return {"hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, coordinates: bool = True
    ) -> None:
        super().__init__()
        del language_dim
        self.out_dim = hidden or visual_dim
        self.coordinates = coordinates
        self.reduce = nn.Conv2d(visual_dim + 2 * coordinates, self.out_dim, 1)
        self.conv = nn.Conv2d(self.out_dim, self.out_dim, 3, padding=1)
        self.norm = nn.BatchNorm2d(self.out_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, out_dim, H, W]``."""
        del language
        located = with_coordinates(visual) if self.coordinates else visual  # [B, C + 2, H, W]
        residual = F.relu(self.reduce(located))  # [B, out_dim, H, W]
        return residual + F.relu(self.norm(self.conv(residual)))


class Prior(FusionModule):
    """A learned vector at every position; it reads neither input, so the head can only learn the prior.

    Args:
        visual_dim: ``C``; the output's channels.
        language_dim: ``D``, unused.
    """

    citation: ClassVar[Citation] = _VQA
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "nothing"
    position_code: ClassVar[PositionCode] = "none"
    reads: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Nothing to search."""
        del visual_dim, language_dim
        return {}

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        del language_dim
        self.out_dim = visual_dim
        self.constant = nn.Parameter(torch.randn(visual_dim))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` (its size alone) -> ``[B, C, H, W]``."""
        del language
        batch, _, height, width = visual.shape
        return self.constant[:, None, None] + visual.new_zeros(batch, 1, height, width)  # [B, C, H, W]


class LateConcat(ImageOnly):
    """The image alone in the slot; image and sentence meet at the head, as one concatenated vector.

    The arrangement of iBOWIMG (Zhou et al.), where a classifier reads pooled image features beside the
    sentence. It asks whether fusing *before* pooling was worth anything.
    """

    citation: ClassVar[Citation] = Citation(
        "Simple Baseline for Visual Question Answering",
        "Zhou et al.",
        "arXiv",
        2015,
        "https://arxiv.org/abs/1512.02167",
    )
    sentence_at_head: ClassVar[bool] = True
