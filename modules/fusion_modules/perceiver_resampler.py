"""Perceiver resampler: a few learned latents read image and words, and every position reads the latents.

The resampler of Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022
(arXiv 2204.14198), for each of ``L`` layers, with learned latents ``Z`` at the start:

    N  = [LN(M); LN(Z)]                                 keys and values: the inputs, and the latents themselves
    Z' = Z + MHA( LN(Z), N, N )
    Z <- Z' + W_2 ReLU(W_1 LN(Z'))^2

and a last LN after the last layer. Flamingo's resampler reads an image alone, and its language model asks the
latents. Here ``M = [W_x X; W_y Y]`` joins the positions of the map ``X`` ``[B, C, H, W]`` and the words ``Y``
``[B, T, D]``, so that the two meet in the latents; the biases of the two projections tell them apart. The way
back to a map is Perceiver IO's (Jaegle et al., ICLR 2022, arXiv 2107.14795), each position asking for its own
answer:

    X' = X  + MHA( LN(X), Z, Z )
    out = X' + W_4 ReLU(W_3 LN(X'))^2

As in Flamingo no projection inside has a bias and there is no code of place: a position is known by its
features. Padding is never a key. One layer would have every latent read the image before it has heard a word:
the paper stacks 6, and the default is the least at which words decide what is read.
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
    """``L`` resampler layers and one read-out.

    Args:
        visual_dim: ``C``, a multiple of ``heads``; also the output's channels.
        language_dim: ``D``.
        latents: number of latents.
        dim: channels of a latent, a multiple of ``heads``; None keeps ``C`` (the paper: 1536).
        layers: ``L`` (the paper: 6).
        heads: attention heads (the paper: 16 at 1536 channels).
        ffn_dim: hidden width of every feed-forward part; None is the paper's four times ``dim``.

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
        """Latents, layers and heads."""
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
        seen, kept = (language.mask.new_ones(tokens.shape[:2]) for tokens in (image, latents))
        mask = torch.cat((seen, language.mask, kept), dim=1)  # [B, HW + T + latents]
        for layer in self.layers:
            latents = layer(latents, inputs, mask)
        latents = self.norm(latents)
        answer, _ = self.read(self.question_norm(image), latents, latents)  # [B, HW, C]
        image = image + answer
        return as_map(image + self.feed_forward(image), visual)


class ResamplerLayer(nn.Module):
    """The latents ask the inputs and themselves, then each is thought over.

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
        normed = self.latent_norm(latents)
        known = torch.cat((self.input_norm(inputs), normed), dim=1)  # [B, M + L, dim]
        answer, _ = self.attention(normed, known, known, mask)
        latents = latents + answer
        return latents + self.feed_forward(latents)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """``W_2 ReLU(W_1 LN(X))^2`` without biases, token by token.

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
