"""Low-rank multimodal fusion (LMF): a full fusion tensor, written as a sum of rank-one tensors.

Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, "Efficient Low-rank Multimodal Fusion with
Modality-Specific Factors", ACL 2018 (arXiv 1806.00064), at every position ``p`` of the map:

    z_p = W ( [V_p; 1] (x) [q; 1] ),    W = sum_i w_v^(i) (x) w_q^(i),    i = 1 ... r
        = sum_i ( w_v^(i) [V_p; 1] ) * ( w_q^(i) [q; 1] )

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``(x)`` the outer product, ``*`` the
elementwise one, ``w_v^(i)`` ``[hidden, C + 1]``, ``w_q^(i)`` ``[hidden, D + 1]``. The appended 1 adds
the terms that depend on one input only; its column of a factor is stored as a constant.

The sum over ``i`` stands outside the product, as the decomposition of ``W`` requires. The authors' code multiplies
the ``r`` terms by learned weights and adds a bias. The factors and their constants can express both, so this module
has neither. The paper chooses the rank per task; the default 4 is in the middle of this module's search space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from fusion_bench.contract import (
    Choice,
    Citation,
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.bilinear.core import LowRankCore


class LowRank(FusionModule):
    """One low-rank bilinear form of the two inputs for each output channel.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        hidden: the output's channels; None keeps ``C``.
        rank: ``r``.
    """

    citation: ClassVar[Citation] = Citation(
        "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors",
        "Liu et al.",
        "ACL",
        2018,
        "https://arxiv.org/abs/1806.00064",
    )
    width: ClassVar[Width | None] = Width("hidden", step=1, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the output and the rank."""
        del language_dim
        return {
            "hidden": Int(max(4, visual_dim // 2), 2 * visual_dim, log=True),
            "rank": Choice((1, 4, 8, 16)),
        }

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, rank: int = 4
    ) -> None:
        super().__init__()
        self.out_dim = hidden or visual_dim
        self.core = LowRankCore(language_dim, visual_dim, self.out_dim, rank)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, hidden, H, W]``."""
        return self.core(language.sentence, visual)  # type: ignore[no-any-return]
