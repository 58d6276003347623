"""The built-in data sets under CLEVR-CoGenT's two conditions, in the layout of that release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from fusion_bench.data.cogent import ClevrCogent
from fusion_bench.data.miniclevr.build import MiniClevrSettings
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.miniclevr.placement import SceneRecipe
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Splits


@dataclass(frozen=True, kw_only=True)
class MiniClevrCogentSettings(MiniClevrSettings):
    """Settings in which the last letter of a split's name gives the condition of its scenes.

    Raises:
        DataError: shape or color does not vary, so that there is nothing to exchange.
    """

    def __post_init__(self) -> None:
        if not {"shape", "color"} <= set(self.attributes):
            raise DataError(
                "CLEVR-CoGenT exchanges the colors of cubes and cylinders, so attributes must contain shape and "
                f"color, not only {', '.join(self.attributes)}"
            )

    def recipe(self, split: str) -> SceneRecipe:
        """Return the recipe of a split's scenes."""
        condition: Literal["A", "B"] = "B" if split.endswith("B") else "A"
        return replace(super().recipe(split), condition=condition)


class MiniClevrCogent(MiniClevr, ClevrCogent):
    """CLEVR-CoGenT without Blender: trained and selected on condition A, evaluated on A and on B.

    ``selectA`` has its own files. Settings and files are otherwise those of `MiniClevr`; ``valA`` and ``valB`` have
    the same number of images.
    """

    name: ClassVar[str] = "miniclevr_cogent"
    pretext_condition: ClassVar[Literal["A", "B"] | None] = "A"
    settings_type: ClassVar[type[MiniClevrSettings]] = MiniClevrCogentSettings

    splits = Splits(train="trainA", select="selectA", evaluate=("valA", "valB"))


class MiniClevrCogentB(MiniClevrCogent):
    """The data set for fine-tuning on condition B after training on `MiniClevrCogent`.

    ``trainB`` and ``selectB`` have scenes of their own. With the same settings, ``valA`` and ``valB`` have the same
    scenes and questions as in `MiniClevrCogent`.
    """

    name: ClassVar[str] = "miniclevr_cogent_b"

    splits = Splits(train="trainB", select="selectB", evaluate=("valA", "valB"))
