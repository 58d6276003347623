"""MCAN: self-attention over the words, then self-attention over the image and attention from image to words.

Yu, Yu, Cui, Tao, Tian, "Deep Modular Co-Attention Networks for Visual Question Answering", CVPR 2019
(arXiv 1906.10770), in its encoder-decoder form: ``L`` self-attention layers (SA) over the words, then ``L``
guided layers (SGA) over the image. Every SGA layer attends to the words of the *last* SA layer.

    SA(Y):       Y' = LN(Y + MHA(Y, Y, Y))
                 Y  <- LN(Y' + FFN(Y'))
    SGA(X, Y):   X' = LN(X + MHA(X + P, X + P, X))              FFN(X) = W_2 ReLU(W_1 X)
                 X" = LN(X' + MHA(X' + P, Y, Y))
                 X  <- LN(X" + FFN(X"))

Symbols: ``X`` the map and ``Y`` the words, both projected to ``E`` channels; ``P`` a 2-D sine position code,
which a grid needs and MCAN's image regions do not have. Padding is never a key; a padding query changes only its
own token. The paper pools both sides afterwards; here the image side *is* the map, and the head pools.

The paper stacks ``L = 6`` layers. A slot stacks whole copies of a module, so the default is one layer per copy;
``MCAN(..., dim=512, layers=6)`` is the paper's MCAN-small (44.1 M parameters without its two inputs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
from fusion_modules.attention import as_map, as_tokens, real_words
from fusion_modules.position import sine_position_code
from fusion_modules.transformer import AttentionUnit, EncoderLayer, FeedForwardUnit


class MCAN(FusionModule):
    """Self-attention layers on the words, then guided attention layers on the image.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        dim: ``E``, a multiple of 4 and of ``heads``; also the output's channels; None keeps ``C`` (the
            paper: 512).
        layers: ``L``.
        heads: number of attention heads.
        ffn_dim: hidden width of every feed-forward part; None is the paper's ``4 E``.
        dropout: dropout probability on attention weights, on all residual branches and inside the feed-forward
            parts.

    Raises:
        ValueError: ``E`` is not a multiple of 4 and of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "Deep Modular Co-Attention Networks for Visual Question Answering",
        "Yu et al.",
        "CVPR",
        2019,
        "https://arxiv.org/abs/1906.10770",
    )
    width: ClassVar[Width | None] = Width("ffn_dim", step=4, minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "sine"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The number of heads and dropout."""
        del language_dim
        heads = tuple(count for count in (1, 2, 4, 8) if visual_dim % count == 0)
        return {"heads": Choice(heads), "dropout": Float(0.0, 0.3)}

    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        dim: int | None = None,
        layers: int = 1,
        heads: int = 8,
        ffn_dim: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        dim = dim or visual_dim
        if dim % heads or dim % 4:
            raise ValueError(f"MCAN: {dim} channels are not a multiple of 4 and of {heads} heads")
        ffn_dim = ffn_dim or 4 * dim
        self.out_dim = dim
        self.embed_words = nn.Linear(language_dim, dim)
        self.embed_image = nn.Linear(visual_dim, dim)
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, ffn_dim, heads=heads, dropout=dropout) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            GuidedAttention(dim, ffn_dim, heads=heads, dropout=dropout) for _ in range(layers)
        )

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, E, H, W]``."""
        image, _ = self._fuse(visual, language)
        return as_map(image, visual)  # [B, E, H, W]

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The word attention of the last layer, averaged over heads: ``[B, T, H, W]``."""
        _, attention = self._fuse(visual, language)
        return Explanation(as_map(attention.mean(dim=1), visual))

    def _fuse(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """Return the image tokens ``[B, HW, E]`` and the word attention ``[B, heads, HW, T]`` of the last layer."""
        words = self.embed_words(real_words(language))  # [B, T, E]
        for layer in self.encoder:
            words = layer(words, language.mask)  # [B, T, E]
        image = self.embed_image(as_tokens(visual))  # [B, HW, E]
        code = as_tokens(sine_position_code(as_map(image, visual))[None])  # [1, HW, E]
        for layer in self.decoder:
            image, attention = layer(image, code, words, language.mask)  # [B, HW, E], [B, heads, HW, T]
        return image, attention


class GuidedAttention(nn.Module):
    """SGA: self-attention over the image, attention to the words, then the feed-forward part.

    Args:
        dim: ``E``.
        ffn_dim: hidden width of the feed-forward part.
        heads: number of attention heads.
        dropout: dropout probability, applied as in `MCAN`.
    """

    def __init__(self, dim: int, ffn_dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionUnit(dim, heads=heads, dropout=dropout)
        self.guidance = AttentionUnit(dim, heads=heads, dropout=dropout)
        self.feed_forward = FeedForwardUnit(dim, ffn_dim, dropout=dropout)

    def forward(self, image: Tensor, code: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image ``[B, N, E]``, words ``[B, T, E]`` -> image ``[B, N, E]``, word attention ``[B, h, N, T]``."""
        image, _ = self.attention(image, image + code, image + code, image)
        image, attention = self.guidance(image, image + code, words, words, mask)
        return self.feed_forward(image), attention
