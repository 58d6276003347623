"""Tucker fusion with a full core, and MUTAN, which restricts the slices of the core to low rank.

Ben-younes, Cadene, Cord, Thome, "MUTAN: Multimodal Tucker Fusion for Visual Question Answering", ICCV 2017
(arXiv 1705.06676), at every position ``p`` of the map:

    z_p = W_o z + b_o,    z = (T_c x_1 q~) x_2 v~,    q~ = tanh(W_q q + b_q),    v~ = tanh(W_v V_p + b_v)

    Tucker:  T_c is free, [t, t, t]
    MUTAN:   every slice of T_c has rank R at most, T_c[:, :, k] = sum_r m_rk n_rk^T, therefore
             z = sum_r (M_r q~) * (N_r v~)

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``t`` the common width of all three
modes (``hidden``; the paper allows three widths and reports equal ones), ``*`` the elementwise product. With
``R = t`` MUTAN can represent every Tucker fusion; MLB is the case where ``T_c`` is the identity.

Choices where the paper gives no detail: ``M_r`` and ``N_r`` have constants, as in the authors' code; a full core has
none, because ``b_o`` already is a constant. The factors are stored rank by rank. Dropout is applied to the inputs of
both projections, as in the authors' code. No activation follows ``z``.
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
from fusion_modules.bilinear.core import FullCore, LowRankCore


class _TuckerFusion(FusionModule, abstract=True):
    """The common part of both modules: everything but the core."""

    citation: ClassVar[Citation] = Citation(
        "MUTAN: Multimodal Tucker Fusion for Visual Question Answering",
        "Ben-younes et al.",
        "ICCV",
        2017,
        "https://arxiv.org/abs/1705.06676",
    )
    width: ClassVar[Width | None] = Width("hidden", step=2, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    def __init__(
        self, visual_dim: int, language_dim: int, hidden: int, core: FullCore | LowRankCore, dropout: float
    ) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.dropout = nn.Dropout(dropout)
        self.visual = nn.Conv2d(visual_dim, hidden, 1)
        self.sentence = nn.Linear(language_dim, hidden)
        self.core = core
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        positions = torch.tanh(self.visual(self.dropout(visual)))  # [B, hidden, H, W]
        sentence = torch.tanh(self.sentence(self.dropout(language.sentence)))  # [B, hidden]
        return self.output(self.core(sentence, positions))  # type: ignore[no-any-return]


class Tucker(_TuckerFusion):
    """Tucker fusion with a full core: a weight for every pair of projected channels and every output.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: ``t``; None is ``C / 2``, because the core has ``t^3`` parameters.
        dropout: dropout probability on the inputs of both projections.
    """

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the core and dropout."""
        del language_dim
        return {
            "hidden": Int(max(4, visual_dim // 4), max(4, visual_dim), log=True),
            "dropout": Float(0.0, 0.5),
        }

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, dropout: float = 0.5
    ) -> None:
        hidden = hidden or max(1, visual_dim // 2)
        super().__init__(visual_dim, language_dim, hidden, FullCore(hidden, hidden, hidden), dropout)


class MUTAN(_TuckerFusion):
    """A Tucker fusion whose core has slices of low rank.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: ``t`` (the paper: 360 for inputs of 2048 and 2400, without attention); None is ``C``.
        rank: ``R``.
        dropout: dropout probability on the inputs of both projections.
    """

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the core, its rank and dropout."""
        del language_dim
        return {
            "hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True),
            "rank": Int(2, 20),
            "dropout": Float(0.0, 0.5),
        }

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        rank: int = 10,
        dropout: float = 0.5,
    ) -> None:
        hidden = hidden or visual_dim
        super().__init__(visual_dim, language_dim, hidden, LowRankCore(hidden, hidden, hidden, rank), dropout)
