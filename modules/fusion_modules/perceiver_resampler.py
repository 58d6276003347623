"""Perceiver resampler: learned latents attend to image and words, and every position attends to the latents.

The resampler of Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022
(arXiv 2204.14198). Each of its ``L`` layers updates the latents ``Z``, whose initial values are learned:

    N  = [LN(M); LN(Z)]                                 keys and values: the inputs and the latents
    Z' = Z + MHA( LN(Z), N, N )
    Z <- Z' + W_2 ReLU(W_1 LN(Z'))^2

An LN follows the last layer. Flamingo's resampler reads only an image, and its language model attends to the
latents. Here ``M = [W_x X; W_y Y]`` concatenates the positions of the map ``X`` ``[B, C, H, W]`` and the words
``Y`` ``[B, T, D]``, so that the latents combine both; the biases of the two projections mark which is which. The
result returns to a map as in Perceiver IO (Jaegle et al., ICLR 2022, arXiv 2107.14795), with one query per
position:

    X' = X  + MHA( LN(X), Z, Z )
    out = X' + W_4 ReLU(W_3 LN(X'))^2

As in Flamingo, no inner projection has a bias and there is no position code: a position is identified by its
features only. Padding is never a key. With one layer, every latent would read the image before it has read a word.
The paper stacks 6 layers; the default of 2 is the smallest number with which words influence what is read.
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
from fusion_modules.attention import MultiHeadAttention, as_map, as_tokens, real_words


class PerceiverResampler(FusionModule):
    """Resampler layers over image and words, followed by one attention from positions to latents.

    Args:
        visual_dim: ``C``, a multiple of ``heads``; also the output's channels.
        language_dim: ``D``.
        latents: number of latents.
        dim: channels of a latent, a multiple of ``heads``; None keeps ``C`` (the paper: 1536).
        layers: ``L`` (the paper: 6).
        heads: attention heads (the paper: 16 at 1536 channels).
        ffn_dim: hidden width of every feed-forward part; None is ``4 dim`` as in the paper.

    Raises:
        ValueError: ``C`` or ``dim`` is not a multiple of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "Flamingo: a Visual Language Model for Few-Shot Learning",
        "Alayrac et al.",
        "NeurIPS",
        2022,
        "https://arxiv.org/abs/2204.14198",
    )
    width: ClassVar[Width | None] = Width("ffn_dim", step=4, minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The numbers of latents, layers and heads."""
        del language_dim
        heads = tuple(count for count in (1, 2, 4, 8) if visual_dim % count == 0)
        return {"latents": Int(8, 128, log=True), "layers": Int(1, 6), "heads": Choice(heads)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        latents: int = 64,
        dim: int | None = None,
        layers: int = 2,
        heads: int = 8,
        ffn_dim: int | None = None,
    ) -> None:
        super().__init__()
        dim = dim or visual_dim
        ffn_dim = ffn_dim or 4 * dim
        self.out_dim = visual_dim
        self.embed_image = nn.Linear(visual_dim, dim)
        self.embed_words = nn.Linear(language_dim, dim)
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.layers = nn.ModuleList(ResamplerLayer(dim, ffn_dim, heads=heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.question_norm = nn.LayerNorm(visual_dim)
        self.read = MultiHeadAttention(visual_dim, dim, heads=heads, bias=False)
        self.feed_forward = FeedForward(visual_dim, ffn_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        image = as_tokens(visual)  # [B, HW, C]
        inputs = torch.cat(
            (self.embed_image(image), self.embed_words(real_words(language))), dim=1
        )  # [B, HW + T, dim]
        latents = self.latents.expand(image.shape[0], -1, -1)  # [B, latents, dim]
        image_mask, latent_mask = (language.mask.new_ones(tokens.shape[:2]) for tokens in (image, latents))
        mask = torch.cat((image_mask, language.mask, latent_mask), dim=1)  # [B, HW + T + latents]
        for layer in self.layers:
            latents = layer(latents, inputs, mask)  # [B, latents, dim]
        latents = self.norm(latents)
        answer, _ = self.read(self.question_norm(image), latents, latents)  # [B, HW, C]
        image = image + answer
        return as_map(image + self.feed_forward(image), visual)  # [B, C, H, W]


class ResamplerLayer(nn.Module):
    """One layer: the latents attend to the inputs and to themselves, then the feed-forward part.

    Args:
        dim: channels of latents and inputs, a multiple of ``heads``.
        ffn_dim: hidden width of the feed-forward part.
        heads: attention heads.
    """

    def __init__(self, dim: int, ffn_dim: int, *, heads: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(dim)
        self.latent_norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, dim, heads=heads, bias=False)
        self.feed_forward = FeedForward(dim, ffn_dim)

    def forward(self, latents: Tensor, inputs: Tensor, mask: Tensor) -> Tensor:
        """Latents ``[B, L, dim]``, inputs ``[B, M, dim]``, mask ``[B, M + L]`` -> latents ``[B, L, dim]``."""
        normed = self.latent_norm(latents)  # [B, L, dim]
        sources = torch.cat((self.input_norm(inputs), normed), dim=1)  # [B, M + L, dim]
        answer, _ = self.attention(normed, sources, sources, mask)  # [B, L, dim]
        latents = latents + answer
        return latents + self.feed_forward(latents)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """``W_2 ReLU(W_1 LN(X))^2`` without biases, for each token separately.

    Args:
        dim: channels of every token.
        hidden: channels between ``W_1`` and ``W_2``.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden, bias=False)
        self.contract = nn.Linear(hidden, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, N, dim]`` -> ``[B, N, dim]``."""
        hidden = F.relu(self.expand(self.norm(tokens))).square()  # [B, N, hidden]
        return self.contract(hidden)  # type: ignore[no-any-return]
