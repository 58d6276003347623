"""The built-in data set, generated once on any machine in CLEVR's file layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.clevr import KIND_STARTS, Clevr, Tier
from fusion_bench.data.miniclevr.build import MiniClevrSettings, build_clevr
from fusion_bench.data.miniclevr.generated import BuiltIn
from fusion_bench.data.miniclevr.questions.askable import check_kinds
from fusion_bench.data.miniclevr.questions.templates import Wordings
from fusion_bench.data.miniclevr.settings import (
    Attribute,
    images_per_split,
    int_or_minus_one,
    validated_attributes,
    validated_size,
    validated_things,
    validated_wordings,
)
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Counts, Splits


class MiniClevr(BuiltIn, Clevr):
    """CLEVR without Blender: ray-cast scenes, questions of CLEVR's nine kinds, splits train, val and test.

    Args:
        root: the folder to generate; it must not contain other files. Each choice of settings needs its own folder.
        images: number of images for ``train``, ``select`` and ``evaluate``.
        questions_per_image: number of questions per image; an image with few objects, or whose objects differ in
            few attributes, may have fewer.
        kinds: the question kinds, or a tier of them: ``locate`` (zero_hop), ``relate`` (one_hop) or ``reason`` (all
            nine); None for all nine.
        size: height and width of the images in pixels.
        seed: seed of scenes and questions; different seeds give different images.
        things: least and greatest number of objects in a scene.
        wordings: ``all`` of CLEVR's sentences, synonyms and optional words, or ``one`` sentence for each question
            family, without synonyms. The questions and answers are the same.
        attributes: which of ``shape``, ``size``, ``color`` and ``material`` vary between objects; None for all. What
            does not vary is ``cube``, ``large``, ``purple`` or ``rubber``, and no question names or asks for it.

    Raises:
        DataError: a setting is invalid.
    """

    name: ClassVar[str] = "miniclevr"
    version: ClassVar[str] = "2"
    select_from_train: ClassVar[bool] = False
    published: Mapping[str, Counts] = {}
    unlabelled: ClassVar[tuple[str, ...]] = ()
    toy_settings: ClassVar[Mapping[str, Any]] = {
        "images": {"train": 40, "select": 10, "evaluate": 10},
        "size": [32, 48],
    }
    settings_type: ClassVar[type[MiniClevrSettings]] = MiniClevrSettings
    """The class of the settings, which decides the recipe of each split's scenes."""

    splits = Splits(train="train", select="val", evaluate=("test",))

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, int],
        questions_per_image: int = 10,
        kinds: Tier | Sequence[str] | None = None,
        size: Sequence[int] = (64, 96),
        seed: int = 0,
        things: Sequence[int] = (3, 10),
        wordings: Wordings = "all",
        attributes: AbstractSet[Attribute] | None = None,
    ) -> None:
        super().__init__(root, kinds=kinds)
        if int_or_minus_one(questions_per_image) < 1:
            raise DataError(f"questions_per_image must be at least 1, not {questions_per_image!r}")
        self.texts_per_image = questions_per_image
        self._scene_settings: MiniClevrSettings = self.settings_type(
            seed=seed,
            images=images_per_split(images, self.splits),
            questions_per_image=questions_per_image,
            # The order of the kinds in the setting has no effect.
            kinds=tuple(kind for kind in KIND_STARTS if kind in self.kinds),
            size=validated_size(size),
            things=validated_things(things),
            wordings=validated_wordings(wordings),
            attributes=validated_attributes(attributes),
        )
        made = self._scene_settings
        check_kinds(made.kinds, made.attributes, made.things[1])

    def _generate(self, folder: Path, workers: int) -> None:
        build_clevr(self._scene_settings, folder, workers, self.notify)
