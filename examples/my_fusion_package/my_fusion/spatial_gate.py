"""Spatial gate: the sentence opens and closes every position of the map.

    g_hw = sigmoid((W_v V_hw) . (W_q q) / sqrt(K))
    out  = V + g * W_o V

Symbols: ``V`` the map ``[B, C, H, W]``, ``V_hw`` its vector at one position, ``q`` the sentence ``[B, D]``, ``K`` the
channels in which map and sentence are compared, ``g`` the gate ``[B, 1, H, W]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from fusion_bench.contract import Citation, FusionModule, Int, Language, Listens, PositionCode, Space, Width


class SpatialGate(FusionModule):
    """A sigmoid gate per position, made from the map and the sentence.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        hidden: ``K``.
    """

    citation: ClassVar[Citation] = Citation(
        "A spatial gate", "Me", "in preparation", 2026, "https://example.org"
    )
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The channels in which map and sentence are compared."""
        return {"hidden": Int(16, 128, log=True)}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.key = nn.Conv2d(visual_dim, hidden, 1)
        self.query = nn.Linear(language_dim, hidden)
        self.value = nn.Conv2d(visual_dim, visual_dim, 1)
        self.scale = hidden**-0.5

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Fuse ``visual`` ``[B, C, H, W]`` with the sentence into ``[B, C, H, W]``."""
        query = self.query(language.sentence)[:, :, None, None]  # [B, K, 1, 1]
        product = (self.key(visual) * query).sum(dim=1, keepdim=True)  # [B, 1, H, W]
        gate = (self.scale * product).sigmoid()
        return visual + gate * self.value(visual)  # [B, C, H, W]
