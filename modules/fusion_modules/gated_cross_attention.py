"""Gated cross-attention: every position attends to the words, and a gate that starts closed scales the result.

The gated cross-attention block of Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning",
NeurIPS 2022 (arXiv 2204.14198):

    X'  = X  + tanh(a) MHA( LN(X), Y, Y )           queries: positions, keys and values: words
    out = X' + tanh(b) W_2 ReLU(W_1 LN(X'))^2

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``a`` and ``b`` two learned numbers that
start at 0, so that a new block is the identity; at that point only the gates have a nonzero gradient.

In Flamingo the residual stream is that of a frozen language model, and its queries attend to the image. Here the
residual stream is the map, and its queries attend to the words. As in Flamingo, only the stream is normalised, no
projection has a bias, and there is no position code. The squared ReLU is the paper's; popular ports use GELU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Explanation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import MultiHeadAttention, as_map, as_tokens, real_words


class GatedCrossAttention(FusionModule):
    """A gated transformer block in which positions attend to words.

    Args:
        visual_dim: ``C``, a multiple of ``heads``; also the output's channels.
        language_dim: ``D``.
        heads: number of attention heads (the paper: 16 at 2048 channels and more; 8 is common at this size).
        ffn_dim: hidden width of the feed-forward part; None is the paper's ``4 C``.

    Raises:
        ValueError: ``C`` is not a multiple of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "Flamingo: a Visual Language Model for Few-Shot Learning",
        "Alayrac et al.",
        "NeurIPS",
        2022,
        "https://arxiv.org/abs/2204.14198",
    )
    width: ClassVar[Width | None] = Width("ffn_dim", step=4, minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of heads."""
        del language_dim
        return {"heads": Choice(tuple(count for count in (1, 2, 4, 8) if visual_dim % count == 0))}

    def __init__(
        self, visual_dim: int, language_dim: int, *, heads: int = 8, ffn_dim: int | None = None
    ) -> None:
        super().__init__()
        ffn_dim = ffn_dim or 4 * visual_dim
        self.out_dim = visual_dim
        self.attention_norm = nn.LayerNorm(visual_dim)
        self.attention = MultiHeadAttention(visual_dim, language_dim, heads=heads, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(()))
        self.ffn_norm = nn.LayerNorm(visual_dim)
        self.expand = nn.Linear(visual_dim, ffn_dim, bias=False)
        self.contract = nn.Linear(ffn_dim, visual_dim, bias=False)
        self.ffn_gate = nn.Parameter(torch.zeros(()))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        stream = as_tokens(visual)  # [B, HW, C]
        answer, _ = self._attend(stream, language)  # [B, HW, C]
        stream = stream + self.attention_gate.tanh() * answer  # [B, HW, C]
        hidden = F.relu(self.expand(self.ffn_norm(stream))).square()  # [B, HW, ffn_dim]
        stream = stream + self.ffn_gate.tanh() * self.contract(hidden)  # [B, HW, C]
        return as_map(stream, visual)  # [B, C, H, W]

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The word attention of each position, averaged over heads: ``[B, T, H, W]``."""
        _, attention = self._attend(as_tokens(visual), language)
        return Explanation(as_map(attention.mean(dim=1), visual))

    def _attend(self, stream: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """Return the attended words ``[B, HW, C]`` and the attention ``[B, heads, HW, T]`` of each position."""
        words = real_words(language)  # [B, T, D]
        attended: tuple[Tensor, Tensor] = self.attention(
            self.attention_norm(stream), words, words, language.mask
        )
        return attended
