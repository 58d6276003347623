"""My module: one sentence that says what it does with the image and the sentence.

    out = V * sigmoid(MLP(q))

Symbols: ``V`` the map ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``.
"""

# Change the text above: your module in words, its equation, and what its symbols mean.

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


class MyModule(FusionModule):  # the name that errors and the check show
    """A gate per channel, made from the sentence.

    Args:
        visual_dim: ``C``, the channels of the map; the study decides it.
        language_dim: ``D``, the channels of the words and of the sentence; the text encoder decides it.
        hidden: channels of the gate's hidden layer.
    """

    # The paper: title, authors, venue, year, address. Reports show authors, venue and year.
    citation: ClassVar[Citation] = Citation("My module", "Me", "in preparation", 2026, "https://example.org")
    # The argument below that scales the cost, its step and its minimum; a study with `budget.match` sets it.
    # Write None if no argument scales the cost; the module is then not ranked in such a study.
    width: ClassVar[Width | None] = Width("hidden", step=8, minimum=8)
    # What it reads of the language: "words", "sentence", "both" or "nothing".
    listens: ClassVar[Listens] = "sentence"
    # The position code that it adds to the map by itself: "none", "sine", "coordinates" or "learned".
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The settings that a search may change: Float(low, high), Int(low, high) or Choice((a, b))."""
        return {"hidden": Choice((32, 64, 128))}  # by the argument's name; {} if there is nothing to search

    # After the star: your own arguments, each with the default of your paper. A study file sets them by name.
    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.out_dim = (
            visual_dim  # the channels of the map that `forward` returns; they may differ from visual_dim
        )
        # Your layers. Do not fix the height, the width or the number of words: they change.
        self.gate = nn.Sequential(nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim))

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Fuse ``visual`` ``[B, C, H, W]`` with the language into ``[B, out_dim, H, W]``."""
        # Your equation. `language` holds:
        #   words     [B, T, D]  one vector per word
        #   mask      [B, T]     True where a word is real; leave out the others, for example in a softmax
        #   sentence  [B, D]     one vector per sentence
        gate: Tensor = self.gate(language.sentence).sigmoid()  # [B, C]
        return visual * gate[:, :, None, None]  # [B, C, H, W]: the height and the width stay
