"""LaConv: the words of a sentence write a convolution kernel for every position of the image.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797).

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``P`` a 2-D sine position code,
``t`` the packing, ``E`` the condition width, ``k`` the kernel size, ``G`` the groups.

Condition, what each position hears (position code on the query only):

    A = softmax_words( Q(pack_t(X + P)) K(Y)^T / sqrt(E / heads) )
    Z = ReLU(BN( unpack_t( ReLU( M(A V(Y)) ) ) ))

Kernels, one per position and group, neither normalised nor scaled, and the convolution with them:

    W = conv1x1(Z)                                                  [B, G, k^2, H, W]
    U[b, c, p] = sum_j W[b, c mod G, j, p] X[b, c, p + offset_j]

Block, where channels mix only in the 1x1 convolutions:

    a   = SiLU( X + BN(U) )
    out = SiLU( a + BN(conv1x1(SiLU(BN(conv1x1(a))))) )
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    Explanation,
    Float,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)
from fusion_modules.attention import attend_to_words
from fusion_modules.laconv.operator import dynamic_conv2d
from fusion_modules.position import sine_position_code


class WordCondition(nn.Module):
    """The condition ``Z``: every position attends to the words, ``t x t`` positions asking as one.

    Args:
        visual_dim: ``C``, a multiple of 4.
        language_dim: ``D``.
        dim: ``E``.
        packing: ``t``. A map whose sides it does not divide is continued with zeros.
        heads: divides ``E``.
        dropout: on the attention weights.
    """

    def __init__(
        self, visual_dim: int, language_dim: int, dim: int, packing: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.packing, self.heads, self.dropout = packing, heads, dropout
        self.query = nn.Conv2d(visual_dim * packing**2, dim, 1)
        self.key = nn.Linear(language_dim, dim)
        self.value = nn.Linear(language_dim, dim)
        self.merge = nn.Conv2d(dim, dim * packing**2, 1)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """``Z`` ``[B, E, H, W]`` and the attention ``[B, heads, T, ceil(H/t), ceil(W/t)]``."""
        height, width = visual.shape[2:]
        located = visual + sine_position_code(visual)  # [B, C, H, W]
        answer, attention = attend_to_words(
            self.query(self._pack(located)),  # [B, E, H/t, W/t]
            self.key(language.words),  # [B, T, E]
            self.value(language.words),
            language.mask,
            self.heads,
            self.dropout if self.training else 0.0,
        )
        merged = F.relu(self.merge(answer))  # [B, E t^2, H/t, W/t]
        if self.packing > 1:
            merged = F.pixel_shuffle(merged, self.packing)[..., :height, :width]  # [B, E, H, W]
        return F.relu(self.norm(merged)), attention

    def _pack(self, located: Tensor) -> Tensor:
        """Space to depth: ``[B, C, H, W]`` -> ``[B, C t^2, ceil(H/t), ceil(W/t)]``."""
        if self.packing == 1:
            return located
        height, width = located.shape[2:]
        bordered = F.pad(located, (0, -width % self.packing, 0, -height % self.packing))
        return F.pixel_unshuffle(bordered, self.packing)


class LaConv(FusionModule):
    """One LaConv block.

    Args:
        visual_dim: ``C``, a multiple of 4 and of ``groups``.
        language_dim: ``D``.
        kernel_size: ``k``, odd.
        groups: ``G``; channel ``c`` is filtered by kernel ``c mod G``.
        heads: attention heads.
        cond_dim: ``E``, a multiple of ``heads``; None is the paper's rule: ``C t / 2`` below 128
            channels, else ``C``.
        packing: ``t``; positions attend to the words in squares of ``t x t``.
        mlp_dim: hidden channels of the 1x1 convolutions; None is the paper's ``4 C``.
        dropout: on attention weights and on kernel values, tap by tap.

    Raises:
        ValueError: the widths do not fit each other.
    """

    citation: ClassVar[Citation] = Citation(
        "Towards Language-guided Visual Recognition via Dynamic Convolutions",
        "Luo et al.",
        "IJCV",
        2024,
        "https://arxiv.org/abs/2110.08797",
    )
    width: ClassVar[Width | None] = Width("mlp_dim", step=8, minimum=8)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "sine"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Kernel size, groups and dropout; the condition's width follows the paper's rule."""
        del language_dim
        groups = tuple(count for count in (1, 2, 4, 8, 16) if visual_dim % count == 0)
        return {"kernel_size": Choice((3, 5, 7)), "groups": Choice(groups), "dropout": Float(0.0, 0.3)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        kernel_size: int = 7,
        groups: int = 8,
        heads: int = 8,
        cond_dim: int | None = None,
        packing: int = 1,
        mlp_dim: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if cond_dim is None:
            cond_dim = visual_dim * packing // 2 if visual_dim < 128 else visual_dim
        if mlp_dim is None:
            mlp_dim = 4 * visual_dim
        _check_widths(visual_dim, kernel_size, groups, heads, cond_dim)
        self.out_dim = visual_dim
        self.groups, self.dropout = groups, dropout
        self.condition = WordCondition(visual_dim, language_dim, cond_dim, packing, heads, dropout)
        self.kernels = nn.Conv2d(cond_dim, groups * kernel_size**2, 1)
        self.norm = nn.BatchNorm2d(visual_dim)
        self.mlp = nn.Sequential(
            nn.Conv2d(visual_dim, mlp_dim, 1, bias=False),
            nn.BatchNorm2d(mlp_dim),
            nn.SiLU(),
            nn.Conv2d(mlp_dim, visual_dim, 1, bias=False),
            nn.BatchNorm2d(visual_dim),
        )

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        kernels, _ = self._kernels(visual, language)
        filtered = dynamic_conv2d(visual, kernels)  # [B, C, H, W]
        mixed = F.silu(visual + self.norm(filtered))
        return F.silu(mixed + self.mlp(mixed))

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """Word attention averaged over heads ``[B, T, H, W]`` and the kernels ``[B, G, k*k, H, W]``.

        Positions that were packed together share their attention.
        """
        height, width = visual.shape[-2:]
        kernels, attention = self._kernels(visual, language)
        words = attention.mean(dim=1)  # [B, T, H/t, W/t]
        packing = self.condition.packing
        words = words.repeat_interleave(packing, dim=2).repeat_interleave(packing, dim=3)
        return Explanation(words[..., :height, :width], kernels)

    def _kernels(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """Kernels ``[B, G, k*k, H, W]`` and the attention behind them ``[B, heads, T, H/t, W/t]``."""
        condition, attention = self.condition(visual, language)  # [B, E, H, W]
        kernels = F.dropout(self.kernels(condition), self.dropout, self.training)  # [B, G k^2, H, W]
        return kernels.unflatten(1, (self.groups, -1)), attention


def _check_widths(visual_dim: int, kernel_size: int, groups: int, heads: int, cond_dim: int) -> None:
    if kernel_size % 2 == 0:
        raise ValueError(f"LaConv: kernel_size must be odd, not {kernel_size}")
    if visual_dim % groups:
        raise ValueError(f"LaConv: groups ({groups}) must divide the visual channels ({visual_dim})")
    if visual_dim % 4:
        raise ValueError(f"LaConv: its sine position code needs a multiple of 4 channels, not {visual_dim}")
    if cond_dim % heads:
        raise ValueError(f"LaConv: heads ({heads}) must divide the condition width ({cond_dim})")
