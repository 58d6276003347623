"""Bilinear attention (BAN): every pair of a word and a position gets a weight, in several glimpses.

Kim, Jun, Zhang, "Bilinear Attention Networks", NeurIPS 2018 (arXiv 1805.07932). With ``Q_1 = Y``, for the
glimpses ``g = 1 .. G``, where ``f`` is ReLU:

    A_g     = softmax over all pairs (t, i) of   sum_r p_gr f(U X_i)_r f(V Y_t)_r        rank 3 K
    z_gk    = sum_{t,i} A_g[t, i] f(V_g Q_g,t)_k f(U_g X_i)_k                            rank K
    Q_{g+1} = Q_g + (P_g z_g) 1^T                                                        the same for every word

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``K`` the width. All ``A_g`` come from the
words as they arrived, as in the authors' network; ``U``, ``V`` and ``P`` are linear layers with a bias under weight
normalisation with one gain for the whole matrix. The bias of the authors' attention logits is left out: it
cancels in the softmax. So is the counter, which reads the boxes of detected objects. Padding words, which the
authors' network attends to, get no weight here and are left out of the sum over words.

The paper reads its answer off the vector ``s = sum_t Q_{G+1},t``. The way back to a map is a residual one, so
that copies can be stacked and a head can point: ``s`` is tiled, and every glimpse adds where it looked:

    a_gi  = sum_t A_g[t, i]
    out_i = X_i + W_o s + b_o + W_a [a_1i / max a_1; ...; a_Gi / max a_G]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from fusion_bench.contract import (
    Citation,
    Explanation,
    Float,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import as_map, as_tokens, real_words, relative_to_peak


class BAN(FusionModule):
    """``G`` residual glimpses of low-rank bilinear attention.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        glimpses: ``G``.
        hidden: ``K``; None is ``C`` (the paper: 1024).
        dropout: before every projection.
        attention_dropout: on ``f(U X)`` of the attention.
    """

    citation: ClassVar[Citation] = Citation(
        "Bilinear Attention Networks", "Kim et al.", "NeurIPS", 2018, "https://arxiv.org/abs/1805.07932"
    )
    width: ClassVar[Width | None] = Width("hidden", minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Glimpses, width and both dropouts."""
        del language_dim
        return {
            "glimpses": Int(1, 8),
            "hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True),
            "dropout": Float(0.0, 0.3),
            "attention_dropout": Float(0.0, 0.5),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        glimpses: int = 8,
        hidden: int | None = None,
        dropout: float = 0.2,
        attention_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = hidden or visual_dim
        self.out_dim = visual_dim
        self.attention = BilinearAttention(
            visual_dim, language_dim, 3 * hidden, glimpses, dropout=dropout, pair_dropout=attention_dropout
        )
        self.glimpses = nn.ModuleList(
            Glimpse(visual_dim, language_dim, hidden, dropout=dropout) for _ in range(glimpses)
        )
        self.answer = nn.Linear(language_dim, visual_dim)
        self.looked = nn.Linear(glimpses, visual_dim, bias=False)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        image, words = as_tokens(visual), real_words(language)  # [B, HW, C], [B, T, D]
        attention = self.attention(image, words, language.mask)  # [B, G, T, HW]
        for glimpse, weights in zip(self.glimpses, attention.unbind(1), strict=True):
            words = words + glimpse(image, words, weights)[:, None]  # [B, T, D]
        memory = words.masked_fill(~language.mask[..., None], 0.0).sum(dim=1)  # [B, D]
        looks = relative_to_peak(attention.sum(dim=2)).transpose(1, 2)  # [B, HW, G]
        where = as_map(self.looked(looks), visual)  # [B, C, H, W]
        tiled: Tensor = self.answer(memory)[:, :, None, None]  # [B, C, 1, 1]
        return visual + tiled + where

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The share of each word in a position's attention, averaged over glimpses ``[B, T, H, W]``."""
        logits = self.attention.logits(as_tokens(visual), real_words(language), language.mask)
        # The pairs of one position divided by their sum; as a softmax, also where that sum underflows.
        share = logits.softmax(dim=2).mean(dim=1)  # [B, T, HW]
        return Explanation(as_map(share.transpose(1, 2), visual))


class BilinearAttention(nn.Module):
    """``A_g = softmax over pairs of sum_r p_gr f(U X_i)_r f(V Y_t)_r``, for all glimpses at once.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        rank: number of ``r``.
        glimpses: ``G``.
        dropout: before both projections.
        pair_dropout: on ``f(U X)``.
    """

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        rank: int,
        glimpses: int,
        *,
        dropout: float,
        pair_dropout: float,
    ) -> None:
        super().__init__()
        self.image = Projection(visual_dim, rank, dropout=dropout)
        self.words = Projection(language_dim, rank, dropout=dropout)
        self.pair_dropout = pair_dropout
        self.pooling = nn.Parameter(torch.randn(glimpses, rank))

    def forward(self, image: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Image ``[B, N, C]``, words ``[B, T, D]``, mask ``[B, T]`` -> attention ``[B, G, T, N]``."""
        logits = self.logits(image, words, mask)
        return logits.flatten(2).softmax(dim=2).view_as(logits)

    def logits(self, image: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Before the softmax, ``[B, G, T, N]``; minus infinity at padding."""
        image = F.dropout(F.relu(self.image(image)), self.pair_dropout, self.training)  # [B, N, rank]
        words = F.relu(self.words(words))  # [B, T, rank]
        pooled = words[:, None] * self.pooling[:, None]  # [B, G, T, rank]
        logits = pooled.flatten(1, 2) @ image.transpose(1, 2)  # [B, G T, N]
        logits = logits.reshape(*pooled.shape[:3], -1)  # [B, G, T, N]
        return logits.masked_fill(~mask[:, None, :, None], -torch.inf)


class Glimpse(nn.Module):
    """``P z`` with ``z_k = sum_{t,i} A[t, i] f(V Q_t)_k f(U X_i)_k``.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``, also of the answer.
        hidden: ``K``.
        dropout: before every projection.
    """

    def __init__(self, visual_dim: int, language_dim: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.image = Projection(visual_dim, hidden, dropout=dropout)
        self.words = Projection(language_dim, hidden, dropout=dropout)
        self.answer = Projection(hidden, language_dim, dropout=dropout)

    def forward(self, image: Tensor, words: Tensor, attention: Tensor) -> Tensor:
        """Image ``[B, N, C]``, words ``[B, T, D]``, attention ``[B, T, N]`` -> what to add to a word ``[B, D]``."""
        seen = attention @ F.relu(self.image(image))  # [B, T, K]
        joint = (F.relu(self.words(words)) * seen).sum(dim=1)  # [B, K]
        return self.answer(joint)  # type: ignore[no-any-return]


class Projection(nn.Module):
    """Dropout, then a linear layer whose weight is ``g V / ||V||`` with one gain ``g`` for the whole matrix.

    Args:
        in_dim: channels in.
        out_dim: channels out.
        dropout: before the layer.
    """

    def __init__(self, in_dim: int, out_dim: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = weight_norm(nn.Linear(in_dim, out_dim), dim=None)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """``[..., in_dim]`` -> ``[..., out_dim]``."""
        return self.linear(F.dropout(features, self.dropout, self.training))  # type: ignore[no-any-return]
