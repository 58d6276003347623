"""Gate: the sentence opens and closes every channel of the map. An example of a fusion module in one file.

    out = V * sigmoid(W2 ReLU(W1 q))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``.

Try it from the root of the repository:

    fusion-bench check examples/gate.py
    fusion-bench run examples/gate_study.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class Gate(FusionModule):
    """A sigmoid gate per channel, made from the sentence.

    Args:
        visual_dim: ``C``.
        language_dim: ``D``.
        hidden: channels between the two linear layers.
    """

    citation: ClassVar[Citation] = Citation("A gate", "Me", "in preparation", 2026, "https://example.org")
    width: ClassVar[Width | None] = Width("hidden", step=8, minimum=8)
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The width of the hidden layer."""
        return {"hidden": Choice((32, 64, 128))}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Sequential(nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Fuse ``visual`` ``[B, C, H, W]`` with the sentence into ``[B, C, H, W]``."""
        gate = self.gate(language.sentence).sigmoid()  # [B, C]
        return visual * gate[:, :, None, None]  # [B, C, H, W]
