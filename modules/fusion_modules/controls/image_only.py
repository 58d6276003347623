"""The control ``image_only``: the output map depends on the image only; the sentence is not read.

The image-only baseline is that of Antol et al., "VQA: Visual Question Answering", ICCV 2015 (arXiv 1505.00468), in
the form of a fusion block. It is FiLM's block with an affine batch norm in place of FiLM:

    r   = ReLU(conv1x1([V; x; y]))
    out = r + ReLU(BN(conv3x3(r)))

Symbols: ``V`` the map ``[B, C, H, W]``, ``x`` and ``y`` its coordinates.
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


class ImageOnly(FusionModule):
    """A residual convolution block that does not read the question: FiLM's block with a plain batch norm.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``; not used.
        hidden: channels of the block and of its output; None keeps ``C``.
        coordinates: append x and y to the input of the 1x1 convolution.
    """

    citation: ClassVar[Citation] = Citation(
        "VQA: Visual Question Answering", "Antol et al.", "ICCV", 2015, "https://arxiv.org/abs/1505.00468"
    )
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
