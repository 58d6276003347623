"""MFB: one bilinear form of rank ``k`` for each output, summed from an elementwise product.

Yu, Yu, Fan, Tao, "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question
Answering", ICCV 2017 (arXiv 1708.01471), at every position ``p`` of the map:

    e = Dropout( (U V_p + b_v) * (W q + b_q) )                  expand: o k products
    s_i = e_(i k + 1) + ... + e_(i k + k)                       squeeze: k neighbours summed, o numbers
    z_p = W_o ( s after a signed square root and L2 ) + b_o

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``o`` is ``hidden`` and ``k`` is
``factors``.

The projections have no activation, as in the paper; a popular port (block.bootstrap) applies ReLU. L2 runs over
the channels of one position; another port (openvqa) computes it over all regions of an image together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
    Space,
    Width,
)
from fusion_modules.bilinear.factorized import Expand, squeeze


class MFB(FusionModule):
    """Factorized bilinear pooling at every position.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: ``o``, channels after the sum (the paper: 1000); None is ``C``.
        factors: ``k``, the number of products in each sum.
        dropout: dropout probability on the products, before the sum.
    """

    citation: ClassVar[Citation] = Citation(
        "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question Answering",
        "Yu et al.",
        "ICCV",
        2017,
        "https://arxiv.org/abs/1708.01471",
    )
    width: ClassVar[Width | None] = Width("hidden", step=1, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of outputs, of products per output, and dropout."""
        del language_dim
        return {
            "hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True),
            "factors": Choice((1, 2, 5, 10)),
            "dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        factors: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        hidden = hidden or visual_dim
        self.out_dim = visual_dim
        self.factors = factors
        self.expand = Expand(visual_dim, language_dim, hidden * factors, dropout)
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        products = self.expand(visual, language)  # [B, hidden * factors, H, W]
        return self.output(squeeze(products, self.factors))  # type: ignore[no-any-return]
