"""Positions attend to words: the scaled dot-product attention of Vaswani et al. (NeurIPS 2017), channels first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
