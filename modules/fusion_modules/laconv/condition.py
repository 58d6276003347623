"""The condition map of LaConv: the language features of each position.

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``q`` the sentence ``[B, D]``, ``P`` a
2-D position code, ``t`` the packing, ``E`` the condition's width, ``h`` the heads; ``M`` a 1x1 convolution.

The condition from the words, as published (the position code is added to the query only):

    A = softmax_words( Q(pack_t(X + P)) K(Y)^T / sqrt(E / h) )
    Z = ReLU(norm( unpack_t( ReLU( M(A V(Y)) ) ) ))                 [B, E, H, W]

The condition from the sentence, an ablation in which ``q`` replaces the words and ``V(q)`` the attended words
``A V(Y)``:

    Z = ReLU(norm( ReLU( M(V(q)) ) ))                               the same at every position

It has no attention, and therefore no query, no packing and no position code. The difference between the two results
is the effect of word attention per position.
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


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return a batch norm, a group norm, or for "none" the identity.

    The group norm has the largest number of groups among 8, 4, 2, 1 that divides ``channels``.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def add_position_encoding(visual: Tensor, position: PositionEncoding) -> Tensor:
    """Return ``X + P``, or ``X`` without a position code: ``[B, C, H, W]``."""
    return visual + sine_position_code(visual) if position == "sine" else visual


class LanguageCondition(nn.Module, ABC):
    """A module that computes the condition map ``Z`` from the language."""

    @abstractmethod
    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return ``Z`` ``[B, E, H, W]`` for ``visual`` ``[B, C, H, W]``."""

    @abstractmethod
    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """Return the word attention of each position ``[B, T, H, W]``; it sums to 1 over the real words."""


class WordCondition(LanguageCondition):
    """The condition from the words: each square of ``t x t`` positions attends to the words with one query.

    Args:
        visual_dim: ``C``; a multiple of 4 for the sine position code.
        language_dim: ``D``.
        dim: ``E``, a multiple of ``heads``.
        packing: ``t``. A map whose sides are not multiples of ``t`` is padded with zeros.
        heads: ``h``.
        dropout: dropout probability on the attention weights.
        position: the position code added to the query's input.
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
        self.norm = norm_layer(norm, dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return ``Z`` ``[B, E, H, W]``."""
        height, width = visual.shape[2:]
        answer, _ = self._attend(visual, language)  # [B, E, H/t, W/t]
        merged = F.relu(self.merge(answer))  # [B, E t^2, H/t, W/t]
        if self.packing > 1:
            merged = F.pixel_shuffle(merged, self.packing)[..., :height, :width]  # [B, E, H, W]
        return F.relu(self.norm(merged))  # [B, E, H, W]

    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """Return ``A`` averaged over heads ``[B, T, H, W]``; the positions of one square share it."""
        height, width = visual.shape[2:]
        _, attention = self._attend(visual, language)  # [B, h, T, H/t, W/t]
        by_square = attention.mean(dim=1)  # [B, T, H/t, W/t]
        by_row = by_square.repeat_interleave(self.packing, dim=2)  # [B, T, H, W/t]
        return by_row.repeat_interleave(self.packing, dim=3)[..., :height, :width]

    def _attend(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """Return ``A V(Y)`` ``[B, E, ceil(H/t), ceil(W/t)]`` and ``A`` ``[B, h, T, ceil(H/t), ceil(W/t)]``."""
        return attend_to_words(
            self.query(self._pack(add_position_encoding(visual, self.position))),  # [B, E, H/t, W/t]
            self.key(language.words),  # [B, T, E]
            self.value(language.words),  # [B, T, E]
            language.mask,
            self.heads,
            self.dropout if self.training else 0.0,
        )

    def _pack(self, located: Tensor) -> Tensor:
        """Move squares into channels (space to depth): ``[B, C, H, W]`` -> ``[B, C t^2, ceil(H/t), ceil(W/t)]``."""
        if self.packing == 1:
            return located
        height, width = located.shape[2:]
        padded = F.pad(located, (0, -width % self.packing, 0, -height % self.packing))
        return F.pixel_unshuffle(padded, self.packing)  # [B, C t^2, ceil(H/t), ceil(W/t)]


class SentenceCondition(LanguageCondition):
    """The condition from the sentence vector, the same at every position.

    Args:
        language_dim: ``D``.
        dim: ``E``.
        norm: the norm before the last ReLU.
    """

    def __init__(self, language_dim: int, *, dim: int, norm: Norm) -> None:
        super().__init__()
        self.value = nn.Linear(language_dim, dim)
        self.merge = nn.Conv2d(dim, dim, 1)
        self.norm = norm_layer(norm, dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return ``Z`` ``[B, E, H, W]``."""
        value = self.value(language.sentence)[:, :, None, None]  # [B, E, 1, 1]
        merged = F.relu(self.merge(value)).expand(-1, -1, *visual.shape[2:])  # [B, E, H, W]
        return F.relu(self.norm(merged))

    def attention(self, visual: Tensor, language: Language) -> Tensor:
        """Return equal weights ``[B, T, H, W]`` for all real words.

        The module does not read the words. The weights of the words in the sentence vector are internal to the text
        encoder and not available here.
        """
        share = language.mask.to(visual.dtype) / language.mask.sum(dim=1, keepdim=True)  # [B, T]
        return share[:, :, None, None].expand(-1, -1, *visual.shape[2:])
