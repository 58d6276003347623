"""MFH: MFB blocks in a cascade, in which each multiplies the next, for interactions of higher order.

Yu, Yu, Xiang, Fan, Tao, "Beyond Bilinear: Generalized Multimodal Factorized High-Order Pooling for Visual
Question Answering", TNNLS 2018 (arXiv 1708.03619), at every position ``p`` of the map:

    e^1 = Dropout( (U_1 V_p + b_v1) * (W_1 q + b_q1) )
    e^i = e^(i-1) * Dropout( (U_i V_p + b_vi) * (W_i q + b_qi) ),    i = 2 ... orders
    z^i = sums of k neighbours of e^i, after a signed square root and L2
    z_p = W_o [z^1; ...; z^orders] + b_o

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``k`` is ``factors``; ``z^i`` has
``hidden`` channels and is of degree ``i`` in each input. With ``orders`` 1 this is MFB.

Dropout is applied to the product of each block before the multiplication with the cascade; some ports apply it after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
    Space,
    Width,
)
from fusion_modules.bilinear.factorized import Expand, squeeze


class MFH(FusionModule):
    """Factorized pooling of several orders at every position.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of each order after its sum (the paper: 1000); None is
            ``C / 2`` (4 at least), so that two orders together have ``C``.
        factors: ``k``, the number of products in each sum.
        orders: number of MFB blocks in the cascade.
        dropout: dropout probability on the products of each block.
    """

    citation: ClassVar[Citation] = Citation(
        "Beyond Bilinear: Generalized Multimodal Factorized High-Order Pooling for Visual Question Answering",
        "Yu et al.",
        "TNNLS",
        2018,
        "https://arxiv.org/abs/1708.03619",
    )
    width: ClassVar[Width | None] = Width("hidden", step=1, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of outputs of an order, of products per output, of orders, and dropout."""
        del language_dim
        return {
            "hidden": Int(max(4, visual_dim // 4), visual_dim, log=True),
            "factors": Choice((1, 2, 5, 10)),
            "orders": Int(2, 3),
            "dropout": Float(0.0, 0.3),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        factors: int = 5,
        orders: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        hidden = hidden or max(4, visual_dim // 2)
        self.out_dim = visual_dim
        self.factors = factors
        self.expand = nn.ModuleList(
            Expand(visual_dim, language_dim, hidden * factors, dropout) for _ in range(orders)
        )
        self.output = nn.Conv2d(orders * hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        cascade = [self.expand[0](visual, language)]  # each [B, hidden * factors, H, W]
        for expand in self.expand[1:]:
            cascade.append(cascade[-1] * expand(visual, language))  # [B, hidden * factors, H, W]
        pooled = [squeeze(products, self.factors) for products in cascade]  # each [B, hidden, H, W]
        return self.output(torch.cat(pooled, dim=1))  # type: ignore[no-any-return]
