"""Relation network: every pair of positions is compared, conditioned on the question.

Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap, "A simple neural network module for
relational reasoning", NeurIPS 2017 (arXiv 1706.01427).

    a = f( sum_{i,j} g([o_i; o_j; q]) )

Symbols: ``o_i`` the features of a position with its x and y appended, ``q`` the sentence ``[B, D]``; ``g`` four
layers with ReLU; ``f`` two layers with ReLU, dropout after the second, and a linear layer. The sum runs over all
ordered pairs, including a position with itself, and is not divided by their number. The code splits the first
layer of ``g`` into three parts, ``W [o_i; o_j; q] = W_1 o_i + W_2 o_j + W_3 q``. The result is the same, but each
part is computed once per position or once per sample.

Choices of this module: a map of more than ``positions`` positions is pooled first, because the cost grows with the
square of their number (the maps of the paper have 8 x 8 positions). The result of the paper is the vector ``a``.
Here it returns to a map by being added at every position; the last, linear layer of ``f`` is ``W_a``:

    out_p = ReLU(W_v V_p + W_a a)
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
from fusion_modules.attention import as_tokens
from fusion_modules.grid_pooling import pool_to_grid
from fusion_modules.position import with_coordinates


class RelationNetwork(FusionModule):
    """The sum over all pairs of positions, given the question, added to every position.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: width of every layer of ``g`` and ``f``.
        dropout: dropout probability after the second layer of ``f``.
        positions: the largest number of positions that are paired; a larger map is pooled to it.

    Raises:
        ValueError: ``positions`` is not positive.
    """

    citation: ClassVar[Citation] = Citation(
        "A simple neural network module for relational reasoning",
        "Santoro et al.",
        "NeurIPS",
        2017,
        "https://arxiv.org/abs/1706.01427",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "coordinates"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the layers and dropout."""
        del visual_dim, language_dim
        return {"hidden": Int(64, 512, log=True), "dropout": Float(0.0, 0.5)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int = 256,
        dropout: float = 0.5,
        positions: int = 36,
    ) -> None:
        super().__init__()
        if positions < 1:
            raise ValueError(f"RelationNetwork: positions must be at least 1, not {positions}")
        self.out_dim = visual_dim
        self.dropout, self.positions = dropout, positions
        self.first = nn.Linear(visual_dim + 2, hidden)
        self.second = nn.Linear(visual_dim + 2, hidden, bias=False)
        self.question = nn.Linear(language_dim, hidden, bias=False)
        self.relation = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(3))
        self.readout = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.visual = nn.Conv2d(visual_dim, visual_dim, 1)
        self.answer = nn.Linear(hidden, visual_dim, bias=False)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        answer = self.answer(self._relate(visual, language.sentence))[:, :, None, None]  # [B, C, 1, 1]
        return F.relu(self.visual(visual) + answer)  # [B, C, H, W]

    def _relate(self, visual: Tensor, sentence: Tensor) -> Tensor:
        """Return the vector of all pairs before ``W_a``: ``[B, hidden]``."""
        located = with_coordinates(pool_to_grid(visual, self.positions))  # [B, C + 2, h, w]
        objects = as_tokens(located)  # [B, N, C + 2]
        question = self.question(sentence)[:, None, None]  # [B, 1, 1, hidden]
        pairs = F.relu(
            self.first(objects)[:, :, None] + self.second(objects)[:, None] + question
        )  # [B, N, N, hidden]
        for layer in self.relation:
            pairs = F.relu(layer(pairs))  # [B, N, N, hidden]
        total = pairs.sum(dim=(1, 2))  # [B, hidden]
        for layer in self.readout:
            total = F.relu(layer(total))
        return F.dropout(total, self.dropout, self.training)
