"""A text encoder: a small transformer over learned word vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language, TextEncoder
from fusion_bench.samples.vocabulary import PAD


class Block(nn.Module):
    """One pre-norm layer (Xiong et al., ICML 2020): ``x + MHA(LN(x))``, then ``x + W_2 GELU(W_1 LN(x))``.

    Args:
        width: channels, a multiple of ``heads``.
        heads: attention heads.
        dropout: dropout rate on attention weights and on both residual branches.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Return ``[B, T, width]`` of words ``[B, T, width]``; ``mask`` ``[B, T]`` is True at real words."""
        words = words + self.dropout(self._attend(self.attention_norm(words), mask))
        hidden = F.gelu(self.expand(self.feedforward_norm(words)))  # [B, T, 4 width]
        out: Tensor = words + self.dropout(self.contract(hidden))
        return out

    def _attend(self, words: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, width / heads]
            for part in self.query_key_value(words).chunk(3, dim=2)
        )
        rate = self.rate if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], rate)
        merged: Tensor = self.merge(attended.transpose(1, 2).flatten(2))  # [B, T, width]
        return merged


class TransformerEncoder(TextEncoder):
    """Learned word vectors plus sines of the position (Vaswani et al., NeurIPS 2017), then pre-norm layers.

    ``sentence`` is the mean of the real words, because the vocabulary has no special token for the sentence, such as
    BERT's ``[CLS]``, and the first token is only the first word. Sine positions are used instead of learned ones,
    because they do not limit the length of a sentence.

    Args:
        vocabulary_size: rows of the embedding; row 0 is padding.
        width: channels throughout, even and a multiple of ``heads``.
        layers: number of layers.
        heads: attention heads per layer.
        dropout: dropout rate on word vectors, attention weights and residual branches.

    Raises:
        ValueError: ``width`` is odd or not a multiple of ``heads``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise ValueError(f"width ({width}) must be even and a multiple of heads ({heads})")
        self.language_dim = width
        self.embedding = nn.Embedding(vocabulary_size, width, padding_idx=PAD)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode word ids ``[B, T]`` with mask ``[B, T]``; the states of padding are 0."""
        words = self.embedding(tokens)  # [B, T, width]
        words = self.dropout(words + positions(words.shape[1], words.shape[2], words.device))
        for block in self.blocks:
            words = block(words, mask)
        words = self.norm(words) * mask[..., None]
        return Language(words, mask, words.sum(1) / mask.sum(1, keepdim=True))


def positions(length: int, width: int, device: torch.device) -> Tensor:
    """Return codes ``[length, width]``: ``sin(t / 10000^(2i/width))`` in channel ``2i``, its cosine in ``2i + 1``.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    step = torch.arange(0, width, 2, device=device) / width
    angles = torch.arange(length, device=device)[:, None] / 10_000**step
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
