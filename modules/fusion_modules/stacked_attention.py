"""Stacked attention (SAN): the question attends to the positions in several hops, each of which refines the query.

Yang, He, Gao, Deng, Smola, "Stacked Attention Networks for Image Question Answering", CVPR 2016
(arXiv 1511.02274). With ``u_0 = q``, for each hop ``k = 1 .. K``:

    V   = tanh(W_I X + b_I)                                    regions of the question's width
    h   = tanh(W_v V (+) (W_u u_{k-1} + b))                    (+): the vector is added to every region
    p   = softmax_positions(w_p h)
    u_k = u_{k-1} + sum_i p_i V_i

Symbols: ``X`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``. This module omits the
paper's bias of ``w_p``, because it cancels in the softmax.

The paper predicts its answer from the vector ``u_K`` with one linear layer. Here it returns to a map by a residual
connection, so that copies can be stacked and a head can locate objects: the output of that layer is added at every
position, and so is a projection of the attention of every hop, relative to its peak:

    out_i = X_i + W_o u_K + b_o + W_a [p_i^1 / max p^1; ...; p_i^K / max p^K]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
    Citation,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import as_map, as_tokens, relative_to_peak


class StackedAttention(FusionModule):
    """Several hops of additive attention over positions.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``; the regions are projected to it, since ``u`` and ``V`` are added.
        hops: ``K``.
        attention_dim: width of ``h``; None is ``D / 2`` (the paper: 512 for a question of 1024).
    """

    citation: ClassVar[Citation] = Citation(
        "Stacked Attention Networks for Image Question Answering",
        "Yang et al.",
        "CVPR",
        2016,
        "https://arxiv.org/abs/1511.02274",
    )
    width: ClassVar[Width | None] = Width("attention_dim", minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of hops and the width of the attention."""
        del visual_dim
        return {
            "hops": Int(1, 3),
            "attention_dim": Int(max(4, language_dim // 4), max(4, 2 * language_dim), log=True),
        }

    def __init__(
        self, visual_dim: int, language_dim: int, *, hops: int = 2, attention_dim: int | None = None
    ) -> None:
        super().__init__()
        attention_dim = attention_dim or max(1, language_dim // 2)
        self.out_dim = visual_dim
        self.embed = nn.Conv2d(visual_dim, language_dim, 1)
        self.hops = nn.ModuleList(Hop(language_dim, attention_dim) for _ in range(hops))
        self.answer = nn.Linear(language_dim, visual_dim)
        self.looked = nn.Linear(hops, visual_dim, bias=False)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        regions = as_tokens(self.embed(visual).tanh())  # [B, HW, D]
        query = language.sentence  # [B, D]
        maps = []
        for hop in self.hops:
            attention = hop(regions, query)  # [B, HW]
            query = query + (attention[:, None] @ regions).squeeze(1)  # [B, D]
            maps.append(relative_to_peak(attention))
        attended = as_map(self.looked(torch.stack(maps, dim=2)), visual)  # [B, C, H, W]
        tiled: Tensor = self.answer(query)[:, :, None, None]  # [B, C, 1, 1]
        return visual + tiled + attended


class Hop(nn.Module):
    """One hop: ``p = softmax_positions(w_p tanh(W_v V (+) (W_u u + b)))``.

    Args:
        dim: ``D``, the width of regions and question.
        hidden: width of the layer between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.region = nn.Linear(dim, hidden, bias=False)
        self.question = nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, regions: Tensor, query: Tensor) -> Tensor:
        """Regions ``[B, N, D]`` and question ``[B, D]`` -> attention ``[B, N]``."""
        hidden = torch.tanh(self.region(regions) + self.question(query)[:, None])  # [B, N, hidden]
        return self.score(hidden).squeeze(2).softmax(dim=1)  # type: ignore[no-any-return]  # [B, N]
