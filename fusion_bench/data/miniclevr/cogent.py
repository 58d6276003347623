"""The built-in data set under CLEVR-CoGenT's conditions, in that release's own layout."""

from __future__ import annotations

from typing import ClassVar, Literal

from fusion_bench.data.cogent import ClevrCogent
from fusion_bench.data.miniclevr.build import Edition
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.miniclevr.placement import Recipe
from fusion_bench.samples.dataset import Splits


class CogentEdition(Edition):
    """Scenes under the condition that the last letter of a split's name says."""

    def recipe(self, split: str) -> Recipe:
        """What the scenes of a split are drawn from."""
        condition: Literal["A", "B"] = "B" if split.endswith("B") else "A"
        return Recipe(self.seed, split, self.size, self.things, condition)


class MiniClevrCogent(MiniClevr, ClevrCogent):
    """CLEVR-CoGenT without Blender: trained and chosen on condition A, judged on A and B side by side.

    ``selectA`` has files of its own; otherwise settings and files are those of `MiniClevr`, with as many
    images for ``valA`` as for ``valB``.
    """

    name: ClassVar[str] = "miniclevr_cogent"
    pretext_condition: ClassVar[Literal["A", "B"] | None] = "A"
    edition: ClassVar[type[Edition]] = CogentEdition

    splits = Splits(train="trainA", select="selectA", evaluate=("valA", "valB"))


class MiniClevrCogentB(MiniClevrCogent):
    """To fine-tune on condition B what `MiniClevrCogent` taught: ``trainB`` and ``selectB`` are scenes of their own.

    With the same settings ``valA`` and ``valB`` are the same scenes and questions there as here.
    """

    name: ClassVar[str] = "miniclevr_cogent_b"

    splits = Splits(train="trainB", select="selectB", evaluate=("valA", "valB"))
