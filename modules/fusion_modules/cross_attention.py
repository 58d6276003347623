"""Cross-attention: every position attends to the words, in one transformer block.

The guided-attention unit of Yu, Yu, Cui, Tao, Tian, "Deep Modular Co-Attention Networks for Visual
Question Answering" (MCAN), CVPR 2019 (arXiv 1906.10770), without the self-attention that precedes it:

    X' = X  + MHA( LN(X) + P, Y, Y )          queries: positions, keys and values: words
    out = X' + W_2 ReLU(W_1 LN(X'))

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``P`` a 2-D sine position code, which
a grid needs and MCAN's image regions do not have. The norms stand *before* each part (Xiong et al., "On
Layer Normalization in the Transformer Architecture", ICML 2020), not after the sum as in MCAN, because a
post-norm block needs lower learning rates or a longer warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Explanation,
    Float,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import attend_to_words
from fusion_modules.position import sine_position_code


class CrossAttention(FusionModule):
    """A pre-norm transformer block in which positions attend to words.

    Args:
        visual_dim: ``C``, a multiple of 4 and of ``heads``.
        language_dim: ``D``.
        heads: number of attention heads.
        ffn_dim: hidden width of the feed-forward part; None is the paper's ``4 C``.
        dropout: dropout probability on attention weights, on both residual branches and inside the feed-forward
            part.

    Raises:
        ValueError: ``C`` is not a multiple of 4 and of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "Deep Modular Co-Attention Networks for Visual Question Answering",
        "Yu et al.",
        "CVPR",
        2019,
        "https://arxiv.org/abs/1906.10770",
    )
    width: ClassVar[Width | None] = Width("ffn_dim", step=4, minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "sine"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of heads and dropout."""
        del language_dim
        heads = tuple(count for count in (1, 2, 4, 8) if visual_dim % count == 0)
        return {"heads": Choice(heads), "dropout": Float(0.0, 0.3)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        heads: int = 8,
        ffn_dim: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if visual_dim % heads or visual_dim % 4:
            raise ValueError(
                f"CrossAttention: {visual_dim} channels are not a multiple of 4 and of {heads} heads"
            )
        ffn_dim = ffn_dim or 4 * visual_dim
        self.out_dim = visual_dim
        self.heads, self.dropout = heads, dropout
        self.attention_norm = nn.LayerNorm(visual_dim)
        self.query = nn.Conv2d(visual_dim, visual_dim, 1)
        self.key = nn.Linear(language_dim, visual_dim)
        self.value = nn.Linear(language_dim, visual_dim)
        self.merge = nn.Conv2d(visual_dim, visual_dim, 1)
        self.ffn_norm = nn.LayerNorm(visual_dim)
        self.expand = nn.Conv2d(visual_dim, ffn_dim, 1)
        self.contract = nn.Conv2d(ffn_dim, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        answer, _ = self._attend(visual, language)  # [B, C, H, W]
        attended = visual + self._drop(self.merge(answer))  # [B, C, H, W]
        hidden = F.relu(self.expand(_norm_channels(self.ffn_norm, attended)))  # [B, ffn_dim, H, W]
        return attended + self._drop(self.contract(self._drop(hidden)))

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The word attention of each position, averaged over heads: ``[B, T, H, W]``."""
        _, attention = self._attend(visual, language)  # [B, heads, T, H, W]
        return Explanation(attention.mean(dim=1))

    def _attend(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """Return the attended words ``[B, C, H, W]`` and the attention ``[B, heads, T, H, W]`` of each position."""
        normed = _norm_channels(self.attention_norm, visual)  # [B, C, H, W]
        return attend_to_words(
            self.query(normed + sine_position_code(normed)),  # [B, C, H, W]
            self.key(language.words),  # [B, T, C]
            self.value(language.words),  # [B, T, C]
            language.mask,
            self.heads,
            self.dropout if self.training else 0.0,
        )

    def _drop(self, value: Tensor) -> Tensor:
        return F.dropout(value, self.dropout, self.training)


def _norm_channels(norm: nn.LayerNorm, visual: Tensor) -> Tensor:
    """Return the layer norm over the channels of each position: ``[B, C, H, W]`` -> ``[B, C, H, W]``."""
    return norm(visual.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]
