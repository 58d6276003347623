"""The control ``question_only``: the output map depends on the sentence only; the image is not read.

The language-only baseline is that of Goyal et al., "Making the V in VQA Matter", CVPR 2017 (arXiv 1612.00837), who
show how accurate answers from the question alone are. It has the form of a fusion block, at every position ``p``:

    out_p = ReLU(W_2 ReLU(W_1 q + b_1) + b_2)

Symbols: ``q`` the sentence ``[B, D]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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


class QuestionOnly(FusionModule):
    """A two-layer perceptron of the sentence with the same output at every position; the image is not read.

    Args:
        visual_dim: ``C``; the output's channels, so that the following layers are as wide as in the other arms.
        language_dim: ``D``.
        hidden: width of the hidden layer; None is ``2 C``.
    """

    citation: ClassVar[Citation] = Citation(
        "Making the V in VQA Matter: Elevating the Role of Image Understanding in Visual Question Answering",
        "Goyal et al.",
        "CVPR",
        2017,
        "https://arxiv.org/abs/1612.00837",
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"
    reads: ClassVar[frozenset[str]] = frozenset({"language"})

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The hidden width."""
        del language_dim
        return {"hidden": Int(visual_dim, 4 * visual_dim, log=True)}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 2 * visual_dim
        self.out_dim = visual_dim
        self.mlp = nn.Sequential(
            nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim), nn.ReLU()
        )

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` (only its size is read) -> ``[B, C, H, W]``."""
        answer = self.mlp(language.sentence)[:, :, None, None]  # [B, C, 1, 1]
        return answer.expand(-1, -1, *visual.shape[2:])  # type: ignore[no-any-return]  # [B, C, H, W]
