"""The control ``prior``: a learned constant map that reads neither input.

The prior baseline is that of Antol et al., "VQA: Visual Question Answering", ICCV 2015 (arXiv 1505.00468), in the
form of a fusion block, at every position ``p`` of the map:

    out_p = v

Symbols: ``v`` a learned vector ``[C]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
    Citation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class Prior(FusionModule):
    """A learned vector at every position, from which the head can only learn the prior over answers.

    Args:
        visual_dim: ``C``; the output's channels.
        language_dim: ``D``; not used.
    """

    citation: ClassVar[Citation] = Citation(
        "VQA: Visual Question Answering", "Antol et al.", "ICCV", 2015, "https://arxiv.org/abs/1505.00468"
    )
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "nothing"
    position_code: ClassVar[PositionCode] = "none"
    reads: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """An empty space: the module has no settings."""
        del visual_dim, language_dim
        return {}

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        del language_dim
        self.out_dim = visual_dim
        self.constant = nn.Parameter(torch.randn(visual_dim))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` (only its size is read) -> ``[B, C, H, W]``."""
        del language
        batch, _, height, width = visual.shape
        return self.constant[:, None, None] + visual.new_zeros(batch, 1, height, width)  # [B, C, H, W]
