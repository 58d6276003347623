"""The core tensor of a Tucker fusion, full or of low rank: ``z_k = q^T T_k v`` for every output ``k``.

The product with the sentence comes first, ``(T x_1 q) x_2 v``: it gives one ``[out, visual]`` matrix per sample,
which is then applied to every position. This is the order of the MUTAN paper's equation, and its cost is the size of
the core once per sample instead of once per position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FullCore(nn.Module):
    """A full core, ``z_k = sum_ij T_ijk q_i v_j``, in which every entry of ``T`` is a free parameter.

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
    """A low-rank core, ``z_k = sum_r (m_rk^T q + a_rk) (n_rk^T v + c_rk)``.

    Every slice ``T_k`` has rank at most ``R``.

    The constants ``a`` and ``c`` are the linear parts of a bilinear form. They are equivalent to one more channel
    with the value 1 in both ``q`` and ``v``. With ``blocks`` > 1 there are that many independent cores: core ``g``
    reads the ``g``-th of the equal parts of ``q`` and of ``v`` and returns the ``g``-th part of ``z``.

    Args:
        language_dim: channels of ``q`` that one core reads.
        visual_dim: channels of ``v`` that one core reads.
        out_dim: channels of ``z`` that one core returns.
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
        parts = sentence.reshape(batch, blocks, -1)  # [B, G, language]
        projected = torch.einsum("bgl,grol->bgro", parts, self.language_factors)  # [B, G, R, out]
        projected = projected + self.language_constants
        kernel = torch.einsum("bgro,grov->bgov", projected, self.visual_factors)  # [B, G, out, visual]
        offset = (projected * self.visual_constants).sum(dim=2)  # [B, G, out]
        maps = visual.reshape(batch, blocks, visual_dim, height * width)  # [B, G, visual, HW]
        fused = kernel @ maps + offset[..., None]  # [B, G, out, HW]
        return fused.reshape(batch, -1, height, width)  # [B, G * out, H, W]
