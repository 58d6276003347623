"""MCAN: the words attend to each other, then the image attends to itself and to the words.

Yu, Yu, Cui, Tao, Tian, "Deep Modular Co-Attention Networks for Visual Question Answering", CVPR 2019
(arXiv 1906.10770), in its encoder-decoder form: ``L`` self-attention layers (SA) over the words, then ``L``
guided layers (SGA) over the image, each of which asks the words of the *last* SA layer.

    SA(Y):       Y' = LN(Y + MHA(Y, Y, Y))
                 Y  <- LN(Y' + FFN(Y'))
    SGA(X, Y):   X' = LN(X + MHA(X + P, X + P, X))              FFN(X) = W_2 ReLU(W_1 X)
                 X" = LN(X' + MHA(X' + P, Y, Y))
                 X  <- LN(X" + FFN(X"))

Symbols: ``X`` the map and ``Y`` the words, both projected to ``E`` channels; ``P`` a 2-D sine position code,
which MCAN's image regions do not have and a grid needs. Padding is never a key; as a query it changes
nothing but itself. The paper pools both sides afterwards; here the image side *is* the map, and the head pools.

The paper stacks ``L = 6`` layers. In a slot that stacks whole copies the default is one layer a copy;
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
    """``L`` SA layers on the words, ``L`` SGA layers on the image.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        dim: ``E``, a multiple of 4 and of ``heads``; also the output's channels; None keeps ``C`` (the
            paper: 512).
        layers: ``L``.
        heads: attention heads.
        ffn_dim: hidden width of every feed-forward part; None is the paper's ``4 E``.
        dropout: on attention weights, on all residual branches and inside the feed-forward parts.

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
        """Heads and dropout."""
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
        return as_map(image, visual)

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """The last layer's word attention, averaged over heads ``[B, T, H, W]``."""
        _, attention = self._fuse(visual, language)
        return Explanation(as_map(attention.mean(dim=1), visual))

    def _fuse(self, visual: Tensor, language: Language) -> tuple[Tensor, Tensor]:
        """The image tokens ``[B, HW, E]`` and the last word attention ``[B, heads, HW, T]``."""
        words = self.embed_words(real_words(language))  # [B, T, E]
        for layer in self.encoder:
            words = layer(words, language.mask)
        image = self.embed_image(as_tokens(visual))  # [B, HW, E]
        code = as_tokens(sine_position_code(as_map(image, visual))[None])  # [1, HW, E]
        for layer in self.decoder:
            image, attention = layer(image, code, words, language.mask)
        return image, attention


class GuidedAttention(nn.Module):
    """SGA: self-attention over the image, attention to the words, then the feed-forward part.

    Args:
        dim: ``E``.
        ffn_dim: hidden width of the feed-forward part.
        heads: attention heads.
        dropout: as in `MCAN`.
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
