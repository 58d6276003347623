"""Scaled dot-product attention of Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762).

Two layouts: `attend_to_words` leaves a map channels first and moves only the few words; `attend` and the
units built on it work on tokens ``[B, N, E]``, where the positions of a map are also asked, or joined with words.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language


def attend_to_words(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, heads: int, dropout: float
) -> tuple[Tensor, Tensor]:
    """``A = softmax(Q K^T / sqrt(E / heads))`` over the real words, per head; the answer is ``A V``.

    Maps keep their layout: nothing is transposed but the few words.

    Args:
        queries: ``[B, E, H, W]``, one query per position.
        keys: ``[B, T, E]``.
        values: ``[B, T, E]``.
        mask: ``[B, T]``, True at real words; each row has one.
        heads: divides ``E``.
        dropout: probability of dropping an attention weight (0 outside training).

    Returns:
        The answer ``[B, E, H, W]`` and the attention before dropout ``[B, heads, T, H, W]``.
    """
    batch, dim, height, width = queries.shape
    words = keys.shape[1]
    size = dim // heads
    q = queries.reshape(batch * heads, size, height * width)  # [B h, d, HW]
    k = keys.view(batch, words, heads, size).transpose(1, 2).reshape(batch * heads, words, size)
    v = values.view(batch, words, heads, size).permute(0, 2, 3, 1).reshape(batch * heads, size, words)
    padding = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)  # [B, T]
    padding = padding[:, None, :, None].expand(-1, heads, -1, -1).reshape(batch * heads, words, 1)
    logits = torch.baddbmm(padding, k, q, alpha=size**-0.5)  # [B h, T, HW]
    attention = logits.softmax(dim=1)
    answer = v @ F.dropout(attention, dropout)  # [B h, d, HW]
    return answer.reshape(batch, dim, height, width), attention.view(batch, heads, words, height, width)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, heads: int, dropout: float
) -> tuple[Tensor, Tensor]:
    """``A = softmax(Q K^T / sqrt(E / heads))`` over the real tokens, per head; the answer is ``A V``.

    Written out rather than left to a fused kernel, whose gradients on a GPU differ from run to run.

    Args:
        queries: ``[B, N, E]``.
        keys: ``[B, M, E]``.
        values: ``[B, M, E]``.
        mask: ``[B, M]``, True at real tokens, at least one a row; None where all are real.
        heads: divides ``E``.
        dropout: probability of dropping an attention weight (0 outside training).

    Returns:
        The answer ``[B, N, E]`` and the attention before dropout ``[B, heads, N, M]``.
    """
    q, k, v = (tokens.unflatten(2, (heads, -1)).transpose(1, 2) for tokens in (queries, keys, values))
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # [B, heads, N, M]
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
    attention = logits.softmax(dim=-1)
    answer = F.dropout(attention, dropout) @ v  # [B, heads, N, E / heads]
    return answer.transpose(1, 2).flatten(2), attention


class MultiHeadAttention(nn.Module):
    """``MHA(Q, K, V) = W_o [A_1 V_1; ...; A_h V_h]``, each head on its own projections.

    Keys have no bias: it would add one number to all logits of a query and cancel in the softmax.

    Args:
        dim: channels of the queries and of the answer, a multiple of ``heads``.
        source_dim: channels of keys and values.
        heads: attention heads.
        dropout: on the attention weights.
        bias: of the three other projections.

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
        """``[B, N, dim]`` asks ``[B, M, source_dim]``: the answer ``[B, N, dim]``, attention ``[B, h, N, M]``."""
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
    """A map ``[B, C, H, W]`` as tokens ``[B, HW, C]``, row after row."""
    return visual.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, visual: Tensor) -> Tensor:
    """Tokens ``[B, HW, C]`` as a map ``[B, C, H, W]`` of the height and width of ``visual``."""
    batch, _, height, width = visual.shape
    return tokens.transpose(1, 2).reshape(batch, -1, height, width)


def real_words(language: Language) -> Tensor:
    """The words ``[B, T, D]`` with zeros where padding stood, so that its numbers cannot even overflow."""
    return language.words.masked_fill(~language.mask[..., None], 0.0)


def relative_to_peak(attention: Tensor) -> Tensor:
    """Attention over positions ``[..., N]``, divided by its largest weight: 1 at the peak, on a map of any size."""
    return attention / attention.amax(dim=-1, keepdim=True)
