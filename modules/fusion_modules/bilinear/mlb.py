"""MLB: a low-rank bilinear form, computed as one elementwise product.

Kim, On, Lim, Kim, Ha, Zhang, "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017 (arXiv 1610.04325),
at every position ``p`` of the map:

    z_p = P^T ( tanh(U^T V_p + b_v) * tanh(W^T q + b_q) ) + b

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``U`` ``[C, hidden]``, ``W``
``[D, hidden]``, ``P`` ``[hidden, C]``. Without the tanh each output
``k`` is a bilinear form ``V_p^T T_k q``, whose rank is at most ``hidden``.

The tanh is that of the paper and of the authors' code; a popular port (block.bootstrap) replaces it by ReLU and
applies another ReLU to the result. Dropout is applied to the inputs of both projections, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
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


class MLB(FusionModule):
    """The elementwise product of a projected position and the projected sentence, both after tanh.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: width of the product (the paper: 1200 for inputs of 2048 and 2400); None is ``C``.
        dropout: dropout probability on the inputs of both projections.
    """

    citation: ClassVar[Citation] = Citation(
        "Hadamard Product for Low-rank Bilinear Pooling",
        "Kim et al.",
        "ICLR",
        2017,
        "https://arxiv.org/abs/1610.04325",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the product and dropout."""
        del language_dim
        return {"hidden": Int(visual_dim, 4 * visual_dim, log=True), "dropout": Float(0.0, 0.5)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, dropout: float = 0.5
    ) -> None:
        super().__init__()
        hidden = hidden or visual_dim
        self.out_dim = visual_dim
        self.dropout = nn.Dropout(dropout)
        self.visual = nn.Conv2d(visual_dim, hidden, 1)
        self.sentence = nn.Linear(language_dim, hidden)
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        positions = torch.tanh(self.visual(self.dropout(visual)))  # [B, hidden, H, W]
        sentence = torch.tanh(self.sentence(self.dropout(language.sentence)))  # [B, hidden]
        return self.output(positions * sentence[:, :, None, None])  # type: ignore[no-any-return]
