"""The built-in data set: made once, on any machine, in CLEVR's own file layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.clevr import KIND_STARTS, Clevr
from fusion_bench.data.miniclevr.build import Edition, build_clevr
from fusion_bench.data.miniclevr.generated import BuiltIn
from fusion_bench.data.miniclevr.settings import counts, int_or_minus_one, size_of, things_of
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Counts, Splits


class MiniClevr(BuiltIn, Clevr):
    """CLEVR without Blender: ray-cast scenes, questions of CLEVR's nine kinds, splits train, val and test.

    Args:
        root: folder to make, which must not hold anything else; one folder for one choice of settings.
        images: how many for ``train``, ``select`` and ``evaluate``.
        questions_per_image: how many are asked; an image of few objects may allow fewer.
        kinds: question kinds; None for all nine.
        size: height and width of the pictures.
        seed: of scenes and questions; pictures of one seed are no part of another's.
        things: least and most objects of a scene.

    Raises:
        DataError: a setting makes no data set.
    """

    name: ClassVar[str] = "miniclevr"
    version: ClassVar[str] = "1"
    holds_out: ClassVar[bool] = False
    published: Mapping[str, Counts] = {}
    unlabelled: ClassVar[tuple[str, ...]] = ()
    toy_settings: ClassVar[Mapping[str, Any]] = {
        "images": {"train": 40, "select": 10, "evaluate": 10},
        "size": [32, 48],
    }
    edition: ClassVar[type[Edition]] = Edition
    """Which scenes are drawn for which split."""

    splits = Splits(train="train", select="val", evaluate=("test",))

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, int],
        questions_per_image: int = 10,
        kinds: Sequence[str] | None = None,
        size: Sequence[int] = (64, 96),
        seed: int = 0,
        things: Sequence[int] = (3, 10),
    ) -> None:
        super().__init__(root, kinds=kinds)
        if int_or_minus_one(questions_per_image) < 1:
            raise DataError(f"questions_per_image must be at least 1, not {questions_per_image!r}")
        self._edition: Edition = self.edition(
            seed=seed,
            images=counts(images, self.splits),
            questions_per_image=questions_per_image,
            # The order in which kinds are written changes nothing.
            kinds=tuple(kind for kind in KIND_STARTS if kind in self.kinds),
            size=size_of(size),
            things=things_of(things),
        )

    def _make(self, folder: Path, workers: int) -> None:
        build_clevr(self._edition, folder, workers)
