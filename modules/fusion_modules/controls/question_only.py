"""Question-only control: the map is made from the sentence, and the image is not read."""

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
    """A two-layer perceptron of the sentence, the same at every position; the image is not looked at.

    The language-only model against which Goyal et al. show how far wording alone leads.

    Args:
        visual_dim: ``C``; the output's channels, so that what follows is as wide as for the other arms.
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
        """``[B, C, H, W]`` (its size alone) -> ``[B, C, H, W]``."""
        answer = self.mlp(language.sentence)[:, :, None, None]  # [B, C, 1, 1]
        return answer.expand(-1, -1, *visual.shape[2:])  # type: ignore[no-any-return]
