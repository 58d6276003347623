"""The default text encoder: learned word vectors and a gated recurrent unit (GRU)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fusion_bench.contract import Language, TextEncoder
from fusion_bench.encoders.recurrence import gru_states
from fusion_bench.samples.vocabulary import PAD


class GruEncoder(TextEncoder):
    """A learned embedding and one GRU layer (Cho et al., EMNLP 2014), in one or two directions.

    Padding has no effect: the forward direction ends and the backward direction starts at the last real word.

    Args:
        vocabulary_size: rows of the embedding; row 0 is padding.
        embedding: channels of a word vector (200 as in FiLM).
        hidden: channels of the state of one direction.
        directions: ``forward`` reads from left to right, ``both`` also from right to left.
        sentence: ``last`` is the last real state of each direction; ``attention`` is the mean of the word states
            with weights ``softmax(w . tanh(U h))`` over real words (Yang et al., NAACL 2016).
        dropout: dropout rate on the word vectors.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding: int = 200,
        hidden: int = 128,
        directions: Literal["forward", "both"] = "both",
        sentence: Literal["last", "attention"] = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.language_dim = 2 * hidden if directions == "both" else hidden
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(embedding, hidden, batch_first=True, bidirectional=directions == "both")
        self.score: nn.Module | None = None
        if sentence == "attention":
            self.score = nn.Sequential(
                nn.Linear(self.language_dim, self.language_dim),
                nn.Tanh(),
                nn.Linear(self.language_dim, 1, bias=False),
            )

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode word ids ``[B, T]`` with mask ``[B, T]``; padding follows the real words, and its states are 0."""
        vectors = self.dropout(self.embedding(tokens))  # [B, T, embedding]
        words, last = self._encode(vectors, mask)  # [B, T, D], [directions, B, hidden]
        if self.score is None:
            return Language(words, mask, last.transpose(0, 1).flatten(1))
        logits = self.score(words)[..., 0].masked_fill(~mask, -torch.inf)  # [B, T]
        weights = logits.softmax(dim=1)
        return Language(words, mask, (weights[:, None] @ words)[:, 0])

    def _encode(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if vectors.is_meta:  # multiply-adds are counted without data: every word counts as real
            words, last = self.gru(vectors)
            return words, last
        # Without autocast: a recurrence adds up the rounding of its steps.
        with torch.autocast(vectors.device.type, enabled=False):
            return gru_states(self.gru, vectors.to(self.embedding.weight.dtype), mask)
