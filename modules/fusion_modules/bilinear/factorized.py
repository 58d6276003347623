"""Factorized pooling in two stages, expand and squeeze: the common part of MFB and MFH.

The equations are those of MFB (Yu et al., ICCV 2017, arXiv 1708.01471); see `fusion_modules.bilinear.mfb`.
"""

from __future__ import annotations

from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.bilinear.normalisation import power_normalise


class Expand(nn.Module):
    """The expand stage, ``Dropout( (U V_p + b_v) * (W q + b_q) )``, with ``factors`` products per output.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        expanded: ``hidden * factors``.
        dropout: dropout probability on the products.
    """

    def __init__(self, visual_dim: int, language_dim: int, expanded: int, dropout: float) -> None:
        super().__init__()
        self.visual = nn.Conv2d(visual_dim, expanded, 1)
        self.sentence = nn.Linear(language_dim, expanded)
        self.dropout = nn.Dropout(dropout)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, expanded, H, W]``."""
        sentence = self.sentence(language.sentence)[:, :, None, None]  # [B, expanded, 1, 1]
        return self.dropout(self.visual(visual) * sentence)  # type: ignore[no-any-return]


def squeeze(products: Tensor, factors: int) -> Tensor:
    """Sum each ``factors`` neighbouring channels, then apply the signed square root and L2.

    Args:
        products: ``[B, hidden * factors, H, W]``.
        factors: number of channels in each sum.

    Returns:
        ``[B, hidden, H, W]``.
    """
    pooled = products.unflatten(1, (-1, factors)).sum(dim=2)  # [B, hidden, H, W]
    return power_normalise(pooled)
