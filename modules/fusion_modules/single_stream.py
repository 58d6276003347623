"""Single stream: a transformer encoder over the joint sequence of words and positions.

The visual-linguistic transformer of Deng, Yang, Chen, Zhou, Li, "TransVG: End-to-End Visual Grounding with
Transformers", ICCV 2021 (arXiv 2104.08541), with ``L`` layers:

    Z   = [W_y Y; W_x X]                                   T words, then HW positions
    Z'  = LN(Z + MHA(Z + P, Z + P, Z))
    Z  <- LN(Z' + W_2 ReLU(W_1 Z'))
    out = the last HW tokens

Symbols: ``X`` the map ``[B, C, H, W]``, ``Y`` the words ``[B, T, D]``, ``P`` the position codes, which are added
to the queries and keys of each layer. Padding is never a key.

TransVG learns one code for every index of a sequence of fixed length, which encodes both the place of a token in
the sequence and its type. Maps and sentences have any size here, so the two are separate: a sine code for the
place (1-D for words, 2-D for positions) and one learned vector per type. The [REG] token, from which TransVG
predicts the box, is omitted: the positions themselves are the output map. The paper stacks ``L = 6`` layers. A slot
stacks whole copies of a module, so the default is one layer per copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
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
from fusion_modules.transformer import EncoderLayer


class SingleStream(FusionModule):
    """Transformer encoder layers over words and positions together.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        dim: width of every token, a multiple of 4 and of ``heads``; also the output's channels; None keeps
            ``C`` (the paper: 256).
        layers: ``L``.
        heads: number of attention heads.
        ffn_dim: hidden width of the feed-forward parts; None is the paper's ``8 dim``.
        dropout: dropout probability on attention weights, on all residual branches and inside the feed-forward
            parts.

    Raises:
        ValueError: ``dim`` is not a multiple of 4 and of ``heads``.
    """

    citation: ClassVar[Citation] = Citation(
        "TransVG: End-to-End Visual Grounding with Transformers",
        "Deng et al.",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2104.08541",
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
            raise ValueError(f"SingleStream: {dim} channels are not a multiple of 4 and of {heads} heads")
        self.out_dim = dim
        self.embed_words = nn.Linear(language_dim, dim)
        self.embed_image = nn.Linear(visual_dim, dim)
        self.word_type = nn.Parameter(torch.randn(dim))
        self.image_type = nn.Parameter(torch.randn(dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim, ffn_dim or 8 * dim, heads=heads, dropout=dropout) for _ in range(layers)
        )

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, dim, H, W]``."""
        words = self.embed_words(real_words(language))  # [B, T, dim]
        image = self.embed_image(as_tokens(visual))  # [B, HW, dim]
        stream = torch.cat((words, image), dim=1)  # [B, T + HW, dim]
        code = self._code(words, as_map(image, visual))  # [1, T + HW, dim]
        real = torch.cat((language.mask, language.mask.new_ones(image.shape[:2])), dim=1)  # [B, T + HW]
        for layer in self.layers:
            stream = layer(stream, real, code)  # [B, T + HW, dim]
        return as_map(stream[:, words.shape[1] :], visual)  # [B, dim, H, W]

    def _code(self, words: Tensor, image: Tensor) -> Tensor:
        """Return position code plus type vector of each token ``[1, T + HW, dim]``.

        Args:
            words: ``[B, T, dim]``.
            image: ``[B, dim, H, W]``.
        """
        sentence = words.transpose(1, 2)[:, :, None]  # [B, dim, 1, T]: a map of one row
        return torch.cat(
            (
                as_tokens(sine_position_code(sentence)[None]) + self.word_type,
                as_tokens(sine_position_code(image)[None]) + self.image_type,
            ),
            dim=1,
        )
