"""The text encoder of LaConvNet: a GRU over word vectors, then one layer of self-attention.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797). The attention layer and the pooling are those of MCAN (Yu, Yu, Cui, Tao,
Tian, CVPR 2019); the GRU is that of Cho et al. (EMNLP 2014).

Symbols: ``w`` word vectors ``[B, T, 300]``, ``H`` states ``[B, T, D]``, ``Y`` the words, ``q`` the sentence.

    H  = GRU(w)
    H' = N_1(H + MHA(H, H, H))                           over real words, softmax(Q K^T / sqrt(D / heads)) V
    Y  = N_2(H' + W_2 ReLU(W_1 H'))
    q  = W_q sum_words a Y,    a = softmax_words( w_a . ReLU(U Y) )

    N(x) = g (x - mean(x)) / (std(x) + 1e-6) + b         std with n - 1 in the denominator

``N`` differs from the layer norm of torch, which divides by the square root of variance (over n) plus epsilon.
The authors' detection and segmentation networks do not use ``q``; here it is `Language.sentence`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language, TextEncoder


class UnbiasedLayerNorm(nn.Module):
    """The norm ``N`` over the last axis, computed in float32 or wider.

    Args:
        dim: size of the last axis.
        eps: constant added to the standard deviation.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim]`` -> ``[..., dim]``, in the type of the weights."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        scaled = (x - x.mean(dim=-1, keepdim=True)) / (x.std(dim=-1, keepdim=True) + self.eps)
        return (self.weight * scaled + self.bias).to(self.weight.dtype)


class SelfAttention(nn.Module):
    """The self-attention ``MHA`` of the words over the real words of their sentence.

    Args:
        dim: ``D``.
        heads: number of heads, a divisor of ``D``.
        dropout: dropout probability on attention weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.merge = nn.Linear(dim, dim)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, D]`` and ``mask`` ``[B, T]``, True at real words -> ``[B, T, D]``."""
        query, key, value = (
            layer(words).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, D/heads]
            for layer in (self.query, self.key, self.value)
        )
        answer = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )  # [B, heads, T, D/heads]
        merged: Tensor = self.merge(answer.transpose(1, 2).flatten(2))  # [B, T, D]
        return merged


class AttentionPool(nn.Module):
    """The sentence ``q``: the sum of the real words with weights from a small perceptron.

    Args:
        dim: ``D``.
        hidden: hidden channels of the perceptron.
        dropout: dropout probability inside the perceptron.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(hidden, 1)
        self.merge = nn.Linear(dim, dim)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, D]`` and ``mask`` ``[B, T]``, True at real words -> ``[B, D]``."""
        scores = self.score(self.dropout(F.relu(self.hidden(words))))[..., 0]  # [B, T]
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)  # [B, T]
        pooled: Tensor = self.merge((weights[:, None] @ words)[:, 0])  # [B, D]
        return pooled


class LaConvNetText(TextEncoder):
    """The authors' text encoder with learned word vectors (the authors use frozen GloVe vectors).

    The GRU also runs over padding. It runs forward only and padding stands last, so padding does not affect the state
    of a real word. Self-attention and pooling are masked.

    Args:
        vocabulary_size: number of rows of the embedding; row 0 is padding.
        embedding: channels of a word vector.
        hidden: ``D``, a multiple of ``heads``.
        heads: number of attention heads.
        feedforward: hidden channels of the perceptron ``W_2 ReLU(W_1 ...)``.
        dropout: dropout probability on attention weights, inside both perceptrons and on both residual branches.

    Raises:
        ValueError: ``heads`` does not divide ``hidden``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding: int = 300,
        hidden: int = 512,
        heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"LaConvNetText: heads ({heads}) must divide hidden ({hidden})")
        self.language_dim = hidden
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.gru = nn.GRU(embedding, hidden, batch_first=True)
        self.attention = SelfAttention(hidden, heads, dropout)
        self.attention_norm = UnbiasedLayerNorm(hidden)
        self.expand = nn.Linear(hidden, feedforward)
        self.contract = nn.Linear(feedforward, hidden)
        self.feedforward_norm = UnbiasedLayerNorm(hidden)
        self.pool = AttentionPool(hidden, hidden // 2, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode word ids ``[B, T]``; real words stand first in every row, as in ``mask`` ``[B, T]``."""
        states, _ = self.gru(self.embedding(tokens))  # [B, T, D]
        attended = self.attention_norm(states + self.dropout(self.attention(states, mask)))  # [B, T, D]
        hidden = self.dropout(F.relu(self.expand(attended)))  # [B, T, feedforward]
        words = self.feedforward_norm(attended + self.dropout(self.contract(hidden)))  # [B, T, D]
        return Language(words, mask, self.pool(words, mask))
