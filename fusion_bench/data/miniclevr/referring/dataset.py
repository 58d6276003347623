"""Referring expressions on built-in scenes: made once, on any machine, in REFER's own file layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.miniclevr.generated import BuiltIn
from fusion_bench.data.miniclevr.referring.build import ReferEdition, build_refer
from fusion_bench.data.miniclevr.settings import counts, int_or_minus_one, size_of, things_of
from fusion_bench.data.refer.dataset import Partition, Refer
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Splits


class MiniClevrRefer(BuiltIn, Refer):
    """Ray-cast scenes and sentences that single out one thing of each, with exact boxes and masks.

    Half of the things are placed as distractors that differ from another one in one attribute, and no
    attribute or relation that a sentence names could be left away, so that a sentence must be heard whole.
    Things are spoken of in two sentences each, and all are as likely to be. Boxes and masks are those of the
    visible pixels. A thing's category, by which ``same_class`` counts, is its shape.

    Args:
        root: folder to make, which must not hold anything else; one folder for one choice of settings.
        images: how many for ``train``, ``select`` and ``evaluate``.
        expressions_per_image: how many sentences; an image of few objects may allow fewer.
        relations: whether a thing may be described by where it stands ("left of the blue sphere").
        size: height and width of the pictures.
        seed: of scenes and sentences; pictures of one seed are no part of another's.
        things: least and most objects of a scene.

    Raises:
        DataError: a setting makes no data set.
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
    ) -> None:
        super().__init__(root)
        if int_or_minus_one(expressions_per_image) < 1:
            raise DataError(f"expressions_per_image must be at least 1, not {expressions_per_image!r}")
        self._edition: ReferEdition = ReferEdition(
            seed=seed,
            images=counts(images, self.splits),
            expressions_per_image=expressions_per_image,
            relations=relations,
            size=size_of(size),
            things=things_of(things),
        )

    def _make(self, folder: Path, workers: int) -> None:
        build_refer(self._edition, self.name, folder, workers)
