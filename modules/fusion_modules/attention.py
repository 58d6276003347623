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
    q = queries.reshape(batch, heads, dim // heads, height * width)  # [B, h, d, HW]
    k = keys.view(batch, words, heads, -1).transpose(1, 2)  # [B, h, T, d]
    v = values.view(batch, words, heads, -1).permute(0, 2, 3, 1)  # [B, h, d, T]
    logits = (k * (dim // heads) ** -0.5) @ q  # [B, h, T, HW]
    logits = logits.masked_fill(~mask[:, None, :, None], -torch.inf)
    attention = logits.softmax(dim=2)
    answer = v @ F.dropout(attention, dropout)  # [B, h, d, HW]
    return answer.reshape(batch, dim, height, width), attention.view(batch, heads, words, height, width)
