"""Conditional batch norm: the sentence shifts the scale and offset of every batch norm of a residual block.

de Vries, Strub, Mary, Larochelle, Pietquin, Courville, "Modulating early visual processing by language",
NeurIPS 2017 (arXiv 1707.00683). The authors call the modulated network MODERN.

    CBN(F_c) = (gamma_c + dgamma_c(q)) (F_c - mu_c) / sqrt(var_c + 1e-5) + beta_c + dbeta_c(q)

Symbols: ``F_c`` one channel, ``mu_c`` and ``var_c`` its mean and variance over batch and positions (running
averages in evaluation), ``q`` the sentence ``[B, D]``; ``dgamma`` and ``dbeta`` are two perceptrons
``W_2 ReLU(W_1 q + b_1)``, separate for each norm. The block is ResNet's bottleneck in which all three norms are
conditional:

    out = ReLU(V + CBN(conv1x1(ReLU(CBN(conv3x3(ReLU(CBN(conv1x1(V)))))))))

**Post-hoc adaptation.** The paper modulates the batch norms inside a pretrained ResNet, from its first stages on.
With a frozen, cached map these norms cannot be changed. This block stands behind the backbone and adapts its
output.

Choices of this module: no pretrained ``gamma`` and ``beta`` exist for a new block, so ``gamma`` starts at 1,
``beta`` at 0, and both are learned. The deltas start with mean 0 and small variance, as in the paper: ``W_2`` is
drawn with standard deviation 0.01. The momentum of the running averages is torch's default of 0.1 (the authors
use 0.01), as in the other modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
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


class ConditionalBatchNorm(FusionModule):
    """A residual bottleneck whose three batch norms are conditioned on the sentence.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of the bottleneck; None is ``C / 4`` as in ResNet.
        mlp_dim: hidden width of the perceptrons (the paper: 512); None is ``hidden``. This is the paper's
            ratio in the last stage of its ResNet, whose bottleneck has 512 channels.
    """

    citation: ClassVar[Citation] = Citation(
        "Modulating early visual processing by language",
        "de Vries et al.",
        "NeurIPS",
        2017,
        "https://arxiv.org/abs/1707.00683",
    )
    width: ClassVar[Width | None] = Width("hidden")
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"
    modulates_backbone: ClassVar[bool] = True

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the bottleneck, which also sets the width of the perceptrons."""
        del language_dim
        return {"hidden": Int(max(1, visual_dim // 8), visual_dim, log=True)}

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, mlp_dim: int | None = None
    ) -> None:
        super().__init__()
        hidden = hidden or max(1, visual_dim // 4)
        mlp_dim = mlp_dim or hidden
        self.out_dim = visual_dim
        self.reduce = nn.Conv2d(visual_dim, hidden, 1, bias=False)
        self.reduce_norm = LanguageNorm(hidden, language_dim, mlp_dim)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False)
        self.conv_norm = LanguageNorm(hidden, language_dim, mlp_dim)
        self.expand = nn.Conv2d(hidden, visual_dim, 1, bias=False)
        self.expand_norm = LanguageNorm(visual_dim, language_dim, mlp_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        sentence = language.sentence
        reduced = F.relu(self.reduce_norm(self.reduce(visual), sentence))  # [B, hidden, H, W]
        convolved = F.relu(self.conv_norm(self.conv(reduced), sentence))  # [B, hidden, H, W]
        return F.relu(visual + self.expand_norm(self.expand(convolved), sentence))  # [B, C, H, W]


class LanguageNorm(nn.Module):
    """``CBN``: batch norm per channel whose scale and offset are shifted by the sentence.

    Args:
        channels: channels of the normalised map.
        language_dim: ``D``.
        mlp_dim: hidden width of the two perceptrons.
    """

    def __init__(self, channels: int, language_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.delta_gamma = _delta(language_dim, mlp_dim, channels)
        self.delta_beta = _delta(language_dim, mlp_dim, channels)

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        """``[B, channels, H, W]``, ``[B, D]`` -> ``[B, channels, H, W]``."""
        gamma = (self.gamma + self.delta_gamma(sentence))[:, :, None, None]  # [B, channels, 1, 1]
        beta = (self.beta + self.delta_beta(sentence))[:, :, None, None]  # [B, channels, 1, 1]
        return gamma * self.norm(features) + beta  # type: ignore[no-any-return]


def _delta(language_dim: int, mlp_dim: int, channels: int) -> nn.Sequential:
    """Return the perceptron ``dgamma`` or ``dbeta``: ``[B, D]`` -> ``[B, channels]``."""
    last = nn.Linear(mlp_dim, channels, bias=False)
    nn.init.normal_(last.weight, std=0.01)
    return nn.Sequential(nn.Linear(language_dim, mlp_dim), nn.ReLU(), last)
