"""The condition map of LaConv: what each position hears of the sentence.

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``q`` the sentence ``[B, D]``, ``P`` a
2-D position code, ``t`` the packing, ``E`` the condition's width, ``h`` the heads; ``M`` a 1x1 convolution.

From the words, as published (the position code enters the query and nothing else):

    A = softmax_words( Q(pack_t(X + P)) K(Y)^T / sqrt(E / h) )
    Z = ReLU(norm( unpack_t( ReLU( M(A V(Y)) ) ) ))                 [B, E, H, W]

From the sentence, the ablation: ``q`` stands where the answer ``A V(Y)`` stood,

    Z = ReLU(norm( ReLU( M(V(q)) ) ))                               the same at every position

so there is nothing to choose, and with the attention its query, its packing and its position code are left
out. What is lost between the two is the choice of words by position.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.attention import attend_to_words
from fusion_modules.position import sine_position_code

PositionEncoding = Literal["sine", "none"]
Norm = Literal["batch", "group", "none"]


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Batch norm, no norm, or group norm with the most groups out of 8, 4, 2, 1 that divide ``channels``."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def add_position_encoding(visual: Tensor, position: PositionEncoding) -> Tensor:
    """``X + P``, or ``X`` where there is no position code: ``[B, C, H, W]``."""
    return visual + sine_position_code(visual) if position == "sine" else visual


class LanguageCondition(nn.Module, ABC):
    """Writes the condition map."""

    @abstractmethod
    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``Z`` ``[B, E, H, W]`` for ``visual`` ``[B, C, H, W]``."""

    @abstractmethod
    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """Which words each position heard ``[B, T, H, W]``: shares that sum to 1 over the real words."""


class WordCondition(LanguageCondition):
    """Every position attends to the words, ``t x t`` positions asking as one.

    Args:
        visual_dim: ``C``; a multiple of 4 for the sine position code.
        language_dim: ``D``.
        dim: ``E``, a multiple of ``heads``.
        packing: ``t``. A map whose sides it does not divide is continued with zeros.
        heads: ``h``.
        dropout: on the attention weights.
        position: the code added for the query.
        norm: the norm before the last ReLU.
    """

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        dim: int,
        packing: int,
        heads: int,
        dropout: float,
        position: PositionEncoding,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.packing, self.heads, self.dropout, self.position = packing, heads, dropout, position
        self.query = nn.Conv2d(visual_dim * packing**2, dim, 1)
        self.key = nn.Linear(language_dim, dim)
        self.value = nn.Linear(language_dim, dim)
        self.merge = nn.Conv2d(dim, dim * packing**2, 1)
        self.norm = normalisation(norm, dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``Z`` ``[B, E, H, W]``."""
        height, width = visual.shape[2:]
        answer, _ = self._ask(visual, language)
        merged = F.relu(self.merge(answer))  # [B, E t^2, H/t, W/t]
        if self.packing > 1:
            merged = F.pixel_shuffle(merged, self.packing)[..., :height, :width]  # [B, E, H, W]
        return F.relu(self.norm(merged))

    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """``A`` averaged over heads ``[B, T, H, W]``; positions packed together share it."""
        height, width = visual.shape[2:]
        _, attention = self._ask(visual, language)
        by_square = attention.mean(dim=1)  # [B, T, H/t, W/t]
        by_row = by_square.repeat_interleave(self.packing, dim=2)
        return by_row.repeat_interleave(self.packing, dim=3)[..., :height, :width]

    def _ask(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """The answer ``[B, E, ceil(H/t), ceil(W/t)]`` and the attention ``[B, h, T, ceil(H/t), ceil(W/t)]``."""
        return attend_to_words(
            self.query(self._pack(add_position_encoding(visual, self.position))),  # [B, E, H/t, W/t]
            self.key(language.words),  # [B, T, E]
            self.value(language.words),
            language.mask,
            self.heads,
            self.dropout if self.training else 0.0,
        )

    def _pack(self, located: Tensor) -> Tensor:
        """Space to depth: ``[B, C, H, W]`` -> ``[B, C t^2, ceil(H/t), ceil(W/t)]``."""
        if self.packing == 1:
            return located
        height, width = located.shape[2:]
        bordered = F.pad(located, (0, -width % self.packing, 0, -height % self.packing))
        return F.pixel_unshuffle(bordered, self.packing)


class SentenceCondition(LanguageCondition):
    """Every position hears the sentence vector.

    Args:
        language_dim: ``D``.
        dim: ``E``.
        norm: the norm before the last ReLU.
    """

    def __init__(self, language_dim: int, *, dim: int, norm: Norm) -> None:
        super().__init__()
        self.value = nn.Linear(language_dim, dim)
        self.merge = nn.Conv2d(dim, dim, 1)
        self.norm = normalisation(norm, dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``Z`` ``[B, E, H, W]``."""
        heard = self.value(language.sentence)[:, :, None, None]  # [B, E, 1, 1]
        merged = F.relu(self.merge(heard)).expand(-1, -1, *visual.shape[2:])  # [B, E, H, W]
        return F.relu(self.norm(merged))

    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """Equal shares ``[B, T, H, W]`` of all real words: no position prefers one.

        The words themselves are not read; how the sentence vector weighs them is the text encoder's
        business and not known here.
        """
        share = language.mask.to(visual.dtype) / language.mask.sum(dim=1, keepdim=True)  # [B, T]
        return share[:, :, None, None].expand(-1, -1, *visual.shape[2:])
