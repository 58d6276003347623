"""Bilinear attention (BAN): a weight for every pair of a word and a position, in several glimpses.

Kim, Jun, Zhang, "Bilinear Attention Networks", NeurIPS 2018 (arXiv 1805.07932). For the glimpses
``g = 1 .. G``, with ``Q_1 = Y`` and ``f`` = ReLU:

    A_g     = softmax over all pairs (t, i) of   sum_r p_gr f(U X_i)_r f(V Y_t)_r        rank 3 K
    z_gk    = sum_{t,i} A_g[t, i] f(V_g Q_g,t)_k f(U_g X_i)_k                            rank K
    Q_{g+1} = Q_g + (P_g z_g) 1^T                                                        the same for every word

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``K`` the width. All ``A_g`` are computed
from the input words ``Y``, as in the authors' network. ``U``, ``V`` and ``P`` are linear layers with a bias and
with weight normalisation, with one gain for the whole matrix. This module omits the bias of the authors' attention
logits, because it cancels in the softmax, and their counter, because it needs the boxes of detected objects. The
authors' network attends to padding words; here they get no weight and are not part of the sum over words.

The paper predicts its answer from the vector ``s = sum_t Q_{G+1},t``. Here it returns to a map by a residual
connection, so that copies can be stacked and a head can locate objects: a projection of ``s`` is added at every
position, and so is a projection of the attention of every glimpse, relative to its peak:

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
    """Low-rank bilinear attention in several residual glimpses.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        glimpses: ``G``.
        hidden: ``K``; None is ``C`` (the paper: 1024).
        dropout: dropout probability before every projection.
        attention_dropout: dropout probability on ``f(U X)`` of the attention.
    """

    citation: ClassVar[Citation] = Citation(
        "Bilinear Attention Networks", "Kim et al.", "NeurIPS", 2018, "https://arxiv.org/abs/1805.07932"
    )
    width: ClassVar[Width | None] = Width("hidden", minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of glimpses, the width and both dropouts."""
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
        marginal = relative_to_peak(attention.sum(dim=2)).transpose(1, 2)  # [B, HW, G]
        attended = as_map(self.looked(marginal), visual)  # [B, C, H, W]
        tiled: Tensor = self.answer(memory)[:, :, None, None]  # [B, C, 1, 1]
        return visual + tiled + attended

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The share of each word in the attention of a position, averaged over glimpses: ``[B, T, H, W]``."""
        logits = self.attention.logits(
            as_tokens(visual), real_words(language), language.mask
        )  # [B, G, T, HW]
        # The weights of one position divided by their sum; a softmax stays finite where that sum underflows.
        share = logits.softmax(dim=2).mean(dim=1)  # [B, T, HW]
        return Explanation(as_map(share.transpose(1, 2), visual))


class BilinearAttention(nn.Module):
    """``A_g = softmax over pairs of sum_r p_gr f(U X_i)_r f(V Y_t)_r``, for all glimpses at once.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        rank: number of terms ``r``.
        glimpses: ``G``.
        dropout: dropout probability before both projections.
        pair_dropout: dropout probability on ``f(U X)``.
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
        logits = self.logits(image, words, mask)  # [B, G, T, N]
        return logits.flatten(2).softmax(dim=2).view_as(logits)

    def logits(self, image: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return the attention logits ``[B, G, T, N]``; minus infinity at padding."""
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
        language_dim: ``D``, channels of a word and of the output.
        hidden: ``K``.
        dropout: dropout probability before every projection.
    """

    def __init__(self, visual_dim: int, language_dim: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.image = Projection(visual_dim, hidden, dropout=dropout)
        self.words = Projection(language_dim, hidden, dropout=dropout)
        self.answer = Projection(hidden, language_dim, dropout=dropout)

    def forward(self, image: Tensor, words: Tensor, attention: Tensor) -> Tensor:
        """Image ``[B, N, C]``, words ``[B, T, D]``, attention ``[B, T, N]`` -> update of all words ``[B, D]``."""
        attended = attention @ F.relu(self.image(image))  # [B, T, K]
        joint = (F.relu(self.words(words)) * attended).sum(dim=1)  # [B, K]
        return self.answer(joint)  # type: ignore[no-any-return]


class Projection(nn.Module):
    """Dropout, then a linear layer whose weight is ``g V / ||V||`` with one gain ``g`` for the whole matrix.

    Args:
        in_dim: channels of the input.
        out_dim: channels of the output.
        dropout: dropout probability before the layer.
    """

    def __init__(self, in_dim: int, out_dim: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = weight_norm(nn.Linear(in_dim, out_dim), dim=None)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """``[..., in_dim]`` -> ``[..., out_dim]``."""
        return self.linear(F.dropout(features, self.dropout, self.training))  # type: ignore[no-any-return]
