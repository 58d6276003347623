"""GARAN: attention pooling of the whole map to one vector, which is then weighted and added at each position.

The global attentive reasoning unit of Zhou et al., "A Real-time Global Inference Network for One-stage
Referring Expression Comprehension" (RealGIN), TNNLS 2021 (arXiv 1912.03478). For each of ``n`` heads:

    a_p = softmax_positions( (W_q q) . (W_kc V_p) / sqrt(d / n) )        collect
    f   = sum_p a_p W_v V_p
    b_p = sigma( (W_q q) . (W_kd V_p) / sqrt(d / n) )                    diffuse
    F_p = b_p f
    out = LeakyReLU_0.1( BN( [F^1; ...; F^n] + V ) )

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``d`` the width of queries and keys. The
collecting keys have no bias, because it would cancel in the softmax. ``F_p`` is added at position ``p``; two
popular ports exchange H and W first, which permutes the positions of a map that is not square.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Float,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class GARAN(FusionModule):
    """Global attention pooling and gated redistribution, both conditioned on the sentence.

    Args:
        visual_dim: ``C``, a multiple of ``heads``; also the output's channels (the paper: 512).
        language_dim: ``D``.
        heads: ``n``.
        attention_dim: ``d``, a multiple of ``heads``; None is ``C``, as in the paper.
        dropout: dropout probability on both attention maps.

    Raises:
        ValueError: ``C`` or ``d`` is not a multiple of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "A Real-time Global Inference Network for One-stage Referring Expression Comprehension",
        "Zhou et al.",
        "TNNLS",
        2021,
        "https://arxiv.org/abs/1912.03478",
    )
    width: ClassVar[Width | None] = Width("attention_dim", step=2, minimum=2)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of heads and dropout."""
        del language_dim
        heads = tuple(count for count in (1, 2, 4) if visual_dim % count == 0)
        return {"heads": Choice(heads), "dropout": Float(0.0, 0.3)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        heads: int = 2,
        attention_dim: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        attention_dim = attention_dim or visual_dim
        if visual_dim % heads or attention_dim % heads:
            raise ValueError(
                f"GARAN: {visual_dim} channels and an attention width of {attention_dim} "
                f"are not both multiples of {heads} heads"
            )
        self.out_dim = visual_dim
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(language_dim, attention_dim)
        self.collect_key = nn.Conv2d(visual_dim, attention_dim, 1, bias=False)
        self.diffuse_key = nn.Conv2d(visual_dim, attention_dim, 1)
        self.value = nn.Conv2d(visual_dim, visual_dim, 1)
        self.norm = nn.BatchNorm2d(visual_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        query = self._per_head(self.query(language.sentence)[:, :, None, None])  # [B, n, d / n, 1]
        query = query.transpose(2, 3) * query.shape[2] ** -0.5  # [B, n, 1, d / n]
        collect = (query @ self._per_head(self.collect_key(visual))).softmax(dim=3)  # [B, n, 1, HW]
        value = self._per_head(self.value(visual))  # [B, n, C / n, HW]
        collected = value @ self._drop(collect).transpose(2, 3)  # [B, n, C / n, 1]
        diffuse = (query @ self._per_head(self.diffuse_key(visual))).sigmoid()  # [B, n, 1, HW]
        spread = (collected * self._drop(diffuse)).view_as(visual)  # [B, C, H, W]
        return F.leaky_relu(self.norm(spread + visual), 0.1)  # [B, C, H, W]

    def _per_head(self, features: Tensor) -> Tensor:
        """Split channels into heads: ``[B, channels, H, W]`` -> ``[B, n, channels / n, HW]``."""
        batch, channels, *_ = features.shape
        return features.reshape(batch, self.heads, channels // self.heads, -1)

    def _drop(self, attention: Tensor) -> Tensor:
        return F.dropout(attention, self.dropout, self.training)
