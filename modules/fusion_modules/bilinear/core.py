"""The core tensor of a Tucker fusion, full or of low rank: ``z_k = q^T T_k v`` for every output ``k``.

The sentence meets the core first, ``(T x_1 q) x_2 v``: one ``[out, visual]`` matrix a sample, which is then
applied to every position. It is the order of the MUTAN paper's equation, and it costs the core's size once a
sample instead of once a position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FullCore(nn.Module):
    """``z_k = sum_ij T_ijk q_i v_j``, every entry of ``T`` free.

    Args:
        language_dim: channels of ``q``.
        visual_dim: channels of ``v``.
        out_dim: channels of ``z``.
    """

    def __init__(self, language_dim: int, visual_dim: int, out_dim: int) -> None:
        super().__init__()
        self.tensor = nn.Parameter(torch.empty(language_dim, out_dim, visual_dim))
        nn.init.uniform_(self.tensor, -(visual_dim**-0.5), visual_dim**-0.5)  # torch's bound for linear maps

    def forward(self, sentence: Tensor, visual: Tensor) -> Tensor:
        """``[B, language_dim]``, ``[B, visual_dim, H, W]`` -> ``[B, out_dim, H, W]``."""
        kernel = torch.einsum("bl,lov->bov", sentence, self.tensor)  # [B, out, visual]
        fused = torch.bmm(kernel, visual.flatten(2))  # [B, out, HW]
        return fused.view(*fused.shape[:2], *visual.shape[2:])  # [B, out, H, W]


class LowRankCore(nn.Module):
    """``z_k = sum_r (m_rk^T q + a_rk) (n_rk^T v + c_rk)``: every slice ``T_k`` of rank ``R`` at most.

    The constants ``a`` and ``c`` are the linear parts of a bilinear form; they are the same as one more
    channel, always 1, on both ``q`` and ``v``. With ``blocks`` > 1 there are that many cores side by side:
    core ``g`` reads the ``g``-th equal piece of ``q`` and of ``v`` and gives the ``g``-th piece of ``z``.

    Args:
        language_dim: channels of ``q`` that one core reads.
        visual_dim: channels of ``v`` that one core reads.
        out_dim: channels of ``z`` that one core gives.
        rank: ``R``.
        blocks: number of cores.
    """

    def __init__(
        self, language_dim: int, visual_dim: int, out_dim: int, rank: int, *, blocks: int = 1
    ) -> None:
        super().__init__()
        self.language_factors = nn.Parameter(torch.empty(blocks, rank, out_dim, language_dim))
        self.language_constants = nn.Parameter(torch.empty(blocks, rank, out_dim))
        self.visual_factors = nn.Parameter(torch.empty(blocks, rank, out_dim, visual_dim))
        self.visual_constants = nn.Parameter(torch.empty(blocks, rank, out_dim))
        for dim, parameters in (
            (language_dim, (self.language_factors, self.language_constants)),
            (visual_dim, (self.visual_factors, self.visual_constants)),
        ):
            for parameter in parameters:
                nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5)  # torch's bound for linear maps

    def forward(self, sentence: Tensor, visual: Tensor) -> Tensor:
        """``[B, blocks * language_dim]``, ``[B, blocks * visual_dim, H, W]`` -> ``[B, blocks * out_dim, H, W]``."""
        batch, _, height, width = visual.shape
        blocks, _, _, visual_dim = self.visual_factors.shape
        pieces = sentence.reshape(batch, blocks, -1)  # [B, G, language]
        gates = torch.einsum("bgl,grol->bgro", pieces, self.language_factors) + self.language_constants
        kernel = torch.einsum("bgro,grov->bgov", gates, self.visual_factors)  # [B, G, out, visual]
        offset = (gates * self.visual_constants).sum(dim=2)  # [B, G, out]
        maps = visual.reshape(batch, blocks, visual_dim, height * width)  # [B, G, visual, HW]
        fused = kernel @ maps + offset[..., None]  # [B, G, out, HW]
        return fused.reshape(batch, -1, height, width)
