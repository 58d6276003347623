"""Dynamic filters: 1x1 filters generated from the sentence are correlated with the map.

Gavrilyuk, Ghodrati, Li, Snoek, "Actor and Action Video Segmentation from a Sentence", CVPR 2018
(arXiv 1803.07485), after Li, Tao, Gavves, Snoek, Smeulders, "Tracking by Natural Language Specification",
CVPR 2017. At every position ``p``:

    f_m   = tanh(W_m q + b_m)                          m = 1 ... M
    R_m,p = f_m . [V_p / |V_p|; x_p; y_p]
    out_p = ReLU(W_o [V_p; R_p])

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``, ``R`` the responses ``[B, M, H, W]``.
Li et al. generate the filters with a sigmoid. Filters with positive entries only cannot distinguish the sign of a
feature, so this module uses the tanh of the later paper. The features of a position are divided by their length,
so a response compares directions only.

Choices of this module: two coordinate maps, x and y, where the papers append eight. The papers predict a mask from
one response. Here the responses are concatenated with ``V`` to give a map, as is usual for segmentation with
several filters.
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
from fusion_modules.position import with_coordinates


class DynamicFilter(FusionModule):
    """The map concatenated with its responses to filters that are generated from the sentence.

    Args:
        visual_dim: ``C``; also the output's channels.
        language_dim: ``D``.
        filters: ``M``; the papers use one filter per resolution.
    """

    citation: ClassVar[Citation] = Citation(
        "Actor and Action Video Segmentation from a Sentence",
        "Gavrilyuk et al.",
        "CVPR",
        2018,
        "https://arxiv.org/abs/1803.07485",
    )
    width: ClassVar[Width | None] = Width("filters")
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "coordinates"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of filters."""
        del visual_dim, language_dim
        return {"filters": Int(1, 64, log=True)}

    def __init__(self, visual_dim: int, language_dim: int, *, filters: int = 1) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.filters = filters
        self.generator = nn.Linear(language_dim, filters * (visual_dim + 2))
        self.output = nn.Conv2d(visual_dim + filters, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        filters = torch.tanh(self.generator(language.sentence)).unflatten(
            1, (self.filters, -1)
        )  # [B, M, C + 2]
        located = with_coordinates(_unit_length(visual))  # [B, C + 2, H, W]
        responses = filters @ located.flatten(2)  # [B, M, HW]
        responses = responses.unflatten(2, visual.shape[2:])  # [B, M, H, W]
        return F.relu(self.output(torch.cat((visual, responses), dim=1)))  # [B, C, H, W]


def _unit_length(visual: Tensor) -> Tensor:
    """Return ``[B, C, H, W]`` with the features of each position divided by their length.

    Computed in float32 or wider; the added constant keeps the gradient finite where all features are 0.
    """
    wide = visual.to(torch.promote_types(visual.dtype, torch.float32))
    return (wide * (wide.square().sum(dim=1, keepdim=True) + 1e-6).rsqrt()).to(visual.dtype)
