"""QGHC: a residual bottleneck whose grouped convolution has some kernels predicted from the question.

Gao, Li, Li, Lu, Li, Hoi, Wang, "Question-Guided Hybrid Convolution for Visual Question Answering", ECCV 2018
(arXiv 1808.02632).

    r   = ReLU(BN(conv1x1(V)))                                              [B, N g, H, W]
    u_j = K_j   * r_j       for the question-independent groups             K_j learned
    u_j = K_j(q) * r_j      for the question-dependent groups               K(q) = W q + b
    out = ReLU(V + BN(conv1x1(ReLU(BN([u_1; ...; u_N])))))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``r_j`` the ``g`` channels of group ``j``
of ``N``, ``*`` a 3x3 convolution from ``g`` to ``g`` channels. A question has one kernel per group, which is the
same at every position. Grouping keeps the kernel predictor small: its size grows with ``g^2`` per group.

Choices of this module, because only the abstract and the introduction of the paper were available: ``N`` = 8
groups, half of them with kernels from the question; the bottleneck has a quarter of the channels, as in ResNet;
the predicted kernels are neither normalised nor passed through an activation, because a batch norm follows and
sets their scale. The channels are not shuffled between the convolutions: the 1x1 convolution that follows mixes
all groups, so a shuffle would only reorder its inputs.
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
    FusionModule,
    Int,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class QuestionGuidedConv(FusionModule):
    """A residual bottleneck whose grouped 3x3 convolution is partly predicted from the question.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of the bottleneck, a multiple of ``groups``; None is ``C / 4``, rounded up to a multiple.
        groups: ``N``.
        dependent_groups: number of groups, counted from the last, whose kernels are predicted from the question.

    Raises:
        ValueError: ``hidden`` is not a multiple of ``groups``, or one of the two kinds has no group.
    """

    citation: ClassVar[Citation] = Citation(
        "Question-Guided Hybrid Convolution for Visual Question Answering",
        "Gao et al.",
        "ECCV",
        2018,
        "https://arxiv.org/abs/1808.02632",
    )
    width: ClassVar[Width | None] = Width("hidden", step=8, minimum=8)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the bottleneck and the number of question-dependent groups among its eight."""
        del language_dim
        widest = -(-visual_dim // 8) * 8
        return {"hidden": Int(8, widest, step=8), "dependent_groups": Choice((1, 2, 4, 6))}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        hidden: int | None = None,
        groups: int = 8,
        dependent_groups: int = 4,
    ) -> None:
        super().__init__()
        if not 0 < dependent_groups < groups:
            raise ValueError(
                f"QuestionGuidedConv: dependent_groups must be from 1 to {groups - 1}, not {dependent_groups}"
            )
        hidden = hidden or -(-visual_dim // (4 * groups)) * groups
        if hidden % groups:
            raise ValueError(
                f"QuestionGuidedConv: {hidden} hidden channels are not a multiple of {groups} groups"
            )
        self.out_dim = visual_dim
        self.dependent_groups, self.group_dim = dependent_groups, hidden // groups
        dependent = dependent_groups * self.group_dim
        independent = hidden - dependent
        self.split = (independent, dependent)
        self.reduce = nn.Conv2d(visual_dim, hidden, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(hidden)
        self.independent = nn.Conv2d(
            independent, independent, 3, padding=1, groups=groups - dependent_groups, bias=False
        )
        self.predict = nn.Linear(language_dim, dependent * self.group_dim * 9)
        self.hybrid_norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, visual_dim, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(visual_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        reduced = F.relu(self.reduce_norm(self.reduce(visual)))  # [B, hidden, H, W]
        learned, guided = reduced.split(self.split, dim=1)  # [B, (N - n) g, H, W], [B, n g, H, W]
        hybrid = torch.cat(
            (self.independent(learned), self._convolve_guided(guided, language.sentence)), dim=1
        )
        hybrid = F.relu(self.hybrid_norm(hybrid))  # [B, hidden, H, W]
        return F.relu(visual + self.expand_norm(self.expand(hybrid)))  # [B, C, H, W]

    def _convolve_guided(self, reduced: Tensor, sentence: Tensor) -> Tensor:
        """Convolve each of the ``n`` groups of ``[B, n g, H, W]`` with its kernel from the question ``[B, D]``."""
        batch, channels, height, width = reduced.shape
        group = self.group_dim
        kernels = self.predict(sentence).reshape(-1, group, group * 9)  # [B n, g, 9 g]
        windows = F.unfold(reduced, 3, padding=1)  # [B, 9 n g, HW]
        windows = windows.reshape(batch * self.dependent_groups, group * 9, height * width)  # [B n, 9 g, HW]
        guided: Tensor = kernels @ windows  # [B n, g, HW]
        return guided.reshape(batch, channels, height, width)  # [B, n g, H, W]
