"""Concatenation and a multilayer perceptron (MLP): the simplest fusion that mixes both inputs.

The concat-MLP baseline of Ben-younes, Cadene, Thome, Cord, "BLOCK: Bilinear Superdiagonal Fusion for
Visual Question Answering and Visual Relationship Detection", AAAI 2019 (arXiv 1902.00038), at every
position ``p`` of the map:

    z_p = W_3 ReLU(W_2 ReLU(W_1 [V_p; q]))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, repeated at every position. The code
splits ``W_1`` into its two halves, ``W_1 [V_p; q] = W_v V_p + W_q q``. The result is the same, but the
sentence's half is computed once per sample instead of once per position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
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


class Concat(FusionModule):
    """A perceptron with two hidden layers on the concatenation of a position and the sentence.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: width of both hidden layers (the paper: 1600 for inputs of 2048 and 4800); None is ``2 C``.
        dropout: dropout probability after each of the hidden layers.
    """

    citation: ClassVar[Citation] = Citation(
        "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and Visual Relationship Detection",
        "Ben-younes et al.",
        "AAAI",
        2019,
        "https://arxiv.org/abs/1902.00038",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The hidden width and dropout."""
        del language_dim
        return {"hidden": Int(visual_dim, 4 * visual_dim, log=True), "dropout": Float(0.0, 0.3)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, dropout: float = 0.2
    ) -> None:
        super().__init__()
        hidden = hidden or 2 * visual_dim
        self.out_dim = visual_dim
        self.dropout = dropout
        self.visual = nn.Conv2d(visual_dim, hidden, 1)
        self.sentence = nn.Linear(language_dim, hidden, bias=False)
        self.hidden = nn.Conv2d(hidden, hidden, 1)
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        tiled = self.sentence(language.sentence)[:, :, None, None]  # [B, hidden, 1, 1]
        first = F.dropout(
            F.relu(self.visual(visual) + tiled), self.dropout, self.training
        )  # [B, hidden, H, W]
        second = F.dropout(F.relu(self.hidden(first)), self.dropout, self.training)  # [B, hidden, H, W]
        return self.output(second)  # type: ignore[no-any-return]
