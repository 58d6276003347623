"""FiLM: the sentence scales and shifts every feature map.

Perez, Strub, de Vries, Dumoulin, Courville, "FiLM: Visual Reasoning with a General Conditioning Layer",
AAAI 2018 (arXiv 1709.07871).

    FiLM(F_c) = (1 + gamma_c) F_c + beta_c,    (gamma, beta) = Linear(q)

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``r`` the residual branch.
Block, in the order of the authors' released network (batch norm without affine: FiLM is the affine):

    r   = ReLU(conv1x1([V; x; y]))
    out = r + ReLU(FiLM(BN(conv3x3(r))))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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


class FiLM(FusionModule):
    """One FiLM residual block with its own linear generator of (gamma, beta).

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        hidden: channels of the block and of its output (the paper: 128); None keeps ``C``.
        coordinates: append x and y to the input of the 1x1 convolution, as the paper does in every
            block. They come along also where a study shares coordinates with every arm.
    """

    citation: ClassVar[Citation] = Citation(
        "FiLM: Visual Reasoning with a General Conditioning Layer",
        "Perez et al.",
        "AAAI",
        2018,
        "https://arxiv.org/abs/1709.07871",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "coordinates"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the block."""
        del language_dim
        return {"hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, coordinates: bool = True
    ) -> None:
        super().__init__()
        self.out_dim = hidden or visual_dim
        self.coordinates = coordinates
        self.reduce = nn.Conv2d(visual_dim + 2 * coordinates, self.out_dim, 1)
        self.conv = nn.Conv2d(self.out_dim, self.out_dim, 3, padding=1)
        self.norm = nn.BatchNorm2d(self.out_dim, affine=False)
        self.generator = nn.Linear(language_dim, 2 * self.out_dim)
        for layer in (self.reduce, self.conv, self.generator):
            nn.init.kaiming_uniform_(layer.weight)  # the authors'; biases stay at torch's default

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, out_dim, H, W]``."""
        located = with_coordinates(visual) if self.coordinates else visual  # [B, C + 2, H, W]
        residual = F.relu(self.reduce(located))  # [B, out_dim, H, W]
        features = self.norm(self.conv(residual))
        gamma, beta = self.generator(language.sentence)[:, :, None, None].chunk(
            2, dim=1
        )  # [B, out_dim, 1, 1]
        return residual + F.relu((1 + gamma) * features + beta)
