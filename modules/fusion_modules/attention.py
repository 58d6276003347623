"""Scaled dot-product attention of Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762).

There are two layouts. `attend_to_words` keeps a map channels first and transposes only the few words. `attend` and
`MultiHeadAttention` work on tokens ``[B, N, E]``, for modules in which positions are also keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language


def attend_to_words(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, heads: int, dropout: float
) -> tuple[Tensor, Tensor]:
    """Return ``A V`` with ``A = softmax(Q K^T / sqrt(E / heads))`` over the real words, per head.

    Maps keep their layout; only the few words are transposed.

    Args:
        queries: ``[B, E, H, W]``, one query per position.
        keys: ``[B, T, E]``.
        values: ``[B, T, E]``.
        mask: ``[B, T]``, True at real words; each row has at least one.
        heads: number of heads, a divisor of ``E``.
        dropout: probability of dropping an attention weight (0 outside training).

    Returns:
        ``A V`` ``[B, E, H, W]`` and ``A`` before dropout ``[B, heads, T, H, W]``.
    """
    batch, dim, height, width = queries.shape
    words = keys.shape[1]
    size = dim // heads
    q = queries.reshape(batch * heads, size, height * width)  # [B h, d, HW]
    k = (
        keys.view(batch, words, heads, size).transpose(1, 2).reshape(batch * heads, words, size)
    )  # [B h, T, d]
    v = (
        values.view(batch, words, heads, size).permute(0, 2, 3, 1).reshape(batch * heads, size, words)
    )  # [B h, d, T]
    padding = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)  # [B, T]
    padding = (
        padding[:, None, :, None].expand(-1, heads, -1, -1).reshape(batch * heads, words, 1)
    )  # [B h, T, 1]
    logits = torch.baddbmm(padding, k, q, alpha=size**-0.5)  # [B h, T, HW]
    attention = logits.softmax(dim=1)
    answer = v @ F.dropout(attention, dropout)  # [B h, d, HW]
    return answer.reshape(batch, dim, height, width), attention.view(batch, heads, words, height, width)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, heads: int, dropout: float
) -> tuple[Tensor, Tensor]:
    """Return ``A V`` with ``A = softmax(Q K^T / sqrt(E / heads))`` over the real tokens, per head.

    The steps are written out because the gradients of torch's fused kernel differ from run to run on a GPU.

    Args:
        queries: ``[B, N, E]``.
        keys: ``[B, M, E]``.
        values: ``[B, M, E]``.
        mask: ``[B, M]``, True at real tokens, at least one per row; None if all tokens are real.
        heads: number of heads, a divisor of ``E``.
        dropout: probability of dropping an attention weight (0 outside training).

    Returns:
        ``A V`` ``[B, N, E]`` and ``A`` before dropout ``[B, heads, N, M]``.
    """
    q, k, v = (tokens.unflatten(2, (heads, -1)).transpose(1, 2) for tokens in (queries, keys, values))
    # q is [B, heads, N, E / heads]; k and v are [B, heads, M, E / heads].
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # [B, heads, N, M]
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
    attention = logits.softmax(dim=-1)
    answer = F.dropout(attention, dropout) @ v  # [B, heads, N, E / heads]
    return answer.transpose(1, 2).flatten(2), attention  # [B, N, E], [B, heads, N, M]


class MultiHeadAttention(nn.Module):
    """Multi-head attention ``MHA(Q, K, V) = W_o [A_1 V_1; ...; A_h V_h]``, with separate projections per head.

    Keys have no bias, because it would add one number to all logits of a query and cancel in the softmax.

    Args:
        dim: channels of the queries and of the answer, a multiple of ``heads``.
        source_dim: channels of keys and values.
        heads: number of attention heads.
        dropout: dropout probability on the attention weights.
        bias: True if the three other projections have a bias.

    Raises:
        ValueError: ``dim`` is not a multiple of ``heads``.
    """

    def __init__(
        self, dim: int, source_dim: int, *, heads: int, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"attention: {dim} channels are not a multiple of {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim, bias=bias)
        self.key = nn.Linear(source_dim, dim, bias=False)
        self.value = nn.Linear(source_dim, dim, bias=bias)
        self.merge = nn.Linear(dim, dim, bias=bias)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the attended values ``[B, N, dim]`` and the attention ``[B, heads, N, M]``.

        Args:
            queries: ``[B, N, dim]``.
            keys: ``[B, M, source_dim]``.
            values: ``[B, M, source_dim]``.
            mask: ``[B, M]``, True at real tokens; None if all tokens are real.
        """
        answer, attention = attend(
            self.query(queries),
            self.key(keys),
            self.value(values),
            mask,
            self.heads,
            self.dropout if self.training else 0.0,
        )
        return self.merge(answer), attention


def as_tokens(visual: Tensor) -> Tensor:
    """Return the map ``[B, C, H, W]`` as tokens ``[B, HW, C]``, row by row."""
    return visual.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, visual: Tensor) -> Tensor:
    """Return the tokens ``[B, HW, C]`` as a map ``[B, C, H, W]`` with the height and width of ``visual``."""
    batch, _, height, width = visual.shape
    return tokens.transpose(1, 2).reshape(batch, -1, height, width)


def real_words(language: Language) -> Tensor:
    """Return the words ``[B, T, D]`` with zeros at padding, so that padding values cannot overflow."""
    return language.words.masked_fill(~language.mask[..., None], 0.0)


def relative_to_peak(attention: Tensor) -> Tensor:
    """Return the attention over positions ``[..., N]`` divided by its largest weight, so that its peak is 1.

    The scale then does not depend on the size of the map.
    """
    return attention / attention.amax(dim=-1, keepdim=True)
