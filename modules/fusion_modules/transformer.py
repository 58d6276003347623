"""Post-norm transformer units of Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762).

MCAN and the single-stream transformer are built from these units. All work on tokens ``[B, N, E]``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.attention import MultiHeadAttention


class AttentionUnit(nn.Module):
    """``LN(X + MHA(Q, K, V))``: residual attention with the norm after the sum, as in the paper.

    Args:
        dim: channels of every token, a multiple of ``heads``.
        heads: number of attention heads.
        dropout: dropout probability on the attention weights and on the residual branch.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = MultiHeadAttention(dim, dim, heads=heads, dropout=dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, stream: Tensor, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the new stream ``[B, N, dim]`` and the attention ``[B, heads, N, M]``."""
        answer, attention = self.attention(queries, keys, values, mask)  # [B, N, dim], [B, heads, N, M]
        return self.norm(stream + F.dropout(answer, self.dropout, self.training)), attention


class FeedForwardUnit(nn.Module):
    """``LN(X + W_2 ReLU(W_1 X))`` for each token separately, with the norm after the sum.

    Args:
        dim: channels of every token.
        hidden: channels between ``W_1`` and ``W_2``.
        dropout: dropout probability on the hidden values and on the residual branch.
    """

    def __init__(self, dim: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, stream: Tensor) -> Tensor:
        """``[B, N, dim]`` -> ``[B, N, dim]``."""
        hidden = F.dropout(F.relu(self.expand(stream)), self.dropout, self.training)  # [B, N, hidden]
        return self.norm(stream + F.dropout(self.contract(hidden), self.dropout, self.training))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward part; a position code is added to queries and keys only.

    Args:
        dim: channels of every token, a multiple of ``heads``.
        ffn_dim: hidden width of the feed-forward part.
        heads: number of attention heads.
        dropout: dropout probability on attention weights, on both residual branches and inside the feed-forward
            part.
    """

    def __init__(self, dim: int, ffn_dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionUnit(dim, heads=heads, dropout=dropout)
        self.feed_forward = FeedForwardUnit(dim, ffn_dim, dropout=dropout)

    def forward(self, stream: Tensor, mask: Tensor, code: Tensor | None = None) -> Tensor:
        """``[B, N, dim]`` with mask ``[B, N]`` and code ``[1, N, dim]`` -> ``[B, N, dim]``."""
        located = stream if code is None else stream + code
        stream, _ = self.attention(stream, located, located, stream, mask)  # [B, N, dim]
        return self.feed_forward(stream)  # type: ignore[no-any-return]
