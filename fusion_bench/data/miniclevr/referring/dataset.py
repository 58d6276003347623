"""The built-in data set of referring expressions, generated once on any machine in REFER's file layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.miniclevr.generated import BuiltIn
from fusion_bench.data.miniclevr.questions.askable import check_expressions
from fusion_bench.data.miniclevr.referring.build import MiniClevrReferSettings, build_refer
from fusion_bench.data.miniclevr.settings import (
    Attribute,
    images_per_split,
    int_or_minus_one,
    validated_attributes,
    validated_size,
    validated_things,
)
from fusion_bench.data.refer.dataset import Partition, Refer
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Splits


class MiniClevrRefer(BuiltIn, Refer):
    """Ray-cast scenes with sentences that each identify one object, with exact boxes and masks.

    Half of the objects are distractors, which differ from another object in one attribute. Every attribute and
    relation in a sentence is necessary, so that a model must use the whole sentence. Two sentences refer to each
    object, and all objects are equally likely. Boxes and masks cover the visible pixels. The category of an object,
    which ``same_class`` counts, is its shape.

    Args:
        root: the folder to generate; it must not contain other files. Each choice of settings needs its own folder.
        images: number of images for ``train``, ``select`` and ``evaluate``.
        expressions_per_image: number of sentences per image; an image with few objects may have fewer.
        relations: True if objects may be described by a relation ("left of the blue sphere").
        size: height and width of the images in pixels.
        seed: seed of scenes and sentences; different seeds give different images.
        things: least and greatest number of objects in a scene.
        attributes: which of ``shape``, ``size``, ``color`` and ``material`` vary between objects; None for all. What
            does not vary is ``cube``, ``large``, ``purple`` or ``rubber``, and no sentence names it.

    Raises:
        DataError: a setting is invalid.
    """

    name: ClassVar[str] = "miniclevr_refer"
    version: ClassVar[str] = "1"
    toy_settings: ClassVar[Mapping[str, Any]] = {
        "images": {"train": 40, "select": 10, "evaluate": 10},
        "size": [32, 48],
    }
    partitions: ClassVar[Mapping[str, Partition]] = {
        "unc": Partition(Splits(train="train", select="val", evaluate=("test",)), published={})
    }

    cautions: tuple[str, ...] = ()

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, int],
        expressions_per_image: int = 6,
        relations: bool = True,
        size: Sequence[int] = (64, 96),
        seed: int = 0,
        things: Sequence[int] = (3, 10),
        attributes: AbstractSet[Attribute] | None = None,
    ) -> None:
        super().__init__(root)
        if int_or_minus_one(expressions_per_image) < 1:
            raise DataError(f"expressions_per_image must be at least 1, not {expressions_per_image!r}")
        self.texts_per_image = expressions_per_image
        self._scene_settings: MiniClevrReferSettings = MiniClevrReferSettings(
            seed=seed,
            images=images_per_split(images, self.splits),
            expressions_per_image=expressions_per_image,
            relations=relations,
            size=validated_size(size),
            things=validated_things(things),
            attributes=validated_attributes(attributes),
        )
        check_expressions(self._scene_settings.attributes, self._scene_settings.things[1])

    def _generate(self, folder: Path, workers: int) -> None:
        build_refer(self._scene_settings, self.name, folder, workers, self.notify)
