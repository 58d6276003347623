"""Sum and Hadamard product: two projections and one elementwise operation, as simple baselines.

``sum`` is the linear-sum baseline in the authors' code of Ben-younes, Cadene, Thome, Cord, "BLOCK: Bilinear
Superdiagonal Fusion for Visual Question Answering and Visual Relationship Detection", AAAI 2019 (arXiv
1902.00038). ``hadamard`` replaces its sum by a product. At every position ``p`` of the map:

    sum:       z_p = ReLU( W_o ( ReLU(W_v V_p) + ReLU(W_q q) ) )
    hadamard:  z_p = ReLU( W_o ( ReLU(W_v V_p) * ReLU(W_q q) ) )

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``; every linear map has a bias. The two
modules differ only in the operation, so a difference in their results is due to the operation. Fukui et al.
(MCB, EMNLP 2016) made this comparison first. With tanh instead of ReLU, dropout on the inputs and no last
ReLU, ``hadamard`` is MLB.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
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


class _Elementwise(FusionModule, abstract=True):
    """The common part of both modules: everything but the operation.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: width of both projections (the authors' code: 1200 for inputs of 2048 and 4800); None is ``C``.
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
        """The width of the projections."""
        del language_dim
        return {"hidden": Int(visual_dim, 4 * visual_dim, log=True)}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or visual_dim
        self.out_dim = visual_dim
        self.visual = nn.Conv2d(visual_dim, hidden, 1)
        self.sentence = nn.Linear(language_dim, hidden)
        self.output = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        positions = F.relu(self.visual(visual))  # [B, hidden, H, W]
        sentence = F.relu(self.sentence(language.sentence))[:, :, None, None]  # [B, hidden, 1, 1]
        return F.relu(self.output(self._join(positions, sentence)))  # [B, C, H, W]

    @staticmethod
    @abstractmethod
    def _join(positions: Tensor, sentence: Tensor) -> Tensor:
        """Join ``[B, hidden, H, W]`` and ``[B, hidden, 1, 1]`` to ``[B, hidden, H, W]``."""


class Sum(_Elementwise):
    """The sum of a projected position and the projected sentence.

    The arguments are those of `_Elementwise`.
    """

    @staticmethod
    def _join(positions: Tensor, sentence: Tensor) -> Tensor:
        return positions + sentence


class Hadamard(_Elementwise):
    """The elementwise product of a projected position and the projected sentence.

    The arguments are those of `_Elementwise`.
    """

    @staticmethod
    def _join(positions: Tensor, sentence: Tensor) -> Tensor:
        return positions * sentence
