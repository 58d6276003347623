"""MoVie: a residual bottleneck that also reads the map multiplied by a vector from the sentence.

Nguyen, Goswami, Chen, "MoVie: Revisiting Modulated Convolutions for Visual Counting and Beyond", ICLR 2021
(arXiv 2004.11883).

    r   = conv1x1(V) + W (V * gamma),    gamma = Linear(q)
    s   = BN(conv1x1(ReLU(BN(conv3x3(ReLU(BN(r)))))))
    out = ReLU(V + A(s))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``W`` a 1x1 convolution, ``*`` the product
per channel. The modulation is *added* to the map, so ``gamma`` varies around 0, whereas the scale of FiLM varies
around 1; only the residual branch receives it. This is the compressed form, in which ``W`` maps to the width of
the bottleneck: modulating first and reducing afterwards, ``conv1x1(V + W' (V * gamma))``, gives the same
functions. ``A`` weights first the channels and then the positions, both with a sigmoid:

    A(s) = s' * sigmoid(conv7x7(mean_c s')),    s' = s * sigmoid(W_2 ReLU(W_1 mean_p s))

**Post-hoc adaptation.** With a frozen, cached map this block adapts the output of the backbone. It does not
modulate the convolutions of the backbone.

Choices of this module: one module is one bottleneck (``fusion.depth`` of a study stacks them). Batch norms are
learned; in the authors' released code they are frozen at their initial values. ``A`` is on, as in that code.
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


class ModulatedConv(FusionModule):
    """A residual bottleneck modulated by the sentence.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        hidden: channels of the bottleneck; None is ``C / 4`` as in ResNet.
        attention: apply ``A``, which weights channels and positions, before the shortcut is added.
    """

    citation: ClassVar[Citation] = Citation(
        "MoVie: Revisiting Modulated Convolutions for Visual Counting and Beyond",
        "Nguyen et al.",
        "ICLR",
        2021,
        "https://arxiv.org/abs/2004.11883",
    )
    width: ClassVar[Width | None] = Width("hidden")
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"
    modulates_backbone: ClassVar[bool] = True

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The bottleneck's width and ``A``."""
        del language_dim
        return {
            "hidden": Int(max(1, visual_dim // 8), visual_dim, log=True),
            "attention": Choice((False, True)),
        }

    def __init__(
        self, visual_dim: int, language_dim: int, *, hidden: int | None = None, attention: bool = True
    ) -> None:
        super().__init__()
        hidden = hidden or max(1, visual_dim // 4)
        self.out_dim = visual_dim
        self.gamma = nn.Linear(language_dim, visual_dim)
        self.modulated = nn.Conv2d(visual_dim, hidden, 1, bias=False)
        self.reduce = nn.Conv2d(visual_dim, hidden, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(hidden)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, visual_dim, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(visual_dim)
        self.attention = ChannelPositionAttention(visual_dim) if attention else nn.Identity()

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        gamma = self.gamma(language.sentence)[:, :, None, None]  # [B, C, 1, 1]
        reduced = self.reduce(visual) + self.modulated(visual * gamma)  # [B, hidden, H, W]
        convolved = self.conv(F.relu(self.reduce_norm(reduced)))  # [B, hidden, H, W]
        expanded = self.expand_norm(self.expand(F.relu(self.conv_norm(convolved))))  # [B, C, H, W]
        return F.relu(visual + self.attention(expanded))


class ChannelPositionAttention(nn.Module):
    """``A``: squeeze-and-excitation over channels with reduction 4, then one weight per position.

    Args:
        channels: channels of the weighted map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(1, channels // 4), bias=False)
        self.excite = nn.Linear(max(1, channels // 4), channels, bias=False)
        self.place = nn.Conv2d(1, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        channel = self.excite(F.relu(self.squeeze(features.mean(dim=(2, 3)))))  # [B, C]
        features = features * torch.sigmoid(channel)[:, :, None, None]
        position = self.place(features.mean(dim=1, keepdim=True))  # [B, 1, H, W]
        return features * torch.sigmoid(position)
